"""NEON AOP surface reflectance: flight lines (DP1) and 1 km tiles (DP3), directional (.001) or bidirectional (.002).

Format: NEON, "Spectrometer Orthorectified Surface Directional Reflectance" (DP1.30006.001, DP3.30006.001) and
"Bidirectional Reflectance" (.002): HDF5 with one group per site.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from affine import Affine
from numpy.typing import NDArray

from hyperfuse.cube.crs import crs_text, parse_crs
from hyperfuse.cube.header import Grid
from hyperfuse.errors import InputError, warn
from hyperfuse.io.encoding.damage import damage_reported
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.products import hdf5
from hyperfuse.io.products.datasets import DatasetBands, FlagDataset, cube_bands, spectral_bands
from hyperfuse.io.products.image import About, ProductImage
from hyperfuse.io.products.members import Source, finite_number
from hyperfuse.io.products.names import NEON_FILE

_CUBE = "Reflectance/Reflectance_Data"
_METADATA = "Reflectance/Metadata"
_SPECTRAL = f"{_METADATA}/Spectral_Data"
_PLACE = f"{_METADATA}/Coordinate_System"
_WEATHER = f"{_METADATA}/Ancillary_Imagery/Weather_Quality_Indicator"
_WINDOWS = ("Band_Window_1_Nanometers", "Band_Window_2_Nanometers")
# Of .002: 1 is less than 10 % of clouds, 2 and 3 are more. Of .001 a colour, green (0, 255, 0) for the same.
_CLEAR, _BRIGHT = 1, 128


def is_neon(path: Path) -> bool:
    """Return whether a file holds the group of a NEON site with reflectance."""
    return hdf5.recognised(path, lambda file: _site(file) is not None)


def open_neon(source: Source, options: ReadOptions) -> ProductImage:
    """Open a file of NEON reflectance, all bands.

    Gaps are the ignore value; with ``quality="clear"`` also where the weather quality is not that of a clear sky. The
    bands in the two windows of water vapour that the file states are bad bands.

    Raises:
        InputError: radiance, a damaged file, or a grid that is not north-up.
    """
    path = source.path(NEON_FILE, "NEON_*_reflectance.h5")
    with hdf5.kept_open(path) as file:
        site = _site(file)
        if site is None:
            raise InputError(
                "holds no reflectance of NEON; take DP1.30006 or DP3.30006 (radiance, DP1.30008, is not read)"
            )
        cube = hdf5.dataset(file, f"{site}/{_CUBE}", 3)
        rows, cols, count = cube.shape
        scale, ignored = (_stated(cube, name) for name in ("Scale_Factor", "Data_Ignore_Value"))
        if scale == 0:
            raise InputError("its Scale_Factor is 0")
        tables = [hdf5.dataset(file, f"{site}/{_SPECTRAL}/{name}", 1) for name in ("Wavelength", "FWHM")]
        centres, widths = (hdf5.stored(table) for table in tables)
        unit = hdf5.text(tables[0], "Units") or "nm"
        found = spectral_bands((centres, widths, None), unit, count, path.name, (ignored,))
        good = _outside_windows(file, site, np.array([band.centre for band in found]))
        bands = [replace(band, scale=1 / scale, good=good is None or bool(good[i])) for i, band in enumerate(found)]
        clear = options.quality == "clear"
        flags = [FlagDataset(_weather(file, site, (rows, cols)), _is_cloudy)] if clear else []
        stored = DatasetBands(file, cube_bands(cube, "rcb"), flags)
        return ProductImage(
            _grid(file, site, rows, cols),
            bands,
            stored,
            options,
            About(
                "NEON reflectance",
                path.stem,
                ["no data", "cloud"] if clear else ["no data"],
                {"sensor": "NEON imaging spectrometer", "site": site},
            ),
        )


def _site(file: h5py.File) -> str | None:
    """Return the name of the group of the site, or None where it is no reflectance of NEON."""
    with damage_reported(hdf5.DAMAGED):
        names = [str(name) for name in file]
    sites = (name for name in names if len(name) == 4 and name.isalpha())
    return next((site for site in sites if hdf5.holds(file, f"{site}/{_CUBE}", f"{site}/{_PLACE}/Map_Info")), None)


def _stated(item: h5py.Dataset, name: str) -> float:
    found = hdf5.attribute(item, name)
    text = None if found is None else str(np.ravel(found)[0])
    return finite_number(text, f"{item.name}: {name}")


def _outside_windows(file: h5py.File, site: str, centres: NDArray[np.float64]) -> NDArray[np.bool_] | None:
    """Return which bands lie outside the windows of water vapour; None, with a warning, where these are not stated."""
    good = np.ones(centres.size, np.bool_)
    group: Any = file[f"{site}/Reflectance"]
    for name in _WINDOWS:
        found = hdf5.attribute(group, name)
        ends = np.asarray(np.nan if found is None else found, np.float64).ravel()
        if ends.size != 2 or not np.isfinite(ends).all():
            warn(f"{site}/Reflectance states no {name}; no band is marked as bad")
            return None
        good &= (centres < ends.min()) | (centres > ends.max())
    return good


def _weather(file: h5py.File, site: str, size: tuple[int, int]) -> h5py.Dataset:
    found = hdf5.optional(file, f"{site}/{_WEATHER}")
    if found is None:
        raise InputError(f"has no {site}/{_WEATHER}, which quality='clear' needs")
    if found.shape not in (size, (*size, 3)):
        raise InputError(f"{found.name} has the shape {found.shape}, not that of the image, {size}")
    return found


def _is_cloudy(weather: NDArray[Any]) -> NDArray[np.bool_]:
    if weather.ndim == 2:
        return np.asarray(weather != _CLEAR)
    return np.asarray((weather[..., 0] >= _BRIGHT) | (weather[..., 1] < _BRIGHT))


def _grid(file: h5py.File, site: str, rows: int, cols: int) -> Grid:
    """Return the grid; the position stated is that of the upper left edge."""
    where = f"{site}/{_PLACE}/Map_Info"
    parts = [part.strip() for part in _text(file, where).split(",")]
    if len(parts) < 7:
        raise InputError(f"{where} is {','.join(parts)!r}, which places no image")
    ref_x, ref_y, east, north, dx, dy = (finite_number(part, where) for part in parts[1:7])
    rotated = parts[-1].lower().removeprefix("rotation=")
    if len(parts) > 11 and finite_number(rotated, f"{where}: rotation") != 0:
        raise InputError(f"{where} states a rotation of {rotated}; north-up grids are read")
    if min(dx, dy) <= 0:
        raise InputError(f"{where} states pixels of {dx:g} x {dy:g}")
    transform = Affine(dx, 0.0, east - (ref_x - 1) * dx, 0.0, -dy, north + (ref_y - 1) * dy)
    code = finite_number(_text(file, f"{site}/{_PLACE}/EPSG Code"), "EPSG Code")
    return Grid(rows, cols, transform, crs_text(parse_crs(f"EPSG:{code:.0f}")))


def _text(file: h5py.File, name: str) -> str:
    item = hdf5.optional(file, name)
    if item is None:
        raise InputError(f"has no {name}; it is cut off or of another format")
    with damage_reported(hdf5.DAMAGED):
        value = np.ravel(item[()])
    return hdf5.plain_text(value[0]).strip("\0 \n") if value.size else ""
