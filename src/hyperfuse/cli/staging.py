"""Inputs of a large scene that can only be read whole (products, netCDF, many files), put where windows are read of."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperfuse.cli.inputs import files_named, read_image
from hyperfuse.cli.session import Session
from hyperfuse.errors import InputError

if TYPE_CHECKING:
    from hyperfuse.cube.cube import Cube

Reading = Mapping[str, Any]


def read_by_windows(path: str, reading: Reading) -> bool:
    """Return whether windows can be read of a file; not of one that is missing or broken, which reading it tells."""
    from hyperfuse.io.windows.open import open_windows

    try:
        with closing(open_windows(path, **reading)):
            return True
    except InputError:
        return False


@contextmanager
def on_disk(
    out: str, inputs: Sequence[tuple[str, str, Reading, Cube | None]], session: Session, *, resume: bool
) -> Iterator[list[tuple[str, Reading]]]:
    """Give files and how they are read, by windows; what cannot be is read whole and written beside the output.

    The copies lie in ``.NAME.inputs`` until the output is complete. A job that was interrupted finds them again.

    Args:
        out: the output.
        inputs: name, file, how it is read, and the image where it has been read already.
        session: where it is told.
        resume: take copies of an interrupted job where they are of the same files.
    """
    from hyperfuse.io import split_variable
    from hyperfuse.scenes.tiling.store import TileStore

    target = split_variable(out)[0].absolute()
    folder = target.with_name(f".{target.name}.inputs")
    try:
        files = [_by_windows(*one, folder, session, resume) for one in inputs]
        del inputs  # images that are on disk need not be held
        yield files
    except BaseException:
        if not TileStore.beside(out).folder.exists():
            shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _by_windows(
    name: str, path: str, reading: Reading, known: Cube | None, folder: Path, session: Session, resume: bool
) -> tuple[str, Reading]:
    """Return a file that windows can be read of, and how: the one that was named, or a copy of it."""
    from hyperfuse.io import write
    from hyperfuse.scenes.tiling.store import identity

    if known is None and read_by_windows(path, reading):
        return path, reading
    copy, record = folder / f"{name}.tif", folder / f"{name}.json"
    told = json.dumps(
        {"files": [identity(file) for file in files_named(path)], "reading": dict(reading)}, sort_keys=True
    )
    if not (resume and copy.is_file() and record.is_file() and record.read_text("utf-8") == told):
        image = read_image(path, **reading) if known is None else known
        session.note(f"note: {path} is read whole; a copy lies in {folder.name} until the result is complete")
        folder.mkdir(exist_ok=True)
        write(copy, image, overwrite=True)
        record.write_text(told, "utf-8")
    return str(copy), {}
