"""Position of the HSI's grid on the MSI: shift, rotation and scale, from the images alone and without responses."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from hyperfuse.sensor.estimation.fit import Array
from hyperfuse.sensor.estimation.noise import noise_gain
from hyperfuse.sensor.estimation.sampling import PairPart, psf_deviation, thinned
from hyperfuse.sensor.estimation.views import Motion, PartView, PixelSample, mix
from hyperfuse.statistics.folds import block_labels

_COARSE_COMPONENTS = 2
_COARSE_PIXELS = 1024
# Each stage uses a window this many times as wide as the one before, and starts from its result: a rotation that one
# shift describes over the first window is known well enough to be followed over the next.
_GROWTH = 3.0
_STEPS = 20
_SETTLED = 1e-3  # HR pixels
_MAX_STEP = 1.5  # HR pixels
# A shift is accepted where the HSI explains at least this fraction of the MSI and its standard error is at most this
# many HR pixels.
_MIN_EXPLAINED = 0.5
_MAX_ERROR = 0.25


@dataclass(frozen=True)
class PositionFit:
    """What :func:`fit_position` found.

    Attributes:
        motion: shift, rotation, scale; positions count in HR pixels of the scene.
        errors: standard errors of (shift y, shift x in HR pixels, rotation in radians, scale), NaN if not fitted.
        before: fraction of the MSI's variance that held-out predictions from the HSI explain at the assumed position.
        after: the same at the position found.
        at_limit: the best coarse shift lies at the limit of the search, beyond which the best one may lie.
        pixels: number of LR pixels that the fit rests on.
        reach: largest distance of them from the centre, in HR pixels.
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
        """Why the fit is not accepted, empty where it is."""
        if not self.after >= _MIN_EXPLAINED:
            return f"the HSI explains {max(self.after, 0):.0%} of the MSI at best"
        if self.at_limit:
            return "the best shift lies at the limit of the search"
        if not max(self.errors[:2]) <= _MAX_ERROR:
            return f"the shift is uncertain by {max(self.errors[:2]):.2g} HR pixels"
        return ""

    @property
    def accepted(self) -> bool:
        """Whether the images determine the shift."""
        return not self.doubt


def fit_position(part: PairPart, *, max_shift: float | None = None, affine: bool = True) -> PositionFit:
    """Find the position at which the degraded MSI is best explained by the HSI's spectra, whatever its responses.

    At every candidate position the MSI, sampled through the PSF, is predicted linearly from the HSI's bands, each LR
    pixel by a fit without it. A search over whole HR pixels, ``max_shift`` to either side (default: 6 or two LR pixels,
    whichever is larger), starts Gauss-Newton steps on sub-pixel position; the regression is a fixed linear map of the
    sampled MSI (variable projection: Golub and Pereyra, SIAM J. Numer. Anal. 10(2), 1973), so that no HSI value is
    ever resampled. With ``affine``, rotation and scale are fitted where the pair shows them. Standard errors are robust
    to errors that neighbouring LR pixels share (sandwich estimate over blocks). Too few LR pixels on the MSI are an
    InputError.
    """
    limit = max(6.0, 2 * max(part.sensor.ratio)) if max_shift is None else max_shift
    view = PartView(part)
    centre, radius = view.first_window(limit)
    motion, at_limit = _coarse(view, centre, radius, limit)
    while True:
        sample = view.near(centre, radius, motion)
        motion, errors = _refine(sample, motion, affine)
        if radius >= view.extent:
            break
        radius *= _GROWTH
    agreeing = sample.agreeing(motion)
    if len(agreeing) < sample.count:
        sample = sample.select(agreeing)
        motion, errors = _refine(sample, motion, affine)
    start = Motion((0.0, 0.0), 0.0, 0.0, motion.centre)
    before, after = sample.explained(start), sample.explained(motion)
    y, x = motion.centre
    motion = replace(motion, centre=(y + part.origin[0], x + part.origin[1]))
    return PositionFit(
        motion, four_errors(errors), before, after, at_limit, sample.count, float(sample.distances.max())
    )


