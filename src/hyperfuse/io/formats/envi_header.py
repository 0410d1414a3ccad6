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
from numpy.typing import NDArray

from hyperfuse.cube.record import HISTORY_TAG, RECORD_TAG
from hyperfuse.cube.wavelengths import to_nanometres
from hyperfuse.errors import InputError, warn

DATA_SUFFIXES = (".img", ".dat", ".raw", ".envi", ".bsq", ".bil", ".bip")

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
    stem = path.with_suffix("")
    endings = ["", *DATA_SUFFIXES, *map(str.upper, DATA_SUFFIXES)]
    found = [name for ending in endings if (name := stem.with_name(stem.name + ending)).is_file()]
    if not found:
        raise InputError(f"is a header without its data file ({stem.name} or {stem.name}{DATA_SUFFIXES[0]}) next to it")
    if len(found) > 1 and not found[0].samefile(found[-1]):
        raise InputError(f"is a header for several data files; name one of {', '.join(name.name for name in found)}")
    return found[0]


def read_header(path: Path) -> dict[str, str]:
    """Return the items of a header: the keys with _ for blanks, the values on one line.

    GDAL drops what is not UTF-8, such as the µm of an old header, and stops at a line of more than 10,000 characters.
    """
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    items: dict[str, str] = {}
    # An item ends with its line, a value in braces with the line that closes them.
    for match in re.finditer(r"^([^=\n;{]+?)\s*=\s*(\{[^}]*\}|[^\n]*)", text, re.MULTILINE):
        items[match[1].strip().replace(" ", "_")] = " ".join(match[2].split())
    return items


def check_size(path: Path, items: Mapping[str, str], values: int) -> None:
    """Refuse a data file that is too short for the bytes of its ``values``: GDAL fills what is missing with zeros."""
    lower = {key.lower(): value for key, value in items.items()}
    if lower.get("file_compression", "0") not in ("", "0"):
        return
    offset = lower.get("header_offset", "0")
    expected = values + (int(offset) if offset.isdecimal() else 0)
    size = path.stat().st_size
    if size < expected:
        raise InputError(f"is cut off: {size} bytes of the {expected} that its header states")


def spectral_items(items: Mapping[str, str], bands: int, where: str) -> dict[str, Any]:
    """Return wavelengths, widths, bad-band list, band names and reflectance scale of a header, those there are."""
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
    factor = _numbers(lower, "reflectance_scale_factor", 1, where)
    if factor is not None and factor[0] != 0:
        found["reflectance_scale"] = 1.0 / float(factor[0])
    return found


def _list(text: str) -> list[str]:
    inside = text.strip().removeprefix("{").removesuffix("}").strip()
    return [part.strip() for part in inside.split(",")] if inside else []


def _numbers(items: Mapping[str, str], key: str, bands: int, where: str) -> NDArray[np.float64] | None:
    texts = _list(items.get(key, ""))
    if not texts:
        return None
    try:
        values = np.array([float(text) for text in texts])
    except ValueError:
        values = np.empty(0)
    if values.size == bands:
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
