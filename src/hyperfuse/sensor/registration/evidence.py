"""Whether a field is accepted: what held-out blocks of LR pixels and tie points say, against simpler models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hyperfuse.sensor.registration.images import PairImages
from hyperfuse.sensor.registration.refine import (
    choose_penalty,
    fit_map,
    fold_masks,
    held_out_steps,
    linearise,
)
from hyperfuse.sensor.registration.result import Model
from hyperfuse.sensor.registration.robust import local_gain
from hyperfuse.sensor.registration.splines import Field

Array = NDArray[np.float64]

# Side, in LR pixels, of the blocks of which each counts as one independent observation.
_BLOCK = 8
# Blocks along the shorter side of an image that are held out, at least, and their least side.
_BLOCKS, _LEAST_BLOCK = 6, 3.0


class HeldOutEnergy(NamedTuple):
    """Residual energy of a position, held out, in units of the MSI's variance.

    Attributes:
        blocks: energy of each block, (n,); NaN where a block has no data.
        explained: fraction of the MSI's variance that is explained.
        weights: of the pixels of each block, (n,), their sum.
    """

    blocks: Array
    explained: float
    weights: Array


class HeldOut(NamedTuple):
    """What was found of each fold of blocks without it: a correction of the field; the folds, their step."""

    corrections: Sequence[Field]
    masks: Sequence[Array]
    step: tuple[float, float] = (1.0, 1.0)

    def at(self, rows: Array, cols: Array) -> Array:
        """Return the correction (2, n) at n LR positions, each by the fold that it lies in."""
        found = np.zeros((2, len(rows)))
        for correction, mask in zip(self.corrections, self.masks, strict=True):
            row, col = (
                np.clip(np.round(line / step).astype(np.int64), 0, size - 1)
                for line, step, size in zip((rows, cols), self.step, mask.shape, strict=True)
            )
            inside = mask[row, col] > 0
            found[:, inside] = correction.at_points(np.stack([rows, cols], axis=1)).T[:, inside]
        return found


def hold_out(images: PairImages, field: Field) -> HeldOut:
    """Fit the last step of a field without each fold of blocks; the images are seen through the field."""
    zero = np.zeros_like(field.coefficients)
    at = linearise(images, np.zeros((2, images.rows.size, images.cols.size)))
    masks = fold_masks(images, _held_out_side(images))
    folds = [at.equations(field.grid, images, mask) for mask in masks]
    penalty = choose_penalty(folds, field.coefficients)
    steps = held_out_steps(folds, penalty, field.coefficients)
    whole = sum(folds[1:], folds[0]).solve(penalty, field.coefficients)
    return HeldOut([Field(field.grid, zero + step - whole) for step in steps], masks, images.step)


def _held_out_side(images: PairImages) -> float:
    """Return the side of a held-out block in LR pixels: less in small images, in which larger ones are all there is."""
    least = min(float(line[-1] - line[0]) + 1 for line in (images.rows, images.cols))
    return float(np.clip(least / _BLOCKS, _LEAST_BLOCK, _BLOCK))


def compare(images: PairImages, weight: Array, displacement: Array | HeldOut) -> HeldOutEnergy:
    """Return the residual at a displacement; maps of the HSI, and the field where it was held out, from other folds.

    Args:
        images: of the resolution of the LR pixels.
        weight: (rows, cols) of the pixels.
        displacement: (2, rows, cols) in LR pixels, or held-out corrections.
    """
    masks = fold_masks(images, _held_out_side(images))
    energy, total = np.zeros(weight.shape), np.zeros(weight.shape)
    for number, mask in enumerate(masks):
        moved = displacement
        if isinstance(moved, HeldOut):
            moved = moved.corrections[number].at(images.rows, images.cols)
        values, _, known = images.at(moved)
        used = np.where((known > 0) & (images.hsi_weight > 0.5), weight, 0.0)
        design = np.concatenate([images.hsi.astype(np.float64), np.ones((1, *weight.shape))]).reshape(-1, weight.size)
        flat = values.reshape(len(values), -1)
        matrix = fit_map(design, flat, (used * (1 - mask)).ravel())
        prediction = matrix @ design
        prediction += local_gain(prediction, flat, (used * (1 - mask)).ravel(), images)
        residual = (flat - prediction).reshape(values.shape)
        mean = (used * values).sum((1, 2)) / max(float(used.sum()), 1e-300)
        energy += mask * used * np.square(residual).sum(0)
        total += mask * used * np.square(values - mean[:, None, None]).sum(0)
    side = [max(1, round(_BLOCK / step)) for step in images.step]
    lines = [np.arange(0, size, one) for size, one in zip(weight.shape, side, strict=True)]

    def blocks(image: Array) -> Array:
        return np.asarray(np.add.reduceat(np.add.reduceat(image, lines[0], axis=0), lines[1], axis=1).ravel())

    scale = max(float(total.sum()), 1e-300)
    return HeldOutEnergy(blocks(energy) / scale, 1 - float(energy.sum()) / scale, blocks(weight))


def improvement(before: HeldOutEnergy, after: HeldOutEnergy) -> tuple[float, float]:
    """Return by which fraction the residual falls, and by how many standard errors its logarithm does.

    Blocks count by the weight of their pixels: those under clouds say nothing.
    """
    known = (before.blocks > 0) & (after.blocks > 0)
    if known.sum() < 2:
        return 0.0, 0.0
    fall = np.log(before.blocks[known] / after.blocks[known])
    weights = before.weights[known] / max(float(before.weights[known].sum()), 1e-300)
    mean = float(weights @ fall)
    spread = float(np.sqrt(np.square(weights * (fall - mean)).sum() / max(1 - float(weights @ weights), 1e-9)))
    fraction = float(before.blocks.sum() - after.blocks.sum()) / max(float(before.blocks.sum()), 1e-300)
    return fraction, mean / max(spread, 1e-9)


def projections(field: Field, weight: Array, images: PairImages) -> Iterator[tuple[Model, Array]]:
    """Yield simpler displacements (2, rows, cols) nearest to a field where the evidence is: shift, scale, affine.

    A scale is a shift and another ratio along each axis.
    """
    values = field.at(images.rows, images.cols)
    y, x = np.meshgrid(images.rows, images.cols, indexing="ij")
    one = np.ones_like(y)
    simple: tuple[tuple[Model, list[Array], list[Array]], ...] = (
        ("shift", [one], [one]),
        ("scale", [one, y], [one, x]),
        ("affine", [one, y, x], [one, y, x]),
    )
    root = np.sqrt(weight.ravel())
    for name, along_y, along_x in simple:
        parts = []
        for goal, columns in zip(values, (along_y, along_x), strict=True):
            design = np.stack([column.ravel() for column in columns], axis=1)
            solved = np.linalg.lstsq(design * root[:, None], goal.ravel() * root, rcond=None)[0]
            parts.append((design @ solved).reshape(y.shape))
        yield name, np.stack(parts)
