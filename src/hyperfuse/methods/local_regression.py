"""Local regression: a guided filter between sensors."""

from __future__ import annotations

import torch
from pydantic import Field

from hyperfuse.methods.consistency import restore_consistency
from hyperfuse.methods.local_models import RIDGES, WINDOWS, LocalModels, Predictors
from hyperfuse.methods.noise import estimate_noise
from hyperfuse.methods.registry import MethodSettings, Progress, register_method, silent
from hyperfuse.methods.subspace import Subspace, fit_subspace
from hyperfuse.sensor.model import Sensor

# Spectra of more bands are fitted in this many principal components; what they miss comes back with the residual.
_COMPONENTS = 32


class LocalRegressionSettings(MethodSettings):
    """Settings of ``local-regression``; what is None is chosen from the pair by held-out LR pixels."""

    window: float | None = Field(default=None, ge=0.3, le=100, description="sigma of the window, in LR pixels")
    ridge: float | None = Field(default=None, ge=1e-6, le=1e6, description="relative to the variance of the MSI")
    weights: dict[float, dict[float, float]] | None = Field(
        default=None, description="of each ridge in each window, as chosen before; in place of window and ridge"
    )
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
    predictors, targets, subspace = _prepared(hsi, msi, sensor)
    if settings.weights is not None:
        models = LocalModels(settings.weights)
    else:
        models = _choose(hsi, predictors, targets, subspace, settings, progress)
    fused = models.apply(targets, predictors, progress=lambda share, words="": progress(0.4 + 0.5 * share, words))
    if subspace is not None:
        fused = subspace.expand(fused)
    if settings.consistency:
        progress(0.9, "restoring consistency")
        fused = restore_consistency(fused, hsi, sensor)
    progress(1.0, "done")
    return fused


def choose_weights(
    hsi: torch.Tensor, msi: torch.Tensor, sensor: Sensor, settings: LocalRegressionSettings
) -> dict[float, dict[float, float]]:
    """Return the weights of windows and ridges that a pair asks for: the setting ``weights`` for others like it."""
    if settings.weights is not None:
        return settings.weights
    predictors, targets, subspace = _prepared(hsi, msi, sensor)
    return _choose(hsi, predictors, targets, subspace, settings, silent).weights


def _prepared(hsi: torch.Tensor, msi: torch.Tensor, sensor: Sensor) -> tuple[Predictors, torch.Tensor, Subspace | None]:
    predictors = Predictors.whiten(msi, sensor, (hsi.shape[-2], hsi.shape[-1]))
    subspace = fit_subspace(hsi, _COMPONENTS, standardise=True) if hsi.shape[0] > _COMPONENTS else None
    return predictors, hsi if subspace is None else subspace.project(hsi), subspace


def _choose(
    hsi: torch.Tensor,
    predictors: Predictors,
    targets: torch.Tensor,
    subspace: Subspace | None,
    settings: LocalRegressionSettings,
    progress: Progress,
) -> LocalModels:
    return LocalModels.choose(
        targets,
        predictors,
        subspace,
        estimate_noise(hsi),
        WINDOWS if settings.window is None else (settings.window,),
        RIDGES if settings.ridge is None else (settings.ridge,),
        lambda share, words="": progress(0.4 * share, words),
    )
