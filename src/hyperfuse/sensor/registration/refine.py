"""Dense refinement of a displacement field by the forward model: Gauss-Newton on the residual of the MSI."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hyperfuse.sensor.registration.images import PairImages
from hyperfuse.sensor.registration.robust import PixelWeights, local_gain
from hyperfuse.sensor.registration.splines import Field, NormalEquations, SplineGrid

Array = NDArray[np.float64]

# Gauss-Newton: steps per scale, their largest displacement in LR pixels (more where the images are blurred), the root
# mean square that ends them, and the step after which the penalty is chosen again.
_STEPS, _MAX_STEP, _SETTLED, _AGAIN = 8, 1.5, 1e-3, 2
# Penalties on the bending, in the variance of the residual, from which held-out blocks choose.
_PENALTIES = tuple(10.0**power for power in range(0, 10))
_FOLDS = 4
_CHOSEN_ON = 24  # control points along a side from which the penalty is chosen
_BLOCK = 8.0  # LR pixels
# Least penalty while the field may be off by more than this many LR pixels: what little evidence is then right must not
# bend it far where there is none.
_LEAST_PENALTY, _NEAR = 1e3, 0.1
# Rounds of weights and linear map.
_ROUNDS = 5


class PyramidScale(NamedTuple):
    """A scale of the pyramid: blur and spacing of the control points in LR pixels, and how far off it may start."""

    blur: float
    spacing: float
    tolerance: float


@dataclass(frozen=True, eq=False)
class Linearised:
    """The residual of whitened components of the MSI at a displacement, its slopes and weights.

    Attributes:
        residual: MSI less its prediction from the HSI, (m, rows, cols), of unit variance on the whole.
        slopes: of the residual, (2, m, rows, cols), per LR pixel.
        design: what predicts it, (k + 1, rows, cols).
        weight: inverse variance in units of the typical one, 0 in gaps, (rows, cols).
        variance: of the whitened MSI, a number.
        matrix: linear map of the design to the components of the MSI, (m, k + 1).
        values: the components of the MSI, (m, rows, cols).
    """

    residual: Array
    slopes: Array
    design: Array
    weight: Array
    explained: float
    matrix: Array
    values: Array

    def equations(self, grid: SplineGrid, images: PairImages, chosen: Array | None = None) -> NormalEquations:
        """Return the normal equations of a step, of all pixels or of those chosen (rows, cols)."""
        weight = self.weight if chosen is None else self.weight * chosen
        y, x = self.slopes
        right = -weight * np.stack([(y * self.residual).sum(0), (x * self.residual).sum(0)])
        yy, yx, xx = (weight * (one * other).sum(0) for one, other in ((y, y), (y, x), (x, x)))
        return NormalEquations.of(grid, images.rows, images.cols, yy, yx, xx, right)

    def step(self, grid: SplineGrid, images: PairImages, penalty: float, start: Array) -> Array:
        """Return the Gauss-Newton step of the coefficients; the linear map follows it (Schur complement)."""
        system = self.equations(grid, images)
        factor = system.factor(penalty)
        step = factor.solve(system.right - penalty * grid.penalty_blocks.times(start))
        along_y, along_x = grid.bases(images.rows, images.cols)
        components, count = len(self.residual), len(self.design)
        crossed = np.stack(
            [
                -(along_y.T @ (self.weight * slopes * predictor) @ along_x)
                for slopes_of_one in np.moveaxis(self.slopes, 1, 0)
                for predictor in self.design
                for slopes in slopes_of_one
            ]
        ).reshape(components * count, 2, *grid.shape)
        solved = factor.solve(crossed).reshape(components * count, -1)
        cross = crossed.reshape(components * count, -1)
        design = self.design.reshape(count, -1)
        gram = np.kron(np.eye(components), (design * self.weight.ravel()) @ design.T)
        schur = gram - cross @ solved.T + 1e-9 * np.diag(np.diag(gram))
        change = np.linalg.solve(schur, -(cross @ step.ravel()))
        return np.asarray(step - (change @ solved).reshape(step.shape))


def linearise(images: PairImages, displacement: Array, tolerance: float = 0.0) -> Linearised:
    """Compare the MSI at a displacement (2, rows, cols), in LR pixels, with its prediction from the HSI.

    The prediction is a linear map of the HSI's components, the same everywhere, which absorbs responses, radiometry and
    much of another date; so the direction is HSI to MSI, in which such a map is nearly exact. Gain and offset may vary
    slowly. Clouds, gaps and change have no weight: pixels are weighted by the inverse variance of the residual around
    them.

    Args:
        images: of one resolution.
        displacement: of the HSI's pixels.
        tolerance: LR pixels by which it may be wrong: what that explains of a residual is no reason for less weight.
    """
    values, slopes, msi_weight = images.at(displacement)
    count, shape = len(values), msi_weight.shape
    known = (images.hsi_weight > 0.5) & (msi_weight > 0)
    base = np.where(known, images.hsi_weight * msi_weight, 0.0).ravel()
    design = np.concatenate([images.hsi.astype(np.float64), np.ones((1, *shape))]).reshape(-1, known.size)
    values, slopes, where = values.reshape(count, -1), slopes.reshape(2, count, -1), known.ravel()
    weights, weight = PixelWeights(images, base), base
    for _ in range(_ROUNDS):
        matrix = fit_map(design, values, weight)
        prediction = matrix @ design
        residual = values - prediction - local_gain(prediction, values, weight, images)
        spread = np.sqrt(np.median(np.square(residual[:, where]), axis=1)) / 0.6745 if where.any() else np.ones(count)
        spread = np.maximum(spread, 1e-6)[:, None]
        energy = np.square(residual / spread).mean(0)
        slope = 0.5 * np.square(slopes / spread).sum(0).mean(0)
        energy = np.maximum(energy - tolerance**2 * slope, 0.1 * energy)
        weight = weights.update(energy, slope, tolerance)
    total = max(float(weight.sum()), 1e-300)
    covariance = (weight * residual) @ residual.T / total
    mean = (weight * values).sum(1) / total
    variance = (weight * np.square(values - mean[:, None])).sum(1) / total
    explained = 1 - float(np.trace(covariance)) / max(float(variance.sum()), 1e-300)
    covariance += 1e-7 * np.diag(variance) + 1e-14 * np.eye(count)
    whiten = np.linalg.inv(np.linalg.cholesky(covariance))
    return Linearised(
        np.where(where, whiten @ residual, 0.0).reshape(count, *shape),
        np.where(where, np.einsum("ij,djn->din", whiten, slopes), 0.0).reshape(2, count, *shape),
        design.reshape(-1, *shape),
        weight.reshape(shape),
        explained,
        matrix,
        values.reshape(count, *shape),
    )


def fit_map(design: Array, values: Array, weight: Array) -> Array:
    """Return the weighted least squares map (m, k + 1) of a design (k + 1, n) to values (m, n)."""
    weighted = design * weight
    normal = weighted @ design.T
    normal += 1e-9 * np.diag(np.diag(normal)) + 1e-12 * max(float(np.trace(normal)), 1e-300) * np.eye(len(normal))
    return np.asarray(np.linalg.solve(normal, weighted @ values.T).T)


def fold_masks(images: PairImages, block: float = _BLOCK) -> list[Array]:
    """Return the pixels of each fold, (rows, cols): blocks of the image, no two of which touch in one fold.

    ``block`` is the side of a block in LR pixels; of blurred images it is larger.
    """
    side = block + 2 * images.blur
    row, col = (
        (line // side).astype(np.int64) for line in (images.rows - images.rows[0], images.cols - images.cols[0])
    )
    number = (2 * (row[:, None] % 2) + col[None] % 2 + row[:, None] // 2 + col[None] // 2) % _FOLDS
    return [(number == fold).astype(np.float64) for fold in range(_FOLDS)]


def held_out_steps(folds: Sequence[NormalEquations], penalty: float, start: Array) -> list[Array]:
    """Return the step of each fold from all others."""
    total = folds[0]
    for one in folds[1:]:
        total += one
    return [(total - fold).solve(penalty, start) for fold in folds]


def choose_penalty(folds: Sequence[NormalEquations], start: Array, least: float = 0.0) -> float:
    """Return the penalty, at least ``least``, whose steps lower the residual of held-out blocks most.

    It is chosen where there is most evidence.
    """
    part = sum(folds[1:], folds[0]).richest(_CHOSEN_ON)
    folds, start = [fold.within(part) for fold in folds], start[(slice(None), *part)]

    def cost(penalty: float) -> float:
        steps = held_out_steps(folds, penalty, start)
        return sum(fold.quadratic(step) for fold, step in zip(folds, steps, strict=True))

    return min((one for one in _PENALTIES if one >= least), key=cost)


class Refined(NamedTuple):
    """A field, the penalty of its last steps and how far it moved in the last one, root mean square in LR pixels."""

    field: Field
    penalty: float
    size: float


def refine(
    images: PairImages, field: Field, scale: PyramidScale, lr_shape: tuple[int, int], steps: int = _STEPS
) -> Refined:
    """Refine a field on one scale by Gauss-Newton; spacing of the scale, penalty by held-out blocks."""
    grid = SplineGrid.over(lr_shape, scale.spacing)
    field, tolerance = field.on(grid), scale.tolerance
    masks = fold_masks(images)
    penalty, size = _PENALTIES[-1], np.inf
    for number in range(steps):
        at = linearise(images, field.at(images.rows, images.cols), tolerance)
        if number in (0, _AGAIN):
            least = _LEAST_PENALTY if scale.tolerance > _NEAR else 0.0
            penalty = choose_penalty([at.equations(grid, images, mask) for mask in masks], field.coefficients, least)
        step = at.step(grid, images, penalty, field.coefficients)
        moved = grid.field(step, images.rows, images.cols)
        largest, size = float(np.abs(moved).max()), float(np.sqrt(np.square(moved).mean()))
        step *= min(1.0, max(_MAX_STEP, 1.5 * images.blur) / max(largest, 1e-12))
        field = Field(grid, field.coefficients + step)
        tolerance = min(tolerance, 2 * size)
        if size < _SETTLED:
            break
    return Refined(field, penalty, size)
