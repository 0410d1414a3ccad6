"""Local linear models of an HSI from an MSI, windows and ridges weighted by how well they predict held-out pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from hyperfuse.methods.local_linear.windowed_ridge import WindowedRidge
from hyperfuse.progress import Progress, silent
from hyperfuse.sensor.model import Sensor
from hyperfuse.statistics.linear import covariance, fit_linear
from hyperfuse.statistics.subspace import Subspace

WINDOWS = (0.5, 0.7, 1.0, 1.4, 2.0, 4.0, 16.0)  # sigma, in LR pixels
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # relative to the variance of the whitened MSI

# Directions of the MSI with less than this share of the strongest one's variance are rounding, not signal.
_RANK_TOLERANCE = 1e-8
# Weight of a candidate: (held-out error / smallest) ** -SHARPNESS. Candidates 20 % worse in mean squared error weigh
# a third: close ones are averaged, which predicts better than any alone, and poor ones do not count.
_SHARPNESS = 6.0
_SMALLEST_WEIGHT = 0.05
# The noise is an estimate: at least this share of an error is taken to be the model's.
_LEAST_SHARE = 0.05
_HELD_OUT_PIXELS = 4096
_SUM_BYTES = 64 * 2**20
_HR_BYTES = 64 * 2**20

Weights = dict[float, dict[float, float]]


@dataclass(frozen=True)
class Whitening:
    """The linear map that gives an MSI zero mean, unit variance and no correlation.

    Attributes:
        mean: (msi_bands,).
        matrix: (k, msi_bands).
    """

    mean: torch.Tensor
    matrix: torch.Tensor

    @classmethod
    def fit(cls, msi: torch.Tensor) -> Whitening:
        """Whiten an MSI (msi_bands, H, W); directions without contrast are dropped."""
        values, vectors = torch.linalg.eigh(covariance(msi, msi))
        keep = values > _RANK_TOLERANCE * values.max().clamp_min(torch.finfo(values.dtype).tiny)
        if not bool(keep.any()):
            # A constant MSI: one predictor that is 0 everywhere.
            keep[-1] = True
            values = torch.full_like(values, float("inf"))
        matrix = (vectors[:, keep] * values[keep].rsqrt()).T.to(msi.dtype)
        return cls(msi.flatten(1).double().mean(1).to(msi.dtype), matrix)

    def __call__(self, msi: torch.Tensor) -> torch.Tensor:
        """Return the components (k, H, W) of an MSI."""
        return (self.matrix @ (msi - self.mean[:, None, None]).flatten(1)).reshape(-1, *msi.shape[1:])


@dataclass(frozen=True)
class Predictors:
    """An MSI as predictors: principal components of zero mean and unit variance.

    Attributes:
        fine: (k, H, W).
        coarse: float64 (k, h, w), degraded to the HSI's grid.
        sensor: the forward model between the two.
    """

    fine: torch.Tensor
    coarse: torch.Tensor
    sensor: Sensor

    @classmethod
    def whiten(
        cls, msi: torch.Tensor, sensor: Sensor, shape: tuple[int, int], whitening: Whitening | None = None
    ) -> Predictors:
        """Whiten an MSI (msi_bands, H, W), by its own statistics unless those of a larger scene are given."""
        fine = (Whitening.fit(msi) if whitening is None else whitening)(msi)
        return cls(fine, sensor.degrade(fine, shape).double(), sensor)


@dataclass(frozen=True)
class LocalModels:
    """Which windows and ridges predict an image best, and with what weight.

    Attributes:
        weights: for each window, the weight of each of its ridges; all sum to 1.
        slopes: what ridges pull the models to, (bands, k): those of a scene that the image is a part of; None for
            those of the image itself.
    """

    weights: Weights
    slopes: torch.Tensor | None = None

    @classmethod
    def choose(
        cls,
        targets: torch.Tensor,
        predictors: Predictors,
        subspace: Subspace | None = None,
        noise: torch.Tensor | None = None,
        windows: Sequence[float] = WINDOWS,
        ridges: Sequence[float] = RIDGES,
        progress: Progress = silent,
        slopes: torch.Tensor | None = None,
    ) -> LocalModels:
        """Weigh every combination by the log error, averaged over bands, of predicting pixels from their neighbours.

        Args:
            targets: image at LR (bands, h, w), or its components where ``subspace`` is given.
            predictors: the MSI.
            subspace: tells what errors of components mean for bands.
            noise: standard deviation of each band's noise, (bands,): the part of the error that no model can avoid.
            windows: sigmas in LR pixels.
            ridges: relative to the variance of the predictors.
            progress: called with the share done.
            slopes: see the attribute.
        """
        if len(windows) * len(ridges) == 1:
            return cls({windows[0]: {ridges[0]: 1.0}}, slopes)
        errors = candidate_errors(targets, predictors, subspace, windows, ridges, progress, slopes)
        return cls(weigh(errors, band_variance(targets, subspace), noise, windows, ridges), slopes)

    def held_out(self, targets: torch.Tensor, predictors: Predictors) -> torch.Tensor:
        """Return the prediction of every LR pixel by models that have not seen it, (bands, h, w)."""
        models = self._models(predictors, None)
        result = torch.empty_like(targets)
        for start, part, slopes in _chunks(targets, predictors, None, self.slopes):
            total = sum(model.held_out(part, slopes, weights) for model, weights in models)
            result[start : start + part.shape[0]] = total
        return result

    def apply(
        self,
        targets: torch.Tensor,
        predictors: Predictors,
        known: torch.Tensor | None = None,
        progress: Progress = silent,
    ) -> torch.Tensor:
        """Fit at LR, interpolate the coefficients bilinearly and evaluate at HR: (bands, H, W).

        Args:
            targets: image at LR (bands, h, w).
            predictors: the MSI.
            known: bool (h, w), False for LR pixels that must not be used; None for all.
            progress: called with the share done.
        """
        sensor, fine = predictors.sensor, predictors.fine
        shape = (fine.shape[-2], fine.shape[-1])
        fused = torch.empty((targets.shape[0], *shape), dtype=targets.dtype, device=targets.device)
        at_once = max(1, _HR_BYTES // (fused.element_size() * shape[0] * shape[1] * (fine.shape[0] + 1)))
        models = self._models(predictors, known)
        for start, part, slopes in _chunks(targets, predictors, known, self.slopes):
            progress(start / targets.shape[0], "applying the local models")
            total = torch.zeros((), dtype=part.dtype, device=part.device)
            for model, weights in models:
                total = total + model.blend(part, slopes, weights)
            coefficients = total.to(targets.dtype)
            for first in range(0, coefficients.shape[0], at_once):
                upsampled = sensor.upsample(coefficients[first : first + at_once], shape, "linear")
                image = fused[start + first : start + first + upsampled.shape[0]]
                torch.mul(upsampled[:, 1], fine[0], out=image)
                for k in range(1, fine.shape[0]):
                    image.addcmul_(upsampled[:, k + 1], fine[k])
                image += upsampled[:, 0]
        return fused

    def _models(
        self, predictors: Predictors, known: torch.Tensor | None
    ) -> list[tuple[WindowedRidge, dict[float, float]]]:
        seen = None if known is None else known.double()
        return [(WindowedRidge(predictors.coarse, window, seen), weights) for window, weights in self.weights.items()]


def _spread_pixels(rows: int, cols: int) -> torch.Tensor:
    """Return flat indices of about ``_HELD_OUT_PIXELS`` pixels spread over the image."""
    step = math.ceil(rows * cols / _HELD_OUT_PIXELS)
    while math.gcd(step, cols) > 1 and step > 1:
        step += 1  # a step that shares a factor with the width would visit a few columns only
    return torch.arange(0, rows * cols, step)


def candidate_errors(
    targets: torch.Tensor,
    predictors: Predictors,
    subspace: Subspace | None,
    windows: Sequence[float],
    ridges: Sequence[float],
    progress: Progress = silent,
    slopes: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the mean squared error of predicting pixels of each band from their neighbours, (windows, ridges, bands).

    Arguments as in :meth:`LocalModels.choose`.
    """
    pixels = _spread_pixels(targets.shape[-2], targets.shape[-1]).to(targets.device)
    errors = []
    for done, window in enumerate(windows):
        progress(done / len(windows), "weighing windows by held-out pixels")
        model = WindowedRidge(predictors.coarse, window)
        parts = [
            model.held_out_errors(part, pulled, ridges, pixels)
            for _, part, pulled in _chunks(targets, predictors, None, slopes)
        ]
        errors.append(torch.cat(parts, dim=1))
    found = torch.stack(errors)
    return found if subspace is None else subspace.band_errors(found)


