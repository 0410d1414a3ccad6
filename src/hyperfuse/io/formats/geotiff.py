"""Writing of GeoTIFF and cloud-optimised GeoTIFF (COG)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio._err import CPLE_BaseError  # what the COG driver raises when it closes; it has no public name
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from hyperfuse.cube.crs import parse_crs
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import Coding, CubeHeader
from hyperfuse.cube.record import encode_record, encode_tags, is_plain_text, split_attributes
from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.io.encoding.coding import encode
from hyperfuse.io.encoding.options import WriteOptions, default_compression
from hyperfuse.io.formats.raster import threads

COMPRESSIONS = ("none", "deflate", "zstd", "lzw")
_TILE = 256


def write_geotiff(path: Path, cube: Cube, options: WriteOptions) -> None:
    """Write a GeoTIFF, tiled, as BigTIFF where it may pass 4 GB.

    Default compression: deflate for integers, none for floats.
    Wavelengths, widths and the bad-band list become the band tags ``wavelength``, ``fwhm``, ``bbl`` and
    ``wavelength_units``, and wavelengths and widths GDAL's IMAGERY domain as well.

    Options: ``interleave`` "band" or "pixel"; ``cog=True`` for a COG (pixel-interleaved, with averaged overviews).

    Raises:
        InputError: an option that GeoTIFF does not know, or values that do not fit the dtype.
        HyperfuseError: the file could not be written whole.
    """
    compression, cog, interleave = layout_of(options)
    stored, coding = encode(cube, options)
    header, dtype = cube.header, options.dtype
    creation = cog_options(header, compression) if cog else tiff_options(header, compression, dtype, interleave)
    profile = {"driver": "COG" if cog else "GTiff", **profile_of(header, coding, dtype), **creation}
    tags = file_tags(header, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with failures_as_os_errors(), rasterio.open(path, "w", **profile) as target:
            # The tags come first: GDAL then writes the directory once.
            describe_file(target, header, coding, tags)
            target.write(stored)
        check_whole(path, header, tags)


@contextmanager
def failures_as_os_errors() -> Iterator[None]:
    """Raise what GDAL raises when it fails to write as ``OSError``."""
    try:
        yield
    except (RasterioError, CPLE_BaseError) as error:
        raise OSError(str(error.__cause__ or error)) from error


def layout_of(options: WriteOptions) -> tuple[str, bool, str]:
    """Return compression, whether a COG is requested, and interleave.

    Raises:
        InputError: an option that GeoTIFF does not know, or two that exclude each other.
    """
    compression = options.compression(COMPRESSIONS, default_compression(options.dtype))
    cog = bool(options.cog)
    interleave = options.interleave or ("pixel" if cog else "band")
    if interleave not in ("band", "pixel"):
        raise InputError(f"interleave={interleave!r} is not one of band, pixel")
    if cog and interleave == "band":
        raise InputError("a COG is interleaved by pixel; leave out interleave")
    return compression, cog, interleave


def profile_of(header: CubeHeader, coding: Coding, dtype: np.dtype[Any]) -> dict[str, Any]:
    """Return the profile that states size, type and position of an image to GDAL."""
    profile: dict[str, Any] = {
        "dtype": dtype.name,
        "count": header.bands,
        "height": header.rows,
        "width": header.cols,
        "nodata": coding.nodata,
        "crs": None if header.crs is None else parse_crs(header.crs),
        "bigtiff": "IF_SAFER",
        "num_threads": threads(),
    }
    if header.transform is not None:
        profile["transform"] = header.transform
    return profile


def tiff_options(header: CubeHeader, compression: str, dtype: np.dtype[Any], interleave: str) -> dict[str, Any]:
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


def cog_options(header: CubeHeader, compression: str) -> dict[str, Any]:
    """Return the creation options of a COG."""
    # A block holds all bands of its pixels; with many bands it has to be small in pixels.
    block = 512 if header.bands <= 8 else 256 if header.bands <= 64 else 128
    options: dict[str, Any] = {"compress": compression, "blocksize": block, "overview_resampling": "AVERAGE"}
    if compression != "none":
        options["predictor"] = "YES"
    if compression in ("deflate", "zstd"):
        options["level"] = 1
    return options


def file_tags(header: CubeHeader, dtype: np.dtype[Any]) -> dict[str, str]:
    """Return the tags of the file: attributes, our own record, and history."""
    plain, rest = split_attributes(header.attributes, ("AREA_OR_POINT",))
    unfit = ["scale", "offset"] if dtype.kind == "f" else []
    if header.transform == Affine.identity():
        unfit.append("transform")
    if header.crs is not None and not header.crs.startswith("EPSG:"):
        unfit.append("crs")
    if any(not is_plain_text(name) for name in header.band_names or ()):
        unfit.append("band_names")
    return {**plain, **encode_tags(header, {**encode_record(header, unfit), **rest})}


def describe_file(target: Any, header: CubeHeader, coding: Coding, tags: dict[str, str]) -> None:
    """Write tags, band descriptions, wavelengths and coding to an open file."""
    target.update_tags(**tags)
    target.colorinterp = [ColorInterp.gray] + [ColorInterp.undefined] * (header.bands - 1)
    for band in range(header.bands):
        items, imagery = _band_tags(header, band)
        if items:
            target.update_tags(band + 1, **items)
        if imagery:
            target.update_tags(band + 1, ns="IMAGERY", **imagery)
        if header.band_names is not None and is_plain_text(header.band_names[band]):
            target.set_band_description(band + 1, header.band_names[band])
    if not coding.is_identity:
        target.scales, target.offsets = [coding.scale] * header.bands, [coding.offset] * header.bands
    if coding.units is not None:
        target.units = [coding.units] * header.bands


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


def check_whole(path: Path, header: CubeHeader, tags: dict[str, str], *, sparse: bool = False) -> None:
    """Check the tags and that every block lies within the file: on a full disk GDAL may close it without an error.

    Args:
        path: the file.
        header: of its image.
        tags: that it has to have.
        sparse: whether blocks may be left out.

    Raises:
        HyperfuseError: the file is not whole.
    """
    try:
        with rasterio.open(path) as written:
            size = path.stat().st_size
            height, width = written.block_shapes[0]
            per_band = written.profile.get("interleave") == "band"
            whole = set(tags) <= set(written.tags()) and written.count == header.bands
            for band in range(1, header.bands + 1 if per_band else 2):
                for y in range(-(-header.rows // height)):
                    for x in range(-(-header.cols // width)):
                        offset = written.get_tag_item(f"BLOCK_OFFSET_{x}_{y}", "TIFF", bidx=band)
                        if offset is None:
                            whole = whole and sparse
                            continue
                        length = written.get_tag_item(f"BLOCK_SIZE_{x}_{y}", "TIFF", bidx=band)
                        whole = whole and length is not None and int(offset) + int(length) <= size
    except RasterioError as error:
        raise HyperfuseError("cannot be written whole; is the disk full?") from error
    if not whole:
        raise HyperfuseError("cannot be written whole; is the disk full?")
