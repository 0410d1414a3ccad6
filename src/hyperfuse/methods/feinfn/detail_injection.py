"""How far the details that models add can be trusted, band by band, and which details of the MSI they miss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from hyperfuse.methods.local_linear.models import Predictors
from hyperfuse.sensor.model import Sensor
from hyperfuse.statistics.folds import FOLDS, block_folds

# Cubic interpolation of a sample from its two neighbours on either side (Keys, 1981, a = -1/2 at a spacing of two),
# along a row or a column.
_NEIGHBOURS = (-1 / 6, 4 / 6, 0.0, 4 / 6, -1 / 6)
_RIDGES = (0.01, 0.1, 1.0, 10.0)  # relative to the mean variance of the MSI's details
_FEWEST_PIXELS = 64


@dataclass(frozen=True)
class Details:
    """Corrections to what an image holds beyond the HSI's resolution.

    A model fitted to all frequencies of a band may be right about its large shapes and wrong about its details: a band
    of atmospheric residue follows none of the MSI's. What is true of details shows at the finest scale of the HSI: its
    pixels less their interpolation from the neighbours, against the same of predictions that have not seen them.

    Attributes:
        share: of the details of each band that is kept, in [0, 1], (bands,).
        slopes: what is added of the details of each predictor, (bands, k).
    """

    share: torch.Tensor
    slopes: torch.Tensor

    @classmethod
    def fit(cls, held_out: torch.Tensor, hsi: torch.Tensor, predictors: Predictors) -> Details:
        """Regress the finest scale of the HSI on that of its prediction and of the MSI.

        The ridge is the one that predicts blocks of pixels best from the others; of the MSI's details each band gets as
        much as serves it there.

        Args:
            held_out: prediction of every LR pixel by models that have not seen it, (bands, h, w).
            hsi: LR-HSI (bands, h, w).
            predictors: the MSI.
        """
        return cls.fit_parts([held_out], [hsi], [predictors])

    @classmethod
    def fit_parts(
        cls, held_out: Sequence[torch.Tensor], hsis: Sequence[torch.Tensor], predictors: Sequence[Predictors]
    ) -> Details:
        """Regress all at once over several parts of a scene; arguments as in :meth:`fit`, one a part."""
        large = [index for index, hsi in enumerate(hsis) if min(hsi.shape[-2:]) >= len(_NEIGHBOURS)]
        if sum(hsis[index][0].numel() for index in large) < _FEWEST_PIXELS:
            bands, count = hsis[0].shape[0], predictors[0].coarse.shape[0]
            return cls(hsis[0].new_ones(bands), hsis[0].new_zeros(bands, count))
        found, given, fine = (
            torch.cat([_finest(images[index]).flatten(1).double() for index in large], dim=1)
            for images in (hsis, held_out, [one.coarse for one in predictors])
        )
        energy = given.square().sum(1)
        usable = energy > 0
        slope = torch.where(usable, (found * given).sum(1) / energy.clamp_min(1e-300), 1.0)
        left = found - slope[:, None] * given
        # Pixels are interpolated from each other: count two as one. A share that chance may have lowered is raised.
        deviation = (2 * left.square().mean(1) / energy.clamp_min(1e-300)).sqrt()
        share = torch.where(usable, slope + deviation, 1.0).clamp(0, 1)
        left = found - share[:, None] * given
        blocks = torch.cat(
            [block_folds((hsis[i].shape[-2], hsis[i].shape[-1]), hsis[i].device).flatten() for i in large]
        )
        predicted = [_predict_blocks(left, fine, ridge, blocks) for ridge in _RIDGES]
        best = min(range(len(_RIDGES)), key=lambda index: _log_error(left - predicted[index]))
        helpful = _helpful_share(left, predicted[best])
        slopes = helpful[:, None] * _ridge(left, fine, _RIDGES[best])
        return cls(share.to(hsis[0].dtype), slopes.to(hsis[0].dtype))

    def correct(self, image: torch.Tensor, predictors: Predictors) -> torch.Tensor:
        """Return an image (bands, H, W) with its details corrected; what the HSI resolves of it stays."""
        sensor, coarse = predictors.sensor, predictors.coarse
        shape = (coarse.shape[-2], coarse.shape[-1])
        fine = _beyond(predictors.fine, coarse.to(image.dtype), sensor)
        added = (self.slopes @ fine.flatten(1)).reshape(image.shape)
        lost = self.share < 1
        result = image + added
        degraded = sensor.degrade(image[lost], shape)
        result[lost] -= (1 - self.share[lost, None, None]) * _beyond(image[lost], degraded, sensor)
        return result


def _finest(image: torch.Tensor) -> torch.Tensor:
    """Return an image (bands, h, w) less the interpolation of each pixel from those around it."""
    padded = F.pad(image[None], (2, 2, 2, 2), mode="reflect")[0]
    rows, cols = image.shape[-2:]
    around = torch.zeros_like(image)
    for offset, weight in enumerate(_NEIGHBOURS):
        along_x = padded[:, 2 : 2 + rows, offset : offset + cols]
        along_y = padded[:, offset : offset + rows, 2 : 2 + cols]
        around += 0.5 * weight * (along_x + along_y)
    return image - around


def _beyond(image: torch.Tensor, degraded: torch.Tensor, sensor: Sensor) -> torch.Tensor:
    """Return what of an image (bands, H, W) the sensor does not resolve, given what it makes of it, (bands, h, w)."""
    return image - sensor.upsample(degraded, (image.shape[-2], image.shape[-1]))


def _ridge(targets: torch.Tensor, predictors: torch.Tensor, ridge: float) -> torch.Tensor:
    """Return slopes (bands, k) of targets (bands, n) on predictors (k, n)."""
    gram = predictors @ predictors.T
    gram = gram + ridge * gram.diagonal().mean().clamp_min(1e-300) * torch.eye(len(gram)).to(gram)
    slopes: torch.Tensor = torch.linalg.solve(gram, predictors @ targets.T).T
    return slopes


def _predict_blocks(targets: torch.Tensor, predictors: torch.Tensor, ridge: float, fold: torch.Tensor) -> torch.Tensor:
    """Return every pixel of the targets as slopes predict it that were fitted to the other blocks."""
    predicted = torch.zeros_like(targets)
    for number in range(FOLDS):
        out = fold == number
        predicted[:, out] = _ridge(targets[:, ~out], predictors[:, ~out], ridge) @ predictors[:, out]
    return predicted


def _log_error(error: torch.Tensor) -> float:
    """Return the log of the mean squared error, averaged over bands: each counts alike."""
    return float(error.square().mean(1).clamp_min(1e-300).log().mean())


def _helpful_share(targets: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
    """Return for each band which share of a held-out prediction serves best, less its standard error, in [0, 1]."""
    energy = predicted.square().sum(1).clamp_min(1e-300)
    share = (targets * predicted).sum(1) / energy
    left = targets - share[:, None] * predicted
    return (share - (2 * left.square().mean(1) / energy).sqrt()).clamp(0, 1)
