"""Local regression: a guided filter between sensors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field

from hyperfuse.methods.contract.method import (
    DEFAULT_MARGIN,
    BytesPerPixel,
    Capabilities,
    MethodSettings,
    Outcome,
    PairTensors,
)
from hyperfuse.methods.contract.registry import register_method
from hyperfuse.methods.contract.state import from_state, to_state
from hyperfuse.methods.local_linear.consistency import restore_consistency
from hyperfuse.methods.local_linear.models import RIDGES, WINDOWS, Predictors, Whitening
from hyperfuse.methods.local_linear.scene_models import SceneModels, pooled
from hyperfuse.progress import Progress, part, silent
from hyperfuse.statistics.noise import estimate_noise
from hyperfuse.statistics.subspace import model_subspace

# A Gaussian window counts to this many times its sigma.
_SIGMAS = 3.0
_AROUND = 4  # LR pixels: interpolation, and the change of what was read


class LocalRegressionSettings(MethodSettings):
    """Settings of ``local-regression``; what is None is chosen from the scene by held-out LR pixels."""

    window: float | None = Field(default=None, ge=0.3, le=100, description="sigma of the window, in LR pixels")
    ridge: float | None = Field(default=None, ge=1e-6, le=1e6, description="relative to the variance of the MSI")
    consistency: bool = Field(default=True, description="back-project the residual of the fit to the measured HSI")


@register_method(
    "local-regression",
    settings=LocalRegressionSettings,
    summary="each HSI band as a linear combination of the MSI bands that changes from place to place",
    reference="He, Sun, Tang, Guided image filtering, IEEE TPAMI 35(6), 2013; Hill et al., IGARSS 1999",
    cost="seconds",
    capabilities=Capabilities(shared_model=True, bytes_per_pixel=BytesPerPixel(hsi_band=22)),
)
@dataclass(frozen=True)
class LocalRegression:
    """The HSI is fitted to the degraded MSI in sliding windows, coefficients are interpolated and applied to the MSI.

    Every combination of window and ridge predicts LR pixels from their neighbours alone; the models are averaged
    with weights that fall with that error.

    Attributes:
        whitening: of the MSI.
        models: of the HSI.
        consistency: see the settings.
        margin: see :class:`~.contract.method.Model`.
        details: none.
    """

    whitening: Whitening
    models: SceneModels
    consistency: bool
    margin: int
    details: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def fit(
        cls, samples: Sequence[PairTensors], settings: LocalRegressionSettings, progress: Progress
    ) -> LocalRegression:
        """Choose windows and ridges on samples of a scene."""
        whitening = Whitening.fit(pooled([one.msi for one in samples]))
        images = [one.hsi for one in samples]
        models = SceneModels.learn(
            images,
            [model_subspace(hsi) for hsi in images],
            [_predictors(one, whitening) for one in samples],
            [estimate_noise(hsi) for hsi in images],
            WINDOWS if settings.window is None else (settings.window,),
            RIDGES if settings.ridge is None else (settings.ridge,),
            part(progress, 0.0, 0.45),
        )
        sensor = samples[0].sensor
        blur = max(reach / ratio for reach, ratio in zip(sensor.reach, sensor.ratio, strict=True))
        margin = min(DEFAULT_MARGIN, math.ceil(blur + _SIGMAS * max(models.weights)) + _AROUND)
        return cls(whitening, models, settings.consistency, margin)

    @classmethod
    def restore(cls, settings: LocalRegressionSettings, state: Mapping[str, Any]) -> LocalRegression:
        """Return the model of a state."""
        return from_state(cls, state)

    def state(self) -> dict[str, Any]:
        """Return the model as plain values."""
        return dict(to_state(self))

    def apply(self, pair: PairTensors, progress: Progress = silent) -> Outcome:
        """Fuse a window."""
        subspace = model_subspace(pair.hsi)
        targets = pair.hsi if subspace is None else subspace.project(pair.hsi)
        fused = self.models.within(subspace).apply(
            targets,
            _predictors(pair, self.whitening),
            progress=part(progress, 0.0, 0.9),
        )
        if subspace is not None:
            fused = subspace.expand(fused)
        if self.consistency:
            progress(0.9, "enforcing consistency")
            fused = restore_consistency(fused, pair.hsi, pair.sensor)
        progress(1.0, "done")
        return Outcome(fused)


def _predictors(pair: PairTensors, whitening: Whitening) -> Predictors:
    return Predictors.whiten(pair.msi, pair.sensor, (pair.hsi.shape[-2], pair.hsi.shape[-1]), whitening)
