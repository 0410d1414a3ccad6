"""The two images of a pair as a registration compares them: components of both, the MSI seen through the PSF."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]

# A blurred pixel of which less than this fraction of the weight lies on data is a gap.
_COVERED = 0.6


@dataclass(frozen=True, eq=False)
class PairImages:
    """HSI and MSI of one resolution: that of the LR pixels, or blurred and thinned.

    Attributes:
        hsi: components of the HSI (k, rows, cols), 0 in gaps.
        hsi_weight: (rows, cols), 0 in gaps to 1.
        msi: components of the MSI through the PSF (m, rows, cols), as spline coefficients of ``ndimage``.
        msi_weight: (rows, cols), fraction of the PSF's weight on data.
        rows, cols: LR position of the HSI's pixels.
        offset, ratio: MSI pixel of LR position 0, and MSI pixels per LR pixel, along (y, x).
        blur: standard deviation in LR pixels by which both are blurred.
        msi_values: components of the MSI through the PSF (m, rows, cols).
        offsets: (2, rows, cols), known offsets of the HSI's pixels in LR pixels, or None.
    """

    hsi: Floats
    hsi_weight: Floats
    msi: Floats
    msi_weight: Floats
    rows: Array
    cols: Array
    offset: tuple[float, float]
    ratio: tuple[float, float]
    blur: float
    msi_values: Floats
    offsets: Floats | None = None

    @classmethod
    def of(
        cls,
        hsi: Floats,
        hsi_weight: Floats,
        msi: Floats,
        msi_weight: Floats,
        offset: tuple[float, float],
        ratio: tuple[float, float],
    ) -> PairImages:
        """Take components of the HSI and of the MSI through the PSF; see the attributes."""
        rows, cols = np.arange(hsi.shape[1], dtype=np.float64), np.arange(hsi.shape[2], dtype=np.float64)
        return cls(hsi, hsi_weight, _splines(msi), msi_weight, rows, cols, offset, ratio, 0.0, msi)

    @property
    def step(self) -> tuple[float, float]:
        """LR pixels between the HSI's pixels along (y, x)."""
        first, second = (float(line[1] - line[0]) if len(line) > 1 else 1.0 for line in (self.rows, self.cols))
        return first, second

    def blurred(self, blur: float, step: int | None = None) -> PairImages:
        """Return both images blurred to a standard deviation in LR pixels, thinned as that allows, or by a step."""
        more = math.sqrt(max(blur**2 - self.blur**2, 0.0))
        apart = self.step
        hsi, hsi_weight = _normalised(self.hsi, self.hsi_weight, [more / one for one in apart])
        msi, msi_weight = _normalised(self.msi_values, self.msi_weight, [more * one for one in self.ratio])
        coarse = [max(1, int(blur / one)) if step is None else step for one in apart]
        fine = [max(1, int(blur * one / 2.5)) for one in self.ratio]
        rows, cols = self.rows[:: coarse[0]], self.cols[:: coarse[1]]
        thin = (slice(None), slice(None, None, coarse[0]), slice(None, None, coarse[1]))
        thin_msi = (slice(None), slice(None, None, fine[0]), slice(None, None, fine[1]))
        offset = (self.offset[0] / fine[0], self.offset[1] / fine[1])
        ratio = (self.ratio[0] / fine[0], self.ratio[1] / fine[1])
        hsi, msi = hsi[thin], msi[thin_msi]
        offsets = self.offsets
        if offsets is not None:
            offsets = _normalised(offsets, self.hsi_weight, [more / one for one in apart])[0][thin]
        return PairImages(
            hsi, hsi_weight[thin[1:]], _splines(msi), msi_weight[thin_msi[1:]], rows, cols, offset, ratio, blur, msi,
            offsets,
        )  # fmt: skip

    def thinned(self, maximum: int) -> PairImages:
        """Return every this many rows and columns of the HSI's pixels, so that at most about ``maximum`` remain."""
        step = math.ceil(math.sqrt(self.hsi_weight.size / maximum))
        if step <= 1:
            return self
        thin = (slice(None, None, step), slice(None, None, step))
        hsi = self.hsi[(slice(None), *thin)]
        return PairImages(
            hsi, self.hsi_weight[thin], self.msi, self.msi_weight, self.rows[::step], self.cols[::step],
            self.offset, self.ratio, self.blur, self.msi_values,
            None if self.offsets is None else self.offsets[(slice(None), *thin)],
        )  # fmt: skip

    def msi_around(self, beyond: tuple[int, int]) -> tuple[Floats, Floats]:
        """Return the MSI (m, rows, cols) at the HSI's regular positions and some rows and columns beyond; weights."""
        y, x = (
            self.offset[axis]
            + self.ratio[axis] * (line[0] + self.step[axis] * np.arange(-beyond[axis], len(line) + beyond[axis]))
            for axis, line in enumerate((self.rows, self.cols))
        )
        at = np.meshgrid(y, x, indexing="ij")
        msi = np.stack([ndimage.map_coordinates(one, at, order=1, mode="nearest") for one in self.msi_values])
        return msi, ndimage.map_coordinates(self.msi_weight, at, order=1, mode="constant")

    def at(self, displacement: Array) -> tuple[Array, Array, Array]:
        """Return the MSI where a field (2, rows, cols), in LR pixels, puts the HSI's pixels.

        Returns:
            components (m, rows, cols), their slopes (2, m, rows, cols) per LR pixel, and the weight (rows, cols).
        """
        if self.offsets is not None:
            displacement = displacement + self.offsets
        y = self.offset[0] + self.ratio[0] * (self.rows[:, None] + displacement[0])
        x = self.offset[1] + self.ratio[1] * (self.cols[None, :] + displacement[1])
        height, width = self.msi_weight.shape
        inside = (y >= -0.5) & (y <= height - 0.5) & (x >= -0.5) & (x <= width - 0.5)
        weight = ndimage.map_coordinates(self.msi_weight, [y, x], order=1, mode="nearest")
        weight = np.where(inside & (weight > _COVERED), weight, 0.0)
        values, slopes = spline_values(self.msi, y, x)
        slopes[0] *= self.ratio[0]
        slopes[1] *= self.ratio[1]
        return values, slopes, weight


