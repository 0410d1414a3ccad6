"""``hyperfuse data``: the scenes of a dataset as one small file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from hyperfuse.cli.options import COMMON, CommonOptions
from hyperfuse.cli.session import Session
from hyperfuse.errors import InputError


def data(
    action: Literal["pack"],
    folder: Path,
    out: Path,
    /,
    *,
    kind: str = "cave",
    split: str | None = None,
    error: float = 3e-4,
    scale: float | None = None,
    offset: float | None = None,
    overwrite: bool = False,
    common: CommonOptions = COMMON,
    session: Annotated[Session, Parameter(parse=False)],
) -> None:
    """Pack the scenes of a dataset into one small file.

    Scenes are stored as quantised principal components, for taking a training set to another machine. Wherever a
    command takes the folder of such a dataset, it takes OUT too: `hyperfuse train CONFIG data.folder=OUT`.

    Args:
        action: What to do: pack.
        folder: Folder of the scenes.
        out: File to write.
        kind: Kind of data: cave, harvard, or folder (of any cubes).
        split: Name of a split (uestc-train), or a text file of scene names; default: all scenes.
        error: Root mean square error of each scene, as a fraction of its largest value; smaller files have larger
            ones.
        scale: Kind folder: values are scale x stored + offset, for files that do not state it.
        offset: Kind folder: see scale.
        overwrite: Replace an existing OUT.
        common: Options of every command.
        session: Where results and notes go.
    """
    from hyperfuse.datasets import open_dataset, write_packed

    if not out.parent.is_dir():
        raise InputError(f"{out}: the folder {out.parent} does not exist")
    if out.exists() and (out.is_dir() or not overwrite):
        raise InputError(f"{out}: exists already; " + ("name a file" if out.is_dir() else "pass overwrite=True"))
    scenes = open_dataset(kind, folder, split, scale=scale, offset=offset)
    if out.resolve() == folder.resolve():
        raise InputError(f"{out}: is the file to pack; name another")
    with session.progress("packing") as report:
        index = write_packed(scenes.items(), out, error=error, count=len(scenes), progress=report)
    session.wrote(out)
    for name, scene in index.scenes.items():
        session.note(f"{name}: error {scene.rms_error:.2e} rms, {scene.largest_error:.2e} at most")
    session.result(f"{out}: {len(index.scenes)} scenes, {out.stat().st_size / 1e6:.1f} MB")
