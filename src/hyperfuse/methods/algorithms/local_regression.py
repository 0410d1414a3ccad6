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
from hyperfuse.methods.contract.state import StoredModel
from hyperfuse.methods.local_linear.consistency import enforce_consistency
from hyperfuse.methods.local_linear.models import RIDGES, WINDOWS, LocalModels
from hyperfuse.methods.local_linear.predictors import Predictors, Whitening, pooled_noise
from hyperfuse.methods.local_linear.preparation import Preparation
from hyperfuse.progress import Progress, part, silent

# A Gaussian window counts to this many times its sigma.
_SIGMAS = 3.0
_AROUND = 4  # LR pixels, for interpolation and back-projection


class LocalRegressionSettings(MethodSettings):
    """Settings of ``local-regression``; what is None is chosen from the scene by held-out LR pixels."""

    window: float | None = Field(default=None, ge=0.3, le=100, description="sigma of the window, in LR pixels")
    ridge: float | None = Field(default=None, ge=1e-6, le=1e6, description="relative to the variance of the MSI")
    consistency: bool = Field(default=True, description="back-project the residual of the fit to the measured HSI")


@register_method(
    "local-regression",
    settings=LocalRegressionSettings,
    summary="each HSI band as a linear combination of the MSI bands that changes over the image",
    reference="He, Sun, Tang, Guided image filtering, IEEE TPAMI 35(6), 2013; Hill et al., IGARSS 1999",
    cost="seconds",
    capabilities=Capabilities(shared_model=True, bytes_per_pixel=BytesPerPixel(hsi_band=22)),
)
@dataclass(frozen=True)
class LocalRegression(StoredModel):
    """The HSI is fitted to the degraded MSI in sliding windows; interpolated coefficients are applied to the MSI.

    Every combination of window and ridge predicts LR pixels from their neighbours alone; the models are averaged
    with weights that fall with that error.

    Attributes:
        preparation: of pairs; None where there is nothing to prepare.
        whitening: of the MSI.
        models: of the HSI.
        consistency: see the settings.
        margin: see :class:`~hyperfuse.methods.contract.method.Model`.
        details: of the preparation.
    """

    preparation: Preparation | None
    whitening: Whitening
    models: LocalModels
    consistency: bool
    margin: int
    details: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def fit(
        cls, samples: Sequence[PairTensors], settings: LocalRegressionSettings, progress: Progress
    ) -> LocalRegression:
        """Choose windows and ridges on samples of a scene."""
        preparation = Preparation.fit(samples)
        if preparation is not None:
            samples = [preparation.apply(one) for one in samples]
        whitening = Whitening.fit([one.msi for one in samples])
        models = LocalModels.fit(
            [one.hsi for one in samples],
            [Predictors.of(one, whitening) for one in samples],
            pooled_noise([one.hsi for one in samples]),
            WINDOWS if settings.window is None else (settings.window,),
            RIDGES if settings.ridge is None else (settings.ridge,),
            part(progress, 0.0, 0.5),
        )
        sensor = samples[0].sensor
        blur = max(reach / ratio for reach, ratio in zip(sensor.reach, sensor.ratio, strict=True))
        margin = min(DEFAULT_MARGIN, math.ceil(blur + _SIGMAS * max(models.weights)) + _AROUND)
        details = {} if preparation is None else preparation.details()
        return cls(preparation, whitening, models, settings.consistency, margin, details)

    def apply(self, pair: PairTensors, progress: Progress = silent) -> Outcome:
        """Fuse a window."""
        pair = pair if self.preparation is None else self.preparation.apply(pair)
        models = self.models.on(pair.hsi, Predictors.of(pair, self.whitening))
        fused = models.apply(progress=part(progress, 0.0, 0.9))
        if self.consistency:
            progress(0.9, "enforcing consistency")
            fused = enforce_consistency(fused, pair.hsi, pair.sensor)
        progress(1.0, "done")
        return Outcome(fused)
