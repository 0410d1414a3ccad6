"""FeINFN fitted to the scene itself: no training data, any sensors."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from pydantic import Field

from hyperfuse.errors import InputError
from hyperfuse.methods.contract.method import (
    DEFAULT_MARGIN,
    Capabilities,
    MethodSettings,
    Outcome,
    PairTensors,
    covered_fraction,
)
from hyperfuse.methods.contract.registry import register_method
from hyperfuse.methods.contract.state import StoredModel
from hyperfuse.methods.feinfn.correction import (
    CorrectionFit,
    NetworkCorrection,
    TimeLimit,
    fit_correction,
    fit_encoding,
)
from hyperfuse.methods.feinfn.linear_part import LinearImage, LinearModel
from hyperfuse.methods.feinfn.pretrained import TrainedNetwork, load_for_pair, read_features, scenes_of
from hyperfuse.methods.feinfn.uncertainty import FusedSample, VarianceModel
from hyperfuse.methods.local_linear.msi_saturation import saturation_levels
from hyperfuse.methods.local_linear.preparation import Preparation
from hyperfuse.networks.kernels.precision import Precision
from hyperfuse.networks.options import FeINFNOptions
from hyperfuse.progress import Progress, part, silent
from hyperfuse.training.self_supervised.fit import NOTHING_LEARNT, PairFitOptions

# Fitted to one pair, a network adds little to the regression on patches, and costs minutes.
_STEPS = {"fast": 0, "normal": 0, "best": 3000}
_MIN_SIDE = 8  # LR pixels; below, there is nothing to learn from
# Enforcing consistency takes less time than a tenth of what fitting the linear part took; predicting the held-out
# pixels of a window, as long as applying the linear part four times.
_CONSISTENCY_TIME, _HELD_OUT_TIMES = 0.1, 4


class FeinfnSettings(MethodSettings):
    """Settings of ``feinfn``."""

    effort: Literal["fast", "normal", "best"] = Field(
        default="normal",
        description="fast: local models; normal: and regression on patches; best: and a network",
    )
    steps: int | None = Field(default=None, ge=0, description="optimisation steps, in place of the effort's")
    budget_seconds: float | None = Field(
        default=None, gt=0, description="wall time for everything; the network is fitted in what remains of it"
    )
    keep_best: bool = Field(default=False, description="on Ctrl-C, end with the best network so far")
    uncertainty: bool = Field(default=False, description="predict the error of every pixel and band")
    width: int = Field(default=32, ge=4, le=512, description="channels of encoders and decoder")
    encoder_blocks: int = Field(default=1, ge=0, le=16, description="residual blocks of each encoder")
    domains: Literal["spatial", "frequency", "both"] = Field(default="spatial", description="branches of the network")
    precision: Precision = Field(default="float32", description="type of the network's products while it is fitted")
    learning_rate: float = Field(default=2e-3, gt=0, le=1, description="its maximum")
    seed: int = Field(default=0, ge=0, description="of weights and patches")
    weights: str | None = Field(
        default=None, description="a network trained on other scenes to start from: a folder, or hub:OWNER/NAME"
    )
    features: str | None = Field(
        default="residual-features",
        description="feature maps trained on other scenes, for the regression: a name that ships, a file, or null",
    )

    @property
    def learnt_from(self) -> tuple[str, ...]:
        """Names of the scenes that the features were trained on."""
        return () if self.features is None or self.effort == "fast" else scenes_of(self.features)


@register_method(
    "feinfn",
    settings=FeinfnSettings,
    summary="local models, regression on patches and FeINFN, fitted to the pair itself on held-out LR pixels",
    reference="Liang et al., Fourier-enhanced implicit neural fusion network, NeurIPS 2024, arXiv 2404.15174",
    cost="seconds",
    capabilities=Capabilities(
        uncertainty=True,
        budget=True,
        effort=True,
        weights=True,
        seed=True,
        shared_model=True,
        by_detector=lambda settings: settings.weights is None,  # those are trained for all bands
    ),
)
@dataclass(frozen=True)
class FeinfnModel(StoredModel):
    """Local linear models, the PSF of each band, regression on patches, and a FeINFN that predicts the errors of all.

    Every step is fitted or weighted by LR pixels that are held out of it; nothing else is needed.

    Attributes:
        preparation: of pairs; None where there is nothing to prepare.
        linear: the linear part.
        correction: of its images by a network; None where there is none.
        uncertainty: of its images; None where it is not predicted.
        details: of the fit.
        margin: see :class:`~hyperfuse.methods.contract.method.Model`.
    """

    preparation: Preparation | None
    linear: LinearModel
    correction: NetworkCorrection | None
    uncertainty: VarianceModel | None
    details: Mapping[str, Any]
    margin: int = DEFAULT_MARGIN
    # A scene that is one sample: what fitting to it has computed, until the model is applied to it.
    _fitted: list[_FittedSample] = field(default_factory=list, repr=False, compare=False)

    @classmethod
    def fit(cls, samples: Sequence[PairTensors], settings: FeinfnSettings, progress: Progress) -> FeinfnModel:
        """Fit the linear part, then the network, to samples of a scene."""
        started, computed, budget = time.monotonic(), time.process_time(), settings.budget_seconds
        start, measured = _start(settings, samples[0]), samples
        preparation = Preparation.fit(samples)
        prepared = {} if preparation is None else preparation.details()
        if preparation is not None:
            samples = [preparation.apply(one) for one in samples]
        steps = _STEPS[settings.effort] if settings.steps is None else settings.steps
        if budget is not None:
            steps = 1  # as many as there is time for
        if max(min(one.hsi.shape[-2:]) for one in samples) < _MIN_SIDE:
            steps = 0
        learns = steps > 0 or isinstance(start, TrainedNetwork)
        if learns and any(one.sensor.displacement is not None for one in samples):
            _refuse_network(settings)
            learns, steps = False, 0
        linear, image = LinearModel.fit(
            samples,
            part(progress, 0.0, 0.25 if learns else 1.0),
            budget,
            regress=settings.effort != "fast",
            trained=None if settings.features is None else read_features(settings.features),
        )
        if not learns:
            details = {**prepared, **_details(linear, None, regressed=settings.effort != "fast")}
            return cls(preparation, linear, None, None, details)._complete(measured, samples, settings, image, [])
        limit = None
        if budget is not None:
            taken = time.monotonic() - started
            slowness = taken / max(time.process_time() - computed, 1e-3)
            limit = _time_limit(samples, settings, taken, slowness, started + budget)
        images = (linear.apply(one) for one in samples) if image is None else iter([image])
        hsis = [linear.without_noise(one.hsi) for one in samples]
        encoding = fit_encoding(start, hsis, len(samples[0].msi), len(linear.whitening.matrix))
        options = PairFitOptions(steps, None, settings.learning_rate, seed=settings.seed, keep_best=settings.keep_best)
        found = fit_correction(images, encoding, start, options, limit, part(progress, 0.25, 1.0))
        details = _details(
            linear, found, regressed=settings.effort != "fast", trained=isinstance(start, TrainedNetwork)
        )
        model = cls(preparation, linear, found.correction, None, {**prepared, **details})
        return model._complete(measured, samples, settings, image, found.errors)

    def _complete(
        self,
        measured: Sequence[PairTensors],
        samples: Sequence[PairTensors],
        settings: FeinfnSettings,
        image: LinearImage | None,
        errors: Sequence[torch.Tensor],
    ) -> FeinfnModel:
        """Return the model with the uncertainty of its images where it is set, and what fitting has computed.

        Args:
            measured: samples of the scene.
            samples: the same, prepared.
            settings: of the method.
            image: of a single sample, by the linear part.
            errors: of held-out predictions of each sample, where they are known.
        """
        model = self
        if settings.uncertainty:
            fused = []
            for index, one in enumerate(samples):
                linear = self.linear.apply(one) if image is None else image
                error = errors[index] if errors else self._held_out_error(linear)
                fused.append(FusedSample(self.linear.agreeing(one), linear, self._corrected(linear), error))
            errors = [one.error for one in fused]
            levels = saturation_levels([one.msi for one in measured])
            model = replace(self, uncertainty=VarianceModel.fit(fused, levels))
        if image is None:
            return model
        return replace(model, _fitted=[_FittedSample(measured[0], samples[0], image, errors[0] if errors else None)])

    def _corrected(self, linear: LinearImage) -> torch.Tensor:
        return linear.image if self.correction is None else self.correction.correct(linear)

    def _held_out_error(self, linear: LinearImage) -> torch.Tensor:
        return linear.error() if self.correction is None else self.correction.held_out_error(linear)

    def apply(self, pair: PairTensors, progress: Progress = silent) -> Outcome:
        """Fuse a window, and predict its error where that is set."""
        progress(0.0, "applying the linear part")
        known = self._known(pair)
        if known is None:
            pair = pair if self.preparation is None else self.preparation.apply(pair)
            linear, error = self.linear.apply(pair), None
        else:
            pair, linear, error = known.prepared, known.linear, known.error
        if self.correction is not None:
            progress(0.5, "applying the network")
        image = self._corrected(linear)
        progress(0.7, "enforcing consistency")
        result, expected = self.linear.enforce_consistency(image, pair), None
        if self.uncertainty is not None:
            progress(0.8, "predicting the error")
            expected = self.uncertainty.predict(linear, image, self._held_out_error(linear) if error is None else error)
            agreeing = self.linear.agreeing(pair).hsi
            if agreeing is not pair.hsi:  # which of both images is right remains unknown
                fine = (image.shape[1], image.shape[2])
                expected = expected.hypot(pair.sensor.upsample((pair.hsi - agreeing).abs(), fine, "linear"))
        progress(1.0, "done")
        return Outcome(result, expected)

    def _known(self, pair: PairTensors) -> _FittedSample | None:
        """Return what fitting has computed for this very pair, once."""
        for index, one in enumerate(self._fitted):
            if one.pair.hsi is pair.hsi and one.pair.msi is pair.msi and one.pair.sensor is pair.sensor:
                return self._fitted.pop(index)
        return None


def _refuse_network(settings: FeinfnSettings) -> None:
    """Refuse a network for displaced pixels, unless it is only made as far as a budget admits."""
    reason = "FeINFN is fitted to pixels at regular positions only, and those of the HSI are displaced"
    if settings.weights is not None:
        raise InputError(f"{reason}; leave out weights=..., or use the method network", "weights")
    if settings.steps:
        raise InputError(f"{reason}; choose steps=0", "steps")
    if settings.effort == "best" and settings.budget_seconds is None:
        raise InputError(f"{reason}; choose effort=normal", "effort")


@dataclass(frozen=True)
class _FittedSample:
    pair: PairTensors
    prepared: PairTensors
    linear: LinearImage
    error: torch.Tensor | None


def _details(
    linear: LinearModel, found: CorrectionFit | None, *, regressed: bool, trained: bool = False
) -> dict[str, Any]:
    details: dict[str, Any] = {"steps": 0 if found is None else found.fit.steps}
    if linear.agreement is not None and linear.agreement.fraction > 0:
        details["differing_fraction"] = float(f"{linear.agreement.fraction:.3g}")
    if linear.regression is not None:
        details["regression_gain_db"] = float(f"{linear.regression.gain_db:.3g}")
        details["trained_features"] = linear.regression.encoding.trained is not None
        details["held_out_rmse"] = [float(f"{value:.3g}") for value in linear.regression.rmse.tolist()]
    elif regressed:
        details["regression_gain_db"] = 0.0
    if found is None:
        return details
    details["end"] = found.fit.end
    if found.correction is not None:
        details["network_fraction"] = [round(value, 3) for value in found.correction.factor.tolist()]
    elif found.fit.steps or found.fit.end == NOTHING_LEARNT or trained:
        details["network_fraction"] = [0.0]
    if found.errors:
        squared = torch.cat([error.flatten(1) for error in found.errors], dim=1).square()
        details["held_out_rmse"] = [float(f"{value:.3g}") for value in squared.mean(1).sqrt().tolist()]
    return details


def _time_limit(
    samples: Sequence[PairTensors], settings: FeinfnSettings, taken: float, slowness: float, deadline: float
) -> TimeLimit:
    """Return when the network must be done, so that the model can be applied to the scene in time.

    Args:
        samples: of the scene.
        settings: of the method.
        taken: seconds that fitting the linear part took.
        slowness: wall time per CPU time of that.
        deadline: of ``time.monotonic``, for everything.
    """
    single = len(samples) == 1
    # What one sample was fitted to is applied already; several stand for the scene.
    reserved = _CONSISTENCY_TIME if single else 1.0 + (_HELD_OUT_TIMES if settings.uncertainty else 0)
    fraction = covered_fraction(samples)
    # Without held-out errors there is no measure of the uncertainty, however short the time.
    required = settings.uncertainty and single
    return TimeLimit(deadline - reserved * taken / fraction, required, len(samples) / fraction, slowness)


def _start(settings: FeinfnSettings, sample: PairTensors) -> FeINFNOptions | TrainedNetwork:
    """Return the network to start from: one that was trained before, or the options of a new one."""
    if settings.weights is not None:
        return load_for_pair(settings.weights, sample.hsi, sample.msi)
    # Sized to one pair: what can be learned from it needs thousands of weights, not millions.
    return FeINFNOptions(
        width=settings.width,
        encoder_blocks=settings.encoder_blocks,
        hidden=(settings.width,),
        latent=settings.width,
        decoder_width=settings.width,
        decoder_depth=1,
        domains=settings.domains,
        precision=settings.precision,
        # Inputs here have unit variance, not the range [0, 1] that the published initialisation of the wavelets is
        # made for, and the few held-out pixels of a pair are learned better by wavelets that start wide.
        gabor_frequency=0.5,
        gabor_scale=0.2,
    )
