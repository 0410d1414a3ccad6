"""Cubic B-spline fields over LR pixels: their bases, and normal equations of residuals that they displace."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from hyperfuse.sensor.displacement import Displacement

Array = NDArray[np.float64]

# Bending penalty of fits to values that are known, which only settles what is beyond them.
_SMOOTH = 1e-6
_STIFF = 80.0  # LR pixels over which a field without evidence becomes constant
_DAMPING = 1e-9  # of the largest diagonal: no evidence, no step


def basis(positions: Array, origin: float, spacing: float, count: int) -> Array:
    """Return cubic B-splines (positions, count) at positions, constant beyond the range of the control points.

    The spline ends one spacing inside of the outermost control points; positions beyond are moved there.
    """
    u = np.clip((positions - origin) / spacing, 1.0, count - 2.0)
    distance = np.abs(u[:, None] - np.arange(count)[None])
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    return np.asarray(np.where(distance < 1, near, far))


def _gram(count: int, spacing: float, order: int) -> Array:
    """Return the Gram matrix (count, count) of derivatives of some order over the range, per LR pixel."""
    points, weights = np.polynomial.legendre.leggauss(4)
    intervals = np.arange(1, count - 2)
    u = (intervals[:, None] + (points[None] + 1) / 2).ravel()
    weight = np.tile(weights / 2, intervals.size) * spacing
    offset = u[:, None] - np.arange(count)[None]
    distance, sign = np.abs(offset), np.sign(offset)
    if order == 0:
        near, far = 2 / 3 - distance**2 + distance**3 / 2, np.clip(2 - distance, 0, None) ** 3 / 6
    elif order == 1:
        near, far = sign * (-2 * distance + 1.5 * distance**2), -sign * np.clip(2 - distance, 0, None) ** 2 / 2
    else:
        near, far = -2 + 3 * distance, np.clip(2 - distance, 0, None)
    values = np.where(distance < 1, near, far) / spacing**order
    return np.asarray(values.T @ (weight[:, None] * values))


@dataclass(frozen=True)
class SplineGrid:
    """Control points of a field over an LR image of some shape.

    Attributes:
        shape: (rows, cols) of control points.
        spacing: LR pixels between them along (y, x).
        origin: LR position of control point (0, 0).
    """

    shape: tuple[int, int]
    spacing: tuple[float, float]
    origin: tuple[float, float]

    @classmethod
    def over(cls, lr_shape: tuple[int, int], spacing: float) -> SplineGrid:
        """Return a grid over an image, of about the given spacing."""
        intervals = [max(1, round((size - 1) / spacing)) for size in lr_shape]
        steps = [max(size - 1, 1) / count for size, count in zip(lr_shape, intervals, strict=True)]
        return cls((intervals[0] + 3, intervals[1] + 3), (steps[0], steps[1]), (-steps[0], -steps[1]))

    @property
    def count(self) -> int:
        """Number of control points."""
        return self.shape[0] * self.shape[1]

    def bases(self, rows: Array, cols: Array) -> tuple[Array, Array]:
        """Return the splines along y (rows, control rows) and along x (cols, control cols)."""
        return (
            basis(rows, self.origin[0], self.spacing[0], self.shape[0]),
            basis(cols, self.origin[1], self.spacing[1], self.shape[1]),
        )

    def field(self, coefficients: Array, rows: Array, cols: Array) -> Array:
        """Return the field (2, rows, cols) of coefficients (2, control rows, control cols)."""
        along_y, along_x = self.bases(rows, cols)
        return np.asarray(along_y @ coefficients @ along_x.T)

    @cached_property
    def penalty_blocks(self) -> NormalEquations:
        """The integral of squared second derivatives of both components, and of first ones, over the image.

        The latter let the field become constant, not steeper and steeper, over some LR pixels without evidence.
        """
        along = [[_gram(self.shape[axis], self.spacing[axis], order) for order in range(3)] for axis in (0, 1)]
        (y0, y1, y2), (x0, x1, x2) = along
        r, c = self.shape
        blocks = np.zeros((3, 4, 7, r, c))
        for dr in range(min(4, r)):
            for dc in range(-3, 4):
                if abs(dc) >= c:
                    continue
                first = slice(max(0, -dc), c - max(0, dc))
                ys, xs = [np.diagonal(y, dr) for y in (y0, y1, y2)], [np.diagonal(x, dc) for x in (x0, x1, x2)]
                value = np.outer(ys[2], xs[0]) + 2 * np.outer(ys[1], xs[1]) + np.outer(ys[0], xs[2])
                value += (np.outer(ys[1], xs[0]) + np.outer(ys[0], xs[1])) / _STIFF**2
                blocks[0, dr, dc + 3, : r - dr, first] = value
                blocks[2, dr, dc + 3, : r - dr, first] = value
        return NormalEquations(self, blocks, np.zeros((2, r, c)))

    def fit(self, values: Array, weights: Array, rows: Array, cols: Array, penalty: float) -> Field:
        """Return the penalised least squares fit to values (2, rows, cols)."""
        system = NormalEquations.of(self, rows, cols, weights, np.zeros_like(weights), weights, weights * values)
        return Field(self, system.solve(penalty))


@dataclass(frozen=True, eq=False)
class Field:
    """A displacement in LR pixels: coefficients (2, control rows, control cols), along y and x, on a grid."""

    grid: SplineGrid
    coefficients: Array

    @classmethod
    def constant(cls, lr_shape: tuple[int, int], shift: tuple[float, float] = (0.0, 0.0)) -> Field:
        """Return one shift (y, x) of a whole LR image, on the coarsest grid."""
        grid = SplineGrid.over(lr_shape, float(max(lr_shape)))
        return cls(grid, np.broadcast_to(np.reshape(shift, (2, 1, 1)), (2, *grid.shape)).astype(np.float64))

    @classmethod
    def rotation(cls, lr_shape: tuple[int, int], degrees: float, ratio: tuple[float, float]) -> Field:
        """Return the rotation of an LR image about its centre, positive where the +x axis rotates towards -y."""
        grid = SplineGrid.over(lr_shape, float(max(lr_shape)))
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        y, x = (
            scale * (origin + step * np.arange(count) - (size - 1) / 2)
            for scale, origin, step, count, size in zip(
                ratio, grid.origin, grid.spacing, grid.shape, lr_shape, strict=True
            )
        )
        rows, cols = y[:, None], x[None]
        moved = [(cos - 1) * rows - sin * cols, sin * rows + (cos - 1) * cols]
        return cls(grid, np.stack([one / scale for one, scale in zip(moved, ratio, strict=True)]))

    @classmethod
    def of(cls, displacement: Displacement) -> Field:
        """Return a displacement that counts in LR pixels."""
        rows, cols = displacement.coefficients.shape[1:]
        grid = SplineGrid((rows, cols), displacement.spacing, displacement.origin)
        return cls(grid, displacement.coefficients)

    def at(self, rows: Array, cols: Array) -> Array:
        """Return the displacement (2, rows, cols) on a grid of LR positions."""
        return self.grid.field(self.coefficients, rows, cols)

    def at_points(self, positions: Array) -> Array:
        """Return the displacement (n, 2) at scattered LR positions (n, 2)."""
        along_y, along_x = self.grid.bases(positions[:, 0], positions[:, 1])
        return np.stack([((along_y @ one) * along_x).sum(axis=1) for one in self.coefficients], axis=1)

    def on(self, grid: SplineGrid) -> Field:
        """Return the field on another grid, by least squares."""
        if grid == self.grid:
            return self
        rows, cols = (
            origin + step * np.linspace(1, count - 2, 4 * count)
            for origin, step, count in zip(grid.origin, grid.spacing, grid.shape, strict=True)
        )
        return grid.fit(self.at(rows, cols), np.ones((rows.size, cols.size)), rows, cols, _SMOOTH)

    def then(self, more: Field, lr_shape: tuple[int, int]) -> Field:
        """Return the field of positions that ``more`` displaces first and this field after it, on the grid of it."""
        rows, cols = np.arange(lr_shape[0], dtype=np.float64), np.arange(lr_shape[1], dtype=np.float64)
        first = more.at(rows, cols)
        at = Displacement(self.coefficients, self.grid.spacing, self.grid.origin)
        y, x = rows[:, None] + first[0], cols[None] + first[1]
        second = at.at_points(y.ravel(), x.ravel()).reshape(first.shape)
        return more.grid.fit(first + second, np.ones(lr_shape), rows, cols, _SMOOTH)

    def constant_beyond(self, lr_shape: tuple[int, int], weight: float) -> Field:
        """Return the same over an LR image, constant soon beyond it, where a steep field would fold.

        ``weight`` is that of positions beyond the image, relative to those in it.
        """
        (y, x), (high, wide), (rows, cols) = self.grid.origin, self.grid.spacing, self.grid.shape
        grid = SplineGrid((rows + 4, cols + 4), self.grid.spacing, (y - 2 * high, x - 2 * wide))
        lines, weights = [], []
        for size, step in zip(lr_shape, self.grid.spacing, strict=True):
            line = np.arange(-math.ceil(2 * step), size + math.ceil(2 * step), dtype=np.float64)
            lines.append(line)
            weights.append(np.where((line >= 0) & (line <= size - 1), 1.0, weight))
        values = self.at(*(np.clip(line, 0, size - 1) for line, size in zip(lines, lr_shape, strict=True)))
        inner = grid.fit(values, np.outer(*weights), lines[0], lines[1], _SMOOTH).coefficients[:, 1:-1, 1:-1]
        return Field(grid, np.pad(inner, ((0, 0), (1, 1), (1, 1)), mode="edge"))

    def enlarged(self, factor: int) -> Field:
        """Return the same in LR pixels of which ``factor`` times as many were binned along each axis."""
        grid = self.grid
        y, x = (factor * one + (factor - 1) / 2 for one in grid.origin)
        larger = SplineGrid(grid.shape, (factor * grid.spacing[0], factor * grid.spacing[1]), (y, x))
        return Field(larger, factor * self.coefficients)

    def displacement(self, ratio: tuple[float, float]) -> Displacement:
        """Return the same in HR pixels."""
        return Displacement(self.coefficients * np.reshape(ratio, (2, 1, 1)), self.grid.spacing, self.grid.origin)


@dataclass(frozen=True)
class NormalEquations:
    """Normal equations of a step: ``matrix`` in banded form (lower), ``right`` (count, 2) interleaved y, x."""

    grid: SplineGrid
    blocks: Array  # (3, 4, 7, rows, cols): yy, yx, xx of control points (r, c) and (r + dr, c + dc - 3)
    right: Array  # (2, rows, cols)

    @classmethod
    def of(
        cls, grid: SplineGrid, rows: Array, cols: Array, yy: Array, yx: Array, xx: Array, right: Array
    ) -> NormalEquations:
        """Sum over pixels: weights (rows, cols) of the products of the unknowns, and (2, rows, cols) of the goal."""
        along_y, along_x = grid.bases(rows, cols)
        r, c = grid.shape
        blocks = np.zeros((3, 4, 7, r, c))
        stacked = np.stack([yy, yx, xx])
        for dr in range(min(4, r)):
            pair_y = along_y[:, : r - dr] * along_y[:, dr:]
            partial = pair_y.T @ stacked  # (3, r - dr, cols)
            for dc in range(-3, 4):
                if abs(dc) >= c:
                    continue
                first = slice(max(0, -dc), c - max(0, dc))
                second = slice(max(0, dc), c - max(0, -dc))
                blocks[:, dr, dc + 3, : r - dr, first] = partial @ (along_x[:, first] * along_x[:, second])
        return cls(grid, blocks, along_y.T @ right @ along_x)

    def __add__(self, other: NormalEquations) -> NormalEquations:
        return NormalEquations(self.grid, self.blocks + other.blocks, self.right + other.right)

    def __sub__(self, other: NormalEquations) -> NormalEquations:
        return NormalEquations(self.grid, self.blocks - other.blocks, self.right - other.right)

    def richest(self, side: int) -> tuple[slice, slice]:
        """Return which control points, at most ``side`` along each, have most evidence."""
        evidence = np.cumsum(np.cumsum(np.pad(self.blocks[0, 0, 3] + self.blocks[2, 0, 3], ((1, 0), (1, 0))), 0), 1)
        rows, cols = (min(side, size) for size in self.grid.shape)
        sums = evidence[rows:, cols:] - evidence[:-rows, cols:] - evidence[rows:, :-cols] + evidence[:-rows, :-cols]
        row, col = (int(one) for one in np.unravel_index(int(np.argmax(sums)), sums.shape))
        return slice(row, row + rows), slice(col, col + cols)

    def within(self, part: tuple[slice, slice]) -> NormalEquations:
        """Return the equations of some control points, as if there were no others."""
        rows, cols = part
        origin = (
            self.grid.origin[0] + rows.start * self.grid.spacing[0],
            self.grid.origin[1] + cols.start * self.grid.spacing[1],
        )
        grid = SplineGrid((rows.stop - rows.start, cols.stop - cols.start), self.grid.spacing, origin)
        return NormalEquations(grid, self.blocks[..., rows, cols], self.right[:, rows, cols])

    def scaled(self, factor: float) -> NormalEquations:
        """Return the equations times a factor."""
        return NormalEquations(self.grid, self.blocks * factor, self.right * factor)

    def quadratic(self, step: Array) -> float:
        """Return the change of half the sum of squares by a step (2, rows, cols)."""
        return float(0.5 * np.sum(step * self.times(step)) - np.sum(step * self.right))

    def times(self, step: Array) -> Array:
        """Return the matrix times a vector (2, rows, cols)."""
        r, c = self.grid.shape
        result = np.zeros_like(step)
        y, x = step
        for dr in range(min(4, r)):
            for dc in range(-3, 4):
                if abs(dc) >= c:
                    continue
                one = (slice(0, r - dr), slice(max(0, -dc), c - max(0, dc)))
                two = (slice(dr, r), slice(max(0, dc), c - max(0, -dc)))
                yy, yx, xx = (block[one] for block in self.blocks[:, dr, dc + 3])
                result[0][one] += yy * y[two] + yx * x[two]
                result[1][one] += yx * y[two] + xx * x[two]
                if dr > 0:
                    result[0][two] += yy * y[one] + yx * x[one]
                    result[1][two] += yx * y[one] + xx * x[one]
        return result

    def _banded(self) -> Array:
        """Return the matrix in lower banded form; unknown (r, c, k) is number 2 (r cols + c) + k."""
        r, c = self.grid.shape
        band = 2 * (3 * c + 3) + 2
        size = 2 * r * c
        banded = np.zeros((min(band, size), size))
        for dr in range(min(4, r)):
            for dc in range(-3, 4):
                if (dr == 0 and dc < 0) or abs(dc) >= c:
                    continue
                first = slice(max(0, -dc), c - max(0, dc))
                yy, yx, xx = self.blocks[:, dr, dc + 3, : r - dr, first]
                index = 2 * (np.arange(r - dr)[:, None] * c + np.arange(c)[None, first])
                apart = 2 * (dr * c + dc)
                banded[apart, index] += yy
                banded[apart, index + 1] += xx
                if apart + 1 < banded.shape[0]:
                    banded[apart + 1, index] += yx
                if apart > 0:
                    banded[apart - 1, index + 1] += yx
        return banded

    def factor(self, penalty: float) -> Factor:
        """Return the Cholesky factor of the matrix and ``penalty`` times the bending."""
        banded = (self + self.grid.penalty_blocks.scaled(penalty))._banded()
        banded[0] += _DAMPING * max(float(banded[0].max()), 1e-300)
        return Factor(self.grid, linalg.cholesky_banded(banded, lower=True, overwrite_ab=True, check_finite=False))

    def solve(self, penalty: float, start: Array | None = None) -> Array:
        """Return the step that minimises the sum of squares and ``penalty`` times the bending of ``start`` + step."""
        bent = 0.0 if start is None else penalty * self.grid.penalty_blocks.times(start)
        return self.factor(penalty).solve(self.right - bent)


@dataclass(frozen=True)
class Factor:
    """A Cholesky factor of normal equations."""

    grid: SplineGrid
    banded: Array

    def solve(self, right: Array) -> Array:
        """Return the solution of right sides (..., 2, rows, cols)."""
        shape = right.shape
        columns = np.moveaxis(right.reshape(-1, 2, *self.grid.shape), 1, -1).reshape(-1, 2 * self.grid.count).T
        solved = linalg.cho_solve_banded((self.banded, True), columns, check_finite=False)
        return np.asarray(np.moveaxis(solved.T.reshape(-1, *self.grid.shape, 2), -1, 1).reshape(shape))
