"""Grid mappings of the CF conventions as PROJ strings, for files that state no WKT.

Source: CF Metadata Conventions 1.11, appendix F; PROJ, "Projections".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hyperfuse.cube.packing import as_numbers

_ORIGIN = {"lat_0": "latitude_of_projection_origin", "lon_0": "longitude_of_projection_origin"}
_MERIDIAN = {"lat_0": "latitude_of_projection_origin", "lon_0": "longitude_of_central_meridian"}
_SCALE = {"k": "scale_factor_at_projection_origin"}
_FALSE = {"x_0": "false_easting", "y_0": "false_northing"}

# The projection, and the attribute of each of its parameters.
_PROJECTIONS: dict[str, tuple[str, dict[str, str]]] = {
    "latitude_longitude": ("longlat", {}),
    "rotated_latitude_longitude": (
        "ob_tran +o_proj=longlat",
        {"o_lat_p": "grid_north_pole_latitude", "o_lon_p": "north_pole_grid_longitude"},
    ),
    "transverse_mercator": ("tmerc", {**_MERIDIAN, "k": "scale_factor_at_central_meridian"}),
    "mercator": ("merc", {"lon_0": _ORIGIN["lon_0"], "lat_ts": "standard_parallel", **_SCALE}),
    "lambert_conformal_conic": ("lcc", {**_MERIDIAN, "lat_1": "standard_parallel"}),
    "albers_conical_equal_area": ("aea", {**_MERIDIAN, "lat_1": "standard_parallel"}),
    "lambert_cylindrical_equal_area": ("cea", {"lon_0": _MERIDIAN["lon_0"], "lat_ts": "standard_parallel"}),
    "lambert_azimuthal_equal_area": ("laea", _ORIGIN),
    "azimuthal_equidistant": ("aeqd", _ORIGIN),
    "orthographic": ("ortho", _ORIGIN),
    "sinusoidal": ("sinu", {"lon_0": _ORIGIN["lon_0"]}),
    "stereographic": ("stere", {**_ORIGIN, **_SCALE}),
    "polar_stereographic": (
        "stere",
        {
            "lat_0": _ORIGIN["lat_0"],
            "lon_0": "straight_vertical_longitude_from_pole",
            "lat_ts": "standard_parallel",
            **_SCALE,
        },
    ),
    "geostationary": ("geos", {"h": "perspective_point_height", "lon_0": _ORIGIN["lon_0"]}),
}  # fmt: skip
_SIZES = {
    "a": "semi_major_axis",
    "b": "semi_minor_axis",
    "rf": "inverse_flattening",
    "R": "earth_radius",
    "pm": "longitude_of_prime_meridian",
}  # fmt: skip
_WGS84 = {"a": (6378137.0, 0.01), "b": (6356752.3142, 0.01), "rf": (298.257223563, 1e-6)}
_OTHER_AXIS = {"x": "y", "y": "x"}


def proj_string(attrs: Mapping[str, Any]) -> str | None:
    """Return the PROJ string of the attributes of a grid mapping, or None for a projection that is not known.

    Example:
        >>> proj_string({"grid_mapping_name": "latitude_longitude"})
        '+proj=longlat +datum=WGS84 +no_defs +type=crs'
    """
    known = _PROJECTIONS.get(str(attrs.get("grid_mapping_name", "")).strip().lower())
    if known is None:
        return None
    projection, parameters = known
    parts = [f"+proj={projection}"]
    for key, attribute in {**parameters, **(_FALSE if projection != "longlat" else {})}.items():
        values = as_numbers(attrs.get(attribute)) if attribute in attrs else None
        if values is None:
            continue
        parts.append(f"+{key}={values[0]!r}")
        if key == "lat_1":
            parts.append(f"+lat_2={values[-1]!r}")
    if projection.startswith("ob_tran"):
        pole = as_numbers(attrs.get("grid_north_pole_longitude", 0.0)) or (0.0,)
        parts.append(f"+lon_0={180.0 + pole[0]!r}")
    if projection == "geos":
        fixed = str(attrs.get("fixed_angle_axis", "x")).lower()
        parts.append(f"+sweep={attrs.get('sweep_angle_axis', _OTHER_AXIS.get(fixed, 'y'))}")
    return " ".join([*parts, *_ellipsoid(attrs), "+no_defs", "+type=crs"])


def _ellipsoid(attrs: Mapping[str, Any]) -> list[str]:
    sizes = {key: as_numbers(attrs[name]) for key, name in _SIZES.items() if name in attrs}
    stated = {key: value[0] for key, value in sizes.items() if value is not None}
    if not stated.get("pm", 1.0):
        del stated["pm"]
    wgs84 = "R" not in stated and all(
        abs(stated.get(key, size) - size) < within for key, (size, within) in _WGS84.items()
    )
    if wgs84:
        return ["+datum=WGS84", *(f"+{key}={value!r}" for key, value in stated.items() if key == "pm")]
    if "a" in stated and "rf" in stated:
        stated.pop("b", None)
    if stated.get("rf") == 0.0:  # a sphere
        del stated["rf"]
    return [f"+{key}={value!r}" for key, value in stated.items()]
