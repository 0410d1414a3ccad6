"""The file formats, found by their extensions; the module of a format is imported when it is first needed."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.options import ReadOptions, WriteOptions


@dataclass(frozen=True)
class Format:
    """A family of files.

    Attributes:
        name: as users call it.
        extensions: in lower case, with the dot; the first is the usual one.
        reader: "module:function" under ``hyperfuse.io.formats``; it takes path and options, and the variable or None
            where a file holds named variables.
        writer: the same for writing, with the cube after the path; None where files are only read.
        windows: "module:class" under ``hyperfuse.io.windows`` that reads windows; None where files are read whole.
        target: "module:class" under ``hyperfuse.io.windows`` that writes windows; None where files are written whole.
        options: names of the options that writing takes and not every format does.
        variables: whether a file holds named variables.
        axes: whether the order of its axes may be specified.
        folder: whether it is a folder.
        header: extension of a second file that holds the header, or None.
    """

    name: str
    extensions: tuple[str, ...]
    reader: str
    writer: str | None = None
    windows: str | None = None
    target: str | None = None
    options: tuple[str, ...] = ()
    variables: bool = False
    axes: bool = True
    folder: bool = False
    header: str | None = None

    def read(self, path: Path, options: ReadOptions, variable: str | None) -> Cube:
        """Read a file.

        Raises:
            InputError: options that the format does not take, or what its reader refuses.
        """
        self.check_reading(options, variable)
        read: Callable[..., Cube] = resolve(self.reader)
        return read(path, options, variable) if self.variables else read(path, options)

    def check_reading(self, options: ReadOptions, variable: str | None) -> None:
        """Refuse options that reading this format does not take.

        Raises:
            InputError: a variable or axes.
        """
        self.check_variable(variable)
        if options.axes is not None and not self.axes:
            raise InputError("is a raster, which states its axes; leave out axes")

    def write(self, path: Path, cube: Cube, options: WriteOptions, variable: str | None) -> None:
        """Write a file; :func:`~hyperfuse.io.formats.targets.prepare` has checked the options."""
        write: Callable[..., None] = self.write_function()
        if self.variables:
            write(path, cube, options, variable)
        else:
            write(path, cube, options)

    def write_function(self) -> Callable[..., None]:
        """Return the function that writes this format.

        Raises:
            InputError: the format is only read.
        """
        if self.writer is None:
            raise InputError(f"{self.name} is only read; write one of {', '.join(writable_extensions())}")
        writer: Callable[..., None] = resolve(self.writer)
        return writer

    def check_variable(self, variable: str | None) -> None:
        """Refuse the name of a variable where a file holds none.

        Raises:
            InputError: the name.
        """
        if variable is not None and not self.variables:
            raise InputError(f"{self.name} holds no named variables; leave out ':{variable}'")


def resolve(name: str) -> Any:
    """Return what "module:attribute" names under ``hyperfuse.io.formats``."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(f"hyperfuse.io.formats.{module}"), attribute)


_GDAL: dict[str, Any] = {"reader": "raster:read_raster", "windows": "raster:RasterSource", "axes": False}
_HDF5: dict[str, Any] = {"reader": "netcdf:read_netcdf", "variables": True}

FORMATS = (
    Format(
        "GeoTIFF", (".tif", ".tiff"), **_GDAL,
        writer="geotiff:write_geotiff", target="write:GeoTiffTarget", options=("interleave", "cog"),
    ),
    Format(
        "ENVI", (".img", ".dat", ".bsq", ".bil", ".bip", ".raw", ".envi", ".hdr"), **_GDAL,
        writer="envi:write_envi", target="write:EnviTarget", options=("interleave",), header=".hdr",
    ),
    Format("netCDF", (".nc", ".nc4", ".cdf"), **_HDF5, writer="netcdf:write_netcdf"),
    Format("HDF5", (".h5", ".hdf5", ".he5"), **_HDF5),
    Format(
        "MATLAB", (".mat",), reader="matlab:read_matlab", writer="matlab:write_matlab",
        options=("version",), variables=True,
    ),
    Format("NumPy array", (".npy",), reader="arrays:read_npy", writer="arrays:write_npy"),
    Format("NumPy archive", (".npz",), reader="arrays:read_npz", writer="arrays:write_npz", variables=True),
    Format(
        "Zarr", (".zarr",), reader="zarr:read_zarr", writer="zarr:write_zarr",
        windows="zarr:ZarrSource", target="write:ZarrTarget", variables=True, folder=True,
    ),
    Format("image", (".png", ".jpg", ".jpeg", ".jp2", ".bmp", ".vrt"), **_GDAL),
)  # fmt: skip


def format_named(name: str) -> Format:
    """Return the format of that name."""
    return next(entry for entry in FORMATS if entry.name == name)


def writable_extensions() -> list[str]:
    """Return the usual extension of each format that can be written."""
    return [entry.extensions[0] for entry in FORMATS if entry.writer is not None]


def format_of(path: Path) -> Format | None:
    """Return the format of an extension, or None for one that is not known."""
    suffix = path.suffix.lower()
    return next((entry for entry in FORMATS if suffix in entry.extensions), None)


def format_to_read(file: Path) -> Format:
    """Return the format of a file that exists: by its extension, else HDF5 or a raster by its content.

    Raises:
        InputError: no such file, an empty one, or a folder that is no format.
    """
    if not file.exists():
        raise InputError("does not exist")
    entry = format_of(file)
    if file.is_dir():
        if entry is None or not entry.folder:
            raise InputError("is a folder; name a file in it")
        return entry
    if file.stat().st_size == 0:
        raise InputError("is empty (0 bytes)")
    if entry is None:
        with file.open("rb") as stream:
            entry = format_named("HDF5" if stream.read(4) == b"\x89HDF" else "image")
    return entry


def split_variable(path: str | Path) -> tuple[Path, str | None]:
    r"""Split ``file.mat:name`` into the file and the variable; a file whose name has a colon is itself.

    Example:
        >>> split_variable("scene.mat:orig")[1], split_variable(r"C:\scene.mat")[1]
        ('orig', None)
    """
    text = str(path)
    if Path(text).exists():
        return Path(text), None
    # The first colon may belong to a drive (C:\scene.mat), where what is before it has no extension.
    for at, letter in enumerate(text):
        head, name = Path(text[:at]), text[at + 1 :]
        if letter == ":" and name and (format_of(head) is not None or head.is_file()):
            return head, name
    return Path(text), None
