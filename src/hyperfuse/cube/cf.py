"""The header of a cube in the terms of the CF conventions, which xarray, netCDF and Zarr share.

The values have the dimensions (band, y, x); ``wavelength`` (nm), ``fwhm`` (nm), ``good_wavelengths`` and ``band_name``
are coordinates along ``band``, ``y`` and ``x`` are centres of pixels, and ``spatial_ref`` is the grid mapping with the
CRS as WKT and GDAL's ``GeoTransform``. Source: CF Metadata Conventions 1.11, section 5.6.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from hyperfuse.cube.cf_grid import GRID_MAPPING, Variable, decode_grid
from hyperfuse.cube.crs import crs_units, is_geographic, parse_crs
from hyperfuse.cube.header import Coding, CubeHeader, Shape
from hyperfuse.cube.packing import as_numbers
from hyperfuse.cube.record import HISTORY_TAG, RECORD_TAG, decode_tags, encode_record, encode_tags, split_attributes
from hyperfuse.cube.wavelengths import to_nanometres
from hyperfuse.errors import InputError

DIMENSIONS = ("band", "y", "x")

_AXES = {
    "b": {"band", "bands", "wavelength", "wavelengths", "wl", "lambda", "spectral", "channel", "channels", "z"},
    "r": {
        "y", "lat", "latitude", "rlat", "row", "rows", "line", "lines", "northing", "downtrack", "along_track", "nrows",
        "projection_y_coordinate", "grid_latitude", "yc",
    },
    "c": {
        "x", "lon", "longitude", "rlon", "col", "cols", "column", "columns", "sample", "samples", "easting",
        "crosstrack", "across_track", "ncols", "projection_x_coordinate", "grid_longitude", "xc",
    },
}  # fmt: skip
_CENTRES = {"wavelength"}
_CENTRE_NAMES = re.compile(
    r"((band|radiation|cent(er|re|ral))s?_?)*(wave_?lengths?|wvls?|wls?|lambdas?)(_?(nm|um|cent(er|re)s?|list))*|band_?cent(er|re)s?"
)
_WIDTHS = {"fwhm", "fwhm_nm", "bandwidth", "bandwidths"}
_GOOD = {"good_wavelengths", "good_bands", "bbl"}
_NAMES = {"band_name", "band_names"}
_CODES = {"scales", "offsets"}
_UNITS = {"wavelength_units", "wavelength_unit", "wavelengths_units"}
_STRUCTURE = {
    "conventions", "_ncproperties", "coordinates", "grid_mapping", "_fillvalue", "missing_value", "units",
    "scale_factor", "add_offset",
}  # fmt: skip


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
    names = [_base(name) for name in dims]
    letters = [next((letter for letter in "brc" if name in _AXES[letter]), "?") for name in names]
    missing = set(needed) - set(letters)
    if len(missing) == 1 and "?" in letters:
        letters[letters.index("?")] = missing.pop()
    return "".join(letters) if needed and sorted(letters) == sorted(needed) else None


def is_axis(name: str | None) -> bool:
    """Return whether the name of a dimension is one of bands, rows or columns."""
    return any(_base(name) in names for names in _AXES.values())


def orient(shape: Sequence[int], counts: Collection[int], default: str, *, usual: bool = True) -> str:
    """Return the order of axes of an array whose bands are as many as one of ``counts``, wavelengths most likely.

    Where no axis has as many entries it is ``default``, and so it is where several have, if that is the ``usual`` order
    of its format.

    Example:
        >>> orient((512, 400, 31), {31}, "brc"), orient((31, 512, 400), {31}, "rcb")
        ('rcb', 'brc')
    """
    if len(shape) != 3 or not counts or (usual and shape[default.index("b")] in counts):
        return default
    bands = [axis for axis, size in enumerate(shape) if size in counts]
    if not bands:
        return default
    if len(bands) > 1:
        raise InputError(f"its {shape[bands[0]]} wavelengths fit several axes of {tuple(shape)}; state axes=", "axes")
    return "rc"[: bands[0]] + "b" + "rc"[bands[0] :]


def _base(name: str | None) -> str:
    """Return the name of a variable without its groups, in lower case; ``wavelength`` for what names wavelengths."""
    base = (name or "").lower().rsplit("/", 1)[-1].strip()
    return "wavelength" if _CENTRE_NAMES.fullmatch(base.replace(" ", "_")) else base


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
    about = {**attrs, **values}
    centres, widths, good, names = (
        _along(variables, kind, shape[0], dims.get("b"), text=kind is _NAMES) or _stated(about, kind, shape[0])
        for kind in (_CENTRES, _WIDTHS, _GOOD, _NAMES)
    )
    units = next((str(value) for key, value in about.items() if key.lower() in _UNITS), None)
    wavelengths, fwhm = _spectral(centres, widths, units, where)
    taken = {*_STRUCTURE, RECORD_TAG.lower(), HISTORY_TAG.lower(), *_UNITS}
    used = [kind for kind, found in ((_CENTRES, centres), (_WIDTHS, widths), (_GOOD, good), (_NAMES, names)) if found]
    taken.update(*used)
    others = {key: text for key, text in attrs.items() if key.lower() not in taken and _base(key) not in taken}
    axes = [_AXES[letter] for letter in "rc"]
    transform, crs = decode_grid(variables, values, axes, dims, shape, recorded.crs, where)
    stated = values.get("units")
    return recorded.update(
        {
            "wavelengths": wavelengths,
            "fwhm": fwhm,
            "good_bands": None if good is None else good.values.ravel() != 0,
            "band_names": None if names is None else tuple(str(name) for name in names.values.ravel()),
            "units": str(stated) if isinstance(stated, str) and stated else None,
            "transform": transform,
            "crs": crs,
            "attributes": {**others, **recorded.attributes},
        }
    )


def is_wavelengths(name: str) -> bool:
    """Return whether a variable of this name holds the wavelengths of bands."""
    return _base(name) in _CENTRES


def _spectral(
    centres: Variable | None, widths: Variable | None, units: str | None, where: str
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Return wavelengths and widths in nm, each of its own unit; where one states none, the other's counts."""
    own, other = (None if item is None else item.attribute("units") or None for item in (centres, widths))
    centre, width = (None if item is None else item.unpacked().values for item in (centres, widths))
    unit = own or other or units
    if width is None or other is None or other == unit:
        return to_nanometres(centre, unit, width, where=where)
    return to_nanometres(centre, unit, where=where)[0], to_nanometres(None, other, width, where=where)[1]


