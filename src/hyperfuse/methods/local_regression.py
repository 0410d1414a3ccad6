"""Local regression: a guided filter between sensors, its windows and ridges weighted by held-out pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from pydantic import Field

from hyperfuse.methods.consistency import restore_consistency
from hyperfuse.methods.registry import MethodSettings, Progress, register_method
from hyperfuse.methods.synthesis import covariance, fit_linear
from hyperfuse.methods.windowed_ridge import WindowedRidge
from hyperfuse.sensor.model import Sensor

_WINDOWS = (0.5, 0.7, 1.0, 1.4, 2.0, 4.0, 16.0)
_RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
# Directions of the MSI with less than this share of the strongest one's variance are rounding, not signal.
_RANK_TOLERANCE = 1e-8
# Weight of a candidate: (held-out error / smallest) ** -SHARPNESS. Candidates 20 % worse in mean squared error weigh
# a third: close ones are averaged, which predicts better than any alone, and poor ones do not count.
_SHARPNESS = 6.0
_SMALLEST_WEIGHT = 0.05
_HELD_OUT_PIXELS = 4096
_SUM_BYTES = 64 * 2**20
_HR_BYTES = 64 * 2**20


class LocalRegressionSettings(MethodSettings):
    """Settings of ``local-regression``; what is None is chosen from the pair by held-out LR pixels."""

    window: float | None = Field(default=None, ge=0.3, le=100, description="sigma of the window, in LR pixels")
    ridge: float | None = Field(default=None, ge=1e-6, le=1e6, description="relative to the variance of the MSI")
    consistency: bool = Field(default=True, description="give back what the fit leaves of the measured HSI")


@register_method(
    "local-regression",
    settings=LocalRegressionSettings,
    summary="each HSI band as a linear combination of the MSI bands that changes from place to place",
    reference="He, Sun, Tang, Guided image filtering, IEEE TPAMI 35(6), 2013; Hill et al., IGARSS 1999",
    cost="seconds",
)
def local_regression(
    hsi: torch.Tensor, msi: torch.Tensor, sensor: Sensor, settings: LocalRegressionSettings, progress: Progress
) -> torch.Tensor:
    """Fit the HSI to the degraded MSI in sliding windows, interpolate the coefficients, apply them to the MSI.

    Every combination of window and ridge predicts LR pixels from their neighbours alone; the models are averaged
    with weights that fall with that error. Arguments as in :class:`~.registry.Method`.
    """
    whitened, at_lr = _whiten(msi, sensor, (hsi.shape[-2], hsi.shape[-1]))
    candidates = _weigh(hsi, at_lr, settings, progress)
    progress(0.4, "applying the local models")
    fused = _apply(hsi, at_lr, whitened, sensor, candidates, progress)
    if settings.consistency:
        progress(0.9, "restoring consistency")
        fused = restore_consistency(fused, hsi, sensor)
    progress(1.0, "done")
    return fused


@dataclass(frozen=True)
class _Candidate:
    model: WindowedRidge
    ridge: float
    weight: float


def _whiten(msi: torch.Tensor, sensor: Sensor, shape: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the MSI's principal components at HR (k, H, W) and LR (k, h, w), zero mean and unit variance at HR."""
    moments = covariance(msi, msi)
    values, vectors = torch.linalg.eigh(moments)
    keep = values > _RANK_TOLERANCE * values.max().clamp_min(torch.finfo(values.dtype).tiny)
    if not bool(keep.any()):
        keep = torch.zeros_like(keep)
        keep[-1] = True
        values = torch.full_like(values, float("inf"))
    matrix = (vectors[:, keep] * values[keep].rsqrt()).T
    mean = msi.flatten(1).double().mean(1)
    whitened = matrix.to(msi.dtype) @ (msi - mean.to(msi.dtype)[:, None, None]).flatten(1)
    whitened = whitened.reshape(-1, *msi.shape[1:])
    return whitened, sensor.degrade(whitened, shape).double()