def four_errors(errors: tuple[float, ...]) -> tuple[float, float, float, float]:
    """Return standard errors of shift y, shift x, rotation and scale, NaN for those that were not fitted."""
    y, x, rotation, scale = (*errors, *([math.nan] * (4 - len(errors))))
    return y, x, rotation, scale


def _coarse(view: PartView, centre: Array, radius: float, limit: float) -> tuple[Motion, bool]:
    """Search whole steps of about a quarter of an LR pixel around the assumed position."""
    sample = view.near(centre, radius, None, margin=limit)
    sample = sample.select(thinned(np.arange(sample.count), _COARSE_PIXELS))
    matrix = sample.matrix[:, :_COARSE_COMPONENTS]
    step = max(1, round(min(view.part.sensor.ratio) / 4))
    moves = np.arange(-math.floor(limit / step), math.floor(limit / step) + 1) * float(step)
    grid = np.stack(np.meshgrid(moves, moves, indexing="ij"), axis=-1).reshape(-1, 2)
    sampled = _sampled_coarsely(view.part, matrix, sample.positions, grid)
    values = np.log(sample.fit.unexplained(sampled)).reshape(len(moves), len(moves), -1).mean(axis=2)
    row, col = np.unravel_index(int(np.argmin(values)), values.shape)
    at_limit = len(moves) > 1 and (row in (0, len(moves) - 1) or col in (0, len(moves) - 1))
    return Motion((float(moves[row]), float(moves[col])), 0.0, 0.0, sample.centre), at_limit


def _sampled_coarsely(part: PairPart, matrix: Array, positions: Array, moves: Array) -> Array:
    """Return the blurred components at every position moved by each of (m, 2), the pixels nearest to it: (n, m k)."""
    image, sensor = part.msi, part.sensor
    reach = 4 * psf_deviation(sensor) + 2
    size = np.array(image.shape[-2:])
    low = np.clip(np.floor((positions + moves.min(axis=0)).min(axis=0) - reach).astype(int), 0, size - 1)
    high = np.clip(np.ceil((positions + moves.max(axis=0)).max(axis=0) + reach).astype(int) + 1, low + 1, size)
    near = mix(matrix, image[:, low[0] : high[0], low[1] : high[1]])
    # Where the ratio is whole, all positions have the same fraction of a pixel; else they are rounded.
    fraction = positions[0] - np.round(positions[0])
    start = (float(fraction[0]), float(fraction[1]))
    everywhere = sensor.replace(ratio=1.0, phase=start, boundary="reflect", displacement=None)
    blurred = everywhere.degrade(near, (near.shape[-2], near.shape[-1])).double().cpu().numpy()
    index = np.round(positions - fraction).astype(int)[:, None] + moves.astype(int)[None] - low
    rows, cols = (np.clip(index[..., axis], 0, blurred.shape[axis + 1] - 1) for axis in (0, 1))
    return np.asarray(np.moveaxis(blurred[:, rows, cols], 0, -1).reshape(len(positions), -1))


def _refine(sample: PixelSample, motion: Motion, affine: bool) -> tuple[Motion, tuple[float, ...]]:
    """Gauss-Newton from ``motion``; rotation and scale where they explain more than their number would."""
    sample = sample.tuned(motion)
    moved = sample.positions.mean(axis=0, keepdims=True)
    shift = motion.apply(moved)[0] - moved[0]
    motion = replace(motion, centre=sample.centre, shift=(float(shift[0]), float(shift[1])))
    straight, errors = _gauss_newton(sample, replace(motion, rotation=0.0, scale=0.0), 2)
    if not affine:
        return straight, errors
    wide, wide_errors = _gauss_newton(sample, motion, 4)
    # Pixels of a block share errors, so only blocks count as independent (Akaike's criterion on them).
    independent = (int(block_labels(sample.pixels).max()) + 1) * sample.matrix.shape[1]
    if sample.cost(wide) < sample.cost(straight) - 2 * 2 / independent:
        return wide, wide_errors
    return straight, errors


