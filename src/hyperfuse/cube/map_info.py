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
    parts = [part.strip() for part in named["mapinfo"].strip("{} ").split(",")]
    try:
        column, row, x, y, width, height = (float(part) for part in parts[1:7])
        turned = next((float(part.split("=")[1]) for part in parts if part.lower().startswith("rotation=")), 0.0)
    except ValueError:
        warn(f"{where}: its map info is damaged and left out; the image has no transform")
        return None, None
    if parts[0].lower() in _WITHOUT_CRS:
        return None, None
    if not (width and height and all(map(math.isfinite, (column, row, x, y, width, height)))):
        warn(f"{where}: its map info is damaged and left out; the image has no transform")
        return None, None
    # The reference is a position in the image, where (1, 1) is the outer corner of the first pixel.
    grid = Affine.translation(x, y) @ Affine.rotation(turned) @ Affine.scale(width, -height)
    return grid @ Affine.translation(1 - column, 1 - row), _crs(named, parts, where)


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
