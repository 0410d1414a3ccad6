"""Selection of what a report shows closely: windows with most detail, and points whose spectra differ most."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.window import Window
from hyperfuse.reports.fusion.images import averaged, display_step
from hyperfuse.sensor.model import Sensor

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Point = tuple[int, int]

CLOSE_UPS = 3
POINTS = 4
# Side of a close-up: in LR pixels, within bounds in HR pixels, and at most a fraction of the image.
_LR_PIXELS, _SIDES, _LARGEST_FRACTION = 16, (24, 96), 0.4
_GAP_FRACTION = 0.2
# Spectra are compared at no more pixels than this, which is enough for the surface types of a scene.
_CANDIDATES = 4096
# Quantiles: uniform ground only (of little detail), without the darkest pixels, whose spectra are mostly noise.
_UNIFORM, _BRIGHT = 0.5, 0.1
# Spectra that differ most of all are often defects: this fraction is left out.
_OUTLIERS = 0.01


def detail(image: Cube) -> tuple[Array, int]:
    """Return how much neighbouring pixels differ, (rows, cols) of an image averaged by a step, and that step.

    The magnitude of the gradient over the standard deviation, summed over the usable bands; 0 in gaps.
    """
    step = display_step((image.rows, image.cols))
    total = np.zeros((-(-image.rows // step), -(-image.cols // step)))
    for band in np.flatnonzero(image.usable_bands):
        values = averaged(image.data[band], step)
        known = np.isfinite(values)
        deviation = float(values[known].std()) if known.any() else 0.0
        if deviation > 0 and min(values.shape) > 1:
            total += np.nan_to_num(np.hypot(*np.gradient(values)) / deviation)
    return total, step


def find_close_ups(image: Cube, known: Mask, sensor: Sensor, count: int = CLOSE_UPS) -> list[Window]:
    """Return up to ``count`` disjoint windows with most detail and few gaps, in descending order.

    The image is the HR-MSI, or another one on the grid of the result; ``known`` (rows, cols) marks where all hold data.
    """
    strength, step = detail(image)
    largest = max(_SIDES[0], min(_SIDES[1], int(_LARGEST_FRACTION * min(image.rows, image.cols))))
    side = int(np.clip(_LR_PIXELS * sensor.mean_ratio, _SIDES[0], largest))
    rows, cols = min(side, image.rows), min(side, image.cols)
    if strength.max() == 0 or min(rows, cols) < 2:
        return []
    shape = max(1, rows // step), max(1, cols // step)
    window_mean = partial(uniform_filter, size=shape, mode="constant", origin=(-(shape[0] // 2), -(shape[1] // 2)))
    score = np.where(window_mean(averaged(~known, step)) <= _GAP_FRACTION, window_mean(strength), 0.0)
    # First rows and columns of windows that end inside the image.
    score[max(1, (image.rows - rows) // step + 1) :] = 0
    score[:, max(1, (image.cols - cols) // step + 1) :] = 0
    found: list[Window] = []
    while len(found) < count and score.max() > 0:
        row, col = (int(index) for index in np.unravel_index(int(np.argmax(score)), score.shape))
        found.append(Window(min(row * step, image.rows - rows), min(col * step, image.cols - cols), rows, cols))
        score[max(0, row - shape[0] + 1) : row + shape[0], max(0, col - shape[1] + 1) : col + shape[1]] = 0
    return found


def choose_points(hsi: Cube, msi: Cube, known: Mask, sensor: Sensor, count: int = POINTS) -> list[Point]:
    """Return (row, col) of HR pixels on uniform ground whose spectra differ most from each other.

    The first is the pixel nearest to the mean, each further one the least similar to those before it, by the spectral
    angle; the last is where the MSI has most detail, ground that the HSI alone does not resolve. ``known`` (rows, cols)
    marks where MSI and result hold data.
    """
    strength, step = detail(msi)
    sharpest = _sharpest(strength, step, known)
    lr = np.argwhere(hsi.valid_pixels)
    lr = lr[:: max(1, -(-len(lr) // _CANDIDATES))]
    # The HR pixels nearest to the centres of LR pixels, where all images hold data.
    positions = sensor.positions((hsi.rows, hsi.cols))
    hr = np.rint(positions[:, lr[:, 0], lr[:, 1]].T).astype(np.intp)
    inside = np.all((hr >= 0) & (hr < known.shape), axis=1)
    lr, hr = lr[inside], hr[inside]
    held = known[tuple(hr.T)]
    lr, hr = lr[held], hr[held]
    if not len(hr):
        return []
    spectra = hsi.data[:, lr[:, 0], lr[:, 1]][hsi.usable_bands].T.astype(np.float64)
    radiance = np.linalg.norm(spectra, axis=1)
    local = strength[tuple(hr.T // step)]
    keep = np.isfinite(radiance) & (radiance > 0)
    if keep.any():
        keep &= (local <= np.quantile(local[keep], _UNIFORM)) & (radiance >= np.quantile(radiance[keep], _BRIGHT))
    chosen = _most_different(spectra[keep] / radiance[keep, None], count - 1) if keep.any() else []
    points: list[Point] = [(int(row), int(col)) for row, col in hr[keep][chosen]]
    return [*points, sharpest] if sharpest is not None and sharpest not in points else points


def _most_different(units: Array, count: int) -> list[int]:
    """Return the indices of unit spectra (pixels, bands) by farthest-point selection, without outliers."""
    mean = units.mean(axis=0)
    distance = 1 - units @ (mean / np.linalg.norm(mean))
    chosen = [int(np.argmin(distance))]
    outliers = np.argsort(distance)[len(distance) - int(_OUTLIERS * len(distance)) :]
    nearest = 1 - units @ units[chosen[0]]
    nearest[outliers] = 0
    while len(chosen) < count and nearest.max() > 1e-9:
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, 1 - units @ units[chosen[-1]])
    return chosen


def _sharpest(strength: Array, step: int, known: Mask) -> Point | None:
    """Return the pixel at the centre of the most detailed ground, or None where an image has no detail."""
    ground = uniform_filter(strength, 3, mode="constant")
    if ground.max() == 0:
        return None
    row, col = np.unravel_index(int(np.argmax(ground)), ground.shape)
    point = min(int(row) * step + step // 2, known.shape[0] - 1), min(int(col) * step + step // 2, known.shape[1] - 1)
    return point if known[point] else None
