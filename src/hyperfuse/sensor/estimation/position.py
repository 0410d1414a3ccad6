"""Where the HSI's grid lies on the MSI: shift, rotation and scale, from the images alone and without responses."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from hyperfuse.sensor.estimation.fit import Array
from hyperfuse.sensor.estimation.noise import noise_gain
from hyperfuse.sensor.estimation.sampling import psf_deviation
from hyperfuse.sensor.estimation.views import Motion, PairPart, PairViews, mix
from hyperfuse.sensor.model import Sensor
from hyperfuse.statistics.folds import block_labels

_COARSE_COMPONENTS = 2
_COARSE_PIXELS = 1024
# Each stage sees so many times as far as the one before, and starts from what that found: a rotation that one shift
# describes over the first window is known well enough to be followed over the next.
_GROWTH = 3.0
_STEPS = 20
_SETTLED = 1e-3  # HR pixels
_LONGEST_STEP = 1.5  # HR pixels
# A shift is believed where the HSI explains at least this share of the MSI and its standard error is at most so many
# HR pixels.
_LEAST_EXPLAINED = 0.5
_LARGEST_ERROR = 0.25


@dataclass(frozen=True)
class PositionFit:
    """What :func:`fit_position` found.

    Attributes:
        motion: shift, rotation, scale.
        errors: standard errors of (shift y, shift x in HR pixels, rotation in radians, scale); NaN for the last two
            where they were not fitted.
        before: share of the MSI's variance that the HSI's held-out predictions explain at the assumed position.
        after: the same at the position found.
        at_limit: the best coarse shift lies at the limit of the search, so the true one may lie beyond.
        pixels: number of LR pixels that the fit rests on.
        reach: largest distance from the centre, in HR pixels, at which the motion was seen.
    """

    motion: Motion
    errors: tuple[float, float, float, float]
    before: float
    after: float
    at_limit: bool
    pixels: int
    reach: float

    @property
    def doubt(self) -> str:
        """Why the fit cannot be trusted, or nothing."""
        if not self.after >= _LEAST_EXPLAINED:
            return f"the HSI explains {max(self.after, 0):.0%} of the MSI at best"
        if self.at_limit:
            return "the best shift lies at the limit of the search"
        if not max(self.errors[:2]) <= _LARGEST_ERROR:
            return f"the shift is uncertain by {max(self.errors[:2]):.2g} HR pixels"
        return ""

    @property
    def trusted(self) -> bool:
        """Whether the shift is told by the pair."""
        return not self.doubt


def fit_position(
    hsi: torch.Tensor,
    msi: torch.Tensor,
    sensor: Sensor,
    *,
    hsi_valid: torch.Tensor | None = None,
    msi_valid: torch.Tensor | None = None,
    max_shift: float | None = None,
    affine: bool = True,
) -> PositionFit:
    """Find the position at which the degraded MSI is best explained by the HSI's spectra.

    At every candidate position the MSI, seen through the PSF, is predicted linearly from the HSI's bands, each LR
    pixel by a fit that has not seen it: where the two agree, that works best, whatever the responses of the MSI. A
    search over whole HR pixels starts Gauss-Newton steps on sub-pixel position; the regression is a fixed linear map
    of the sampled MSI (variable projection: Golub and Pereyra, SIAM J. Numer. Anal. 10(2), 1973), so that no HSI value
    is ever resampled. Rotation and scale are fitted where the pair shows them. Standard errors are robust to errors
    that neighbouring LR pixels share (sandwich estimate over blocks).

    Args:
        hsi: LR-HSI (bands, h, w), finite.
        msi: HR-MSI (msi_bands, H, W), finite.
        sensor: the assumed ratio, phase and PSF; its responses are not used.
        hsi_valid: bool (h, w), or None where all is valid.
        msi_valid: bool (H, W), or None.
        max_shift: HR pixels searched to either side; 6 or two LR pixels, whichever is more, unless given.
        affine: also fit rotation and scale.

    Raises:
        InputError: too few LR pixels see the MSI.
    """
    limit = max(6.0, 2 * max(sensor.ratio)) if max_shift is None else max_shift
    views = PairViews(hsi, msi, sensor, hsi_valid, msi_valid)
    centre, radius = views.first_window(limit)
    motion, at_limit = _coarse(views, centre, radius, limit)
    while True:
        part = views.near(centre, radius, motion)
        motion, errors = _refine(part, motion, affine)
        if radius >= views.extent:
            break
        radius *= _GROWTH
    kept = part.keep(part.agreeing(motion))
    if kept.count < part.count:
        part = kept
        motion, errors = _refine(part, motion, affine)
    start = Motion((0.0, 0.0), 0.0, 0.0, motion.centre)
    all_errors = (*errors, *([math.nan] * (4 - len(errors))))
    return PositionFit(
        motion=motion,
        errors=(all_errors[0], all_errors[1], all_errors[2], all_errors[3]),
        before=part.explained(start),
        after=part.explained(motion),
        at_limit=at_limit,
        pixels=part.count,
        reach=part.reach,
    )


def _coarse(views: PairViews, centre: Array, radius: float, limit: float) -> tuple[Motion, bool]:
    """Search whole steps of about a quarter of an LR pixel around the assumed position."""
    part = views.near(centre, radius, None, margin=limit)
    thin = np.zeros(part.count, np.bool_)
    thin[np.linspace(0, part.count - 1, min(part.count, _COARSE_PIXELS)).round().astype(np.int64)] = True
    part = part.keep(thin)
    matrix = part.matrix[:, :_COARSE_COMPONENTS]
    step = max(1, round(min(views.sensor.ratio) / 4))
    moves = np.arange(-math.floor(limit / step), math.floor(limit / step) + 1) * float(step)
    grid = np.stack(np.meshgrid(moves, moves, indexing="ij"), axis=-1).reshape(-1, 2)
    seen = _sampled_coarsely(views.msi, matrix, part.positions, grid, views.sensor)
    values = np.log(part.fit.unexplained(seen)).reshape(len(moves), len(moves), -1).mean(axis=2)
    row, col = np.unravel_index(int(np.argmin(values)), values.shape)
    at_limit = len(moves) > 1 and (row in (0, len(moves) - 1) or col in (0, len(moves) - 1))
    return Motion((float(moves[row]), float(moves[col])), 0.0, 0.0, part.centre), at_limit


def _sampled_coarsely(image: torch.Tensor, matrix: Array, positions: Array, moves: Array, sensor: Sensor) -> Array:
    """Return the blurred components at every position moved by each of (m, 2), the pixels nearest to it: (n, m k)."""
    reach = 4 * psf_deviation(sensor) + 2
    size = np.array(image.shape[-2:])
    low = np.clip(np.floor((positions + moves.min(axis=0)).min(axis=0) - reach).astype(int), 0, size - 1)
    high = np.clip(np.ceil((positions + moves.max(axis=0)).max(axis=0) + reach).astype(int) + 1, low + 1, size)
    part = mix(matrix, image[:, low[0] : high[0], low[1] : high[1]])
    # Where the ratio is whole, all positions share their fraction of a pixel; else they are rounded.
    fraction = positions[0] - np.round(positions[0])
    everywhere = sensor.replace(ratio=1.0, phase=(float(fraction[0]), float(fraction[1])), boundary="reflect")
    blurred = everywhere.degrade(part, (part.shape[-2], part.shape[-1])).double().cpu().numpy()
    index = np.round(positions - fraction).astype(int)[:, None] + moves.astype(int)[None] - low
    rows, cols = (np.clip(index[..., axis], 0, blurred.shape[axis + 1] - 1) for axis in (0, 1))
    return np.asarray(np.moveaxis(blurred[:, rows, cols], 0, -1).reshape(len(positions), -1))


def _refine(part: PairPart, motion: Motion, affine: bool) -> tuple[Motion, tuple[float, ...]]:
    """Gauss-Newton from ``motion``; rotation and scale join where they explain more than their number would."""
    part = part.tuned(motion)
    moved = part.positions.mean(axis=0, keepdims=True)
    shift = motion.apply(moved)[0] - moved[0]
    motion = replace(motion, centre=part.centre, shift=(float(shift[0]), float(shift[1])))
    straight, errors = _gauss_newton(part, replace(motion, rotation=0.0, scale=0.0), 2)
    if not affine:
        return straight, errors
    wide, wide_errors = _gauss_newton(part, motion, 4)
    # Blocks of pixels share errors, so only blocks count as independent (Akaike's criterion on them).
    independent = (int(block_labels(part.places).max()) + 1) * part.matrix.shape[1]
    if part.cost(wide) < part.cost(straight) - 2 * 2 / independent:
        return wide, wide_errors
    return straight, errors


def _gauss_newton(part: PairPart, motion: Motion, parameters: int) -> tuple[Motion, tuple[float, ...]]:
    radius = max(float(np.sqrt(np.square(part.positions - np.asarray(part.centre)).sum(axis=1).mean())), 1.0)
    cost = part.cost(motion)
    for _ in range(_STEPS):
        residual, slopes, correction = _linearised(part, motion, parameters, radius)
        normal = slopes.T @ slopes
        full = np.asarray(-np.linalg.lstsq(normal, slopes.T @ residual - correction, rcond=1e-10)[0], np.float64)
        step: Array = full * min(1.0, _LONGEST_STEP / max(float(np.abs(full).max()), 1e-300))
        for _halving in range(6):
            tried = _moved(motion, step, radius)
            new = part.cost(tried)
            if new <= cost:
                break
            step = step / 2
        else:
            break
        motion, cost = tried, new
        if float(np.abs(step).max()) < _SETTLED:
            break
    return motion, _standard_errors(part, motion, parameters, radius)


def _linearised(part: PairPart, motion: Motion, parameters: int, radius: float) -> tuple[Array, Array, Array]:
    """Return the residual (n k,), its slopes (n k, parameters), in deviations of each component, and a correction.

    What is minimised is not the residual but the share of the variance that it is: under noise the regression shrinks
    its predictions, and the plain residual would favour places where the MSI varies less. And between pixel centres a
    narrow PSF averages more of the MSI's noise away, which is no reason to prefer such places either. The correction
    (parameters,) is what both take off half the slope of the sum of squares.
    """
    positions, psf = motion.apply(part.positions), part.views.sensor.psf
    values, along_y, along_x = part.seen_with_slopes(motion)
    residual = part.fit.residual(values)
    energy = np.maximum(np.square(residual).mean(axis=0), 1e-300)
    centred = values - values.mean(axis=0)
    variance = np.maximum(np.square(centred).mean(axis=0), 1e-300)
    y, x = ((part.positions - np.asarray(part.centre)) / radius).T[:, :, None]
    _, gain_y, gain_x = noise_gain(positions, psf)[:, :, None]

    def directions(by_y: Array, by_x: Array) -> list[Array]:
        two = [by_y, by_x]
        return two if parameters == 2 else [*two, by_x * y - by_y * x, by_y * y + by_x * x]

    changes = directions(along_y, along_x)
    slopes = np.stack([(part.fit.residual(change) / np.sqrt(energy)).ravel() for change in changes], axis=1)
    share = float((part.noise / energy).sum())
    correction = [
        0.5 * share * float(gain.sum()) + float((centred * change / variance).sum())
        for gain, change in zip(directions(gain_y, gain_x), changes, strict=True)
    ]
    return (residual / np.sqrt(energy)).ravel(), slopes, np.array(correction)


def _moved(motion: Motion, step: Array, radius: float) -> Motion:
    shift = (motion.shift[0] + float(step[0]), motion.shift[1] + float(step[1]))
    if step.size == 2:
        return replace(motion, shift=shift)
    return replace(
        motion,
        shift=shift,
        rotation=motion.rotation + float(step[2]) / radius,
        scale=motion.scale + float(step[3]) / radius,
    )


def _standard_errors(part: PairPart, motion: Motion, parameters: int, radius: float) -> tuple[float, ...]:
    residual, slopes, _ = _linearised(part, motion, parameters, radius)
    normal = slopes.T @ slopes
    if not np.linalg.cond(normal) < 1e12:
        return (math.inf,) * parameters  # no contrast, or none along one direction
    inverse = np.linalg.inv(normal)
    block = block_labels(part.places)
    components = residual.size // part.count
    scores = (slopes * residual[:, None]).reshape(part.count, components, -1).sum(axis=1)
    summed = np.zeros((int(block.max()) + 1, parameters))
    np.add.at(summed, block, scores)
    variance = np.diag(inverse @ (summed.T @ summed) @ inverse)
    scales = np.array([1.0, 1.0, 1 / radius, 1 / radius])[:parameters]
    return tuple(float(value) for value in np.sqrt(np.maximum(variance, 0)) * scales)
