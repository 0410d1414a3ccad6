"""HYPSO-1 and -2: radiance (L1B, L1C) and top-of-atmosphere reflectance (L1D), netCDF-4 in sensor geometry.

Format: NTNU SmallSat Lab, products of the package ``hypso``: a cube ``products/Lt`` or ``rhot``, or a variable for each
band, and the positions of pixels in the group ``navigation``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.header import Grid
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.damage import damage_reported
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.products import hdf5
from hyperfuse.io.products.datasets import DatasetBand, DatasetBands, cube_bands, spectral_bands
from hyperfuse.io.products.image import About, ProductBand, ProductImage
from hyperfuse.io.products.located import LatLon, Located
from hyperfuse.io.products.members import Source
from hyperfuse.io.products.names import HYPSO_FILE
from hyperfuse.io.products.reflectance import warn

_REFLECTANCE, _RADIANCE = "rhot", "Lt"
_SINGLE = re.compile(r"(?:rhot|Lt)_(\d+(?:\.\d+)?)")
# Reflectance is below this in nearly all pixels; radiance is far above it.
_LARGEST = 3.0
_CHECKED_ROWS = 16


class _Values(NamedTuple):
    """What a file holds: ``rhot`` or ``Lt``, its bands in datasets, and their centres and widths."""

    quantity: str
    stored: list[DatasetBand]
    bands: list[ProductBand]


def is_hypso(path: Path) -> bool:
    """Return whether a file names HYPSO as its instrument."""
    return hdf5.recognised(path, lambda file: (hdf5.text(file, "instrument") or "").upper().startswith("HYPSO"))


def open_hypso(source: Source, options: ReadOptions) -> Located:
    """Open a HYPSO file: top-of-atmosphere reflectance where it holds it, else radiance.

    Positions are those from ground control points (``latitude_indirect``) where there are any. Gaps are NaN and the
    fill value.

    Raises:
        InputError: a damaged file, radiance under the name of reflectance, or ``quality="clear"``, as there is no cloud
            mask.
    """
    if options.quality == "clear":
        raise InputError("quality='clear' needs a cloud mask, which HYPSO products do not have; leave it out")
    path = source.path(HYPSO_FILE, "hypso*.nc")
    with hdf5.kept_open(path) as file:
        found = _values(file, path.name)
        first = found.stored[0]
        size = (first.dataset.shape[0], first.dataset.shape[1])
        if found.quantity == _REFLECTANCE:
            _check_range(first)
        suffix = "_indirect" if hdf5.holds(file, "navigation/latitude_indirect") else ""
        if not suffix:
            warn(f"{path.name}: is placed by the attitude of the satellite alone, which may be off by kilometres")
        units = hdf5.text(first.dataset, "units")
        about = About(
            f"HYPSO {'top-of-atmosphere reflectance' if found.quantity == _REFLECTANCE else 'radiance'}",
            path.stem,
            ["no data"],
            {
                "sensor": (hdf5.text(file, "instrument") or "HYPSO").split()[0],
                "quantity": "top-of-atmosphere reflectance" if found.quantity == _REFLECTANCE else "radiance",
            },
            units="reflectance" if found.quantity == _REFLECTANCE else units or "radiance (unit not stated)",
        )
        image = ProductImage(Grid(*size, None, None), found.bands, DatasetBands(file, found.stored), options, about)
        return Located(image, lambda: _positions(file, suffix))


def _values(file: h5py.File, where: str) -> _Values:
    for quantity in (_REFLECTANCE, _RADIANCE):
        cube = hdf5.optional(file, f"products/{quantity}")
        if cube is not None:
            cube = hdf5.dataset(file, f"products/{quantity}", 3)
            columns = tuple(_column(cube, name) for name in ("wavelengths", "fwhm"))
            bands = spectral_bands((columns[0], columns[1], None), "nm", cube.shape[2], where, _fill(cube))
            return _Values(quantity, cube_bands(cube, "rcb"), bands)
        single = _single(file, quantity)
        if single:
            centres, widths = (np.array([_number(item, name) for item in single]) for name in ("wavelength", "fwhm"))
            bands = spectral_bands((centres, widths, None), "nm", len(single), where, _fill(single[0]))
            return _Values(quantity, [DatasetBand(item, "rc") for item in single], bands)
    raise InputError(f"holds no products/{_REFLECTANCE} or products/{_RADIANCE} of HYPSO; it may be cut off")


def _single(file: h5py.File, quantity: str) -> list[h5py.Dataset]:
    """Return the datasets of single bands, by rising wavelength."""
    with damage_reported(hdf5.DAMAGED):
        names = [str(name) for name in file.get("products", ())]
    matches = [_SINGLE.fullmatch(name) for name in names if name.startswith(quantity)]
    found = [(float(match[1]), match[0]) for match in matches if match is not None]
    items = [hdf5.dataset(file, f"products/{name}", 2) for _, name in sorted(found)]
    if any(item.shape != items[0].shape for item in items):
        raise InputError(f"its bands of products/{quantity}_* differ in size")
    return items


def _column(item: h5py.Dataset, name: str) -> NDArray[np.float64]:
    found = hdf5.attribute(item, name)
    if found is None:
        raise InputError(f"its {item.name} states no {name}")
    return np.asarray(found, np.float64).ravel()


def _number(item: h5py.Dataset, name: str) -> float:
    return float(_column(item, name)[0])


def _fill(item: h5py.Dataset) -> tuple[float, ...]:
    found = hdf5.attribute(item, "_FillValue")
    return (float("nan"),) if found is None else (float("nan"), float(np.ravel(found)[0]))


def _check_range(band: DatasetBand) -> None:
    """Refuse values that are no reflectance: some writers store the cube of radiance under its name."""
    row = band.dataset.shape[0] // 2
    values = hdf5.stored(band.dataset, np.s_[row : row + _CHECKED_ROWS])
    finite = values[np.isfinite(values)]
    if finite.size and np.median(np.abs(finite)) > _LARGEST:
        raise InputError(
            f"its {_REFLECTANCE} reaches {np.median(finite):.3g} at the median, so it holds radiance under that name;"
            " write it again, or pass FILE:products/Lt of the L1C file"
        )


def _positions(file: h5py.File, suffix: str) -> LatLon:
    latitude, longitude = (
        hdf5.stored(hdf5.dataset(file, f"navigation/{name}{suffix}", 2)) for name in ("latitude", "longitude")
    )
    return latitude, longitude
