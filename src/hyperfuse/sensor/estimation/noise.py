"""The noise of an MSI, of which a narrow PSF passes more than a wide one: a bias to be subtracted from both."""

from __future__ import annotations

import numpy as np
import torch

from hyperfuse.sensor.estimation.fit import Array
from hyperfuse.sensor.estimation.sampling import axis_weights
from hyperfuse.sensor.psf import BoxPsf, GaussianPsf, KernelPsf
from hyperfuse.statistics.noise import quiet_energy

# Divides the energy of quiet blocks, which of white noise is 0.63: texture is left in some, so that a tenth less is
# taken to be noise.
_QUIET_ENERGY = 0.7
_MIN_SIZE = 18  # pixels along a side: blocks enough for a percentile
_MAX_SIZE = 1024  # pixels along a side of the central part that is used


def pixel_noise(image: torch.Tensor) -> Array:
    """Return the variance of the noise of each band of an image (bands, H, W): (bands,), 0 for small images."""
    rows, cols = (slice(max(0, (size - _MAX_SIZE) // 2), (size + _MAX_SIZE) // 2) for size in image.shape[-2:])
    part = image[:, rows, cols].double()
    if min(part.shape[-2:]) < _MIN_SIZE:
        return np.zeros(image.shape[0])
    return np.asarray((quiet_energy(part) / _QUIET_ENERGY).cpu().numpy())


def noise_gain(positions: Array, psf: GaussianPsf | BoxPsf | KernelPsf, step: float = 0.25) -> Array:
    """Return how much of the variance of white noise the PSF lets through at ``positions`` (n, 2), and its slopes.

    Args:
        positions: (y, x) in HR pixels.
        psf: the blur.
        step: HR pixels, of the differences that stand for derivatives.

    Returns:
        (3, n): the sum of the squared weights, its derivatives along y and along x.
    """
    gain, by_y, by_x = np.zeros((3, len(positions)))
    factors = psf.factors()
    for one in factors:
        for other in factors:
            products = []
            for axis, profiles in ((0, (one.y, other.y)), (1, (one.x, other.x))):
                radius = (one.radius_x, other.radius_x) if axis else (one.radius_y, other.radius_y)
                sums = []
                for move in (0.0, step, -step):
                    taps = int(np.ceil(max(radius))) + 2
                    index = np.floor(positions[:, axis])[:, None] + np.arange(-taps, taps + 2)
                    offset = index - positions[:, axis : axis + 1] - move
                    first = axis_weights(offset, profiles[0], radius[0], one.normalise)
                    second = axis_weights(offset, profiles[1], radius[1], other.normalise)
                    sums.append((first * second).sum(axis=1))
                products.append(sums)
            (y, y_up, y_down), (x, x_up, x_down) = products
            gain += y * x
            by_y += (y_up - y_down) / (2 * step) * x
            by_x += y * (x_up - x_down) / (2 * step)
    return np.stack([gain, by_y, by_x])
