"""Position and blur of a scene from one part or several, estimated alternately: each depends on the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from hyperfuse.sensor.estimation.fit import Array
from hyperfuse.sensor.estimation.position import PositionFit, fit_position, four_errors
from hyperfuse.sensor.estimation.psf import PsfFit, fit_psf
from hyperfuse.sensor.estimation.sampling import PairPart, from_each, psf_deviation, regular_positions
from hyperfuse.sensor.estimation.views import Motion
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import GaussianPsf
from hyperfuse.sensor.published import PsfPrior

# Maximum number of rounds; they end when neither position (HR pixels) nor width (relative) changes by more.
_ROUNDS, _SETTLED = 3, 0.01
# Standard deviations in LR pixels of the PSFs through which a position is searched first.
_FIRST_WIDTHS = (0.15, 0.494)
# Parallax and keystone displace the parts of a scene against each other: added to their standard errors, HR pixels.
_PART_ERROR = 0.02


def fit_positions(parts: Sequence[PairPart], *, max_shift: float | None = None, affine: bool = True) -> PositionFit:
    """Find the position from several parts of a scene; of one part, as :func:`fit_position` finds it.

    Each part gives a shift. Shift, rotation and scale of the scene are their weighted least squares fit over the
    positions of the parts; rotation and scale only where they explain more than their number would.
    """
    if len(parts) == 1:
        return fit_position(parts[0], max_shift=max_shift, affine=affine)
    fits = from_each(parts, lambda part: fit_position(part, max_shift=max_shift, affine=False))
    accepted = [fit for fit in fits if fit.accepted]
    if len(accepted) < 2:
        return max(accepted or fits, key=lambda fit: fit.after)
    points = np.array([fit.motion.centre for fit in accepted])
    shifts = np.array([fit.motion.shift for fit in accepted])
    errors = np.hypot([fit.errors[:2] for fit in accepted], _PART_ERROR)
    pixels = np.array([fit.pixels for fit in accepted], np.float64)
    centre = points.mean(axis=0)
    reach = float(np.linalg.norm(points - centre, axis=1).max())
    motion, deviations = _motion_of_shifts(points, shifts, errors, affine and reach > 0)
    before, after = np.average([(fit.before, fit.after) for fit in accepted], axis=0, weights=pixels).tolist()
    return PositionFit(motion, four_errors(deviations), before, after, False, int(pixels.sum()), reach)


def _motion_of_shifts(points: Array, shifts: Array, errors: Array, affine: bool) -> tuple[Motion, tuple[float, ...]]:
    """Fit a motion to the shifts (n, 2) of points (n, 2); return it and the standard errors of its parameters."""
    centre = points.mean(axis=0)
    radius = max(float(np.sqrt(np.square(points - centre).sum(axis=1).mean())), 1.0)
    y, x = ((points - centre) / radius).T
    one, zero = np.ones_like(y), np.zeros_like(y)
    # Unknowns: shift y, shift x, (1 + scale) sin(rotation) and (1 + scale) cos(rotation) - 1, both per radius.
    along_y, along_x = np.stack([one, zero, -x, y], axis=1), np.stack([zero, one, y, x], axis=1)
    design = np.stack([along_y, along_x], axis=1) / errors[:, :, None]
    goal = (shifts / errors).ravel()

    def solve(unknowns: int) -> tuple[Array, float, Array]:
        matrix = design[:, :, :unknowns].reshape(-1, unknowns)
        values = np.linalg.lstsq(matrix, goal, rcond=None)[0]
        misfit = float(np.square(goal - matrix @ values).sum())
        # Parts that disagree by more than their errors make all errors larger.
        excess = max(1.0, misfit / max(goal.size - unknowns, 1))
        deviations = np.sqrt(np.diag(np.linalg.pinv(matrix.T @ matrix)) * excess)
        return np.asarray(values, np.float64), misfit, deviations

    values, misfit, deviations = solve(2)
    if affine:
        wide, wide_misfit, wide_deviations = solve(4)
        if wide_misfit + 2 * 2 < misfit:
            values, deviations = wide, wide_deviations
    sine, cosine = (values[2:] / radius) if values.size == 4 else (0.0, 0.0)
    motion = Motion(
        shift=(float(values[0]), float(values[1])),
        rotation=math.atan2(float(sine), 1 + float(cosine)),
        scale=math.hypot(float(sine), 1 + float(cosine)) - 1,
        centre=(float(centre[0]), float(centre[1])),
    )
    units = (1.0, 1.0, 1 / radius, 1 / radius)
    return motion, tuple(float(value) * unit for value, unit in zip(deviations, units, strict=False))


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
    parts: Sequence[PairPart],
    *,
    known_phase: bool,
    known_psf: bool,
    max_shift: float | None = None,
    prior: PsfPrior | None = None,
) -> Location:
    """Find the phase and the PSF of a pair or of parts of a scene, those that are not known.

    What is not accepted stays as assumed; ``max_shift`` as in :func:`fit_position`, ``prior`` as in :func:`fit_psf`.

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
        psf_fit = fit_psf(found, free_phase=free, prior=prior)
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
    y, x = parts[0].sensor.ratio
    psfs = [None] if widths is None else [GaussianPsf(sigma=(width * y, width * x)) for width in widths]
    blurred = [tuple(part.moved((0, 0), psf) for part in parts) for psf in psfs]
    fits = [_positions(one, max_shift) for one in blurred]
    fit, moved = max(zip(fits, blurred, strict=True), key=lambda tried: tried[0].after)
    return _moved(moved, fit), fit


def _positions(parts: tuple[PairPart, ...], max_shift: float | None) -> PositionFit:
    """Fit one shift to one part; over several parts it may change as a rotation or a scale makes it change."""
    return fit_positions(parts, max_shift=max_shift, affine=len(parts) > 1)


def _moved(parts: tuple[PairPart, ...], fit: PositionFit) -> tuple[PairPart, ...]:
    """Move every part by the displacement of its centre."""
    if not fit.accepted:
        return parts
    moved = []
    for part in parts:
        y, x = regular_positions(part.sensor, (np.array(part.lr_shape) - 1) / 2) + part.origin
        moved.append(part.moved(fit.motion.displacement((float(y), float(x)))))
    return tuple(moved)


def _settled(before: tuple[PairPart, ...], after: tuple[PairPart, ...]) -> bool:
    offsets = np.array([[part.sensor.offset for part in parts] for parts in (before, after)])
    moved = np.abs(offsets[0] - offsets[1]).max()
    widened = abs(math.log(psf_deviation(before[0].sensor) / psf_deviation(after[0].sensor)))
    return bool(moved < _SETTLED and widened < _SETTLED)