def _weigh(
    hsi: torch.Tensor, predictors: torch.Tensor, settings: LocalRegressionSettings, progress: Progress
) -> list[_Candidate]:
    windows = _WINDOWS if settings.window is None else (settings.window,)
    ridges = _RIDGES if settings.ridge is None else (settings.ridge,)
    models = [WindowedRidge(predictors, window) for window in windows]
    if len(models) * len(ridges) == 1:
        return [_Candidate(models[0], ridges[0], 1.0)]
    count = hsi.shape[-2] * hsi.shape[-1]
    pixels = torch.arange(0, count, math.ceil(count / _HELD_OUT_PIXELS), device=hsi.device)
    errors = []
    for done, model in enumerate(models):
        progress(0.4 * done / len(models), "weighing windows by held-out pixels")
        parts = [
            model.held_out_errors(targets, slopes, ridges, pixels) for _, targets, slopes in _chunks(hsi, predictors)
        ]
        errors.append(torch.cat(parts, dim=1))
    scores = _log_error(torch.stack(errors), hsi)
    weights = torch.exp(-_SHARPNESS * (scores - scores.min()))
    weights = torch.where(weights >= _SMALLEST_WEIGHT, weights, 0.0)
    weights = weights / weights.sum()
    return [
        _Candidate(model, ridge, float(weight))
        for model, row in zip(models, weights, strict=True)
        for ridge, weight in zip(ridges, row, strict=True)
        if weight > 0
    ]


def _log_error(errors: torch.Tensor, hsi: torch.Tensor) -> torch.Tensor:
    """Return the mean over bands of the log of the mean squared error, shape (windows, ridges): what PSNR averages."""
    variance = hsi.flatten(1).double().var(1, correction=0)
    varied = variance > 0
    if not bool(varied.any()):
        return torch.zeros(errors.shape[:2], dtype=errors.dtype, device=errors.device)
    floor = 1e-12 * variance[varied]
    return (errors[..., varied] + floor).log().mean(-1)


def _apply(
    hsi: torch.Tensor,
    predictors: torch.Tensor,
    whitened: torch.Tensor,
    sensor: Sensor,
    candidates: list[_Candidate],
    progress: Progress,
) -> torch.Tensor:
    shape = (whitened.shape[-2], whitened.shape[-1])
    fused = torch.empty((hsi.shape[0], *shape), dtype=hsi.dtype, device=hsi.device)
    at_once = max(1, _HR_BYTES // (fused.element_size() * shape[0] * shape[1] * (whitened.shape[0] + 1)))
    for start, targets, slopes in _chunks(hsi, predictors):
        progress(0.4 + 0.5 * start / hsi.shape[0], "applying the local models")
        total = torch.zeros(())
        for candidate in candidates:
            total = total + candidate.weight * candidate.model.coefficients(targets, slopes, candidate.ridge)
        coefficients = total.to(hsi.dtype)
        for first in range(0, coefficients.shape[0], at_once):
            upsampled = sensor.upsample(coefficients[first : first + at_once], shape, "linear")
            part = fused[start + first : start + first + upsampled.shape[0]]
            torch.mul(upsampled[:, 1], whitened[0], out=part)
            for k in range(1, whitened.shape[0]):
                part.addcmul_(upsampled[:, k + 1], whitened[k])
            part += upsampled[:, 0]
    return fused


def _chunks(hsi: torch.Tensor, predictors: torch.Tensor) -> list[tuple[int, torch.Tensor, torch.Tensor]]:
    """Cut the bands so that the window sums of one part stay small; with each part go its global slopes."""
    size = 8 * hsi.shape[-2] * hsi.shape[-1] * (predictors.shape[0] + 1)
    step = max(1, _SUM_BYTES // size)
    return [
        (start, part.double(), fit_linear(predictors, part)[:, 1:])
        for start in range(0, hsi.shape[0], step)
        for part in (hsi[start : start + step],)
    ]