def spline_values(coefficients: Floats, y: Array, x: Array) -> tuple[Array, Array]:
    """Return values (m, ...) and slopes (2, m, ...) of cubic splines (m, rows, cols) at positions; mirrored outside."""
    height, width = coefficients.shape[1:]
    shape = y.shape
    y, x = y.ravel(), x.ravel()
    first_y, first_x = np.floor(y), np.floor(x)
    weights_y, slopes_y = _taps(y - first_y)
    weights_x, slopes_x = _taps(x - first_x)
    rows = _mirrored(first_y.astype(np.int64)[None] + np.arange(-1, 3)[:, None], height)
    cols = _mirrored(first_x.astype(np.int64)[None] + np.arange(-1, 3)[:, None], width)
    flat = coefficients.reshape(len(coefficients), -1)
    values = np.zeros((len(coefficients), y.size))
    slopes = np.zeros((2, len(coefficients), y.size))
    for j in range(4):
        along = np.zeros((len(coefficients), y.size))
        along_slope = np.zeros_like(along)
        start = rows[j] * width
        for i in range(4):
            taken = flat[:, start + cols[i]]
            along += taken * weights_x[i]
            along_slope += taken * slopes_x[i]
        values += along * weights_y[j]
        slopes[0] += along * slopes_y[j]
        slopes[1] += along_slope * weights_y[j]
    return values.reshape(-1, *shape), slopes.reshape(2, -1, *shape)


def _taps(t: Array) -> tuple[Array, Array]:
    """Return weights (4, n) of cubic B-splines at a fraction of a pixel, and their derivatives."""
    s = 1 - t
    weights = np.stack([s**3 / 6, 2 / 3 - t**2 + t**3 / 2, 2 / 3 - s**2 + s**3 / 2, t**3 / 6])
    slopes = np.stack([-(s**2) / 2, -2 * t + 1.5 * t**2, 2 * s - 1.5 * s**2, t**2 / 2])
    return weights, slopes


def _mirrored(index: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Return indices of an image mirrored about the centres of its outermost pixels."""
    if size == 1:
        return np.zeros_like(index)
    period = 2 * (size - 1)
    index = np.abs(index) % period
    return np.minimum(index, period - index)


def _splines(images: Floats) -> Floats:
    return np.stack([ndimage.spline_filter(one, 3, np.float32, mode="mirror") for one in images])


def _normalised(images: Floats, weight: Floats, sigma: list[float]) -> tuple[Floats, Floats]:
    """Return images blurred over what has weight, and the blurred weight."""
    if max(sigma) < 0.05:
        return images, weight
    below = ndimage.gaussian_filter(weight, sigma, mode="nearest", truncate=3.0)
    blurred = np.stack([ndimage.gaussian_filter(one * weight, sigma, mode="nearest", truncate=3.0) for one in images])
    return blurred / np.maximum(below, 1e-3), below
