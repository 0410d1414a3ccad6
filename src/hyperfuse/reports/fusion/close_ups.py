"""Places worth a close look: windows with the most detail, and points whose spectra differ most."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from hyperfuse.cube.cube import Cube
from hyperfuse.reports.fusion.images import averaged, display_step
from hyperfuse.sensor.model import Sensor

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Point = tuple[int, int]

CLOSE_UPS = 3
POINTS = 4
# Sides of a close-up: this many LR pixels, but within bounds in HR pixels, and no more than a share of the image.
_LR_PIXELS, _SIDES, _SHARE = 16, (24, 96), 0.4
_GAP_SHARE = 0.2
# Spectra are compared at no more pixels than this, which find the kinds of surface of any scene.
_CANDIDATES = 4096
# Uniform ground only (of little detail), and none of the darkest, of which the spectra are mostly noise.
_CALM, _LIT = 0.5, 0.1
# The most different of all are often defects; where there are enough, this share of them is passed over.
_ODD = 0.01


class Window(NamedTuple):
    """A square part of the fused image: first row and column, and its sides in HR pixels."""

    row: int
    col: int
    rows: int
    cols: int


def detail(image: Cube) -> tuple[Array, int]:
    """Return how much neighbouring pixels differ, (rows, cols) of an image averaged by a step, and that step.

    It is the size of the gradient of every usable band over the band's deviation, averaged over the bands; gaps are 0.
    """
    step = display_step((image.rows, image.cols))
    total: Array | None = None
    for band in np.flatnonzero(image.usable_bands):
        values = averaged(image.data[band], step)
        known = np.isfinite(values)
        deviation = float(values[known].std()) if known.any() else 0.0
        if deviation == 0 or min(values.shape) < 2:
            continue
        size = np.hypot(*np.gradient(values)) / deviation
        total = np.nan_to_num(size) if total is None else total + np.nan_to_num(size)
    if total is None:
        total = np.zeros((-(-image.rows // step), -(-image.cols // step)))
    return total, step


def close_ups(image: Cube, known: Mask, sensor: Sensor, count: int = CLOSE_UPS) -> list[Window]:
    """Return up to ``count`` windows that hold most detail, none over another and none mostly gap, most first.

    Args:
        image: the HR-MSI, or another image on the grid of the fused one.
        known: (rows, cols), where all images hold data.
        sensor: gives the size of an LR pixel.
        count: how many at most.
    """
    strength, step = detail(image)
    most = max(_SIDES[0], min(_SIDES[1], int(_SHARE * min(image.rows, image.cols))))
    side = int(np.clip(_LR_PIXELS * sensor.mean_ratio, _SIDES[0], most))
    rows, cols = min(side, image.rows), min(side, image.cols)
    if strength.max() == 0 or min(rows, cols) < 2:
        return []
    shape = max(1, rows // step), max(1, cols // step)
    window_mean = uniform_filter(strength, shape, mode="constant", origin=(-(shape[0] // 2), -(shape[1] // 2)))
    missing = averaged(~known, step)
    gaps = uniform_filter(missing, shape, mode="constant", origin=(-(shape[0] // 2), -(shape[1] // 2)))
    score = np.where(gaps <= _GAP_SHARE, window_mean, 0.0)
    # Where a window begins, so that it ends inside the image.
    score[max(1, (image.rows - rows) // step + 1) :] = 0
    score[:, max(1, (image.cols - cols) // step + 1) :] = 0
    found: list[Window] = []
    while len(found) < count and score.max() > 0:
        row, col = (int(index) for index in np.unravel_index(int(np.argmax(score)), score.shape))
        found.append(Window(min(row * step, image.rows - rows), min(col * step, image.cols - cols), rows, cols))
        score[max(0, row - shape[0] + 1) : row + shape[0], max(0, col - shape[1] + 1) : col + shape[1]] = 0
    return found


def spectrum_points(hsi: Cube, msi: Cube, known: Mask, sensor: Sensor, count: int = POINTS) -> list[Point]:
    """Return (row, col) of HR pixels on uniform ground whose spectra are as different from each other as can be.

    The first is the pixel nearest to the mean, each other the one least like those before it, by the angle between
    spectra; the last is where the MSI shows most detail, ground that the HSI alone does not resolve. ``known`` (rows,
    cols) tells where MSI and result hold data.
    """
    strength, step = detail(msi)
    sharpest = _sharpest(strength, step, known)
    rows, cols = _candidates(hsi, known, sensor)
    if rows.size == 0:
        return []
    lr = tuple(
        np.clip(np.rint((index - sensor.offset[axis]) / sensor.ratio[axis]), 0, size - 1).astype(np.intp)
        for axis, (index, size) in enumerate(((rows, hsi.rows), (cols, hsi.cols)))
    )
    usable = hsi.usable_bands
    spectra = hsi.data[:, lr[0], lr[1]][usable].T.astype(np.float64)
    level = np.linalg.norm(spectra, axis=1)
    calm = strength[np.minimum(rows // step, strength.shape[0] - 1), np.minimum(cols // step, strength.shape[1] - 1)]
    keep = np.isfinite(level) & (level > 0)
    if keep.any():
        keep &= (calm <= np.quantile(calm[keep], _CALM)) & (level >= np.quantile(level[keep], _LIT))
    rows, cols, spectra, level = rows[keep], cols[keep], spectra[keep], level[keep]
    chosen = _unlike(spectra / level[:, None], count - 1) if level.size else []
    points = [(int(rows[index]), int(cols[index])) for index in chosen]
    return [*points, sharpest] if sharpest is not None and sharpest not in points else points


def _candidates(hsi: Cube, known: Mask, sensor: Sensor) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows and columns of HR pixels nearest to centres of LR pixels, where all images hold data."""
    places = np.argwhere(hsi.valid_pixels)
    places = places[:: max(1, -(-len(places) // _CANDIDATES))]
    rows, cols = (
        np.rint(sensor.offset[axis] + sensor.ratio[axis] * places[:, axis]).astype(np.intp) for axis in (0, 1)
    )
    inside = (rows >= 0) & (rows < known.shape[0]) & (cols >= 0) & (cols < known.shape[1])
    rows, cols = rows[inside], cols[inside]
    seen = known[rows, cols]
    return rows[seen], cols[seen]


def _unlike(directions: Array, count: int) -> list[int]:
    """Return the indices of unit spectra (pixels, bands) by farthest-point selection, without the oddest few."""
    mean = directions.mean(axis=0)
    distance = 1 - directions @ (mean / np.linalg.norm(mean))
    chosen = [int(np.argmin(distance))]
    odd = np.argsort(distance)[len(distance) - int(_ODD * len(distance)) :]
    nearest = 1 - directions @ directions[chosen[0]]
    nearest[odd] = 0
    while len(chosen) < count and nearest.max() > 1e-9:
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, 1 - directions @ directions[chosen[-1]])
    return chosen


def _sharpest(strength: Array, step: int, known: Mask) -> Point | None:
    """Return the pixel in the middle of the most detailed ground, or None where an image shows none."""
    ground = uniform_filter(strength, 3, mode="constant")
    if ground.max() == 0:
        return None
    row, col = np.unravel_index(int(np.argmax(ground)), ground.shape)
    point = min(int(row) * step + step // 2, known.shape[0] - 1), min(int(col) * step + step // 2, known.shape[1] - 1)
    return point if known[point] else None
