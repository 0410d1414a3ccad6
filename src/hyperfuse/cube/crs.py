"""Coordinate reference systems: their text in a cube, and whether two are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hyperfuse.errors import InputError

if TYPE_CHECKING:
    from rasterio.crs import CRS

# Attribute of an image that no grid places: by what it has a position; and what is to be done then.
PLACED_BY = "placed_by"
ORTHORECTIFIED = (
    "order the orthorectified (map-projected) level of the product, often called L2, L1T or ortho, or orthorectify it"
    " first (gdalwarp, with -rpc and a height model for RPCs)"
)
# What GDAL makes of the map info of an ENVI header that names no projection.
_NO_CRS = ('LOCAL_CS["Arbitrary"', 'ENGCRS["Arbitrary"')


def parse_crs(text: str) -> CRS:
    """Return the CRS of a WKT, PROJ string or authority code; another text raises an ``InputError``."""
    # Most images of laboratories have none, and rasterio takes as long to import as all else of a reader.
    from rasterio.crs import CRS
    from rasterio.env import Env
    from rasterio.errors import CRSError

    try:
        with Env():  # without one PROJ writes what it does not understand to stderr
            return CRS.from_user_input(text)
    except (CRSError, ValueError) as error:  # a text may be no UTF-8
        shown = text if len(text) <= 60 else f"{text[:60]}…"
        raise InputError(f"the CRS {shown!r} is not understood; give a code such as EPSG:32633, or WKT") from error


def crs_text(crs: CRS | None) -> str | None:
    """Return the text for a cube: the EPSG code where the CRS is exactly that one, else WKT; None for no CRS."""
    if crs is None or not crs.to_wkt() or crs.to_wkt().startswith(_NO_CRS):
        return None
    code = _exact_code(crs)
    return str(crs.to_wkt()) if code is None else f"EPSG:{code}"


def same_crs(first: str | None, second: str | None) -> bool:
    """Return whether two texts name the same CRS; None equals None only.

    Example:
        >>> same_crs("EPSG:32633", "+proj=utm +zone=33 +datum=WGS84")
        True
    """
    if first is None or second is None or first == second:
        return first == second
    one, other = parse_crs(first), parse_crs(second)
    code = _exact_code(one)
    return bool(one == other) or (code is not None and code == _exact_code(other))


def _exact_code(crs: CRS) -> int | None:
    # Equality in rasterio also compares the order of the axes, which raster files always keep as x, y.
    code: int | None = crs.to_epsg(confidence_threshold=100)
    return code


def crs_units(crs: CRS) -> str:
    """Return the unit of the coordinates of a CRS: "m", "degree" or the name it gives."""
    if crs.is_geographic:
        return "degree"
    name = str(crs.linear_units)
    return "m" if name.lower() in ("metre", "meter") else name


def metres_per_unit(text: str) -> float:
    """Return the length in metres of the unit of a projected CRS; 1 where it names none."""
    from rasterio.errors import CRSError

    try:
        return float(parse_crs(text).linear_units_factor[1])
    except CRSError:
        return 1.0


def is_geographic(text: str) -> bool:
    """Return whether the coordinates of a CRS are degrees of longitude and latitude."""
    return bool(parse_crs(text).is_geographic)
