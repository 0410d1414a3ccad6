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
        read, write: "module:function" under ``hyperfuse.io.formats``; ``write`` is None where only reading is offered.
        options: names of the options that writing takes beyond the common ones.
        variables: whether a file holds named variables.
        folder: whether it is a folder.
    """

    name: str
    extensions: tuple[str, ...]
    read: str
    write: str | None = None
    options: tuple[str, ...] = ()
    variables: bool = False
    folder: bool = False

    def reader(self) -> Callable[[Path, ReadOptions], Cube]:
        """Return the function that reads this format."""
        reader: Callable[[Path, ReadOptions], Cube] = _function(self.read)
        return reader

    def writer(self) -> Callable[[Path, Cube, WriteOptions], None]:
        """Return the function that writes this format.

        Raises:
            InputError: the format is only read.
        """
        if self.write is None:
            raise InputError(f"{self.name} is only read; write one of {', '.join(writable_extensions())}")
        writer: Callable[[Path, Cube, WriteOptions], None] = _function(self.write)
        return writer


def _function(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(f"hyperfuse.io.formats.{module}"), name)


_RASTER = "raster:read_raster"
_ENVI = (".img", ".dat", ".bsq", ".bil", ".bip", ".raw", ".envi", ".hdr")

FORMATS = (
    Format("GeoTIFF", (".tif", ".tiff"), _RASTER, "geotiff:write_geotiff", ("interleave", "cog")),
    Format("ENVI", _ENVI, _RASTER, "envi:write_envi", ("interleave",)),
    Format("netCDF", (".nc", ".nc4", ".cdf"), "netcdf:read_netcdf", "netcdf:write_netcdf", (), variables=True),
    Format("HDF5", (".h5", ".hdf5", ".he5"), "netcdf:read_netcdf", variables=True),
    Format("MATLAB", (".mat",), "matlab:read_matlab", "matlab:write_matlab", ("version",), variables=True),
    Format("NumPy array", (".npy",), "arrays:read_npy", "arrays:write_npy"),
    Format("NumPy archive", (".npz",), "arrays:read_npz", "arrays:write_npz", variables=True),
    Format("Zarr", (".zarr",), "zarr:read_zarr", "zarr:write_zarr", variables=True, folder=True),
    Format("image", (".png", ".jpg", ".jpeg", ".jp2", ".bmp", ".vrt"), _RASTER),
)


def writable_extensions() -> list[str]:
    """Return the usual extension of each format that can be written."""
    return [entry.extensions[0] for entry in FORMATS if entry.write is not None]


def format_of(path: Path) -> Format | None:
    """Return the format of an extension, or None for one that is not known."""
    suffix = path.suffix.lower()
    return next((entry for entry in FORMATS if suffix in entry.extensions), None)


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
