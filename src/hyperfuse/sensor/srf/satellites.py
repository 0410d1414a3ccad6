"""Responses of satellite sensors: published curves where pyrsr holds them, else nominal, flat-topped ones."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from numpy.typing import ArrayLike

from hyperfuse.errors import InputError, nearest_name
from hyperfuse.io.products.nominal_bands import NOMINAL_BANDS, nominal_ranges
from hyperfuse.runtime.optional import require
from hyperfuse.sensor.srf.curves import FLAT_TOPPED, srf_from_centres, srf_from_curves
from hyperfuse.sensor.srf.srf import HsiBands, Srf


class Satellite(NamedTuple):
    """A satellite sensor; by default no panchromatic, thermal, cirrus or other atmospheric bands are taken.

    ``pyrsr_names`` are satellite and sensor as pyrsr calls them, None where it does not hold them and
    :data:`~hyperfuse.io.products.nominal_bands.NOMINAL_BANDS` has centres and widths; ``further_bands`` are the others.
    """

    name: str
    pyrsr_names: tuple[str, str] | None
    bands: tuple[str, ...]
    further_bands: tuple[str, ...] = ()
    pan: str | None = None

    @property
    def all_bands(self) -> tuple[str, ...]:
        """All bands that are known."""
        return self.bands + self.further_bands


def _sensor(name: str, satellite: str, sensor: str, bands: str, further: str = "", pan: str | None = None) -> Satellite:
    return Satellite(name, (satellite, sensor), tuple(bands.split()), tuple(further.split()), pan)


def _nominal(name: str, further: str = "", pan: str | None = None) -> Satellite:
    others = (*further.split(), *((pan,) if pan else ()))
    bands = tuple(band for band, _, _ in NOMINAL_BANDS[name])
    return Satellite(name, None, tuple(band for band in bands if band not in others) or others, others, pan)


_SENTINEL_2 = ("B2 B3 B4 B5 B6 B7 B8 B8A B11 B12", "B1 B9 B10")
_TM = ("B1 B2 B3 B4 B5 B7", "B6")
_OLI = ("B1 B2 B3 B4 B5 B6 B7", "B8 B9 B10 B11", "B8")
_HRV = ("B1 B2 B3", "B4", "B4")
_HRG = ("B1 B2 B3 B4", "B5", "B5")
_MODIS = ("B1 B2 B3 B4 B5 B6 B7", "B8 B9 B10 B11 B12 B13 B14 B15 B16")
_ASTER = ("B1 B2 B3N B4 B5 B6 B7 B8 B9", "B3B B10 B11 B12 B13 B14")

_SATELLITES = {
    satellite.name: satellite
    for satellite in (
        _sensor("sentinel-2a", "Sentinel-2A", "MSI", *_SENTINEL_2),
        _sensor("sentinel-2b", "Sentinel-2B", "MSI", *_SENTINEL_2),
        _sensor("landsat-4", "Landsat-4", "TM", *_TM),
        _sensor("landsat-5", "Landsat-5", "TM", *_TM),
        _sensor("landsat-7", "Landsat-7", "ETM+", "B1 B2 B3 B4 B5 B7", "B6L B6H B8", "B8"),
        _sensor("landsat-8", "Landsat-8", "OLI_TIRS", *_OLI),
        _sensor("landsat-9", "Landsat-9", "OLI_TIRS", *_OLI),
        _sensor("rapideye", "RapidEye-5", "MSI", "B1 B2 B3 B4 B5"),
        _sensor("spot-1-hrv1", "SPOT-1", "HRV1", *_HRV),
        _sensor("spot-1-hrv2", "SPOT-1", "HRV2", *_HRV),
        _sensor("spot-2-hrv1", "SPOT-2", "HRV1", *_HRV),
        _sensor("spot-2-hrv2", "SPOT-2", "HRV2", *_HRV),
        _sensor("spot-3-hrv1", "SPOT-3", "HRV1", *_HRV),
        _sensor("spot-3-hrv2", "SPOT-3", "HRV2", *_HRV),
        _sensor("spot-4-hrvir1", "SPOT-4", "HRVIR1", *_HRG),
        _sensor("spot-4-hrvir2", "SPOT-4", "HRVIR2", *_HRG),
        _sensor("spot-5-hrg1", "SPOT-5", "HRG1", *_HRG),
        _sensor("spot-5-hrg2", "SPOT-5", "HRG2", *_HRG),
        _sensor("aster", "Terra", "ASTER", *_ASTER),
        _sensor("modis-terra", "Terra", "MODIS", *_MODIS),
        _sensor("modis-aqua", "Aqua", "MODIS", *_MODIS),
        _nominal("sentinel-2c", "B1 B9 B10"),
        _nominal("planetscope-superdove"),
        _nominal("planetscope-0e"),
        _nominal("worldview-2", pan="P"),
        _nominal("worldview-3", "S1 S2 S3 S4 S5 S6 S7 S8", pan="P"),
        _nominal("eo-1-ali", pan="PAN"),
        _nominal("gaofen-1-wfv1"),
        _nominal("gaofen-6-pms", pan="PAN"),
        _nominal("prisma-pan", pan="PAN"),
    )
}


def list_satellites() -> dict[str, Satellite]:
    """Return the satellite sensors that are known, by name, with the bands that are taken by default."""
    return dict(_SATELLITES)


def find_satellite(name: str) -> Satellite | None:
    """Return the sensor of that name, or None; case, spaces and hyphens do not matter (``Sentinel2A``)."""
    plain = re.sub(r"[\s_-]", "", name.lower())
    return next((known for known in _SATELLITES.values() if known.name.replace("-", "") == plain), None)


def srf_from_satellite(
    name: str, hsi: HsiBands | ArrayLike, bands: Sequence[str] | None = None, *, drop_uncovered: bool = False
) -> Srf:
    """Return the responses of a satellite sensor of :func:`list_satellites` on the bands of an HSI.

    The curves are those of the package pyrsr (Scheffler, GFZ Potsdam), which names the origin of each of them. Of a
    sensor that it does not hold they are flat-topped, of nominal centres and widths, and ``source`` says so. Other
    arguments and errors as of :func:`srf_from_curves`.

    Args:
        name: such as ``sentinel-2a`` or ``landsat-8``.
        hsi: bands of the HSI, or their wavelengths in nm, any order, shape (hsi_bands,).
        bands: the bands to take, in this order, as ``B8A``, ``b08a`` or ``8A``; ``PAN`` is the panchromatic one.
            Default: the optical ones that fusion uses (of Sentinel-2 the ten of 10 and 20 m; elsewhere all but
            panchromatic, thermal and cirrus; of MODIS the seven land bands; of ASTER those of the nadir view).
        drop_uncovered: leave out bands that the HSI does not cover, with a HyperfuseWarning that names them.
    """
    satellite = find_satellite(name)
    if satellite is None:
        raise InputError(f"no satellite sensor {name!r}{nearest_name(name, _SATELLITES)}")
    chosen = satellite.bands if bands is None else tuple(_band(satellite, band) for band in bands)
    if not chosen:
        raise InputError(f"no band of {satellite.name} is chosen; take some of {', '.join(satellite.all_bands)}")
    if len(set(chosen)) < len(chosen):
        raise InputError(f"a band of {satellite.name} is chosen twice: {', '.join(chosen)}")

    if satellite.pyrsr_names is None:
        centres, widths = zip(*nominal_ranges(satellite.name, chosen), strict=True)
        return srf_from_centres(
            centres,
            widths,
            hsi,
            names=chosen,
            source=f"{satellite.name} (nominal centres and widths, flat-topped)",
            exponent=FLAT_TOPPED,
            drop_uncovered=drop_uncovered,
        )
    # Loads pandas, a quarter of a second that only this function needs.
    RSR = require("pyrsr", f"reading the spectral responses of {satellite.name}").RSR
    keys = [band.removeprefix("B") for band in chosen]
    responses = RSR(*satellite.pyrsr_names, LayerBandsAssignment=keys)
    return srf_from_curves(
        responses.rsrs_wvl,
        [responses.rsrs_norm01[key] for key in keys],
        hsi,
        names=chosen,
        source=f"{satellite.name} (pyrsr)",
        drop_uncovered=drop_uncovered,
    )


def _band(satellite: Satellite, text: str) -> str:
    band = text.strip().upper()
    if band == "PAN" and satellite.pan is not None:
        return satellite.pan
    known = {name.upper(): name for name in satellite.all_bands}
    named = known.get(band) or known.get("B" + band.removeprefix("B").lstrip("0"))
    if named is None:
        what = "panchromatic band" if band == "PAN" else f"band {text.strip()!r}"
        raise InputError(f"{satellite.name} has no {what}; its bands are {', '.join(satellite.all_bands)}")
    return named
