"""Position of the HSI's samples on the MSI and their blur, estimated alternately: each depends on the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from hyperfuse.sensor.estimation.position import PositionFit, fit_positions
from hyperfuse.sensor.estimation.psf import PsfFit, fit_psf
from hyperfuse.sensor.estimation.sampling import PairPart, psf_deviation
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import GaussianPsf

# Maximum number of rounds; they end when neither position (HR pixels) nor width (relative) changes by more.
_ROUNDS, _SETTLED = 3, 0.01
# Standard deviations in LR pixels of the PSFs through which a position is searched first.
_FIRST_WIDTHS = (0.15, 0.494)


class Location(NamedTuple):
    """Parts with the phase and PSF found, where they are accepted, and the fits; None for what was known.

    ``position.motion`` is that of the last round; the phases of the parts hold the whole displacement.
    """

    parts: tuple[PairPart, ...]
    position: PositionFit | None
    psf_fit: PsfFit | None

    @property
    def sensor(self) -> Sensor:
        """The sensor of the first part."""
        return self.parts[0].sensor


def locate(
    parts: Sequence[PairPart], *, known_phase: bool, known_psf: bool, max_shift: float | None = None
) -> Location:
    """Find the phase and the PSF of a pair or of parts of a scene, those that are not known.

    Args:
        parts: with ratio, and phase and PSF as known or assumed; what is not accepted stays as assumed.
        known_phase: keep the phase.
        known_psf: keep the PSF.
        max_shift: HR pixels searched to either side, as in :func:`fit_positions`.

    Raises:
        InputError: too few LR pixels lie on the MSI.
    """
    assumed, found, position, psf_fit = parts[0].sensor.psf, tuple(parts), None, None
    if not known_phase:
        found, position = _first_position(found, None if known_psf else _FIRST_WIDTHS, max_shift)
    if known_psf:
        return Location(found, position, None)
    for _ in range(_ROUNDS):
        before = found
        # A position that is not accepted is not to be moved by the blur either.
        free = position is not None and position.accepted
        psf_fit = fit_psf(found, free_phase=free)
        found = tuple(part.moved(psf_fit.shift, psf_fit.psf) for part in found)
        if position is None or not free:
            break
        # The first rounds searched widely; the residual shift is small.
        fit = _positions(found, 0)
        position = replace(fit, before=position.before)
        found = _moved(found, fit)
        if _settled(before, found):
            break
    if psf_fit is not None and not psf_fit.accepted:
        found = tuple(part.moved((0, 0), assumed) for part in found)
    return Location(found, position, psf_fit)


def _first_position(
    parts: tuple[PairPart, ...], widths: tuple[float, ...] | None, max_shift: float | None
) -> tuple[tuple[PairPart, ...], PositionFit]:
    """Return the parts moved to where they fit best; where the PSF is free, through the best of some widths."""
    tried = []
    y, x = parts[0].sensor.ratio
    psfs = [None] if widths is None else [GaussianPsf(sigma=(width * y, width * x)) for width in widths]
    for psf in psfs:
        blurred = tuple(part.moved((0, 0), psf) for part in parts)
        fit = _positions(blurred, max_shift)
        tried.append((fit.after, fit, blurred))
    _, best, blurred = max(tried, key=lambda entry: entry[0])
    return _moved(blurred, best), best


def _positions(parts: tuple[PairPart, ...], max_shift: float | None) -> PositionFit:
    """Fit one shift to one part; over several parts it may change as a rotation or a scale makes it change."""
    return fit_positions(parts, max_shift=max_shift, affine=len(parts) > 1)


def _moved(parts: tuple[PairPart, ...], fit: PositionFit) -> tuple[PairPart, ...]:
    """Move every part by the displacement of its centre."""
    if not fit.accepted:
        return parts
    moved = []
    for part in parts:
        offset, ratio = np.asarray(part.sensor.offset), np.asarray(part.sensor.ratio)
        y, x = offset + ratio * (np.asarray(part.lr_shape) - 1) / 2 + np.asarray(part.origin)
        moved.append(part.moved(fit.motion.displacement((float(y), float(x)))))
    return tuple(moved)


def _settled(before: tuple[PairPart, ...], after: tuple[PairPart, ...]) -> bool:
    moved = max(
        float(np.abs(np.subtract(one.sensor.offset, other.sensor.offset)).max())
        for one, other in zip(before, after, strict=True)
    )
    widened = abs(math.log(psf_deviation(before[0].sensor) / psf_deviation(after[0].sensor)))
    return moved < _SETTLED and widened < _SETTLED
