"""Transform and CRS of an image from its grid mapping and the coordinates of its pixels, as CF states them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from hyperfuse.cube.crs import crs_text, is_geographic, metres_per_unit, parse_crs, same_crs
from hyperfuse.cube.header import Shape, six_numbers
from hyperfuse.cube.map_info import decode_map_info
from hyperfuse.cube.packing import as_numbers, decode_packing
from hyperfuse.cube.projections import proj_string
from hyperfuse.errors import InputError, warn

GRID_MAPPING = "spatial_ref"

_METRES = {
    **dict.fromkeys(("m", "metre", "metres", "meter", "meters"), 1.0),
    **dict.fromkeys(("km", "kilometre", "kilometres", "kilometer", "kilometers"), 1e3),
    **dict.fromkeys(("cm", "centimetre", "centimetres", "centimeter", "centimeters"), 1e-2),
    **dict.fromkeys(("ft", "foot", "feet", "international_foot"), 0.3048),
    **dict.fromkeys(("us_survey_foot", "us survey foot", "us-ft", "ftus"), 1200 / 3937),
}
_RADIANS = {
    **dict.fromkeys(("rad", "radian", "radians"), 1.0),
    **dict.fromkeys(("mrad", "milliradian", "milliradians"), 1e-3),
    **dict.fromkeys(("urad", "microradian", "microradians"), 1e-6),
}
_DEGREES_OF_LATITUDE = re.compile(r"degrees?_?(north|east|N|E)", re.IGNORECASE)
# Centres within this fraction of a pixel of an even grid are on it.
_EVEN = 0.1


@dataclass(frozen=True)
class Variable:
    """An array with named dimensions and attributes."""

    dims: tuple[str, ...]
    values: NDArray[Any]
    attrs: Mapping[str, Any] = field(default_factory=dict)

    def attribute(self, name: str) -> str:
        """Return an attribute as text, whatever the case of its name; empty where there is none."""
        return next((str(value) for key, value in self.attrs.items() if key.lower() == name), "").strip()

    def unpacked(self) -> Variable:
        """Return it with its values instead of the numbers that are stored."""
        if self.values.dtype.kind not in "iuf":
            return self
        packing = decode_packing(self.attrs, self.values.dtype, "")
        values = packing.unpacked(self.values)
        if packing.marks and packing.dtype.kind in "iu":
            gaps = np.isin(packing.signed(self.values), packing.marks)
            values = np.where(gaps, np.nan, values) if gaps.any() else values
        return Variable(self.dims, values, self.attrs)


class Axis(NamedTuple):
    """The centres of pixels along an axis, the unit they are stated in, and the rounding they are stored with."""

    name: str
    centres: NDArray[np.float64]
    unit: str
    rounding: float


class Step(NamedTuple):
    """An even grid along an axis: the edge of its first pixel and the size of a pixel."""

    edge: float
    size: float


def decode_grid(
    variables: Mapping[str, Variable],
    values: Mapping[str, Any],
    axes: Sequence[Collection[str]],
    dims: Mapping[str, str | None],
    shape: Shape,
    recorded_crs: str | None,
    where: str,
) -> tuple[Affine | None, str | None]:
    """Return transform and CRS; what the file states and cannot be used is named in a warning.

    Args:
        variables: those of at most one dimension.
        values: attributes of the variable that holds the values.
        axes: names that coordinates along rows and along columns may have.
        dims: name of the dimension of each axis, by its letter b, r, c.
        shape: (bands, rows, cols) of the array.
        recorded_crs: that of this package's record.
        where: name of the file, for warnings.
    """
    found = [_axis(variables, dims.get(letter), names) for letter, names in zip("rc", axes, strict=True)]
    mapping = _grid_mapping(variables, values, [axis.name for axis in found if axis], where)
    attrs: Mapping[str, Any] = {} if mapping is None else mapping.attrs
    crs = _crs(attrs, recorded_crs, where)
    if crs is None and any(axis and _DEGREES_OF_LATITUDE.fullmatch(axis.unit) for axis in found):
        crs = "EPSG:4326"
    stated = _geotransform(attrs.get("GeoTransform"))
    known = [axis for axis in found if axis is not None]
    counts = all(_counts_pixels(axis.centres) and not axis.unit for axis in known)
    if not counts and len(known) == 2 and tuple(axis.centres.size for axis in known) == shape[1:]:
        return _measured(known, stated, crs, attrs, where), crs
    if stated is None and known and not (counts and crs is None):
        what = "count pixels" if counts else "are not those of all rows and columns"
        warn(f"{where}: the coordinates {', '.join(axis.name for axis in known)} {what}; the image has no transform")
    elif stated is None and crs is None:
        texts = {key: str(item.values) for key, item in variables.items() if item.values.ndim == 0}
        stated, crs = decode_map_info(texts, where)
    swath = [name for name in str(values.get("coordinates", "")).split() if name not in variables]
    swath = [name for name in swath if any(name.lower().rsplit("/", 1)[-1] in names for names in axes)]
    if stated is None and swath:
        warn(f"{where}: the coordinates {', '.join(swath)} are two-dimensional (those of a swath) and left out")
    return stated, crs


def _axis(variables: Mapping[str, Variable], dim: str | None, names: Collection[str]) -> Axis | None:
    """Return the coordinate along a dimension: the one of its name, else one of the known names along it."""
    keys = [key for key in (dim or "",) if key in variables] if dim else []
    if dim and not keys:
        keys = [
            key for key, item in variables.items() if item.dims == (dim,) and key.lower().rsplit("/", 1)[-1] in names
        ]
    for key in keys:
        item = variables[key]
        if item.values.dtype.kind in "iuf" and item.values.ndim == 1 and item.values.size:
            centres = item.unpacked().values
            return Axis(key, centres.astype(np.float64), item.attribute("units"), _rounding(item, centres))
    return None


def _rounding(item: Variable, centres: NDArray[Any]) -> float:
    """Return by how much a stored coordinate may differ from what was meant."""
    packing = decode_packing(item.attrs, item.values.dtype, "")
    if item.values.dtype.kind != "f":
        return 0.0 if packing.is_identity else abs(packing.scale[0]) / 2
    # Values that were float32 once keep its rounding in a wider type.
    single = item.values.dtype.itemsize <= 4 or np.array_equal(item.values, item.values.astype(np.float32))
    largest = np.abs(item.values[np.isfinite(item.values)]).max(initial=0.0)
    half = np.dtype(np.float16) if item.values.dtype.itemsize == 2 else np.dtype(np.float32)
    return float(np.spacing(largest.astype(half if single else np.float64))) / 2 * abs(packing.scale[0])


def _grid_mapping(
    variables: Mapping[str, Variable], values: Mapping[str, Any], axes: Sequence[str], where: str
) -> Variable | None:
    stated = str(values.get("grid_mapping") or "").strip()
    if not stated:
        own = variables.get(GRID_MAPPING)
        others = [item for item in variables.values() if "grid_mapping_name" in item.attrs or "crs_wkt" in item.attrs]
        return own if own is not None or len(others) != 1 else others[0]
    # "crs: x y other: lat lon" names the coordinates that each mapping is for.
    parts = re.findall(r"([^\s:]+):([^:]*)(?=\s[^\s:]+:|$)", stated) or [(stated, "")]
    own_axes = {axis.rsplit("/", 1)[-1] for axis in axes}
    name = next((name for name, names in parts if own_axes and own_axes <= set(names.split())), parts[0][0])
    found = next((item for key, item in variables.items() if key.rsplit("/", 1)[-1] == name), variables.get(name))
    if found is None:
        warn(f"{where}: the grid mapping {name} is not in the file; its CRS is left out")
    return found


def _crs(attrs: Mapping[str, Any], recorded: str | None, where: str) -> str | None:
    """Return the CRS of a grid mapping: of its WKT, else of its parameters."""
    for key in ("crs_wkt", "spatial_ref", "epsg_code", "proj4", "proj4text", "proj4_string"):
        text = str(attrs.get(key) or "").strip()
        if not text:
            continue
        text = f"EPSG:{text}" if text.isdigit() else text
        try:
            return recorded if same_crs(recorded, text) else crs_text(parse_crs(text))
        except InputError as error:
            warn(f"{where}: {error}; the CRS is left out")
    name = str(attrs.get("grid_mapping_name") or "")
    if not name:
        return None
    text = proj_string(attrs) or ""
    if not text:
        warn(f"{where}: the grid mapping {name} is not known and states no WKT (crs_wkt); the CRS is left out")
        return None
    try:
        return crs_text(parse_crs(text))
    except InputError as error:
        warn(f"{where}: the grid mapping {name}: {error}; the CRS is left out")
        return None


def _geotransform(text: Any) -> Affine | None:
    numbers = as_numbers(text) if text is not None else None
    return Affine.from_gdal(*numbers) if numbers is not None and len(numbers) == 6 else None


def _counts_pixels(centres: NDArray[np.float64]) -> bool:
    return bool(centres[0] in (0, 1) and np.array_equal(centres, np.arange(centres.size) + centres[0]))


def _measured(
    axes: Sequence[Axis], stated: Affine | None, crs: str | None, attrs: Mapping[str, Any], where: str
) -> Affine | None:
    """Return the transform of the centres of pixels, or the stated one where both agree or there are none.

    The coordinates follow when xarray cuts a window out of an array, the text of ``GeoTransform`` does not.
    """
    otherwise = "GeoTransform is used" if stated else "the image has no transform"
    names = ", ".join(axis.name for axis in axes)
    factors = [_factor(axis.unit, crs, attrs) for axis in axes]
    if None in factors:
        units = ", ".join(dict.fromkeys(axis.unit for axis in axes))
        warn(f"{where}: the coordinates {names} in {units} do not fit the CRS and are left out; {otherwise}")
        return stated
    ys, xs = (axis._replace(centres=axis.centres * factor, rounding=axis.rounding * factor)
              for axis, factor in zip(axes, factors, strict=True) if factor is not None)  # fmt: skip
    if stated is None and crs is not None and is_geographic(crs) and float(xs.centres.min()) > 180.0:
        xs = xs._replace(centres=xs.centres - 360.0)
    y, x = _step(ys, stated.e if stated else None), _step(xs, stated.a if stated else None)
    if y is None or x is None:
        uneven = ", ".join(axis.name for axis, step in ((ys, y), (xs, x)) if step is None)
        warn(f"{where}: the coordinates {uneven} are not evenly spaced and are left out; {otherwise}")
        return stated
    measured = Affine(x.size, 0.0, x.edge, 0.0, y.size, y.edge)
    if stated is None:
        return measured
    within = max(1e-4 * min(abs(x.size), abs(y.size)), ys.rounding, xs.rounding)
    corners = [(0, 0), (xs.centres.size, ys.centres.size)]
    apart = [abs(a - b) for corner in corners for a, b in zip(measured @ corner, stated @ corner, strict=True)]
    close = np.allclose(six_numbers(measured), six_numbers(stated), rtol=1e-6, atol=within)
    return stated if close and max(apart) <= max(2 * within, 1e-6 * max(map(abs, measured @ (0, 0)))) else measured


def _factor(unit: str, crs: str | None, attrs: Mapping[str, Any]) -> float | None:
    """Return what turns coordinates of a unit into those of the CRS; None where one cannot be the other."""
    unit = unit.strip().lower()
    metres, radians = _METRES.get(unit), _RADIANS.get(unit)
    degrees = unit.startswith("degree") or unit == "deg"
    if crs is None or not (metres or radians or degrees):
        return 1.0
    if is_geographic(crs):
        return 1.0 if degrees else math.degrees(radians) if radians else None
    if degrees:
        return None
    own = metres_per_unit(crs)
    if radians:  # scan angles of a geostationary satellite; its CRS has them times its height
        height = as_numbers(attrs.get("perspective_point_height", parse_crs(crs).to_dict().get("h", "")))
        return None if height is None else radians * height[0] / own
    return None if metres is None else metres / own


def _step(axis: Axis, stated: float | None) -> Step | None:
    """Return the even grid that the centres of pixels lie on, as far as their rounding shows it."""
    centres = axis.centres
    if centres.size < 2:
        return None if stated is None else Step(float(centres[0]) - stated / 2, stated)
    size = float(centres[-1] - centres[0]) / (centres.size - 1)
    if not math.isfinite(size) or size == 0:
        return None
    if np.allclose(np.diff(centres), size, rtol=1e-3, atol=0.0):
        return Step(float(centres[0]) - size / 2, size)
    index = np.arange(centres.size) - (centres.size - 1) / 2
    size, offset = float(index @ centres / (index @ index)), float(centres.mean())

    def fits(size: float, offset: float, within: float) -> bool:
        return bool(np.abs(offset + size * index - centres).max() <= within)

    # More than half a pixel of rounding says nothing about where a pixel is.
    if axis.rounding > abs(size) / 2 or not fits(size, offset, max(2 * axis.rounding, _EVEN * abs(size))):
        return None
    within = max(1.01 * axis.rounding, float(np.abs(offset + size * index - centres).max()))
    size = next(_shorter(size, lambda value: fits(value, offset, within)), size)
    first = offset + size * float(index[0])
    first = next(_shorter(first, lambda value: fits(size, value - size * float(index[0]), within)), first)
    return Step(first - size / 2, size)


def _shorter(value: float, fits: Callable[[float], bool]) -> Iterator[float]:
    """Give those decimal numbers near a value that fit, the shortest first: what was meant before it was rounded."""
    for digits in range(1, 12):
        shorter = float(f"{value:.{digits}g}")
        if shorter and fits(shorter):
            yield shorter
