"""Tie points: local shifts on a grid of windows, each found there and back, without those that disagree."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hyperfuse.sensor.registration.coarse import (
    HSI_COMPONENTS,
    MSI_COMPONENTS,
    ShiftPeak,
    find_peak,
    high_passed,
    shift_scores,
)
from hyperfuse.sensor.registration.images import PairImages
from hyperfuse.sensor.registration.splines import Field, SplineGrid

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Windows: side and distance in LR pixels, fraction that must hold data, number at most along a side.
_SIDE, _LEAST_SIDE, _FILLED, _MAX_POINTS = 24, 12, 0.5, 30
# A point is reliable where its peak stands out by this many standard deviations, the next one has at most this fraction
# of its height, and the way back ends within this many LR pixels.
_HEIGHT, _RATIO, _BACK = 4.0, 0.8, 0.75
# Random sample consensus (Fischler, Bolles 1981) of an affine map: samples, LR pixels within which points agree.
_SAMPLES, _AGREE = 200, 3.0
# A point that differs from the field of the others by more than this many deviations, at least this many LR pixels,
# is none.
_DEVIATIONS, _LEAST_OFF = 4.0, 0.5
_SPACING, _PENALTIES = 32.0, tuple(10.0**power for power in range(0, 7))
LEAST_POINTS = 6


@dataclass(frozen=True, eq=False)
class TiePoints:
    """Local shifts of an HSI on an MSI.

    Attributes:
        positions: (n, 2), LR position (row, col) of the windows' centres.
        shifts: (n, 2), along (y, x) in LR pixels.
        reliability: (n,), 1 less the height of the next peak relative to the peak's own.
        valid: bool (n,), reliable there and back.
        kept: bool (n,), those of the valid ones that agree with the others.
        side: LR pixels along a side of a window.
    """

    positions: Array
    shifts: Array
    reliability: Array
    valid: Bools
    kept: Bools
    side: float = 0.0

    @classmethod
    def none(cls) -> TiePoints:
        """Return no points."""
        return cls(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0), np.zeros(0, np.bool_), np.zeros(0, np.bool_))

    def moved(self, field: Field) -> TiePoints:
        """Return the points with the displacement of a field added to their shifts."""
        return replace(self, shifts=self.shifts + field.at_points(self.positions))

    def coverage(self, lr_shape: tuple[int, int]) -> float:
        """Return the fraction of the LR pixels that lie in the window of a point that is kept."""
        covered = np.zeros(lr_shape, np.bool_)
        for row, col in self.positions[self.kept]:
            low_y, low_x = (max(0, round(one - self.side / 2)) for one in (row, col))
            covered[low_y : round(row + self.side / 2), low_x : round(col + self.side / 2)] = True
        return float(covered.mean())

    @property
    def counts(self) -> tuple[int, int, int]:
        """How many windows were tried, are valid, and are kept."""
        return len(self.valid), int(self.valid.sum()), int(self.kept.sum())


def find_tie_points(images: PairImages, start: Field, reach: float) -> TiePoints:
    """Search local shifts around a start, within ``reach`` LR pixels to either side, as the coarse search does.

    Args:
        images: of one resolution; that of the LR pixels, or thinned.
        start: where the HSI is assumed to lie.
        reach: LR pixels.
    """
    step = images.step[0]
    side = int(np.clip(min(images.hsi_weight.shape) // 2, _LEAST_SIDE, _SIDE))
    side = min(side, *images.hsi_weight.shape)
    search = int(np.ceil(reach / step))
    displacement = start.at(images.rows, images.cols)
    values, _, msi_weight = images.at(displacement)
    a, c = images.hsi_weight > 0.5, msi_weight > 0.5
    h, g = high_passed(images.hsi[:HSI_COMPONENTS], a), high_passed(values[:MSI_COMPONENTS].astype(np.float32), c)
    shape, around = a.shape, ((search, search), (search, search))
    # Windows at the border are searched beyond it too: what is not there does not count.
    a, c = np.pad(a, around), np.pad(c, around)
    h, g = np.pad(h, ((0, 0), *around)), np.pad(g, ((0, 0), *around))
    found: list[tuple[float, float, ShiftPeak, bool]] = []
    for row, col in ((row + search, col + search) for row, col in _windows(shape, side)):
        window = (slice(row, row + side), slice(col, col + side))
        if a[window].mean() < _FILLED or c[window].mean() < _FILLED:
            continue
        peak = _local(h, a, g, c, (row, col), side, search)
        if peak is None:
            continue
        reliable = peak.height >= _HEIGHT and peak.ratio <= _RATIO and not peak.at_limit
        if reliable:
            there = (row + round(peak.shift[0]), col + round(peak.shift[1]))
            back = _local(g, c, h, a, there, side, search)
            reliable = back is not None and all(
                abs(one + round(two)) <= 0.5 + _BACK for one, two in zip(back.shift, peak.shift, strict=True)
            )
        centre = (row - search + (side - 1) / 2, col - search + (side - 1) / 2)
        found.append((*centre, peak, reliable))
    if not found:
        return TiePoints.none()
    grid = np.array([one[:2] for one in found])
    positions = np.stack([images.rows[0] + step * grid[:, 0], images.cols[0] + images.step[1] * grid[:, 1]], axis=1)
    shifts = np.array([one[2].shift for one in found]) * np.array(images.step)
    shifts += start.at_points(positions)
    valid = np.array([one[3] for one in found])
    reliability = np.array([1 - one[2].ratio for one in found])
    kept = valid.copy()
    kept[valid] = _agreeing(positions[valid], shifts[valid])
    return TiePoints(positions, shifts, reliability, valid, kept, side * step)


def field_of(points: TiePoints, lr_shape: tuple[int, int]) -> Field | None:
    """Return the smooth field of the points that are kept, without those far off it; None of too few.

    The penalty on its bending is that which predicts points held out best.
    """
    positions, shifts = points.positions[points.kept], points.shifts[points.kept]
    for _ in range(3):
        if len(positions) < LEAST_POINTS:
            return None
        field, off = _smooth(positions, shifts, lr_shape)
        limit = max(_LEAST_OFF, _DEVIATIONS * float(np.median(off)) / 0.6745 / np.sqrt(2))
        if (off <= limit).all():
            break
        positions, shifts = positions[off <= limit], shifts[off <= limit]
    return field


def _smooth(positions: Array, shifts: Array, lr_shape: tuple[int, int]) -> tuple[Field, Array]:
    """Return the field of points and how far each lies off the field of the others, in LR pixels."""
    grid = SplineGrid.over(lr_shape, _SPACING)
    order = np.arange(len(positions)) % min(5, len(positions))

    # Windows lie on a grid, of which some have no point.
    (rows, row), (cols, col) = (np.unique(line, return_inverse=True) for line in positions.T)

    def fit(chosen: Bools, penalty: float) -> Field:
        weights, values = np.zeros((rows.size, cols.size)), np.zeros((2, rows.size, cols.size))
        weights[row[chosen], col[chosen]] = 1.0
        values[:, row[chosen], col[chosen]] = shifts[chosen].T
        return grid.fit(values, weights, rows, cols, penalty)

    def off(penalty: float) -> Array:
        result = np.empty(len(positions))
        for fold in np.unique(order):
            missed = fit(order != fold, penalty).at_points(positions) - shifts
            result[order == fold] = np.hypot(*missed.T)[order == fold]
        return result

    penalty = min(_PENALTIES, key=lambda one: float(np.minimum(off(one), 3.0).mean()))
    return fit(np.ones(len(positions), np.bool_), penalty), off(penalty)


def _windows(shape: tuple[int, int], side: int) -> list[tuple[int, int]]:
    lines = []
    for size in shape:
        count = int(np.clip(round(2 * (size - side) / side) + 1, 1, _MAX_POINTS))
        lines.append(np.linspace(0, size - side, count).round().astype(int).tolist())
    return [(row, col) for row in lines[0] for col in lines[1]]


def _local(h: Array, a: Bools, g: Array, c: Bools, corner: tuple[int, int], side: int, search: int) -> ShiftPeak | None:
    """Return the best shift of a window of h on g; both have one grid."""
    row, col = (int(np.clip(one, 0, size - side)) for one, size in zip(corner, a.shape, strict=True))
    window = (slice(row, row + side), slice(col, col + side))
    low = (max(0, row - search), max(0, col - search))
    high = (min(a.shape[0], row + side + search), min(a.shape[1], col + side + search))
    around = (slice(low[0], high[0]), slice(low[1], high[1]))
    scores = shift_scores(h[(slice(None), *window)], a[window], g[(slice(None), *around)], c[around])
    peak = find_peak(scores, (row - low[0], col - low[1]))
    if peak is None:
        return None
    # The way back starts at a window that had to be moved into the image.
    moved = (corner[0] - row, corner[1] - col)
    return peak._replace(shift=(peak.shift[0] - moved[0], peak.shift[1] - moved[1]))


def _agreeing(positions: Array, shifts: Array) -> Bools:
    """Return the points that agree with the affine map that most agree with."""
    count = len(positions)
    if count < LEAST_POINTS:
        return np.ones(count, np.bool_)
    generator = np.random.default_rng(0)
    design = np.concatenate([positions, np.ones((count, 1))], axis=1)
    best = np.zeros(count, np.bool_)
    for _ in range(_SAMPLES):
        three = generator.choice(count, 3, replace=False)
        if abs(np.linalg.det(design[three])) < 1.0:
            continue
        off = np.hypot(*(design @ np.linalg.solve(design[three], shifts[three]) - shifts).T)
        if (off < _AGREE).sum() > best.sum():
            best = off < _AGREE
    return best
