"""Robust comparison of two dates: slow changes of gain, and the weights of pixels under clouds, in gaps and changed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hyperfuse.sensor.registration.images import PairImages
from hyperfuse.sensor.registration.splines import SplineGrid

Array = NDArray[np.float64]

# Gain and offset vary over control points this many LR pixels apart; prior variance of a component within such a
# neighbourhood, in that of the image, below which its gain is that of the whole image.
_GAIN_SPACING, _GAIN_RIDGE = 12.0, 0.1
# The variance of the residual is that of its neighbourhood (standard deviation in LR pixels), and at least a fraction
# of the median. Pixels that are outlying do not count in it, so that a cloud does not cost its surroundings their
# weight: where few others are near, that many LR pixels of typical variance are assumed; it is at most this many times
# the median.
_LOCAL, _FLOOR, _TYPICAL, _CAP = 2.5, 0.05, 0.02, 5.0
# Residuals of more than this many standard deviations of their neighbourhood count less: their mean over the nearest LR
# pixels (standard deviation in these), or half of that of a single one.
_OUTLYING, _NEAR, _SINGLE = 3.0, 0.8, 0.5
# Where residuals are as large as displacements of this many LR pixels would cause, they say nothing of these.
_VAGUE = 1.0


def local_gain(prediction: Array, values: Array, weight: Array, images: PairImages) -> Array:
    """Return what slowly varying gain and offset add to a prediction: haze, illumination, seasons.

    In neighbourhoods of some 10 LR pixels each component's residual is regressed on its prediction (ridge). Of blurred
    images, of which few pixels are independent, nothing is added.

    Args:
        prediction: of the MSI's components by one linear map of the HSI, (m, n), n pixels of the images.
        values: the components, (m, n).
        weight: (n,).
        images: of one resolution.
    """
    if images.blur > 0:
        return np.zeros_like(prediction)
    shape = images.hsi_weight.shape
    grid = SplineGrid.over((int(images.rows[-1]) + 1, int(images.cols[-1]) + 1), _GAIN_SPACING)
    along_y, along_x = grid.bases(images.rows, images.cols)

    def total_of(one: Array) -> Array:
        return np.asarray(along_y.T @ one.reshape(shape) @ along_x)

    below = total_of(weight) + 1e-6 * max(float(weight.max()), 1e-300)

    def mean(one: Array) -> Array:
        return np.asarray(total_of(weight * one) / below)

    added = np.empty_like(prediction)
    total = max(float(weight.sum()), 1e-300)
    for number, (one, residual) in enumerate(zip(prediction, values - prediction, strict=True)):
        centre = float((weight * one).sum()) / total
        variance = float((weight * np.square(one - centre)).sum()) / total
        first, second = mean(one), mean(residual)
        spread = np.maximum(mean(np.square(one)) - np.square(first), 0.0)
        gain = (mean(one * residual) - first * second) / (spread + _GAIN_RIDGE * variance + 1e-300)
        gain, offset = ((along_y @ field @ along_x.T).ravel() for field in (gain, second - gain * first))
        added[number] = gain * one + offset
    return added


class PixelWeights:
    """Weights of pixels: the inverse variance of the residual around them, without clouds, gaps and change.

    Rounds of fit and weights alternate (iteratively reweighted least squares).

    Args:
        images: of one resolution.
        base: (n,), weight of the data alone, 0 in gaps.
    """

    def __init__(self, images: PairImages, base: Array) -> None:
        self._images, self._base, self._known = images, base, base > 0
        self._regular = base
        self._near, self._local = (self._smooth(base, one) + 1e-6 for one in (_NEAR, _LOCAL))

    def _smooth(self, values: Array, deviation: float) -> Array:
        shape, step = self._images.hsi_weight.shape, self._images.step
        sigma = [max((deviation + self._images.blur) / one, 0.7) for one in step]
        return np.asarray(ndimage.gaussian_filter(values.reshape(shape), sigma, mode="constant").ravel())

    def update(self, energy: Array, slope: Array, tolerance: float) -> Array:
        """Return the weights (n,) in units of the inverse typical variance.

        Args:
            energy: squared residual (n,), without what a displacement by ``tolerance`` explains.
            slope: squared slope (n,) per LR pixel, in the same units.
            tolerance: LR pixels by which the displacement may be wrong.
        """
        base, sharp = self._base, self._images.blur == 0
        around = self._smooth(base * energy, _NEAR) / self._near if sharp else energy
        local = self._smooth(base * energy, _LOCAL) / self._local
        typical = float(np.median((around if sharp else local)[self._known])) if self._known.any() else 1.0
        floor = max(_FLOOR * typical, 1e-12)
        if sharp:  # blurred images are as far from each other as their displacement is from the true displacement
            regular = self._smooth(self._regular, _LOCAL)
            local = (self._smooth(self._regular * energy, _LOCAL) + _TYPICAL * typical) / (regular + _TYPICAL)
            local = np.minimum(local, _CAP * typical)
            around = np.maximum(around, _SINGLE * energy)
        self._regular = base / (1 + np.square(around / (_OUTLYING**2 * (local + floor))))
        contrast = self._smooth(base * slope, _LOCAL) / self._local
        vague = 1 + np.square(local / ((_VAGUE + tolerance) ** 2 * contrast + 1e-12))
        return np.asarray(self._regular * typical / (local + floor) / vague)
