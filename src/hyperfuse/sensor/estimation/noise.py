"""The noise of an MSI, of which a narrow PSF passes more than a wide one: a bias to be subtracted from both."""

from __future__ import annotations

import itertools

import numpy as np
import torch

from hyperfuse.sensor.axis import AxisProfile
from hyperfuse.sensor.estimation.fit import Array
from hyperfuse.sensor.psf import Psf
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


def noise_gain(positions: Array, psf: Psf, step: float = 0.25) -> Array:
    """Return how much of the variance of white noise the PSF lets through, and the slopes along y and x, (3, n).

    Positions (n, 2) are (y, x) in HR pixels; differences over ``step`` to either side stand for derivatives.
    """
    gain = np.zeros((3, len(positions)))
    for one, other in itertools.product(psf.factors(), repeat=2):
        (y, slope_y), (x, slope_x) = (_overlap(positions[:, [axis]], one[axis], other[axis], step) for axis in (0, 1))
        gain += [y * x, slope_y * x, y * slope_x]
    return gain


def _overlap(positions: Array, one: AxisProfile, other: AxisProfile, step: float) -> tuple[Array, Array]:
    """Return the sum of the products of two profiles' weights at positions (n, 1), and its derivative, (n,) each."""
    taps = int(np.ceil(max(one.radius, other.radius))) + 2
    offset = np.floor(positions) + np.arange(-taps, taps + 2) - positions
    here, up, down = (
        (one.weights(offset - move) * other.weights(offset - move)).sum(axis=1) for move in (0, step, -step)
    )
    return here, (up - down) / (2 * step)
