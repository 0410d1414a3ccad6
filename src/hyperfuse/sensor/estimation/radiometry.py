"""Radiometric gain and offset of the MSI's bands against the HSI, and where neither explains a difference."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from hyperfuse.sensor.estimation.fit import Array, HeldOutFit
from hyperfuse.statistics.folds import block_labels, position_folds

# Standard errors by which gain or offset must explain more than chance.
_SIGNIFICANCE = 3.0
# A pixel whose residual is this many times the typical one, and this fraction of the MSI's deviation, is taken for
# change, cloud, shadow or parallax.
OUTLYING, OUTLYING_DEVIATIONS = 5.0, 0.5
_SMOOTH = 8  # LR pixels along a side of the blocks over which differences count as smooth


class RadiometricModel(Enum):
    """What an MSI band needs in addition to a weighted mean of HSI bands: a free sum of the weights, a constant."""

    IDENTICAL = (False, False)
    GAIN = (True, False)
    GAIN_AND_OFFSET = (True, True)

    def __init__(self, gain: bool, offset: bool) -> None:
        self.gain, self.offset = gain, offset


@dataclass(frozen=True)
class RadiometryFit:
    """``msi = gain * predicted + offset``, per MSI band.

    Attributes:
        gain: (msi_bands,).
        offset: (msi_bands,), in the MSI's unit.
        explained: (msi_bands,), fraction of the MSI's variance that this explains on held-out pixels.
        models: what each band needed.
    """

    gain: Array
    offset: Array
    explained: Array
    models: tuple[RadiometricModel, ...]


def fit_radiometry(predicted: Array, targets: Array, pixels: NDArray[np.int64]) -> RadiometryFit:
    """Fit gain and offset of MSI bands whose responses are known; 1 and 0 where held-out blocks show no difference.

    ``predicted`` is the HSI seen through the responses, ``targets`` the MSI degraded to the same ``pixels``.
    """
    folds, blocks = position_folds(pixels), block_labels(pixels)
    bands = []
    for x, z in zip(predicted.T, targets.T, strict=True):
        model, errors = RadiometricModel.IDENTICAL, _held_out(x, z, folds, RadiometricModel.IDENTICAL)
        for richer in (RadiometricModel.GAIN, RadiometricModel.GAIN_AND_OFFSET):
            tried = _held_out(x, z, folds, richer)
            if excess(errors, tried, blocks) > _SIGNIFICANCE:
                model, errors = richer, tried
        bands.append((*_line(x, z, model), explained_fraction(errors, z), model))
    gain, offset, explained, models = zip(*bands, strict=True)
    return RadiometryFit(np.array(gain), np.array(offset), np.array(explained), models)


def explained_fraction(errors: Array, target: Array) -> float:
    """Return the fraction of a target's variance that is explained with these squared errors, (pixels,) each."""
    variance = float(np.square(target - target.mean()).mean())
    return 1 - float(errors.mean()) / variance if variance > 0 else 0.0


def excess(errors: Array, best: Array, blocks: NDArray[np.int64]) -> float:
    """Return by how many standard errors the mean of ``errors`` (pixels,) is above that of ``best``, over blocks."""
    summed = np.bincount(blocks, errors - best)
    spread = float(np.sqrt(np.square(summed - summed.mean()).sum() * len(summed) / max(len(summed) - 1, 1)))
    total = float(summed.sum())
    if spread > 0:
        return total / spread
    return float(np.sign(total)) * np.inf if total else 0.0


def changed_pixels(spectra: Array, targets: Array, pixels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return the pixels, bool (pixels,), on which the two images do not agree, whatever the responses.

    The MSI is predicted from the HSI's bands, every pixel by a fit without it; where the residual is far larger than
    the typical one, something moved, changed or was covered between the two images. Arguments as of ``fit_srf``.
    """
    residual = HeldOutFit.choose(spectra, pixels, targets).residual(targets)
    typical = np.median(np.abs(residual), axis=0)
    deviation = np.maximum(targets.std(axis=0), 1e-300)
    # Most of a scene may be flat and fit well; edges are no change, so a good part of its contrast is required too.
    limit = np.maximum(OUTLYING * typical, OUTLYING_DEVIATIONS * deviation)
    return np.asarray(np.square(residual / limit).mean(axis=1) > 1)


def smooth_fraction(residual: Array, pixels: NDArray[np.int64]) -> Array:
    """Return the fraction of each band's residual (pixels, bands) that is smooth: haze, or another illumination.

    The variance of means over blocks of eight by eight LR pixels, less that of means of independent errors.
    """
    number = np.unique(pixels // _SMOOTH, axis=0, return_inverse=True)[1].ravel()
    count = np.bincount(number)
    variance = np.maximum(np.square(residual - residual.mean(axis=0)).mean(axis=0), 1e-300)
    sums = np.stack([np.bincount(number, band) for band in (residual - residual.mean(axis=0)).T], axis=1)
    means = sums / count[:, None]
    between = (count[:, None] * np.square(means)).sum(axis=0) / count.sum()
    chance = len(count) / count.sum()
    return np.asarray(np.clip((between / variance - chance) / max(1 - chance, 1e-9), 0, 1))


def _held_out(x: Array, z: Array, folds: NDArray[np.int64], model: RadiometricModel) -> Array:
    errors = np.empty_like(z)
    for fold in np.unique(folds):
        held_out = folds == fold
        known = ~held_out if (~held_out).any() else held_out
        gain, offset = _line(x[known], z[known], model)
        errors[held_out] = (z[held_out] - gain * x[held_out] - offset) ** 2
    return errors


def _line(x: Array, z: Array, model: RadiometricModel) -> tuple[float, float]:
    if not model.gain:
        return 1.0, 0.0
    mean_x, mean_z = (float(x.mean()), float(z.mean())) if model.offset else (0.0, 0.0)
    centred = x - mean_x
    energy = float(centred @ centred)
    gain = float(centred @ z) / energy if energy > 0 else 1.0
    return gain, mean_z - gain * mean_x
