"""What is checked of an output before it is written, and which files belong to it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from hyperfuse.errors import InputError
from hyperfuse.io.encoding.atomic import check_target
from hyperfuse.io.encoding.damage import named
from hyperfuse.io.encoding.options import WriteOptions
from hyperfuse.io.formats.registry import Format, format_of, split_variable, writable_extensions


class Target(NamedTuple):
    """An output: its file or folder, the variable in it or None, and its format."""

    path: Path
    variable: str | None
    format: Format

    @property
    def companions(self) -> list[Path]:
        """Files that are written with the target: the header of ENVI."""
        return [] if self.format.header is None else [self.path.with_suffix(self.format.header)]

    @property
    def sidecars(self) -> list[Path]:
        """Files next to the target in which GDAL may have kept statements about an older one."""
        return [self.path.with_name(self.path.name + ending) for ending in (".aux.xml", ".ovr", ".msk")]


def prepare(path: str | Path, options: WriteOptions, *, overwrite: bool) -> Target:
    """Check path and options of an output.

    Raises:
        InputError: an existing file without ``overwrite``, no such folder, an unknown extension, or an option or
            variable that the format does not take.
    """
    file, variable = split_variable(path)
    with named(file):
        entry = format_of(file)
        if entry is None:
            raise InputError(f"the extension {file.suffix!r} names no format; use {', '.join(writable_extensions())}")
        entry.write_function()
        entry.check_variable(variable)
        for name in options.of_format:
            if name not in entry.options:
                known = f"it takes {', '.join(entry.options)}" if entry.options else "it takes none of its own"
                raise InputError(f"{name} is not an option of {entry.name}; {known}")
    if file.suffix.lower() == entry.header:
        file = file.with_suffix(entry.extensions[0])
    target = Target(file, variable, entry)
    with named(file):
        check_target(file, overwrite=overwrite, companions=target.companions, folder=entry.folder)
        if entry.folder and file.exists():
            _check_replaceable(file)
    return target


def _check_replaceable(folder: Path) -> None:
    from hyperfuse.io.formats.zarr import is_zarr

    if not is_zarr(folder) and any(folder.iterdir()):
        raise InputError("is a folder with other content than Zarr; it is not replaced")
