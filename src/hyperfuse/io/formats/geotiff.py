"""Writing of GeoTIFF and cloud-optimised GeoTIFF (COG)."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError  # what the COG driver raises when it closes; public under no other name
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.transform import Affine

from hyperfuse.cube.crs import IDENTITY, parse_crs
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.record import record_fields, split_attributes, to_tags
from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.io.encoding.coding import Encoded, encode
from hyperfuse.io.encoding.options import WriteOptions, default_compression
from hyperfuse.io.formats.raster import threads

COMPRESSIONS = ("none", "deflate", "zstd", "lzw")
_TILE = 256
_PLAIN_TEXT = re.compile(r"[!-~]([ -~]*[!-~])?")


def write_geotiff(path: Path, cube: Cube, options: WriteOptions) -> None:
    """Write a GeoTIFF, tiled, as BigTIFF where it may pass 4 GB; integers are deflated, floats are not unless asked.

    Wavelengths, widths and the bad-band list become the band tags ``wavelength``, ``fwhm``, ``bbl`` and
    ``wavelength_units``, and wavelengths and widths GDAL's IMAGERY domain as well.

    Options: ``interleave`` "band" or "pixel"; ``cog=True`` for a COG (pixel-interleaved, with averaged overviews).

    Raises:
        InputError: an option that GeoTIFF does not know, or values that do not fit the dtype.
        HyperfuseError: the file could not be written whole.
    """
    compression, cog, interleave = layout_of(options)
    encoded = encode(cube, options)
    creation = cog_options(cube, compression) if cog else tiff_options(cube, compression, options.dtype, interleave)
    profile = {"driver": "COG" if cog else "GTiff", **profile_of(cube, encoded), **creation}
    tags = file_tags(cube, options.dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            with rasterio.open(path, "w", **profile) as target:
                # The tags go first: GDAL then writes the directory once.
                describe_file(target, cube, encoded, tags)
                target.write(encoded.stored)
        except (RasterioError, CPLE_BaseError) as error:
            raise OSError(str(error.__cause__ or error)) from error
        _check_whole(path, cube, tags)


def layout_of(options: WriteOptions) -> tuple[str, bool, str]:
    """Return compression, whether a COG is asked for, and interleave.

    Raises:
        InputError: an option that GeoTIFF does not know, or two that exclude each other.
    """
    compression = options.compression(COMPRESSIONS, default_compression(options.dtype))
    cog = bool(options.extra.get("cog", False))
    interleave = options.extra.get("interleave") or ("pixel" if cog else "band")
    if interleave not in ("band", "pixel"):
        raise InputError(f"interleave={interleave!r} is not one of band, pixel")
    if cog and interleave == "band":
        raise InputError("a COG is interleaved by pixel; leave out interleave")
    return compression, cog, interleave


def profile_of(cube: Cube, encoded: Encoded) -> dict[str, Any]:
    """Return what GDAL is told of size, type and place of an image."""
    profile: dict[str, Any] = {
        "dtype": encoded.stored.dtype.name,
        "count": cube.bands,
        "height": cube.rows,
        "width": cube.cols,
        "nodata": encoded.nodata,
        "crs": None if cube.crs is None else parse_crs(cube.crs),
        "bigtiff": "IF_SAFER",
        "num_threads": threads(),
    }
    if cube.transform is not None:
        profile["transform"] = Affine(*cube.transform)
    return profile


def tiff_options(cube: Cube, compression: str, dtype: np.dtype[Any], interleave: str) -> dict[str, Any]:
    """Return the creation options of a GeoTIFF: blocks, interleave, compression."""
    # Without a photometric, GDAL calls the fourth of four 8-bit bands alpha.
    options: dict[str, Any] = {"interleave": interleave, "photometric": "MINISBLACK"}
    if min(cube.rows, cube.cols) >= _TILE:
        options.update(tiled=True, blockxsize=_TILE, blockysize=_TILE)
    if compression != "none":
        options.update(compress=compression, predictor=3 if dtype.kind == "f" else 2)
    if compression in ("deflate", "zstd"):
        options[{"deflate": "zlevel", "zstd": "zstd_level"}[compression]] = 1
    return options


def cog_options(cube: Cube, compression: str) -> dict[str, Any]:
    """Return the creation options of a COG."""
    # A block holds all bands of its pixels; with many bands it has to be small in pixels.
    block = 512 if cube.bands <= 8 else 256 if cube.bands <= 64 else 128
    options: dict[str, Any] = {"compress": compression, "blocksize": block, "overview_resampling": "AVERAGE"}
    if compression != "none":
        options["predictor"] = "YES"
    if compression in ("deflate", "zstd"):
        options["level"] = 1
    return options


def file_tags(cube: Cube, dtype: np.dtype[Any]) -> dict[str, str]:
    """Return the tags of the file: attributes, our own record, and history."""
    plain, rest = split_attributes(cube.attributes, ("AREA_OR_POINT",))
    unfit = ["scale", "offset"] if dtype.kind == "f" else []
    if cube.transform == IDENTITY:
        unfit.append("transform")
    if cube.crs is not None and not cube.crs.startswith("EPSG:"):
        unfit.append("crs")
    if any(not _PLAIN_TEXT.fullmatch(name) for name in cube.band_names or ()):
        unfit.append("band_names")
    record = record_fields(cube, unfit)
    return {**plain, **to_tags(cube, {**record, **({"attributes": rest} if rest else {})})}


def describe_file(target: Any, cube: Cube, encoded: Encoded, tags: dict[str, str]) -> None:
    """Write tags, band descriptions, wavelengths and coding to an open file."""
    target.update_tags(**tags)
    target.colorinterp = [ColorInterp.gray] + [ColorInterp.undefined] * (cube.bands - 1)
    for band in range(cube.bands):
        items, imagery = _band_tags(cube, band)
        if items:
            target.update_tags(band + 1, **items)
        if imagery:
            target.update_tags(band + 1, ns="IMAGERY", **imagery)
        if cube.band_names is not None and _PLAIN_TEXT.fullmatch(cube.band_names[band]):
            target.set_band_description(band + 1, cube.band_names[band])
    if (encoded.scale, encoded.offset) != (1.0, 0.0):
        target.scales, target.offsets = [encoded.scale] * cube.bands, [encoded.offset] * cube.bands
    if cube.units is not None:
        target.units = [cube.units] * cube.bands


def _band_tags(cube: Cube, band: int) -> tuple[dict[str, str], dict[str, str]]:
    items: dict[str, str] = {}
    imagery: dict[str, str] = {}
    for values, tag, imagery_tag in (
        (cube.wavelengths, "wavelength", "CENTRAL_WAVELENGTH_UM"),
        (cube.fwhm, "fwhm", "FWHM_UM"),
    ):
        if values is not None and np.isfinite(values[band]):
            items[tag] = repr(float(values[band]))
            items["wavelength_units"] = "Nanometers"
            imagery[imagery_tag] = repr(round(float(values[band]) / 1e3, 12))
    if cube.good_bands is not None:
        items["bbl"] = str(int(cube.good_bands[band]))
    return items, imagery


def _check_whole(path: Path, cube: Cube, tags: dict[str, str]) -> None:
    """Check the tags and that every block lies within the file: on a full disk GDAL may close it without an error."""
    try:
        with rasterio.open(path) as written:
            size = path.stat().st_size
            height, width = written.block_shapes[0]
            per_band = written.profile.get("interleave") == "band"
            whole = set(tags) <= set(written.tags()) and written.count == cube.bands
            for band in range(1, cube.bands + 1 if per_band else 2):
                for y in range(-(-cube.rows // height)):
                    for x in range(-(-cube.cols // width)):
                        offset = written.get_tag_item(f"BLOCK_OFFSET_{x}_{y}", "TIFF", bidx=band)
                        length = written.get_tag_item(f"BLOCK_SIZE_{x}_{y}", "TIFF", bidx=band)
                        whole = whole and None not in (offset, length) and int(offset) + int(length) <= size
    except RasterioError as error:
        raise HyperfuseError("cannot be written whole; is the disk full?") from error
    if not whole:
        raise HyperfuseError("cannot be written whole; is the disk full?")
