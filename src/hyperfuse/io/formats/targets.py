"""Outputs: what is checked before they are written, which files belong to them, and writing by windows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader
from hyperfuse.cube.window import Window
from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.io.encoding.atomic import check_target
from hyperfuse.io.encoding.coding import encode_values, stored_coding
from hyperfuse.io.encoding.damage import named
from hyperfuse.io.encoding.options import WriteOptions
from hyperfuse.io.encoding.scratch import recover
from hyperfuse.io.formats.envi_header import data_files
from hyperfuse.io.formats.registry import Format, format_of, is_utf8, split_variable, writable_extensions

# What GDAL keeps next to a raster, by the ending of its name.
SIDE_FILES = (".aux.xml", ".ovr", ".msk")


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
    def outdated(self) -> list[Path]:
        """Files next to the target that belong to an older one, those that GDAL keeps statements in included."""
        sidecars = [self.path.with_name(self.path.name + ending) for ending in SIDE_FILES]
        return self.companions + sidecars


def prepare(path: str | Path, options: WriteOptions, *, overwrite: bool) -> Target:
    """Check path, options and variable of an output; an existing one is refused without ``overwrite``."""
    file, variable = split_variable(path)
    with named(file):
        entry = format_of(file)
        if entry is None:
            raise InputError(f"the extension {file.suffix!r} names no format; use {', '.join(writable_extensions())}")
        if entry.writer is None:
            raise InputError(f"{entry.name} is only read; write one of {', '.join(writable_extensions())}")
        entry.check_variable(variable)
        if entry.reader.startswith("raster:") and not is_utf8(file):
            raise InputError("has a name that is not UTF-8, which GDAL cannot write; give another name")
        for name in options.of_format:
            if name not in entry.options:
                known = f"it takes {', '.join(entry.options)}" if entry.options else "it takes none of its own"
                raise InputError(f"{name} is not an option of {entry.name}; {known}", name)
    if file.suffix.lower() == entry.header:
        file = file.with_suffix(entry.extensions[0])
    target = Target(file, variable, entry)
    recover(file.parent)
    with named(file):
        for companion in target.companions:
            _refuse_foreign(companion, file)
        check_target(file, overwrite=overwrite, companions=target.companions, folder=bool(entry.markers))
        if file.is_dir() and not entry.is_folder(file) and any(file.iterdir()):
            raise InputError(f"is a folder with other content than {entry.name}; it is not replaced")
    return target


def _refuse_foreign(header: Path, file: Path) -> None:
    """Refuse a header that would replace that of another image."""
    images = [] if file.exists() or not header.exists() else data_files(header)
    if images:
        raise InputError(f"its header {header.name} is that of {images[0].name}; give another name")


class WindowTarget(ABC):
    """An image that is being written, by windows or whole (as one window).

    Attributes:
        path, header, options, variable: the file, what is known about the image, and how it is written.
        sparse: whether windows may never be written, which are then gaps.
        coding: how the values are stored.
    """

    def __init__(
        self,
        path: Path,
        header: CubeHeader,
        options: WriteOptions,
        variable: str | None = None,
        *,
        has_gaps: bool | None = None,
    ) -> None:
        """Create the file; ``has_gaps`` is None where that is not known, as of an image that is written by windows."""
        self.path, self.header, self.options, self.variable = path, header, options, variable
        self.sparse = has_gaps is None
        self.coding = stored_coding(header, options, has_gaps=bool(has_gaps))
        self._create()

    def write(self, window: Window, cube: Cube) -> None:
        """Write a window; its gaps become the mark of gaps, which the whole image has to have."""
        if cube.valid is not None and self.coding.nodata is None:
            raise HyperfuseError("a window with gaps in an image that was declared to have none")
        self._store(window, encode_values(cube, self.coding, self.options.dtype))

    @abstractmethod
    def _create(self) -> None:
        """Create the file, with its metadata."""

    @abstractmethod
    def _store(self, window: Window, stored: NDArray[Any]) -> None:
        """Put the numbers (bands, rows, cols) of a window into the file."""

    @abstractmethod
    def finish(self) -> None:
        """End the file and check that it is whole."""

    def abandon(self) -> None:  # noqa: B027  (most have nothing open)
        """Close what is open of a file that is not finished."""
