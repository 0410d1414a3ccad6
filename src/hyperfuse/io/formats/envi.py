"""Writing of ENVI files: the numbers as they are, and a text header next to them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

from hyperfuse.cube.crs import parse_crs
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import Coding, CubeHeader, six_numbers
from hyperfuse.cube.record import encode_record, encode_tags, is_plain_text, split_attributes
from hyperfuse.errors import HyperfuseError, HyperfuseWarning, InputError
from hyperfuse.io.encoding.coding import encode
from hyperfuse.io.encoding.options import WriteOptions
from hyperfuse.io.formats.envi_header import STANDARD_ITEMS

INTERLEAVES = {"bsq": (0, 1, 2), "bil": (1, 0, 2), "bip": (1, 2, 0)}

# GDAL silently stops reading a header at a line of more than 10,000 characters.
_LINE = 100
_LONGEST_VALUE = 9000


def interleave_of(path: Path, options: WriteOptions) -> str:
    """Return the order of the axes to write: the option's, else the extension's, else band-sequential.

    Raises:
        InputError: an unknown order, or one that the extension contradicts.
    """
    suffix = path.suffix.lower().lstrip(".")
    named = options.interleave
    if named is None:
        return suffix if suffix in INTERLEAVES else "bsq"
    order = str(named).lower()
    if order not in INTERLEAVES:
        raise InputError(f"interleave={named!r} is not one of {', '.join(INTERLEAVES)}")
    if suffix in INTERLEAVES and suffix != order:
        raise InputError(f"interleave={named!r} contradicts the extension .{suffix}")
    return order


def write_envi(path: Path, cube: Cube, options: WriteOptions) -> None:
    """Write a data file and its header ``name.hdr``; option ``interleave``: bsq, bil or bip.

    GDAL writes the header. The numbers are written here: on a full disk GDAL's ENVI driver reports no error.

    Raises:
        InputError: a dtype, compression or interleave that ENVI does not know.
        HyperfuseError: the file could not be written whole.
    """
    order = INTERLEAVES[interleave_of(path, options)]
    stored, coding = encode(cube, options)
    with warnings.catch_warnings(), rasterio.Env(GDAL_PAM_ENABLED="NO"):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        write_header(path, cube.header, coding, options)
        _write_numbers(path, stored.transpose(order))
        check_header(path, cube.header, options.dtype)
    if _is_unusual(cube.header):
        warnings.warn(
            f"{path.name}: an ENVI header cannot hold a sheared or south-up transform; only hyperfuse reads it back",
            HyperfuseWarning,
            stacklevel=3,
        )


def write_header(path: Path, header: CubeHeader, coding: Coding, options: WriteOptions) -> None:
    """Write the header, by GDAL, next to a data file that is yet to be filled.

    Raises:
        InputError: a dtype, compression or interleave that ENVI does not know.
    """
    options.compression(("none",), "none")
    if options.dtype == np.int8:
        raise InputError("ENVI has no int8; write int16")
    profile: dict[str, Any] = {"crs": None if header.crs is None else parse_crs(header.crs), "nodata": coding.nodata}
    if header.transform is not None and not _is_unusual(header):
        profile["transform"] = header.transform
    with rasterio.open(
        path, "w", driver="ENVI", dtype=options.dtype.name, interleave=interleave_of(path, options),
        count=header.bands, height=header.rows, width=header.cols, **profile,
    ) as target:  # fmt: skip
        target.update_tags(ns="ENVI", **header_items(header, options.dtype))
        if header.band_names is not None and not _has_odd_names(header):
            for band, name in enumerate(header.band_names, 1):
                target.set_band_description(band, name)
        if not coding.is_identity:
            target.scales, target.offsets = [coding.scale] * header.bands, [coding.offset] * header.bands
    # GDAL describes an image by the path it was written to, here that of a scratch file.
    file = path.with_suffix(".hdr")
    text = file.read_text("utf-8", errors="surrogateescape")
    file.write_text(text.replace(f"description = {{\n{path}}}\n", ""), "utf-8", errors="surrogateescape")


def check_header(path: Path, header: CubeHeader, dtype: np.dtype[Any]) -> None:
    """Check that a header holds all its items.

    Raises:
        HyperfuseError: it does not.
    """
    with rasterio.open(path) as written:
        missing = set(header_items(header, dtype)) - set(written.tags(ns="ENVI"))
    if missing:
        raise HyperfuseError(f"cannot be written: the header lacks {', '.join(sorted(missing))}; is the disk full?")


def _write_numbers(path: Path, stored: NDArray[Any]) -> None:
    lines = max(1, 2**24 // stored[0].nbytes)
    with path.open("wb") as file:
        for start in range(0, stored.shape[0], lines):
            file.write(np.ascontiguousarray(stored[start : start + lines]).data)


def header_items(header: CubeHeader, dtype: np.dtype[Any]) -> dict[str, str]:
    """Return the items of the header that GDAL does not write."""
    plain, rest = split_attributes(header.attributes, (*STANDARD_ITEMS, "description"), _fits_item)
    unfit = ["units"] + (["scale", "offset"] if dtype.kind == "f" else [])
    if header.crs is not None and not header.crs.startswith("EPSG:"):
        unfit.append("crs")
    if header.transform is not None and (
        _is_unusual(header) or any(float(f"{v:.15g}") != v for v in six_numbers(header.transform))
    ):
        unfit.append("transform")
    if _has_odd_names(header):
        unfit.append("band_names")
    spectral = {"wavelengths": header.wavelengths, "fwhm": header.fwhm}
    unfit += [name for name, values in spectral.items() if values is not None and not np.isfinite(values).all()]
    items = dict(plain)
    for tag, text in encode_tags(header, {**encode_record(header, unfit), **rest}).items():
        coded = quote(text, safe='[]":,')
        items[tag] = "{" + "\n".join(coded[at : at + _LINE] for at in range(0, len(coded), _LINE)) + "}"
    if header.wavelengths is not None and "wavelengths" not in unfit:
        items["wavelength"] = _braced(header.wavelengths)
    if header.fwhm is not None and "fwhm" not in unfit:
        items["fwhm"] = _braced(header.fwhm)
    if not {"wavelength", "fwhm"}.isdisjoint(items):
        items["wavelength_units"] = "Nanometers"
    if header.good_bands is not None:
        items["bbl"] = _braced(header.good_bands.astype(int))
    return items


def _fits_item(key: str, value: str) -> bool:
    # In a header a blank and an underscore are the same, and braces open a list.
    return "__" not in key and key[-1] != "_" and not set(value) & set("{}") and len(value) <= _LONGEST_VALUE


def _braced(values: NDArray[Any]) -> str:
    texts = [repr(value) for value in values.tolist()]
    return "{" + ",\n".join(", ".join(texts[at : at + 8]) for at in range(0, len(texts), 8)) + "}"


def _has_odd_names(header: CubeHeader) -> bool:
    names = header.band_names or ()
    # GDAL writes these where a file names no bands, so they would be read as no names.
    if names == tuple(f"Band {band + 1}" for band in range(len(names))):
        return bool(names)
    return any(not is_plain_text(name) or set(name) & set(",;={}") for name in names)


def _is_unusual(header: CubeHeader) -> bool:
    """Return whether the transform is more than a north-up grid that may be rotated."""
    if header.transform is None:
        return False
    a, b, _, d, e, _ = six_numbers(header.transform)
    sheared = abs(a * b + d * e) > 1e-9 * (abs(a) + abs(b)) * (abs(d) + abs(e))
    return sheared or a * e - b * d >= 0
