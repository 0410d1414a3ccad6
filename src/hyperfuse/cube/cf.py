"""The header of a cube in the terms of the CF conventions, which xarray, netCDF and Zarr share.

The values have the dimensions (band, y, x); ``wavelength`` (nm), ``fwhm`` (nm), ``good_wavelengths`` and ``band_name``
are coordinates along ``band``, ``y`` and ``x`` are centres of pixels, and ``spatial_ref`` is the grid mapping with the
CRS as WKT and GDAL's ``GeoTransform``. Source: CF Metadata Conventions 1.11, section 5.6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from hyperfuse.cube.crs import crs_text, crs_units, is_geographic, parse_crs, same_crs
from hyperfuse.cube.header import Coding, CubeHeader, Shape, six_numbers
from hyperfuse.cube.record import HISTORY_TAG, RECORD_TAG, decode_tags, encode_record, encode_tags, split_attributes
from hyperfuse.cube.wavelengths import to_nanometres
from hyperfuse.errors import InputError, warn

GRID_MAPPING = "spatial_ref"
DIMENSIONS = ("band", "y", "x")

_AXES = {
    "b": {"band", "bands", "wavelength", "wavelengths", "wl", "lambda", "spectral", "channel", "channels", "z"},
    "r": {"y", "lat", "latitude", "row", "rows", "line", "lines", "northing", "downtrack", "along_track"},
    "c": {
        "x", "lon", "longitude", "col", "cols", "column", "columns", "sample", "samples", "easting",
        "crosstrack", "across_track",
    },
}  # fmt: skip
_CENTRES = {"wavelength", "wavelengths", "wavelength_nm", "radiation_wavelength", "central_wavelength", "wl"}
_WIDTHS = {"fwhm", "bandwidth"}
_GOOD = {"good_wavelengths", "good_bands", "bbl"}
_NAMES = {"band_name", "band_names"}
_STRUCTURE = {
    "conventions", "_ncproperties", "coordinates", "grid_mapping", "_fillvalue", "missing_value", "units",
    "scale_factor", "add_offset",
}  # fmt: skip


@dataclass(frozen=True)
class Variable:
    """An array with named dimensions and attributes."""

    dims: tuple[str, ...]
    values: NDArray[Any]
    attrs: Mapping[str, Any] = field(default_factory=dict)


def encode_coordinates(header: CubeHeader) -> dict[str, Variable]:
    """Return the coordinates that a cube has, by name."""
    found = {"band": Variable(("band",), np.arange(1, header.bands + 1, dtype=np.int32), {"long_name": "band number"})}
    if header.wavelengths is not None:
        attrs = {"units": "nm", "standard_name": "radiation_wavelength", "long_name": "wavelength at band centre"}
        found["wavelength"] = Variable(("band",), header.wavelengths, attrs)
    if header.fwhm is not None:
        found["fwhm"] = Variable(("band",), header.fwhm, {"units": "nm", "long_name": "full width at half maximum"})
    if header.good_bands is not None:
        attrs = {"long_name": "1 where the band is good, 0 where it is bad"}
        found["good_wavelengths"] = Variable(("band",), header.good_bands.astype(np.int8), attrs)
    if header.band_names is not None:
        found["band_name"] = Variable(("band",), np.array(header.band_names, dtype=object))
    if header.transform is not None and header.transform.b == 0 and header.transform.d == 0:
        found.update(_pixel_centres(header, header.transform))
    if header.transform is not None or header.crs is not None:
        found[GRID_MAPPING] = Variable((), np.array(0, np.int32), _grid_mapping(header))
    return found


def _pixel_centres(header: CubeHeader, transform: Affine) -> dict[str, Variable]:
    if header.crs is None:
        y, x = {}, {}
    elif is_geographic(header.crs):
        y = {"standard_name": "latitude", "units": "degrees_north"}
        x = {"standard_name": "longitude", "units": "degrees_east"}
    else:
        units = crs_units(parse_crs(header.crs))
        y, x = ({"standard_name": f"projection_{axis}_coordinate", "units": units} for axis in "yx")
    return {
        "y": Variable(("y",), transform.f + transform.e * (np.arange(header.rows) + 0.5), y),
        "x": Variable(("x",), transform.c + transform.a * (np.arange(header.cols) + 0.5), x),
    }


def _grid_mapping(header: CubeHeader) -> dict[str, str]:
    attrs = {}
    if header.crs is not None:
        attrs["crs_wkt"] = attrs["spatial_ref"] = str(parse_crs(header.crs).to_wkt())
        if is_geographic(header.crs):
            attrs["grid_mapping_name"] = "latitude_longitude"
    if header.transform is not None:
        attrs["GeoTransform"] = " ".join(repr(value) for value in header.transform.to_gdal())
    return attrs


def encode_attributes(header: CubeHeader, names: Sequence[str]) -> dict[str, str]:
    """Return the attributes of the file: those of the header as far as they fit, its history, and the named fields."""
    plain, rest = split_attributes(header.attributes, _STRUCTURE)
    if header.crs is not None and not header.crs.startswith("EPSG:"):
        names = (*names, "crs")
    return {**plain, **encode_tags(header, {**encode_record(header, names), **rest})}


def encode_variable(coordinates: Mapping[str, Variable], coding: Coding) -> dict[str, Any]:
    """Return the attributes of the variable that holds the values, stored as ``coding``."""
    others = [name for name in coordinates if name not in (*DIMENSIONS, GRID_MAPPING)]
    attrs: dict[str, Any] = {"coordinates": " ".join(others)}
    if GRID_MAPPING in coordinates:
        attrs["grid_mapping"] = GRID_MAPPING
    attrs["units"] = coding.units or ""
    if coding.nodata is not None:
        attrs["_FillValue"] = coding.nodata
    if not coding.is_identity:
        attrs.update(scale_factor=coding.scale, add_offset=coding.offset)
    return {key: value for key, value in attrs.items() if value != ""}


def axes_of(dims: Sequence[str | None]) -> str | None:
    """Return the order of axes as letters b, r, c that the names of dimensions state, or None.

    Example:
        >>> axes_of(["lat", "lon", "wavelength"])
        'rcb'
    """
    needed = {2: "rc", 3: "brc"}.get(len(dims), "")
    names = [(name or "").lower().rsplit("/", 1)[-1] for name in dims]
    letters = [next((letter for letter in "brc" if name in _AXES[letter]), "?") for name in names]
    missing = set(needed) - set(letters)
    if len(missing) == 1 and "?" in letters:
        letters[letters.index("?")] = missing.pop()
    return "".join(letters) if needed and sorted(letters) == sorted(needed) else None


def decode_header(
    variables: Mapping[str, Variable],
    attrs: Mapping[str, str],
    values: Mapping[str, Any],
    dims: Mapping[str, str | None],
    shape: Shape,
    where: str,
) -> CubeHeader:
    """Return the header that coordinates and attributes state: the inverse of the functions ``encode_*``.

    The record of this package counts where the coordinates and attributes state nothing.

    Args:
        variables: those of at most one dimension.
        attrs: text attributes of the file.
        values: attributes of the variable that holds the values.
        dims: name of the dimension of each axis, by its letter b, r, c.
        shape: (bands, rows, cols) of the array.
        where: name of the file, for warnings.
    """
    recorded = decode_tags(attrs, shape, where)
    taken = {*_STRUCTURE, RECORD_TAG.lower(), HISTORY_TAG.lower()}
    others = {key: text for key, text in attrs.items() if key.lower() not in taken}
    centres, widths, good, names = (
        _along(variables, names, shape[0], dims.get("b"), text=names is _NAMES)
        for names in (_CENTRES, _WIDTHS, _GOOD, _NAMES)
    )
    unit = next((str(v.attrs["units"]) for v in (centres, widths) if v is not None and "units" in v.attrs), None)
    wavelengths, fwhm = to_nanometres(
        None if centres is None else centres.values, unit, None if widths is None else widths.values, where=where
    )
    units = values.get("units")
    transform, crs = _decode_grid(variables, values, dims, shape, recorded.crs, where)
    return recorded.update(
        {
            "wavelengths": wavelengths,
            "fwhm": fwhm,
            "good_bands": None if good is None else good.values.ravel() != 0,
            "band_names": None if names is None else tuple(str(name) for name in names.values.ravel()),
            "units": str(units) if isinstance(units, str) and units else None,
            "transform": transform,
            "crs": crs,
            "attributes": {**others, **recorded.attributes},
        }
    )


def _along(
    variables: Mapping[str, Variable], names: set[str], bands: int, dim: str | None, *, text: bool = False
) -> Variable | None:
    """Return the variable of one of the names that has one entry per band, those along the band dimension first."""
    kinds = "OUST" if text else "fiub"
    found = [
        variable
        for name, variable in variables.items()
        if name.lower().rsplit("/", 1)[-1] in names
        and variable.values.dtype.kind in kinds
        and variable.values.size == bands
    ]
    return min(found, key=lambda variable: variable.dims != (dim,), default=None)


def _decode_grid(
    variables: Mapping[str, Variable],
    values: Mapping[str, Any],
    dims: Mapping[str, str | None],
    shape: Shape,
    recorded_crs: str | None,
    where: str,
) -> tuple[Affine | None, str | None]:
    """Return transform and CRS from the grid mapping and the coordinates of the pixels."""
    mapping = variables.get(str(values.get("grid_mapping", GRID_MAPPING)))
    attrs: Mapping[str, Any] = {} if mapping is None else mapping.attrs
    stated = _geotransform(attrs.get("GeoTransform"))
    axes = [variables.get(dims.get(letter) or "") for letter in "rc"]
    measured, units = _measured(axes, shape, stated), {str(axis.attrs.get("units", "")) for axis in axes if axis}
    wkt = attrs.get("crs_wkt") or attrs.get("spatial_ref")
    crs = None
    if wkt:
        crs = _decode_crs(str(wkt), recorded_crs, where)
    elif attrs.get("grid_mapping_name") not in (None, "latitude_longitude"):
        warn(f"{where}: the grid mapping {attrs['grid_mapping_name']} states no WKT (crs_wkt); the CRS is left out")
    elif any(unit.startswith("degree") for unit in units):
        crs = "EPSG:4326"
    counts = all(axis is not None and axis.values.tolist() == list(range(axis.values.size)) for axis in axes)
    return None if counts and crs is None and stated is None else measured, crs


def _decode_crs(wkt: str, recorded: str | None, where: str) -> str | None:
    try:
        return recorded if same_crs(recorded, wkt) else crs_text(parse_crs(wkt))
    except InputError as error:
        warn(f"{where}: {error}; the CRS is left out")
        return None


def _geotransform(text: Any) -> Affine | None:
    try:
        return Affine.from_gdal(*(float(part) for part in str(text).split()))
    except (TypeError, ValueError):
        return None


def _measured(axes: Sequence[Variable | None], shape: Shape, stated: Affine | None) -> Affine | None:
    """Return the transform of the centres of pixels, or the stated one where both agree or there are none.

    The coordinates follow when xarray cuts a window out of an array, the text of ``GeoTransform`` does not.
    """
    ys, xs = (None if axis is None or axis.values.dtype.kind not in "fiu" else axis.values for axis in axes)
    if ys is None or xs is None or (ys.size, xs.size) != shape[1:]:
        return stated
    ys, xs = ys.astype(np.float64), xs.astype(np.float64)
    dy, dx = _step(ys, stated.e if stated else None), _step(xs, stated.a if stated else None)
    if dy is None or dx is None:
        return stated
    measured = Affine(dx, 0.0, float(xs[0]) - dx / 2, 0.0, dy, float(ys[0]) - dy / 2)
    if stated is not None and np.allclose(
        six_numbers(measured), six_numbers(stated), rtol=1e-6, atol=1e-4 * min(abs(dx), abs(dy))
    ):
        return stated
    return measured


def _step(centres: NDArray[np.float64], stated: float | None) -> float | None:
    if centres.size < 2:
        return stated
    step = float(centres[-1] - centres[0]) / (centres.size - 1)
    even = np.allclose(np.diff(centres), step, rtol=1e-3, atol=0.0) and step != 0
    return step if even else None
