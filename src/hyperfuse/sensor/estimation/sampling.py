"""An HR image seen through a PSF at any positions, as the HSI sees it where its grid is turned against the MSI's."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from hyperfuse.errors import InputError
from hyperfuse.sensor.axis import Boundary, fold
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import BoxPsf, GaussianPsf, KernelPsf

Array = NDArray[np.float64]

# Bytes of patches that are gathered at once.
_PATCH_BYTES = 32 * 2**20
# Displacement, in HR pixels, of the differences that stand for derivatives: wide enough that the cut of a PSF does not
# show, narrow against any PSF worth the name.
_STEP = 0.25


def sample_through(
    image: torch.Tensor,
    positions: Array,
    psf: GaussianPsf | BoxPsf | KernelPsf,
    *,
    boundary: Boundary = "reflect",
    gradient: bool = False,
) -> Array:
    """Return the PSF-weighted means of ``image`` (bands, H, W) around ``positions``.

    On a regular grid this is :meth:`Sensor.degrade`; here the positions may lie anywhere.

    Args:
        image: HR image.
        positions: (n, 2), (y, x) in HR pixels from the centre of pixel (0, 0).
        psf: the blur.
        boundary: how the blur sees beyond the image.
        gradient: also return the derivatives along y and x, by central differences.

    Returns:
        float64 (n, bands), or with ``gradient`` (3, n, bands): values, derivatives along y, along x, per HR pixel.
    """
    displaced = [(0.0, 0.0)]
    if gradient:
        displaced += [(_STEP, 0.0), (-_STEP, 0.0), (0.0, _STEP), (0.0, -_STEP)]
    factors = psf.factors()
    reach_y = max(factor.radius_y for factor in factors) + (_STEP if gradient else 0)
    reach_x = max(factor.radius_x for factor in factors) + (_STEP if gradient else 0)
    taps_y, taps_x = 2 * math.ceil(reach_y) + 2, 2 * math.ceil(reach_x) + 2
    step = max(1, _PATCH_BYTES // (image.element_size() * image.shape[0] * taps_y * taps_x))
    results = np.empty((len(displaced), len(positions), image.shape[0]))
    for start in range(0, len(positions), step):
        part = positions[start : start + step]
        index_y = np.floor(part[:, 0]).astype(np.int64)[:, None] + np.arange(taps_y) - taps_y // 2 + 1
        index_x = np.floor(part[:, 1]).astype(np.int64)[:, None] + np.arange(taps_x) - taps_x // 2 + 1
        rows = torch.as_tensor(fold(index_y, image.shape[1], boundary), device=image.device)
        cols = torch.as_tensor(fold(index_x, image.shape[2], boundary), device=image.device)
        patches = image[:, rows[:, :, None], cols[:, None, :]]  # (bands, n, taps_y, taps_x)
        for number, (move_y, move_x) in enumerate(displaced):
            total = np.zeros((len(part), image.shape[0]))
            for factor in factors:
                y = axis_weights(index_y - part[:, :1] - move_y, factor.y, factor.radius_y, factor.normalise)
                x = axis_weights(index_x - part[:, 1:] - move_x, factor.x, factor.radius_x, factor.normalise)
                along_y = torch.as_tensor(y, dtype=image.dtype, device=image.device)
                along_x = torch.as_tensor(x, dtype=image.dtype, device=image.device)
                inner = torch.einsum("bnyx,nx->bny", patches, along_x)
                total += torch.einsum("bny,ny->nb", inner, along_y).double().cpu().numpy()
            results[number, start : start + step] = total
    if not gradient:
        return np.asarray(results[0])
    return np.stack([results[0], (results[1] - results[2]) / (2 * _STEP), (results[3] - results[4]) / (2 * _STEP)])


def axis_weights(offset: Array, profile: Callable[[Array], Array], radius: float, normalise: bool) -> Array:
    """Return the weights of pixels at ``offset`` (n, taps) from the sampled positions."""
    weight = np.where(np.abs(offset) <= radius + 1e-9, profile(offset), 0.0)
    if not normalise:
        return np.asarray(weight)
    total = weight.sum(axis=1, keepdims=True)
    if not (np.abs(total) > 1e-12).all():
        raise InputError("the PSF is narrower than a pixel of the MSI and falls between its centres; widen it")
    return np.asarray(weight / total)


def lr_positions(sensor: Sensor, places: NDArray[np.int64]) -> Array:
    """Return the HR positions (n, 2) of the LR pixels ``places`` (n, 2)."""
    return np.asarray(np.asarray(sensor.offset) + np.asarray(sensor.ratio) * places)


def inner_pixels(
    sensor: Sensor,
    lr_shape: tuple[int, int],
    hr_shape: tuple[int, int],
    margin: float,
    *,
    hsi_valid: torch.Tensor | None = None,
    msi_valid: torch.Tensor | None = None,
    most: int | None = None,
) -> NDArray[np.int64]:
    """Return (row, col) of the LR pixels that see only valid HR pixels within ``margin`` of them, (n, 2).

    Args:
        sensor: ratio and phase.
        lr_shape: (h, w).
        hr_shape: (H, W).
        margin: HR pixels to either side that must lie inside the image and be valid.
        hsi_valid: bool (h, w), or None where all is valid.
        msi_valid: bool (H, W), or None.
        most: evenly thinned to at most so many.
    """
    lines = []
    for axis in (0, 1):
        position = sensor.offset[axis] + sensor.ratio[axis] * np.arange(lr_shape[axis])
        lines.append((position >= margin - 0.5) & (position <= hr_shape[axis] - 0.5 - margin))
    inside = lines[0][:, None] & lines[1][None, :]
    if hsi_valid is not None:
        inside &= hsi_valid.cpu().numpy()
    if msi_valid is not None and inside.any():
        places = np.argwhere(inside)
        clear = _clear_of_gaps(msi_valid, lr_positions(sensor, places), margin)
        inside[places[~clear, 0], places[~clear, 1]] = False
    places = np.argwhere(inside)
    if most is not None and len(places) > most:
        # Evenly along the flattened list: every part of the image keeps its share.
        places = places[np.linspace(0, len(places) - 1, most).round().astype(np.int64)]
    return places


def _clear_of_gaps(valid: torch.Tensor, positions: Array, margin: float) -> NDArray[np.bool_]:
    """Tell which positions have no gap within ``margin``, by sums over rectangles."""
    gaps = np.zeros((valid.shape[0] + 1, valid.shape[1] + 1), np.int64)
    np.cumsum(np.cumsum(~valid.cpu().numpy(), axis=0), axis=1, out=gaps[1:, 1:])
    low = np.floor(positions - margin + 0.5).astype(np.int64)
    high = np.ceil(positions + margin + 0.5).astype(np.int64)
    y0, x0 = (np.clip(low[:, k], 0, valid.shape[k]) for k in (0, 1))
    y1, x1 = (np.clip(high[:, k], 0, valid.shape[k]) for k in (0, 1))
    count = gaps[y1, x1] - gaps[y0, x1] - gaps[y1, x0] + gaps[y0, x0]
    return np.asarray(count == 0)


def psf_deviation(sensor: Sensor) -> float:
    """Return the larger standard deviation of the PSF along y and x, in HR pixels."""
    psf = sensor.psf
    if psf.kind == "gaussian":
        return max(psf.sigma)
    if psf.kind == "box":
        return max(psf.width) / math.sqrt(12)
    kernel = np.abs(np.asarray(psf.weights, np.float64))
    kernel /= kernel.sum()
    y, x = (np.arange(size) - (size - 1) / 2 for size in kernel.shape)
    return math.sqrt(max(float(kernel.sum(1) @ y**2), float(kernel.sum(0) @ x**2)))
