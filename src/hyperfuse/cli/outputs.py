"""Outputs: refused before any work where they could not be written, and whole or absent afterwards."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hyperfuse.cli.inputs import file_of, name_of
from hyperfuse.cli.options import OutputOptions
from hyperfuse.errors import HyperfuseError, InputError

if TYPE_CHECKING:
    from hyperfuse.cube.header import CubeHeader

_SCRATCH = "hyperfuse"


def check_output(path: str, writing: OutputOptions, *, inputs: Sequence[str] = ()) -> list[Path]:
    """Refuse an image that cannot be written: a tiny one is written next to it, and removed.

    That tests the folder, the extension, the type and the compression as they will be used, and shows which files
    there will be.

    Args:
        path: the image to write.
        writing: how it will be written.
        inputs: images that are read, which must not be replaced.

    Returns:
        The files or folders that there will be, such as the two of an ENVI image.

    Raises:
        InputError: no such folder, one that cannot be written to, a format, type or compression that does not exist,
            or a file that exists already (unless it is to be replaced) or is an input.
    """
    from hyperfuse.io.formats.targets import SIDE_FILES

    target = file_of(path)
    if not target.parent.is_dir():
        raise InputError(f"{path}: the folder {target.parent} does not exist")
    files = _probe(target.parent, path, writing)
    _refuse_existing(target.parent, files, writing.overwrite, inputs, [target.name + ending for ending in SIDE_FILES])
    return [target.parent / name for name in files]


def check_outputs_differ(images: Sequence[tuple[str, Sequence[Path]]]) -> None:
    """Refuse images that would be written to one file.

    Args:
        images: each as it was named, with its files.
    """
    (first, files), *others = images
    for name, more in others:
        if {file.absolute() for file in files} & {file.absolute() for file in more}:
            raise InputError(f"{name}: is also OUT ({first}); name another file")


def check_folder(
    folder: Path,
    images: Sequence[str],
    others: Sequence[str],
    writing: OutputOptions,
    *,
    inputs: Sequence[str] = (),
) -> None:
    """Refuse a folder of outputs that cannot be written; see :func:`check_output`.

    Args:
        folder: where to write; made later, with its parents, where it does not exist.
        images: names of the images in it.
        others: names of the other files in it.
        writing: how images will be written.
        inputs: images that are read, which must not be replaced.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; name a folder")
    files = dict.fromkeys(others, False)
    for name in images:
        files |= _probe(_existing(folder), str(folder / name), writing)
    _refuse_existing(folder, files, writing.overwrite, inputs)


@contextmanager
def writing_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder; when the block ends well, all that was written to it moves to ``folder``, or nothing does.

    Other files that ``folder`` holds already stay.
    """
    from hyperfuse.io.encoding.scratch import commit, scratch_folder

    with scratch_folder(_existing(folder), _SCRATCH) as scratch:
        yield scratch / "new"
        try:
            commit(scratch, folder)
        except OSError as error:
            raise HyperfuseError(f"{folder}: cannot be written to ({error.strerror})") from error


def write_style(path: str, writing: OutputOptions) -> None:
    """Write the style of an image that was written, where one is asked for."""
    if writing.style is not None:
        from hyperfuse.io import write_qgis_style

        write_qgis_style(path)


def describe_output(path: str, written: Sequence[Path], image: CubeHeader, seconds: float) -> str:
    """Return the line that ends a command: what was written, its size, and how long it took."""
    stored = sum(_bytes(file) for file in written)
    size = f"{stored / 1e6:.1f} MB" if stored >= 1e5 else f"{stored / 1e3:.1f} kB"
    return f"wrote {path}: {image.rows} rows, {image.cols} columns, {image.bands} bands, {size} in {seconds:.1f} s"


def _bytes(path: Path) -> int:
    parts = path.rglob("*") if path.is_dir() else [path]
    return sum(part.stat().st_size for part in parts if part.is_file())


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest one around it that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.is_dir())


def _probe(parent: Path, path: str, writing: OutputOptions) -> dict[str, bool]:
    """Write a tiny image in a scratch folder of ``parent``; return the names that came out, and which are folders."""
    import numpy as np

    from hyperfuse.cube.cube import Cube
    from hyperfuse.io import write
    from hyperfuse.io.encoding.atomic import without_scratch
    from hyperfuse.io.encoding.scratch import scratch_folder

    file, name = file_of(path), name_of(path)
    try:
        with scratch_folder(parent, _SCRATCH) as scratch:
            new = scratch / "new"
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    tiny = Cube(data=np.zeros((1, 2, 2), np.float32))
                    write(f"{new}{os.sep}{name}", tiny, dtype=writing.dtype, compress=writing.compress)
                    write_style(f"{new}{os.sep}{name}", writing)
            except HyperfuseError as error:
                raise without_scratch(error, scratch, parent) from error
            found = {part.name: part.is_dir() for part in new.iterdir()}
            return dict(sorted(found.items(), key=lambda item: item[0] != file.name))  # the named one first
    except OSError as error:
        raise InputError(f"{path}: the folder {parent} cannot be written to ({error.strerror})") from error


def _refuse_existing(
    parent: Path, files: dict[str, bool], overwrite: bool, inputs: Sequence[str], removed: Sequence[str] = ()
) -> None:
    from hyperfuse.io.inputs import refuse_inputs

    refuse_inputs([parent / name for name in (*files, *removed)], inputs)
    for name, folder in files.items():
        path = parent / name
        if not path.exists():
            continue
        if path.is_dir() != folder:
            raise InputError(f"{path}: is a {'file' if folder else 'folder'}; give another name")
        if not overwrite:
            raise InputError(f"{path}: exists already; --overwrite replaces it")
