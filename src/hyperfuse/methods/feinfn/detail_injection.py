"""Injection of spatial detail: the gain of each band's own, and the detail of the MSI that it lacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from hyperfuse.methods.local_linear.predictors import Predictors
from hyperfuse.runtime.parallel import in_threads
from hyperfuse.statistics.folds import FOLDS, block_folds

# Cubic interpolation of a sample from its two neighbours on either side (Keys, 1981, a = -1/2 at a spacing of two),
# along a row or a column.
_NEIGHBOURS = (-1 / 6, 4 / 6, 0.0, 4 / 6, -1 / 6)
_RIDGES = (0.01, 0.1, 1.0, 10.0)  # relative to the mean variance of the MSI's detail
_MIN_PIXELS = 64


@dataclass(frozen=True)
class DetailInjection:
    """Corrections to the part of an image that the HSI does not resolve.

    A model fitted to all frequencies of a band may be right about its large shapes and wrong about its detail: a band
    of atmospheric residue follows no detail of the MSI. How detail behaves is measured at the finest scale of the HSI:
    its pixels minus their interpolation from the neighbours, against the same of held-out predictions. Gains of
    injected detail as in Vivone et al., IEEE TGRS 53(5), 2015.

    Attributes:
        gain: of the detail of each band, in [0, 1], (bands,).
        slopes: of the detail of each predictor that is added, (bands, k).
    """

    gain: torch.Tensor
    slopes: torch.Tensor

    @classmethod
    def fit(
        cls, held_out: Sequence[torch.Tensor], hsis: Sequence[torch.Tensor], windows: Sequence[Predictors]
    ) -> DetailInjection:
        """Regress the finest scale of the HSI on that of its prediction and of the MSI.

        The ridge is the one that predicts blocks of pixels best from the others; the MSI's detail is applied to each
        band with the factor that serves best there.

        Args:
            held_out: of each sample the predictions of models fitted without each pixel, (bands, h, w).
            hsis: of each sample the LR-HSI, (bands, h, w).
            windows: of each sample the MSI.
        """
        large = [index for index, one in enumerate(windows) if min(one.shape) >= len(_NEIGHBOURS)]
        if sum(hsis[index][0].numel() for index in large) < _MIN_PIXELS:
            bands, count = hsis[0].shape[0], windows[0].coarse.shape[0]
            return cls(hsis[0].new_ones(bands), hsis[0].new_zeros(bands, count))
        measured, predicted, fine = (
            torch.cat([_finest(images[index]).flatten(1).double() for index in large], dim=1)
            for images in (hsis, held_out, [one.coarse for one in windows])
        )
        energy = predicted.square().sum(1)
        usable = energy > 0
        slope = torch.where(usable, (measured * predicted).sum(1) / energy.clamp_min(1e-300), 1.0)
        residual = measured - slope[:, None] * predicted
        # Pixels are interpolated from each other: count two as one. A gain that chance may have lowered is raised.
        deviation = (2 * residual.square().mean(1) / energy.clamp_min(1e-300)).sqrt()
        gain = torch.where(usable, slope + deviation, 1.0).clamp(0, 1)
        residual = measured - gain[:, None] * predicted
        folds = torch.cat([block_folds(windows[index].shape, hsis[index].device).flatten() for index in large])
        candidates = [_predict_folds(residual, fine, ridge, folds) for ridge in _RIDGES]
        best = min(range(len(_RIDGES)), key=lambda index: _log_error(residual - candidates[index]))
        factor = _shrinkage_factor(residual, candidates[best])
        slopes = factor[:, None] * _ridge(residual, fine, _RIDGES[best])
        return cls(gain.to(hsis[0].dtype), slopes.to(hsis[0].dtype))

    def correct(self, image: torch.Tensor, predictors: Predictors) -> torch.Tensor:
        """Return the image (bands, H, W) of a window with its detail corrected; what the HSI resolves of it stays."""
        fine = _unresolved(predictors.fine, predictors.coarse.to(image.dtype), predictors)
        result = torch.addmm(image.flatten(1), self.slopes, fine.flatten(1)).reshape(image.shape)

        def weaken(band: int) -> None:
            own = image[band : band + 1]
            result[band].sub_(
                _unresolved(own, predictors.degrade(own), predictors)[0], alpha=1 - float(self.gain[band])
            )

        # Band by band: few bytes that stay in cache.
        in_threads(weaken, torch.nonzero(self.gain < 1).flatten().tolist(), image.device)
        return result


def _finest(image: torch.Tensor) -> torch.Tensor:
    """Return an image (bands, h, w) minus the interpolation of each pixel from those around it."""
    padded = F.pad(image[None], (2, 2, 2, 2), mode="reflect")[0]
    rows, cols = image.shape[-2:]
    around = torch.zeros_like(image)
    for offset, weight in enumerate(_NEIGHBOURS):
        along_x = padded[:, 2 : 2 + rows, offset : offset + cols]
        along_y = padded[:, offset : offset + rows, 2 : 2 + cols]
        around += 0.5 * weight * (along_x + along_y)
    return image - around


def _unresolved(image: torch.Tensor, degraded: torch.Tensor, predictors: Predictors) -> torch.Tensor:
    """Return the part of an image (bands, H, W) that is lost in its degraded form (bands, h, w)."""
    return image - predictors.sensor.upsample(degraded, predictors.fine_shape)


def _ridge(targets: torch.Tensor, predictors: torch.Tensor, ridge: float) -> torch.Tensor:
    """Return slopes (bands, k) of targets (bands, n) on predictors (k, n)."""
    gram = predictors @ predictors.T
    gram = gram + ridge * gram.diagonal().mean().clamp_min(1e-300) * torch.eye(len(gram)).to(gram)
    slopes: torch.Tensor = torch.linalg.solve(gram, predictors @ targets.T).T
    return slopes


def _predict_folds(targets: torch.Tensor, predictors: torch.Tensor, ridge: float, folds: torch.Tensor) -> torch.Tensor:
    """Return every pixel of the targets as predicted by slopes fitted to the other folds."""
    predicted = torch.zeros_like(targets)
    for fold in range(FOLDS):
        out = folds == fold
        predicted[:, out] = _ridge(targets[:, ~out], predictors[:, ~out], ridge) @ predictors[:, out]
    return predicted


def _log_error(error: torch.Tensor) -> float:
    """Return the log of the mean squared error, averaged over bands: each counts the same."""
    return float(error.square().mean(1).clamp_min(1e-300).log().mean())


def _shrinkage_factor(targets: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
    """Return for each band the best factor on a held-out prediction, less its standard error, in [0, 1]."""
    energy = predicted.square().sum(1).clamp_min(1e-300)
    factor = (targets * predicted).sum(1) / energy
    residual = targets - factor[:, None] * predicted
    return (factor - (2 * residual.square().mean(1) / energy).sqrt()).clamp(0, 1)
