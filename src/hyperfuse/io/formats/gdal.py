"""Opening of rasters through GDAL: by drivers that read nothing but the file that is named, and errors in one line.

GDAL chooses a driver by the content of a file, whatever its name: a text named ``.tif`` may be a virtual raster (VRT)
or a web service, through which a file from elsewhere would read any other file of this machine, or of the network.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import rasterio
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, parse
from rasterio._err import CPLE_BaseError  # what GDAL raises besides RasterioError; it has no public name
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from hyperfuse.errors import InputError, warn
from hyperfuse.io.formats.envi_header import DATA_SUFFIXES, header_of
from hyperfuse.io.formats.registry import format_of, is_utf8

# What GDAL and rasterio raise about a file: ValueError for names and texts that are not UTF-8, or that rasterio does
# not know.
GDAL_ERRORS = (RasterioError, CPLE_BaseError, ValueError)

# Drivers that read the file that is named, and side files with its name.
_DRIVERS = (
    *("GTiff", "ENVI", "EHdr", "HFA", "PNG", "JPEG", "JP2OpenJPEG", "BMP", "GIF", "BIGGIF", "WEBP", "NITF", "AAIGrid"),
    *("RMF", "PNM", "SGI", "VICAR", "RST", "SAGA", "RRASTER", "ISCE", "ROI_PAC", "SRTMHGT", "PCRaster", "Terragen"),
)
# GDAL opens these next to a raster by their content.
_SIDE_FILES = (".ovr", ".msk")
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HFA = b"EHFA"
_XML_ERRORS = (ParseError, DefusedXmlException, ValueError, LookupError, RecursionError)
_VRT = ".vrt"
_DEEPEST_VRT = 8
_LARGEST_VRT = 64 * 2**20
# Elements of a VRT that name files, and those of free text.
_VRT_SOURCES = ("SourceFilename", "SourceDataset", "DEMPath")
_VRT_TEXTS = ("SRS", "MDI", "Description", "Category", "UnitType", "GCPProjection", "SourceSRS", "TargetSRS")


class Raster(rasterio.DatasetReader):  # type: ignore[misc]  # rasterio has no types
    """An open raster."""

    @property
    def indexes(self) -> range:
        """The numbers of the bands; rasterio searches them for every band that is read, in a new tuple."""
        return range(1, self.count + 1)


def open_raster(path: Path, overview: int | None = None) -> Raster:
    """Open a raster for reading, with GDAL_NUM_THREADS threads for decompression (default: all processors).

    ``overview``: open this one of its overviews (from 0) in place of the image.

    Raises:
        InputError: no raster of a format that is read, a VRT that names files outside of its folder, or damage.
    """
    if path.suffix.lower() == _VRT:
        _check_vrt(path, path.absolute().parent.resolve(), 0)
        return _open(path, (_VRT[1:].upper(),), overview)
    return _open(path, _DRIVERS, overview)


def _open(path: Path, drivers: tuple[str, ...], overview: int | None = None) -> Raster:
    for ending in _SIDE_FILES:
        side = path.with_name(path.name + ending)
        if side.is_file() and not _head(side).startswith((*_TIFF, _HFA)):
            raise InputError(f"has a side file {side.name} that is no TIFF; remove it")
    unplaced = warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning)
    with unplaced, rasterio.Env(GDAL_NUM_THREADS=threads()), messages() as said:
        try:
            chosen = {} if overview is None else {"overview_level": overview}
            source = Raster(str(path), driver=list(drivers), **chosen)
        except GDAL_ERRORS as error:
            raise InputError(_why_not(path)) from error
        if "OVERVIEW_FILE" in source.tags(ns="OVERVIEWS"):
            source.close()
            raise InputError("names a file of overviews in its metadata, which could be any; remove that entry")
    if _is_damaged_xml(path.with_name(f"{path.name}.aux.xml")):
        said.append(f"{path.name}.aux.xml is no XML")
    if said:
        warn(f"{path.name}: GDAL could not read all of its metadata, and what is damaged is left out ({said[0]})")
    return source


def _is_damaged_xml(path: Path) -> bool:
    """Return whether a file is there and no XML; GDAL does not say so of its own side files."""
    try:
        parse(path)
    except FileNotFoundError:
        return False
    except _XML_ERRORS:
        return True
    return False


def _why_not(path: Path) -> str:
    if not is_utf8(path):
        return "has a name that is not UTF-8, which GDAL cannot open; rename it"
    lone = (format_of(path) is None or path.suffix.lower() in DATA_SUFFIXES) and not header_of(path)
    hint = "; an ENVI file needs its header (.hdr) next to it" if lone else ""
    return f"is not a raster that GDAL can open, or is damaged{hint}"


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def threads() -> str:
    """Return the number of threads that GDAL may use."""
    return os.environ.get("GDAL_NUM_THREADS", "ALL_CPUS")


@contextmanager
def failures() -> Iterator[None]:
    """Report in one line why GDAL could not read a file; outside an environment it would print to stderr itself."""
    try:
        with rasterio.Env(), messages():
            yield
    except InputError:
        raise
    except GDAL_ERRORS as error:
        # rasterio hides what GDAL said in the cause; its last part names the fault.
        text = (str(error.__cause__ or error).splitlines() or ["no details"])[0]
        fault = text.rsplit(": ", 1)[-1].strip()
        raise InputError(f"cannot be read; it is cut off or damaged ({fault})") from error


class _Collector(logging.Handler):
    """Keeps what rasterio reports as an error, in the thread that asks for it."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._said = threading.local()
        self._lock, self._users = threading.Lock(), 0
        self._hooks = sys.unraisablehook, sys.excepthook

    def emit(self, record: logging.LogRecord) -> None:
        self._add(record.getMessage())

    def _add(self, text: str) -> None:
        for said in getattr(self._said, "lists", ()):
            said.append(text)

    def _swallow(self, caught: Any) -> None:
        # rasterio decodes what GDAL says as UTF-8, in a callback that cannot raise: Cython prints the exception, and
        # Python that it is ignored.
        if issubclass(caught.exc_type, UnicodeDecodeError) and "rasterio" in str(caught.err_msg or caught.object):
            self._add("it holds text that is not UTF-8")
        else:
            self._hooks[0](caught)

    def _swallow_print(self, kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if not issubclass(kind, UnicodeDecodeError):
            self._hooks[1](kind, error, trace)

    @contextmanager
    def collecting(self) -> Iterator[list[str]]:
        said: list[str] = []
        with self._lock:
            if self._users == 0:
                self._hooks = sys.unraisablehook, sys.excepthook
                sys.unraisablehook, sys.excepthook = self._swallow, self._swallow_print
                logging.getLogger("rasterio._env").addHandler(self)
            self._users += 1
        before = getattr(self._said, "lists", ())
        self._said.lists = (*before, said)
        try:
            yield said
        finally:
            self._said.lists = before
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    sys.unraisablehook, sys.excepthook = self._hooks
                    logging.getLogger("rasterio._env").removeHandler(self)


_COLLECTOR = _Collector()


def messages() -> AbstractContextManager[list[str]]:
    """Collect what GDAL reports as an error without failing, and keep rasterio's tracebacks about it off stderr."""
    return _COLLECTOR.collecting()


def sources_of(path: Path) -> list[Path]:
    """Return the files that a VRT reads; none of one that is refused."""
    try:
        return _check_vrt(path, path.absolute().parent.resolve(), 0)
    except InputError:
        return []


def _check_vrt(path: Path, folder: Path, depth: int) -> list[Path]:
    """Return the files that a VRT reads; refuse one that reads anything but rasters in ``folder`` and below it."""
    if depth > _DEEPEST_VRT:
        raise InputError(f"names virtual rasters that name others, more than {_DEEPEST_VRT} deep")
    if path.stat().st_size > _LARGEST_VRT:
        raise InputError(f"has more than {_LARGEST_VRT // 2**20} MB of text; that is no VRT")
    try:
        root = parse(path).getroot()
    except _XML_ERRORS as error:
        raise InputError("is not the XML of a VRT, or is damaged") from error
    sources: dict[Path, bool] = {}
    for band in root.iter():
        raw = band.get("subClass") == "VRTRawRasterBand"
        for part in band:
            text = (part.text or "").strip()
            if part.tag in _VRT_SOURCES:
                named = _source(path, folder, text, part.get("relativeToVRT", part.get("relativetoVRT", "0")) == "1")
                sources[named] = raw and sources.get(named, True)
            elif part.get("key") == "OVERVIEW_FILE" or (
                part.tag not in _VRT_TEXTS and (text.startswith("/") or _is_reference(text))
            ):
                raise InputError(
                    f"names {text[:80]!r}, which a VRT must not read here; it may name files in its folder"
                )
            elif part.tag == "PixelFunctionLanguage" and text.lower() == "python":
                raise InputError("holds a function in Python, which is not run")
    found = list(sources)
    for source, raw in sources.items():
        if source.suffix.lower() == _VRT:
            found += _check_vrt(source, folder, depth + 1)
        elif not raw:
            try:
                state = source.stat()
                _check_raster(source, state.st_size, state.st_mtime_ns)
            except InputError as error:
                raise InputError(f"names {source.name}, which {error}") from error
    return found


@functools.lru_cache(maxsize=100_000)
def _check_raster(path: Path, _size: int, _changed: int) -> None:
    """Refuse a file that is no raster; one that has not changed is opened once."""
    _open(path, _DRIVERS).close()


def _source(path: Path, folder: Path, text: str, relative: bool) -> Path:
    """Return the file that a VRT names, which has to be in ``folder`` or below it."""
    named = path.absolute().parent / text if relative else Path(text).absolute()
    if _is_reference(text.removeprefix(str(folder))) or not named.resolve().is_relative_to(folder):
        raise InputError(f"names {text[:80]!r}, which is not in its folder; a VRT reads files in its own folder only")
    if not named.is_file():
        raise InputError(f"names {text[:80]!r}, which is no file in its folder")
    return named


def _is_reference(text: str) -> bool:
    """Return whether a text could name a file by an absolute path, of another machine, or through a driver."""
    return "/vsi" in text or "://" in text or text.lstrip().startswith("<")
