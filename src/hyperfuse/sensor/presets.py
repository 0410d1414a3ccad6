"""Degradations of the literature, each with the phase that its authors' code implies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from hyperfuse.calls import checked
from hyperfuse.errors import InputError, nearest_name
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import GaussianPsf, gaussian_from_mtf, ratio_pair
from hyperfuse.sensor.srf.srf import Srf

Ratio = float | tuple[float, float]
PresetName = Literal["uestc", "dhif", "mtf"]


def uestc(ratio: Ratio, srf: Srf | None = None) -> Sensor:
    """Gaussian 3x3, sigma 0.5, circular border, first sample at ``ratio // 2``, for whole ratios.

    The degradation of PSRT, FeINFN and the other networks of that group: HSI samples are half an HR pixel off the
    centres of their blocks.
    """
    whole = _whole(ratio, "uestc")
    phase = float(whole // 2)
    psf = GaussianPsf(sigma=(0.5, 0.5), radius=(1.0, 1.0))
    return Sensor(ratio=(whole, whole), phase=(phase, phase), psf=psf, srf=srf, boundary="circular")


def dhif(ratio: Ratio, srf: Srf | None = None) -> Sensor:
    """Gaussian ratio x ratio, sigma 2, circular convolution, for whole ratios from 2; even ones centred on the blocks.

    The kernel's centre is index ``ratio // 2`` and the first sample ``ratio // 2 - 1``. An even kernel is centred half
    a pixel from its centre index, so that the weights of the first LR sample are centred at
    ``2 (ratio // 2) - 1 - (ratio - 1) / 2``: the centre of the block for even ratios, which is the phase given here.
    """
    whole = _whole(ratio, "dhif")
    if whole < 2:
        raise InputError("the preset dhif starts at a ratio of 2", parameter="ratio")
    half = (whole - 1) / 2
    phase = 2 * (whole // 2) - 1 - half
    psf = GaussianPsf(sigma=(2.0, 2.0), radius=(half, half))
    return Sensor(ratio=(whole, whole), phase=(phase, phase), psf=psf, srf=srf, boundary="circular")


def mtf(ratio: Ratio, srf: Srf | None = None) -> Sensor:
    """Gaussian with a modulation of 0.3 at the Nyquist frequency of the LR grid, centred, reflected border."""
    pair = ratio_pair(ratio)
    return Sensor(ratio=pair, psf=gaussian_from_mtf(0.3, pair), srf=srf)


_PRESETS: dict[str, Callable[[Ratio, Srf | None], Sensor]] = {"uestc": uestc, "dhif": dhif, "mtf": mtf}
assert set(_PRESETS) == set(get_args(PresetName))


@checked
def create_sensor(preset: str, ratio: Ratio, srf: Srf | None = None) -> Sensor:
    """Return the sensor of the preset named ``uestc``, ``dhif`` or ``mtf``.

    Raises:
        InputError: an unknown name, or a ratio the preset does not define.
    """
    if preset not in _PRESETS:
        raise InputError(f"no preset {preset!r}{nearest_name(preset, _PRESETS)}", parameter="preset")
    return _PRESETS[preset](ratio, srf)


def list_presets() -> list[str]:
    """Return the names of the presets."""
    return sorted(_PRESETS)


def _whole(ratio: Ratio, preset: str) -> int:
    pair = ratio_pair(ratio)
    whole = round(pair[0])
    if pair[0] != pair[1] or abs(pair[0] - whole) > 1e-9:
        raise InputError(
            f"the preset {preset} is defined for whole ratios, the same in y and x; got {ratio}; use mtf",
            parameter="ratio",
        )
    return whole
