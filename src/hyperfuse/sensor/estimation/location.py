"""Where the HSI's samples lie on the MSI and how they are blurred, found by turns: each leans on the other."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from hyperfuse.sensor.estimation.position import PositionFit, fit_position
from hyperfuse.sensor.estimation.psf import PsfFit, fit_psf
from hyperfuse.sensor.estimation.sampling import psf_deviation
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import GaussianPsf

Valid = tuple[torch.Tensor | None, torch.Tensor | None]

# So many turns, or until neither position (HR pixels) nor width (relative) changes by more.
_ROUNDS, _SETTLED = 3, 0.01
# Standard deviations in LR pixels of the PSFs through which a position is first looked for.
_FIRST_WIDTHS = (0.15, 0.494)


class Location(NamedTuple):
    """The sensor with the phase and PSF found, where they can be trusted, and the fits; None for what was known.

    ``position.motion`` is that of the last turn; how far the phase moved in all is told by the sensor.
    """

    sensor: Sensor
    position: PositionFit | None
    blur: PsfFit | None


def locate(
    hsi: torch.Tensor,
    msi: torch.Tensor,
    sensor: Sensor,
    *,
    known_phase: bool,
    known_psf: bool,
    hsi_valid: torch.Tensor | None = None,
    msi_valid: torch.Tensor | None = None,
    max_shift: float | None = None,
) -> Location:
    """Find the phase and the PSF of a pair, those that are not known.

    Args:
        hsi: LR-HSI (bands, h, w), finite.
        msi: HR-MSI (msi_bands, H, W), finite.
        sensor: ratio, and phase and PSF as known or assumed; what cannot be trusted stays as assumed.
        known_phase: keep the sensor's phase.
        known_psf: keep the sensor's PSF.
        hsi_valid: bool (h, w), or None where all is valid.
        msi_valid: bool (H, W), or None.
        max_shift: HR pixels searched to either side, as in :func:`fit_position`.

    Raises:
        InputError: too few LR pixels see the MSI.
    """
    valid = (hsi_valid, msi_valid)
    start, position, blur = sensor, None, None
    if not known_phase:
        sensor, position = _first_position(hsi, msi, sensor, valid, None if known_psf else _FIRST_WIDTHS, max_shift)
    if known_psf:
        return Location(sensor, position, None)
    for _ in range(_ROUNDS):
        before = sensor
        # A position that is not believed is not to be moved by the blur either.
        free = position is not None and position.trusted
        blur = fit_psf(hsi, msi, sensor, free_phase=free, hsi_valid=hsi_valid, msi_valid=msi_valid)
        y, x = sensor.offset
        sensor = sensor.replace(psf=blur.psf, phase=(y + blur.shift[0], x + blur.shift[1]))
        if position is None or not free:
            break
        # The first turns searched widely; what is left is small.
        found = fit_position(hsi, msi, sensor, hsi_valid=hsi_valid, msi_valid=msi_valid, max_shift=0, affine=False)
        position = replace(found, before=position.before)
        sensor = _shifted(sensor, found)
        if _settled(before, sensor):
            break
    if blur is not None and not blur.trusted:
        sensor = sensor.replace(psf=start.psf)
    return Location(sensor, position, blur)


def _first_position(
    hsi: torch.Tensor,
    msi: torch.Tensor,
    sensor: Sensor,
    valid: Valid,
    widths: tuple[float, ...] | None,
    max_shift: float | None,
) -> tuple[Sensor, PositionFit]:
    """Return the sensor moved to where it fits best; where the PSF is free, through the best of some widths."""
    tried = []
    y, x = sensor.ratio
    blurs = [sensor.psf] if widths is None else [GaussianPsf(sigma=(width * y, width * x)) for width in widths]
    for psf in blurs:
        one = sensor.replace(psf=psf)
        found = fit_position(hsi, msi, one, hsi_valid=valid[0], msi_valid=valid[1], max_shift=max_shift, affine=False)
        tried.append((found.after, found, one))
    _, best, one = max(tried, key=lambda entry: entry[0])
    return _shifted(one, best), best


def _shifted(sensor: Sensor, found: PositionFit) -> Sensor:
    if not found.trusted:
        return sensor
    move = found.motion.shift
    return sensor.replace(phase=(sensor.offset[0] + move[0], sensor.offset[1] + move[1]))


def _settled(before: Sensor, after: Sensor) -> bool:
    moved = np.abs(np.subtract(before.offset, after.offset)).max()
    return bool(moved < _SETTLED and abs(math.log(psf_deviation(before) / psf_deviation(after))) < _SETTLED)
