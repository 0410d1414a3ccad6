"""The header of an ENVI file: which files belong together, and the items that GDAL does not read.

Format: NV5 Geospatial, "ENVI Header Files", https://www.nv5geospatialsoftware.com/docs/enviheaderfiles.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from hyperfuse.cube.map_info import map_rotation, map_transform
from hyperfuse.cube.record import HISTORY_TAG, RECORD_TAG
from hyperfuse.cube.wavelengths import to_nanometres
from hyperfuse.errors import InputError, warn

Floats = NDArray[np.float64]

DATA_SUFFIXES = (".img", ".dat", ".raw", ".envi", ".bsq", ".bil", ".bip")

# Files with the name of a header that are not its data.
_NO_DATA = (
    *(".hdr", ".xml", ".txt", ".json", ".csv", ".yaml", ".yml", ".pdf", ".html", ".htm", ".md", ".log", ".met", ".prj"),
    *(".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2", ".vrt", ".ovr", ".msk", ".enp", ".sta", ".kml", ".shp", ".glt"),
    *(".nc", ".h5", ".hdf5", ".mat", ".npy", ".npz", ".zip", ".tar", ".gz"),
)
_LARGEST = 64 * 2**20
_LONGEST_NUMBER = 18
_OPENING = re.compile(r"\s*[A-Za-z][\w ]*=\s*\{")

# Items that describe the layout of the file or that a header has a field for; all others are attributes.
STANDARD_ITEMS = {
    *("samples", "lines", "bands", "header_offset", "file_type", "file_compression", "data_type", "interleave"),
    *("byte_order", "map_info", "projection_info", "pixel_size", "coordinate_system_string", "x_start", "y_start"),
    *("band_names", "data_ignore_value", "data_offset_values", "data_gain_values", "reflectance_scale_factor"),
    *("bbl", "fwhm", "wavelength", "wavelength_units", "default_bands"),
}


def header_of(path: Path) -> Path | None:
    """Return the header of a data file, ``name.hdr`` or ``name.ext.hdr``, or None."""
    for header in (path.with_suffix(".hdr"), path.with_name(path.name + ".hdr")):
        for candidate in (header, header.with_suffix(".HDR")):
            if candidate.is_file() and candidate != path:
                return candidate
    return None


def data_file(path: Path) -> Path:
    """Return the data file of a path that may be its header, which has to have exactly one."""
    if path.suffix.lower() != ".hdr":
        return path
    found, stem = data_files(path), path.with_suffix("")
    if not found:
        raise InputError(f"is a header without its data file ({stem.name} or {stem.name}{DATA_SUFFIXES[0]}) next to it")
    if len(found) > 1 and not found[0].samefile(found[-1]):
        raise InputError(f"is a header for several data files; name one of {', '.join(name.name for name in found)}")
    return found[0]


def data_files(path: Path) -> list[Path]:
    """Return the files that may be the data of a header.

    They have its name and any extension (``.rfl``, ``.rad``) but those of other formats and of metadata; others than
    the usual ones count only where there is none of those.
    """
    stem = path.with_suffix("")
    endings = ["", *DATA_SUFFIXES, *map(str.upper, DATA_SUFFIXES)]
    found = [name for ending in endings if (name := stem.with_name(stem.name + ending)).is_file()]
    if not found:
        named = sorted(file for file in path.parent.iterdir() if file.stem == stem.name and file.is_file())
        found = [file for file in named if file.suffix.lower() not in _NO_DATA]
    return found


def read_header(path: Path) -> dict[str, str]:
    """Return the items of a header: the keys with _ for blanks, the values on one line.

    GDAL drops what is not UTF-8, such as the µm of an old header, and stops at a line of more than 10,000 characters.

    Raises:
        InputError: a file larger than any header.
    """
    if path.stat().st_size > _LARGEST:
        raise InputError(f"has a header of more than {_LARGEST // 2**20} MB, {path.name}")
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    last_brace = max((number for number, line in enumerate(lines) if "}" in line), default=-1)
    items: dict[str, str] = {}
    at = 0
    while at < len(lines):
        key, equals, value = lines[at].partition("=")
        at += 1
        if not equals or ";" in key or "{" in key:
            continue
        if not value.strip() and at < len(lines) and lines[at].lstrip().startswith("{"):
            value, at = lines[at], at + 1
        # An item ends with its line, a value in braces with the line that closes them.
        parts = [value.strip()]
        while parts[0].startswith("{") and "}" not in parts[-1] and at <= last_brace:
            if _OPENING.match(lines[at]):  # the brace of this one is missing
                break
            parts.append(lines[at])
            at += 1
        items[key.strip().replace(" ", "_")] = " ".join(" ".join(parts).split())
    return items


def check_size(path: Path, items: Mapping[str, str], values: int) -> None:
    """Refuse a data file that is too short for the bytes of its ``values``: GDAL fills what is missing with zeros."""
    lower = {key.lower(): value for key, value in items.items()}
    if lower.get("file_compression", "0") not in ("", "0"):
        return
    offset = lower.get("header_offset", "0")
    if len(offset) > _LONGEST_NUMBER:
        raise InputError(f"has a header with an offset of {len(offset)} digits")
    expected = values + (int(offset) if offset.isdecimal() else 0)
    size = path.stat().st_size
    if size < expected:
        raise InputError(f"is cut off: {size} bytes of the {expected} that its header states")


def spectral_items(items: Mapping[str, str], bands: int, where: str) -> dict[str, Any]:
    """Return wavelengths, widths, bad-band list and band names of a header, those there are."""
    lower = {key.lower(): value for key, value in items.items()}
    found: dict[str, Any] = {}
    centres, widths = _numbers(lower, "wavelength", bands, where), _numbers(lower, "fwhm", bands, where)
    found["wavelengths"], found["fwhm"] = to_nanometres(centres, lower.get("wavelength_units"), widths, where=where)
    good = _numbers(lower, "bbl", bands, where)
    if good is not None:
        found["good_bands"] = good != 0
    names = _list(lower.get("band_names", ""))
    if len(names) == bands and names != [f"Band {band + 1}" for band in range(bands)]:
        found["band_names"] = tuple(names)
    return found


def linear_items(items: Mapping[str, str], bands: int, where: str) -> tuple[Floats | None, Floats | None]:
    """Return scale and offset of every band that a header states, each None where it states none.

    One number counts for all bands. Gain and offset come first, the factor of reflectance second.
    """
    lower = {key.lower(): value for key, value in items.items()}
    gain, offset = (
        np.full(bands, neutral) if key in lower and found is None else found
        for key, neutral in (("data_gain_values", 1.0), ("data_offset_values", 0.0))
        for found in [_numbers(lower, key, bands, where, one_for_all=True)]
    )
    if (gain is None or (gain == 1).all()) and (offset is None or (offset == 0).all()):
        factor = _numbers(lower, "reflectance_scale_factor", bands, where, one_for_all=True)
        if factor is not None:
            gain = np.divide(1.0, factor, out=np.ones(bands), where=factor != 0)
    return gain, offset


def rotated_transform(items: Mapping[str, str], where: str) -> Affine | None:
    """Return the transform of a header whose map info states a rotation, else None.

    GDAL drops a rotation with blanks around its equals sign, rotates about the first pixel instead of the reference,
    and takes 180 degrees for a flip, which it writes so for images whose first row is the southernmost one.
    """
    text = next((value for key, value in items.items() if key.lower() == "map_info"), "")
    try:
        rotation = map_rotation(text)
    except ValueError:
        rotation = 0.0
    if rotation % 360 == 0:
        return None
    if rotation % 360 == 180:
        warn(
            f"{where}: rotation=180 is read as that of a flight line; if another program wrote it for an image whose"
            " first row is the southernmost one, the image is mirrored"
        )
    return map_transform(text, where)


def states_no_position(items: Mapping[str, str]) -> bool:
    """Return whether the map info of a header only counts pixels, as that of images that have no georeference does."""
    text = next((value for key, value in items.items() if key.lower() == "map_info"), "")
    return text.strip("{ ").split(",")[0].strip().lower() in ("arbitrary", "pixel", "pixel-based", "none", "unknown")


def _list(text: str) -> list[str]:
    inside = text.strip().removeprefix("{").removesuffix("}").strip()
    return [part.strip() for part in inside.split(",")] if inside else []


def _numbers(items: Mapping[str, str], key: str, bands: int, where: str, *, one_for_all: bool = False) -> Floats | None:
    texts = _list(items.get(key, ""))
    if not texts:
        return None
    try:
        values = np.array([float(text) for text in texts])
    except ValueError:
        values = np.empty(0)
    if one_for_all and values.size == 1:
        values = np.repeat(values, bands)
    if values.size == bands and (np.isfinite(values).all() or not one_for_all):
        return values
    warn(f"{where}: the header item {key.replace('_', ' ')!r} does not hold {bands} numbers and is left out")
    return None


def other_items(items: Mapping[str, str]) -> dict[str, str]:
    """Return the header items that a cube has no field for, as attributes."""
    own = (RECORD_TAG.lower(), HISTORY_TAG.lower())
    kept = {key: value for key, value in items.items() if key.lower() not in STANDARD_ITEMS and key.lower() not in own}
    description = kept.pop("description", "").strip("{} ")
    # GDAL, and so this package, puts the name of the file here.
    if description and not re.fullmatch(r"\S+\.\w{1,5}", description):
        kept["description"] = description
    return kept


def other_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of the file without those that GDAL derives from the header."""
    return {key: value for key, value in tags.items() if not re.fullmatch(r"Band_\d+|wavelength_units", key)}


def record_tags(items: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of this package from the header, decoded."""
    lower = {key.lower(): value for key, value in items.items()}
    tags = {tag: lower.get(tag.lower()) for tag in (RECORD_TAG, HISTORY_TAG)}
    # The text is coded so that it holds no blanks; those that it has are line breaks.
    return {tag: unquote("".join(text.split()).strip("{}")) for tag, text in tags.items() if text}
