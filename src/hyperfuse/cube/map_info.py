"""Transform and CRS of the ``map info`` of ENVI as text, which HDF5 files hold too, such as those of NEON.

Source: NV5 Geospatial, "ENVI Header Files", field ``map info``; NEON, "Imaging Spectrometer HDF5 format".
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from affine import Affine

from hyperfuse.cube.crs import crs_text, parse_crs
from hyperfuse.errors import InputError, warn

_CODES = ("epsgcode", "coordinatesystemstring", "proj4")
_WITHOUT_CRS = ("arbitrary", "pixel based")


def decode_map_info(texts: Mapping[str, str], where: str) -> tuple[Affine | None, str | None]:
    """Return transform and CRS of the texts of a file, by their names: ``Map_Info``, ``EPSG Code`` and the like.

    The CRS is that of the code or WKT next to it, else UTM on WGS 84 where the map info says so. A map info that
    cannot be used is named in a warning, which names the file as ``where``.

    Example:
        >>> info = "UTM, 1, 1, 368000.0, 4307000.0, 1.0, 1.0, 18, North, WGS-84, units=Meters"
        >>> transform, crs = decode_map_info({"Map_Info": info}, "a.h5")
        >>> transform.c, transform.e, crs
        (368000.0, -1.0, 'EPSG:32618')
    """
    named = {re.sub(r"[^a-z0-9]", "", key.lower().rsplit("/", 1)[-1]): text for key, text in texts.items()}
    if "mapinfo" not in named:
        return None, None
    parts = _parts(named["mapinfo"])
    transform = map_transform(named["mapinfo"], where)
    return transform, None if transform is None else _crs(named, parts, where)


def map_transform(text: str, where: str) -> Affine | None:
    """Return the transform of a map info; None of one that only counts pixels, or that is damaged (with a warning).

    ``rotation`` is that of the image in degrees, counterclockwise, about the reference, wherever it stands.

    Example:
        >>> transform = map_transform("{UTM, 1, 1, 5000, 9000, 2, 2, 10, North, WGS-84, rotation = 90}", "a.hdr")
        >>> transform @ (1, 0), transform @ (0, 1)
        ((5000.0, 9002.0), (5002.0, 9000.0))
    """
    parts = _parts(text)
    try:
        column, row, x, y, width, height = (float(part) for part in parts[1:7])
        degrees = map_rotation(text)
    except ValueError:
        warn(f"{where}: its map info is damaged and left out; the image has no transform")
        return None
    if parts[0].lower() in _WITHOUT_CRS:
        return None
    if not (width and height and all(map(math.isfinite, (column, row, x, y, width, height, degrees)))):
        warn(f"{where}: its map info is damaged and left out; the image has no transform")
        return None
    # The reference is a position in the image, where (1, 1) is the outer corner of the first pixel. Of whole quarters
    # of a circle the cosine or sine would be nearly 0.
    cos, sin = (round(part, 15) for part in (math.cos(math.radians(degrees)), math.sin(math.radians(degrees))))
    grid = Affine(cos * width, sin * height, x, sin * width, -cos * height, y)
    return grid @ Affine.translation(1 - column, 1 - row)


def map_rotation(text: str) -> float:
    """Return the rotation of a map info in degrees, 0 where it states none; ValueError where it is no number."""
    stated = (part.replace(" ", "").lower() for part in _parts(text))
    return next((float(part.partition("=")[2]) for part in stated if part.startswith("rotation=")), 0.0)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.strip("{} ").split(",")]


def _crs(named: Mapping[str, str], parts: list[str], where: str) -> str | None:
    codes = [f"EPSG:{named[key]}" if named[key].strip().isdigit() else named[key] for key in _CODES if key in named]
    lowered = [part.lower() for part in parts]
    if lowered[0] == "utm" and len(parts) > 9 and parts[7].isdigit() and lowered[9] in ("wgs-84", "wgs84"):
        codes.append(f"EPSG:{(32700 if lowered[8].startswith('s') else 32600) + int(parts[7])}")
    elif lowered[0].startswith("geographic") and any("wgs" in part for part in lowered):
        codes.append("EPSG:4326")
    for code in codes:
        try:
            return crs_text(parse_crs(code))
        except InputError:
            continue
    warn(f"{where}: the CRS of its map info ({parts[0]}) is not understood and is left out")
    return None
