"""Responses of an MSI that are known by its product, before the pair is looked at."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.header import CubeHeader
from hyperfuse.errors import HyperfuseWarning, InputError, MissingDependencyError
from hyperfuse.io.products.responses import RESPONSES, parse_responses
from hyperfuse.sensor.srf.curves import FLAT_TOPPED, srf_from_centres, srf_from_curves
from hyperfuse.sensor.srf.satellites import find_satellite, srf_from_satellite
from hyperfuse.sensor.srf.srf import Floats, HsiBands, Srf

Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class KnownResponses:
    """Responses of bands of an MSI.

    Attributes:
        matrix: (msi_bands, hsi_bands), rows sum to 1; NaN in the rows of bands that are not known, or not covered.
        source: where they come from, for records.
    """

    matrix: Floats
    source: str

    def restricted(self, hsi_bands: Bools, msi_bands: Bools) -> KnownResponses:
        """Return the responses between the bands that are used (masks); others have no weight in them."""
        return KnownResponses(self.matrix[np.ix_(msi_bands, hsi_bands)], self.source)


def known_responses(msi: CubeHeader, hsi: CubeHeader, usable: Bools) -> KnownResponses | None:
    """Return the responses of an MSI on the bands of an HSI, by the sensor that its product names; None if unknown.

    Curves that the product states come first. Else the attribute ``sensor`` names one of
    :func:`~.satellites.list_satellites`, of which the band names choose: published curves, else nominal ones. Of
    another product that states centres and widths they are flat-topped.

    Args:
        msi: header of the MSI.
        hsi: header of the HSI.
        usable: bool, (hsi_bands,): the other bands get weight 0.
    """
    if hsi.wavelengths is None or not np.isfinite(hsi.wavelengths[usable]).all():
        return None
    bands = HsiBands(hsi.bands, hsi.wavelengths, hsi.fwhm, usable)
    names = msi.band_names or tuple(f"band {number}" for number in range(1, msi.bands + 1))
    for make in (_of_curves, _of_satellite, _of_centres):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", HyperfuseWarning)  # bands that are not covered are NaN
                srf = make(msi, bands, names)
        except (InputError, MissingDependencyError):
            continue
        if srf is not None:
            rows = dict(zip(srf.names, srf.matrix, strict=True))
            nothing = np.full(hsi.bands, np.nan)
            return KnownResponses(np.array([rows.get(name, nothing) for name in names]), srf.source)
    return None


def _of_curves(msi: CubeHeader, hsi: HsiBands, names: tuple[str, ...]) -> Srf | None:
    curves = parse_responses(msi.attributes.get(RESPONSES, ""))
    used = [name for name in names if name in curves]
    if not used:
        return None
    axes = {name: curves[name].start + curves[name].step * np.arange(len(curves[name].values)) for name in used}
    # A curve ends at its outermost samples.
    ends = [end for axis in axes.values() for end in (axis[0] - 1e-3, axis[-1] + 1e-3)]
    samples = np.unique(np.concatenate([*axes.values(), ends]))
    rows = [np.interp(samples, axes[name], curves[name].values, left=0, right=0) for name in used]
    source = f"{msi.attributes.get('sensor', 'MSI')} (curves of the product)"
    srf = srf_from_curves(samples, rows, hsi, names=used, source=source, drop_uncovered=True)
    return Srf(srf.matrix, srf.names, source=source)


def _of_satellite(msi: CubeHeader, hsi: HsiBands, names: tuple[str, ...]) -> Srf | None:
    satellite = find_satellite(msi.attributes.get("sensor", ""))
    if satellite is None or msi.band_names is None:
        return None
    srf = srf_from_satellite(satellite.name, hsi, names, drop_uncovered=True)
    own = {_plain(name): name for name in names}
    return Srf(srf.matrix, tuple(own[_plain(name)] for name in srf.names), source=srf.source.partition(", without")[0])


def _of_centres(msi: CubeHeader, hsi: HsiBands, names: tuple[str, ...]) -> Srf | None:
    first = msi.history[0] if msi.history else {}
    if "product" not in first or msi.wavelengths is None or msi.fwhm is None or len(set(names)) < len(names):
        return None
    source = f"{first['product']} (centres and widths of the product, flat-topped)"
    srf = srf_from_centres(
        msi.wavelengths, msi.fwhm, hsi, names=names, source=source, exponent=FLAT_TOPPED, drop_uncovered=True
    )
    return Srf(srf.matrix, srf.names, source=source)


def _plain(name: str) -> str:
    """Return a band's name as satellites' are compared: ``B02`` is ``B2``."""
    return "B" + name.strip().upper().removeprefix("B").lstrip("0")
