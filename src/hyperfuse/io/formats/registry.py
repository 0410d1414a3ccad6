"""The file formats, found by their extensions; the module of a format is imported when it is first needed."""

from __future__ import annotations

import pkgutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.options import ReadOptions, WriteOptions
from hyperfuse.runtime.isolation import call
from hyperfuse.text import shortened


@dataclass(frozen=True)
class Format:
    """A family of files. What reads and writes it is named "module:attribute", under ``hyperfuse.io.formats``.

    Attributes:
        name: as users call it.
        extensions: in lower case, with the dot; the first is the usual one.
        reader: of path, options and variable (or None): returns a cube, or a source of windows where ``windows``.
        writer: function of path, cube, options and variable, or, where ``windows``, the class of a
            :class:`~hyperfuse.io.formats.targets.WindowTarget`; None where files are only read.
        windows: whether windows are read and written; a whole image is then one window.
        options: names of the options that writing takes and not every format does.
        variables: whether a file holds named variables.
        axes: whether the order of its axes may be specified.
        markers: of a format that is a folder: the files of which it holds one.
        header: extension of a second file that holds the header, or None.
        isolated: whether a child process reads it: on damaged files its library may crash or loop.
    """

    name: str
    extensions: tuple[str, ...]
    reader: str
    writer: str | None = None
    windows: bool = False
    options: tuple[str, ...] = ()
    variables: bool = False
    axes: bool = True
    markers: tuple[str, ...] = ()
    header: str | None = None
    isolated: bool = False

    def open(self, path: Path, options: ReadOptions, variable: str | None) -> Any:
        """Return what the reader returns; refuse options that the format does not take."""
        self.check_variable(variable)
        if options.axes is not None and not self.axes:
            raise InputError("is a raster, which states its axes; leave out axes", "axes")
        if self.isolated:
            return call(f"{__package__}.{self.reader}", path, options, variable)
        return resolve(self.reader)(path, options, variable)

    def read(self, path: Path, options: ReadOptions, variable: str | None) -> Cube:
        """Read a whole file."""
        found = self.open(path, options, variable)
        if not self.windows:
            cube: Cube = found
            return cube
        with closing(found) as source:
            whole: Cube = source.read()
            return whole

    def write(self, path: Path, cube: Cube, options: WriteOptions, variable: str | None) -> None:
        """Write a file; :func:`~hyperfuse.io.formats.targets.prepare` has checked the options."""
        writer = resolve(self.writer or "")
        if not self.windows:
            writer(path, cube, options, variable)
            return
        target = writer(path, cube.header, options, variable, has_gaps=cube.valid is not None)
        try:
            target.write(Window(0, 0, cube.rows, cube.cols), cube)
            target.finish()
        except BaseException:
            target.abandon()
            raise

    def check_variable(self, variable: str | None) -> None:
        """Refuse the name of a variable where a file holds none."""
        if variable is not None and not self.variables:
            raise InputError(f"{self.name} holds no named variables; leave out ':{variable}'")

    def is_folder(self, path: Path) -> bool:
        """Return whether a path is a folder of this format."""
        return any((path / marker).is_file() for marker in self.markers)


def resolve(name: str) -> Any:
    """Return what "module:attribute" names under ``hyperfuse.io.formats``."""
    return pkgutil.resolve_name(f"hyperfuse.io.formats.{name}")


_GDAL: dict[str, Any] = {"reader": "raster:RasterImage", "windows": True, "axes": False}
_HDF5: dict[str, Any] = {"reader": "netcdf:read_netcdf", "variables": True, "isolated": True}

FORMATS = (
    Format("GeoTIFF", (".tif", ".tiff"), **_GDAL, writer="geotiff:GeoTiffTarget", options=("interleave", "cog")),
    Format(
        "ENVI", (".img", ".dat", ".bsq", ".bil", ".bip", ".raw", ".envi", ".hdr"), **_GDAL,
        writer="envi:EnviTarget", options=("interleave",), header=".hdr",
    ),
    Format("netCDF", (".nc", ".nc4", ".cdf"), **_HDF5, writer="netcdf:write_netcdf"),
    Format("HDF5", (".h5", ".hdf5", ".he5"), **_HDF5),
    Format(
        "MATLAB", (".mat",), "matlab:read_matlab", "matlab:write_matlab", options=("version",), variables=True,
        isolated=True,
    ),
    Format("NumPy array", (".npy",), "arrays:read_npy", "arrays:write_npy"),
    Format("NumPy archive", (".npz",), "arrays:read_npz", "arrays:write_npz", variables=True),
    Format(
        "Zarr", (".zarr",), "zarr:open_zarr", "zarr:ZarrTarget",
        windows=True, variables=True, markers=("zarr.json", ".zgroup", ".zarray"),
    ),
    Format("image", (".png", ".jpg", ".jpeg", ".jp2", ".bmp", ".vrt"), **_GDAL),
)  # fmt: skip


def writable_extensions() -> list[str]:
    """Return the usual extension of each format that can be written."""
    return [entry.extensions[0] for entry in FORMATS if entry.writer is not None]


def format_of(path: Path) -> Format | None:
    """Return the format of an extension, or None for one that is not known."""
    suffix = path.suffix.lower()
    return next((entry for entry in FORMATS if suffix in entry.extensions), None)


def format_to_read(file: Path) -> Format:
    """Return the format of a file, which has to exist: by its extension, else HDF5 or a raster by its content."""
    if not file.exists():
        pattern = any(letter in file.name for letter in "*?[")
        raise InputError(f"does not exist{'; read_mosaic takes the files that a pattern matches' if pattern else ''}")
    entry = format_of(file)
    if entry is not None and entry.markers:
        if not entry.is_folder(file):
            raise InputError(f"is not a {entry.name} folder (it holds none of {', '.join(entry.markers)})")
        return entry
    if file.is_dir():
        raise InputError(f"is a folder; name a file in it, or a quoted pattern of its files, such as '{file}/*.png'")
    if file.stat().st_size == 0:
        raise InputError("is empty (0 bytes)")
    if entry is None:
        with file.open("rb") as stream:
            name = "HDF5" if stream.read(4) == b"\x89HDF" else "image"
        entry = next(entry for entry in FORMATS if entry.name == name)
    return entry


def is_utf8(path: Path) -> bool:
    """Return whether the name of a file is UTF-8, as GDAL needs it."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def split_variable(path: str | Path) -> tuple[Path, str | None]:
    r"""Split ``file.mat:name`` into the file and the variable; a file whose name has a colon is itself.

    Example:
        >>> split_variable("scene.mat:orig")[1], split_variable(r"C:\scene.mat")[1]
        ('orig', None)
    """
    text = str(path)
    try:
        exists = Path(text).exists()
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise InputError(f"{shortened(text)}: cannot be opened ({(error.strerror or str(error)).lower()})") from None
    if exists:
        return Path(text), None
    # The first colon may belong to a drive (C:\scene.mat), where what is before it has no extension.
    for at, letter in enumerate(text):
        head, name = Path(text[:at]), text[at + 1 :]
        if letter == ":" and name and (format_of(head) is not None or head.is_file()):
            return head, name
    return Path(text), None
