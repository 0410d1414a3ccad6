"""How the levels of the MSI's bands relate to the HSI's: gain, offset, and where neither explains the difference."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from hyperfuse.sensor.estimation.fit import Array, HeldOutFit
from hyperfuse.statistics.folds import block_labels, position_folds

# Gain or offset must explain more than chance by so many standard errors.
_SURETY = 3.0
# A pixel whose residual is so many times the typical one, and this share of the MSI's deviation, has changed, or shows
# cloud, shadow or parallax.
_OUTLYING, _OUTLYING_DEVIATIONS = 5.0, 0.5
_SMOOTH = 8  # LR pixels: differences that are the same over so many along a side are smooth


class Level(Enum):
    """What an MSI band needs beside a weighted mean of HSI bands."""

    SAME = "same"
    GAIN = "gain"
    GAIN_AND_OFFSET = "gain and offset"

    @property
    def gain(self) -> bool:
        """Whether the sum of the weights is free."""
        return self is not Level.SAME

    @property
    def offset(self) -> bool:
        """Whether a constant is added."""
        return self is Level.GAIN_AND_OFFSET


@dataclass(frozen=True)
class LevelFit:
    """``msi = gain * predicted + offset``, per MSI band.

    Attributes:
        gain: (msi_bands,).
        offset: (msi_bands,), in the MSI's unit.
        explained: (msi_bands,), share of the MSI's variance that this explains on pixels held out.
        levels: what each band needed.
    """

    gain: Array
    offset: Array
    explained: Array
    levels: tuple[Level, ...]


def fit_levels(predicted: Array, targets: Array, places: NDArray[np.int64]) -> LevelFit:
    """Fit gain and offset of MSI bands whose responses are known.

    Both stay at 1 and 0 unless blocks of pixels that a fit has not seen show, beyond doubt, that they do not.

    Args:
        predicted: what the responses make of the HSI (pixels, msi_bands).
        targets: the MSI degraded to the same pixels (pixels, msi_bands).
        places: (row, col) of each pixel on the LR grid, (pixels, 2).
    """
    folds, blocks = position_folds(places), block_labels(places)
    gains, offsets, explained, levels = [], [], [], []
    for x, z in zip(predicted.T, targets.T, strict=True):
        level, errors = Level.SAME, _held_out(x, z, folds, Level.SAME)
        for richer in (Level.GAIN, Level.GAIN_AND_OFFSET):
            tried = _held_out(x, z, folds, richer)
            if excess(errors, tried, blocks) > _SURETY:
                level, errors = richer, tried
        gain, offset = _line(x, z, level)
        variance = float(np.square(z - z.mean()).mean())
        gains.append(gain)
        offsets.append(offset)
        explained.append(1 - float(errors.mean()) / variance if variance > 0 else 0.0)
        levels.append(level)
    return LevelFit(np.array(gains), np.array(offsets), np.array(explained), tuple(levels))


def excess(errors: Array, best: Array, blocks: NDArray[np.int64]) -> float:
    """Return by how many standard errors the mean of ``errors`` (pixels,) is above that of ``best``, over blocks."""
    summed = np.bincount(blocks, errors - best)
    spread = float(np.sqrt(np.square(summed - summed.mean()).sum() * len(summed) / max(len(summed) - 1, 1)))
    total = float(summed.sum())
    if spread > 0:
        return total / spread
    return float(np.sign(total)) * np.inf if total else 0.0


def changed_pixels(spectra: Array, targets: Array, places: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which pixels, (pixels,), the two images do not agree on, whatever the responses.

    The MSI is predicted from the HSI's bands, every pixel by a fit that has not seen it; where that misses by far more
    than it typically does, something moved, changed or was hidden between the two images.

    Args:
        spectra: HSI pixels (pixels, hsi_bands).
        targets: the MSI degraded to the same pixels (pixels, msi_bands).
        places: (row, col) of each pixel on the LR grid, (pixels, 2).
    """
    residual = HeldOutFit.choose(spectra, places, targets).residual(targets)
    typical = np.median(np.abs(residual), axis=0)
    deviation = np.maximum(targets.std(axis=0), 1e-300)
    # Most of a scene may be flat and fit well; edges are no change, so a good part of its contrast is asked for too.
    limit = np.maximum(_OUTLYING * typical, _OUTLYING_DEVIATIONS * deviation)
    return np.asarray(np.square(residual / limit).mean(axis=1) > 1)


def smooth_share(residual: Array, places: NDArray[np.int64]) -> Array:
    """Return the share of each band's residual (pixels, bands) that is smooth: haze, or light from another side.

    The variance of means over blocks of eight by eight LR pixels, less what independent errors would leave of them.
    """
    number = np.unique(places // _SMOOTH, axis=0, return_inverse=True)[1].ravel()
    count = np.bincount(number)
    variance = np.maximum(np.square(residual - residual.mean(axis=0)).mean(axis=0), 1e-300)
    sums = np.stack([np.bincount(number, band) for band in (residual - residual.mean(axis=0)).T], axis=1)
    means = sums / count[:, None]
    between = (count[:, None] * np.square(means)).sum(axis=0) / count.sum()
    chance = len(count) / count.sum()
    return np.asarray(np.clip((between / variance - chance) / max(1 - chance, 1e-9), 0, 1))


def _held_out(x: Array, z: Array, folds: NDArray[np.int64], level: Level) -> Array:
    errors = np.empty_like(z)
    for fold in np.unique(folds):
        unseen = folds == fold
        known = ~unseen if (~unseen).any() else unseen
        gain, offset = _line(x[known], z[known], level)
        errors[unseen] = (z[unseen] - gain * x[unseen] - offset) ** 2
    return errors


def _line(x: Array, z: Array, level: Level) -> tuple[float, float]:
    if level is Level.SAME:
        return 1.0, 0.0
    if level is Level.GAIN:
        energy = float(x @ x)
        return (float(x @ z) / energy if energy > 0 else 1.0), 0.0
    centred = x - x.mean()
    energy = float(centred @ centred)
    gain = float(centred @ z) / energy if energy > 0 else 1.0
    return gain, float(z.mean() - gain * x.mean())