def _gauss_newton(sample: PixelSample, motion: Motion, parameters: int) -> tuple[Motion, tuple[float, ...]]:
    cost = sample.cost(motion)
    for _ in range(_STEPS):
        residual, slopes, correction = _linearised(sample, motion, parameters)
        full: Array = -np.linalg.lstsq(slopes.T @ slopes, slopes.T @ residual - correction, rcond=1e-10)[0].astype(
            float
        )
        step = full * min(1.0, _MAX_STEP / max(float(np.abs(full).max()), 1e-300))
        for _halving in range(6):
            tried = _moved(motion, step, sample.radius)
            new = sample.cost(tried)
            if new <= cost:
                break
            step = step / 2
        else:
            break
        motion, cost = tried, new
        if float(np.abs(step).max()) < _SETTLED:
            break
    return motion, _standard_errors(sample, motion, parameters)


def _linearised(sample: PixelSample, motion: Motion, parameters: int) -> tuple[Array, Array, Array]:
    """Return the residual (n k,), its slopes (n k, parameters), in deviations of each component, and a correction.

    What is minimised is not the residual but its fraction of the variance: under noise the regression shrinks its
    predictions, and the plain residual would favour positions at which the MSI varies less. And between pixel centres a
    narrow PSF averages more of the MSI's noise, which is no reason to prefer such positions either. The correction
    (parameters,) is what both subtract from half the slope of the sum of squares.
    """
    positions, psf = motion.apply(sample.positions), sample.part.sensor.psf
    values, along_y, along_x = sample.sampled(motion, gradient=True) @ sample.matrix
    residual = sample.fit.residual(values)
    energy = np.maximum(np.square(residual).mean(axis=0), 1e-300)
    centred = values - values.mean(axis=0)
    variance = np.maximum(np.square(centred).mean(axis=0), 1e-300)
    y, x = ((sample.positions - np.asarray(sample.centre)) / sample.radius).T[:, :, None]
    _, gain_y, gain_x = noise_gain(positions, psf)[:, :, None]

    def directions(by_y: Array, by_x: Array) -> list[Array]:
        two = [by_y, by_x]
        return two if parameters == 2 else [*two, by_x * y - by_y * x, by_y * y + by_x * x]

    changes = directions(along_y, along_x)
    slopes = np.stack([(sample.fit.residual(change) / np.sqrt(energy)).ravel() for change in changes], axis=1)
    fraction = float((sample.noise / energy).sum())
    correction = [
        0.5 * fraction * float(gain.sum()) + float((centred * change / variance).sum())
        for gain, change in zip(directions(gain_y, gain_x), changes, strict=True)
    ]
    return (residual / np.sqrt(energy)).ravel(), slopes, np.array(correction)


def _moved(motion: Motion, step: Array, radius: float) -> Motion:
    y, x, rotation, scale = (*step.tolist(), 0.0, 0.0)[:4]
    shift = (motion.shift[0] + y, motion.shift[1] + x)
    return replace(
        motion, shift=shift, rotation=motion.rotation + rotation / radius, scale=motion.scale + scale / radius
    )


def _standard_errors(sample: PixelSample, motion: Motion, parameters: int) -> tuple[float, ...]:
    residual, slopes, _ = _linearised(sample, motion, parameters)
    normal = slopes.T @ slopes
    if not np.linalg.cond(normal) < 1e12:
        return (math.inf,) * parameters  # no contrast, or none along one direction
    inverse = np.linalg.inv(normal)
    block = block_labels(sample.pixels)
    components = residual.size // sample.count
    scores = (slopes * residual[:, None]).reshape(sample.count, components, -1).sum(axis=1)
    summed = np.zeros((int(block.max()) + 1, parameters))
    np.add.at(summed, block, scores)
    variance = np.diag(inverse @ (summed.T @ summed) @ inverse)
    units = np.array([1.0, 1.0, 1 / sample.radius, 1 / sample.radius])[:parameters]
    return tuple((np.sqrt(np.maximum(variance, 0)) * units).tolist())
