"""Writing of GeoTIFF and cloud-optimised GeoTIFF (COG)."""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from rasterio.shutil import copy

from hyperfuse.cube.crs import parse_crs
from hyperfuse.cube.display import colour_bands
from hyperfuse.cube.header import CubeHeader
from hyperfuse.cube.record import encode_record, encode_tags, is_plain_text, split_attributes
from hyperfuse.cube.window import Window
from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.io.encoding.options import default_compression
from hyperfuse.io.formats.band_tags import DESCRIBED, band_description
from hyperfuse.io.formats.gdal import GDAL_ERRORS, messages, threads
from hyperfuse.io.formats.targets import WindowTarget

COMPRESSIONS = ("none", "deflate", "zstd", "lzw")
_TILE = 256
_STDERR = threading.RLock()


class GeoTiffTarget(WindowTarget):
    """GeoTIFF, tiled, as BigTIFF where it may pass 4 GB; a cloud-optimised one is made of it at the end.

    Default compression: deflate for integers, none for floats. Option ``interleave``: "band" or "pixel"; ``cog=True``:
    by pixel, with averaged overviews. Blocks of windows that are never written take no space. Wavelengths, widths and
    the bad-band list become the band tags ``wavelength``, ``fwhm``, ``bbl`` and ``wavelength_units``, and wavelengths
    and widths GDAL's IMAGERY domain as well. Bands are described by name and wavelength; those nearest to 650, 560 and
    470 nm are interpreted as red, green and blue.
    """

    def _create(self) -> None:
        header, options = self.header, self.options
        compression = options.choice("compress", COMPRESSIONS, default_compression(options.dtype))
        cog = bool(options.cog)
        interleave = options.choice("interleave", ("band", "pixel"), "pixel" if cog else "band")
        if cog and interleave == "band":
            raise InputError("a COG is interleaved by pixel; leave out interleave", "interleave")
        self._cog = _cog_options(header, compression) if cog else None
        self._plain = self.path.with_name(f"{self.path.name}.plain") if cog else self.path
        packing = _tiff_options(header, "none" if cog else compression, options.dtype, interleave)
        self._tags = _file_tags(header, options.dtype)
        with _writing():
            self._file = rasterio.open(
                self._plain, "w", driver="GTiff", dtype=options.dtype.name, nodata=self.coding.nodata,
                count=header.bands, height=header.rows, width=header.cols, transform=header.transform,
                crs=None if header.crs is None else parse_crs(header.crs),
                bigtiff="IF_SAFER", sparse_ok=self.sparse, num_threads=threads(), **packing,
            )  # fmt: skip
            # The tags come first: GDAL then writes the directory once.
            self._describe()

    def _describe(self) -> None:
        """Write tags, band descriptions, wavelengths and coding."""
        target, header, coding = self._file, self.header, self.coding
        target.update_tags(**self._tags)
        target.colorinterp = _colours(header)
        descriptions = _descriptions(header)
        for band in range(header.bands):
            items, imagery = _band_tags(header, band)
            if items:
                target.update_tags(band + 1, **items)
            if imagery:
                target.update_tags(band + 1, ns="IMAGERY", **imagery)
            if descriptions[band]:
                target.set_band_description(band + 1, descriptions[band])
        if not coding.is_identity:
            target.scales, target.offsets = [coding.scale] * header.bands, [coding.offset] * header.bands
        if coding.units is not None:
            target.units = [coding.units] * header.bands

    def _store(self, window: Window, stored: NDArray[Any]) -> None:
        with _writing():
            self._file.write(stored, window=tuple((axis.start, axis.stop) for axis in window.slices))

    def abandon(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError), _writing():
            self._file.close()

    def finish(self) -> None:
        """Close the file, and make a COG of it if one is requested."""
        with _writing():
            self._file.close()
        if self._cog is not None:
            self._check_whole(self._plain)
            with _writing():
                copy(self._plain, self.path, driver="COG", bigtiff="IF_SAFER", sparse_ok=self.sparse, **self._cog)
            self._plain.unlink()
        self._check_whole(self.path)

    def _check_whole(self, path: Path) -> None:
        """Check tags, and that every block lies within the file: on a full disk GDAL may close it without an error."""
        try:
            with _writing(), rasterio.open(path) as written:
                size = path.stat().st_size
                height, width = written.block_shapes[0]
                planes = written.indexes if written.profile.get("interleave") == "band" else (1,)
                blocks = itertools.product(
                    planes, range(-(-self.header.rows // height)), range(-(-self.header.cols // width))
                )
                whole = set(self._tags) <= set(written.tags()) and written.count == self.header.bands
                for band, y, x in blocks:
                    offset = written.get_tag_item(f"BLOCK_OFFSET_{x}_{y}", "TIFF", bidx=band)
                    if offset is None:
                        whole = whole and self.sparse
                        continue
                    length = written.get_tag_item(f"BLOCK_SIZE_{x}_{y}", "TIFF", bidx=band)
                    whole = whole and length is not None and int(offset) + int(length) <= size
        except OSError:
            whole = False
        if not whole:
            raise HyperfuseError("cannot be written whole; is the disk full?")


@contextmanager
def _writing() -> Iterator[None]:
    """Raise what GDAL raises when it fails to write as ``OSError``; what libtiff prints in addition is not shown."""
    unplaced = warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning)
    with unplaced, rasterio.Env(), messages(), _without_libtiff():
        try:
            yield
        except HyperfuseError:
            raise
        except GDAL_ERRORS as error:
            raise OSError(str(error.__cause__ or error)) from error


@contextmanager
def _without_libtiff() -> Iterator[None]:
    """Keep the lines off stderr that libtiff prints there itself for every failed write; others come afterwards."""
    with _STDERR, _memory_file() as kept:
        try:
            stderr = os.dup(2)
        except OSError:  # it is closed
            yield
            return
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            kept.seek(0)
            others = [line for line in kept.read().splitlines(keepends=True) if not line.startswith(b"_tiff")]
            with contextlib.suppress(OSError):
                os.write(2, b"".join(others))


def _memory_file() -> IO[bytes]:
    if hasattr(os, "memfd_create"):  # the disk may be full
        return os.fdopen(os.memfd_create("stderr"), "w+b")
    return tempfile.TemporaryFile()


def _tiff_options(header: CubeHeader, compression: str, dtype: np.dtype[Any], interleave: str) -> dict[str, Any]:
    """Return the creation options of a GeoTIFF: blocks, interleave, compression."""
    # Without a photometric, GDAL calls the fourth of four 8-bit bands alpha.
    options: dict[str, Any] = {"interleave": interleave, "photometric": "MINISBLACK"}
    if min(header.rows, header.cols) >= _TILE:
        options.update(tiled=True, blockxsize=_TILE, blockysize=_TILE)
    if compression != "none":
        options.update(compress=compression, predictor=3 if dtype.kind == "f" else 2)
    if compression in ("deflate", "zstd"):
        options[{"deflate": "zlevel", "zstd": "zstd_level"}[compression]] = 1
    return options


def _cog_options(header: CubeHeader, compression: str) -> dict[str, Any]:
    """Return the creation options of a COG."""
    # A block holds all bands of its pixels; with many bands it has to be small in pixels.
    block = 512 if header.bands <= 8 else 256 if header.bands <= 64 else 128
    options: dict[str, Any] = {"compress": compression, "blocksize": block, "overview_resampling": "AVERAGE"}
    options["num_threads"] = threads()
    if compression != "none":
        options["predictor"] = "YES"
    if compression in ("deflate", "zstd"):
        options["level"] = 1
    return options


def _file_tags(header: CubeHeader, dtype: np.dtype[Any]) -> dict[str, str]:
    """Return the tags of the file: attributes, our own record, and history."""
    plain, rest = split_attributes(header.attributes, ("AREA_OR_POINT",))
    unfit = ["scale", "offset"] if dtype.kind == "f" else []
    if header.transform == Affine.identity():
        unfit.append("transform")
    if header.crs is not None and not header.crs.startswith("EPSG:"):
        unfit.append("crs")
    if any(name != text for name, text in zip(header.band_names or (), _descriptions(header), strict=False)):
        unfit.append("band_names")
    described = {} if header.wavelengths is None else {DESCRIBED: True}
    return {**plain, **encode_tags(header, {**encode_record(header, unfit), **described, **rest})}


def _colours(header: CubeHeader) -> list[ColorInterp]:
    """Return the colour interpretation of each band: red, green and blue by wavelength, else grey of the first."""
    colours = [ColorInterp.undefined] * header.bands
    bands = colour_bands(header.wavelengths, header.good_bands)
    if bands is None:
        colours[0] = ColorInterp.gray  # what a TIFF states by its photometric
    else:
        for band, colour in zip(bands, (ColorInterp.red, ColorInterp.green, ColorInterp.blue), strict=True):
            colours[band] = colour
    return colours


def _descriptions(header: CubeHeader) -> list[str]:
    """Return the description of each band: name and wavelength; a name that GDAL cannot hold is in the record."""
    names = [name if is_plain_text(name) else "" for name in header.band_names or [""] * header.bands]
    if header.wavelengths is None:
        return names
    return [band_description(name, centre) for name, centre in zip(names, header.wavelengths.tolist(), strict=True)]


def _band_tags(header: CubeHeader, band: int) -> tuple[dict[str, str], dict[str, str]]:
    items: dict[str, str] = {}
    imagery: dict[str, str] = {}
    for values, tag, imagery_tag in (
        (header.wavelengths, "wavelength", "CENTRAL_WAVELENGTH_UM"),
        (header.fwhm, "fwhm", "FWHM_UM"),
    ):
        if values is not None and np.isfinite(values[band]):
            items[tag] = repr(float(values[band]))
            items["wavelength_units"] = "Nanometers"
            imagery[imagery_tag] = repr(round(float(values[band]) / 1e3, 12))
    if header.good_bands is not None:
        items["bbl"] = str(int(header.good_bands[band]))
    return items, imagery