def per_band(key: str, value: Any) -> Sequence[Any] | None:
    """Return the entries of an attribute that states something of each band, or None for another attribute."""
    key = _base(key)
    if key in _NAMES:
        if isinstance(value, str):
            return [part.strip() for part in value.strip("{} ").split(",")]
        return list(value) if isinstance(value, list | tuple | np.ndarray) and np.ndim(value) == 1 else None
    return as_numbers(value) if key in _CENTRES | _WIDTHS | _GOOD | _CODES else None


def _stated(attrs: Mapping[str, Any], names: set[str], bands: int) -> Variable | None:
    """Return an attribute of one of the names that has one entry per band, as a variable."""
    for key, value in attrs.items():
        entries = per_band(key, value) if _base(key) in names else None
        if entries is not None and len(entries) == bands:
            return Variable(("",), np.asarray(entries, object if names is _NAMES else np.float64))
    return None


def _along(
    variables: Mapping[str, Variable], names: set[str], bands: int, dim: str | None, *, text: bool = False
) -> Variable | None:
    """Return the variable of one of the names that has one entry per band, those along the band dimension first."""
    kinds = "OUST" if text else "fiub"
    found = [
        variable
        for name, variable in variables.items()
        if _base(name) in names and variable.values.dtype.kind in kinds and variable.values.size == bands
    ]
    return min(found, key=lambda variable: variable.dims != (dim,), default=None)
