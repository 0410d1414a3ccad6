"""Local regression: a guided filter between sensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from pydantic import Field

from hyperfuse.methods.contract.registry import MethodSettings, Progress, Sample, register_method
from hyperfuse.methods.local_linear.consistency import restore_consistency
from hyperfuse.methods.local_linear.models import RIDGES, WINDOWS, LocalModels, Predictors, Whitening
from hyperfuse.methods.local_linear.scene_models import SceneModels, pooled
from hyperfuse.progress import part
from hyperfuse.sensor.model import Sensor
from hyperfuse.statistics.noise import estimate_noise
from hyperfuse.statistics.subspace import model_subspace


class LocalRegressionSettings(MethodSettings):
    """Settings of ``local-regression``; what is None is chosen from the pair by held-out LR pixels."""

    window: float | None = Field(default=None, ge=0.3, le=100, description="sigma of the window, in LR pixels")
    ridge: float | None = Field(default=None, ge=1e-6, le=1e6, description="relative to the variance of the MSI")
    weights: dict[float, dict[float, float]] | None = Field(
        default=None, description="of each ridge in each window, as chosen before; in place of window and ridge"
    )
    consistency: bool = Field(default=True, description="give back what the fit leaves of the measured HSI")


@dataclass(frozen=True)
class LearnedRegression:
    """What all parts of a scene share.

    Attributes:
        whitening: of the MSI.
        models: of the HSI.
    """

    whitening: Whitening
    models: SceneModels


def _prepare(samples: Sequence[Sample], settings: LocalRegressionSettings, progress: Progress) -> LearnedRegression:
    """Learn on samples what :func:`local_regression` else learns of a pair as a whole."""
    whitening = Whitening.fit(pooled([one.msi for one in samples]))
    predictors = [
        Predictors.whiten(one.msi, one.sensor, (one.hsi.shape[-2], one.hsi.shape[-1]), whitening) for one in samples
    ]
    images = [one.hsi for one in samples]
    windows, ridges = _candidates(settings)
    models = SceneModels.learn(
        images, [model_subspace(hsi) for hsi in images], predictors, [estimate_noise(hsi) for hsi in images],
        windows, ridges, progress,
    )  # fmt: skip
    return LearnedRegression(
        whitening, models if settings.weights is None else replace(models, weights=settings.weights)
    )


@register_method(
    "local-regression",
    settings=LocalRegressionSettings,
    summary="each HSI band as a linear combination of the MSI bands that changes from place to place",
    reference="He, Sun, Tang, Guided image filtering, IEEE TPAMI 35(6), 2013; Hill et al., IGARSS 1999",
    cost="seconds",
    prepare=_prepare,
    learned=(LearnedRegression, Whitening, SceneModels),
)
def local_regression(
    hsi: torch.Tensor,
    msi: torch.Tensor,
    sensor: Sensor,
    settings: LocalRegressionSettings,
    progress: Progress,
    learned: LearnedRegression | None = None,
) -> torch.Tensor:
    """Fit the HSI to the degraded MSI in sliding windows, interpolate the coefficients, apply them to the MSI.

    Every combination of window and ridge predicts LR pixels from their neighbours alone; the models are averaged
    with weights that fall with that error. Arguments as in :class:`~.registry.Method`.
    """
    whitening = None if learned is None else learned.whitening
    predictors = Predictors.whiten(msi, sensor, (hsi.shape[-2], hsi.shape[-1]), whitening)
    subspace = model_subspace(hsi)
    targets = hsi if subspace is None else subspace.project(hsi)
    if learned is not None:
        models = learned.models.within(subspace)
    elif settings.weights is not None:
        models = LocalModels(settings.weights)
    else:
        models = LocalModels.choose(
            targets,
            predictors,
            subspace,
            estimate_noise(hsi),
            *_candidates(settings),
            part(progress, 0.0, 0.4),
        )
    fused = models.apply(targets, predictors, progress=part(progress, 0.4, 0.9))
    if subspace is not None:
        fused = subspace.expand(fused)
    if settings.consistency:
        progress(0.9, "restoring consistency")
        fused = restore_consistency(fused, hsi, sensor)
    progress(1.0, "done")
    return fused


def _candidates(settings: LocalRegressionSettings) -> tuple[Sequence[float], Sequence[float]]:
    """Return the windows and ridges to choose from."""
    return (
        WINDOWS if settings.window is None else (settings.window,),
        RIDGES if settings.ridge is None else (settings.ridge,),
    )