def band_variance(targets: torch.Tensor, subspace: Subspace | None) -> torch.Tensor:
    """Return the variance of each band, (bands,), float64; arguments as in :meth:`LocalModels.choose`."""
    variance = targets.flatten(1).double().var(1, correction=0)
    return variance if subspace is None else subspace.band_errors(variance)


def weigh(
    errors: torch.Tensor,
    variance: torch.Tensor,
    noise: torch.Tensor | None,
    windows: Sequence[float],
    ridges: Sequence[float],
) -> Weights:
    """Return the weight of each ridge in each window by the log of their errors, averaged over bands.

    Args:
        errors: mean squared ones, (windows, ridges, bands).
        variance: of each band, (bands,).
        noise: see :meth:`LocalModels.choose`.
        windows: those of the errors.
        ridges: those of the errors.
    """
    scores = _log_error(errors, variance, noise)
    shares = torch.exp(-_SHARPNESS * (scores - scores.min()))
    shares = torch.where(shares >= _SMALLEST_WEIGHT, shares, 0.0)
    shares = shares / shares.sum()
    chosen = {
        window: {ridge: float(share) for ridge, share in zip(ridges, row, strict=True) if share > 0}
        for window, row in zip(windows, shares, strict=True)
    }
    return {window: weights for window, weights in chosen.items() if weights}


def _log_error(errors: torch.Tensor, variance: torch.Tensor, noise: torch.Tensor | None) -> torch.Tensor:
    """Return the mean over bands of the log of the mean squared error, (windows, ridges): what PSNR averages."""
    if noise is not None:
        # One amount a band for all candidates: cut off at each of them, the differences that tell them apart would go.
        smallest = errors.flatten(0, -2).amin(0)
        errors = errors - torch.minimum(noise.double().square(), (1 - _LEAST_SHARE) * smallest)
    varied = variance > 0
    if not bool(varied.any()):
        return torch.zeros(errors.shape[:2], dtype=errors.dtype, device=errors.device)
    floor = 1e-12 * variance[varied]
    return (errors[..., varied] + floor).log().mean(-1)


def _chunks(
    targets: torch.Tensor, predictors: Predictors, known: torch.Tensor | None, slopes: torch.Tensor | None
) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
    """Cut the bands so that the window sums of one part stay small; with each part go its global slopes."""
    size = 8 * targets.shape[-2] * targets.shape[-1] * (predictors.coarse.shape[0] + 1)
    step = max(1, _SUM_BYTES // size)
    for start in range(0, targets.shape[0], step):
        part = targets[start : start + step]
        pulled = fit_linear(predictors.coarse, part, known)[:, 1:] if slopes is None else slopes[start : start + step]
        yield start, part.double(), pulled
