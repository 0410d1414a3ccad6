"""FeINFN fitted to the pair itself: no training data, any sensors."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from pydantic import Field

from hyperfuse.methods.contract.method import (
    DEFAULT_MARGIN,
    WHOLE,
    Capabilities,
    Extent,
    MethodSettings,
    Outcome,
    PairTensors,
)
from hyperfuse.methods.contract.registry import register_method
from hyperfuse.methods.contract.state import from_state, to_state
from hyperfuse.methods.feinfn.band_psf import NARROW, nyquist_response
from hyperfuse.methods.feinfn.correction import (
    LearnedCorrection,
    held_out_error,
    learn_correction,
    show_scene,
)
from hyperfuse.methods.feinfn.linear_part import LinearBase, SharedBase, without_noise
from hyperfuse.methods.feinfn.linear_samples import learn_base
from hyperfuse.methods.feinfn.pretrained import TrainedNetwork, load_for_pair
from hyperfuse.methods.feinfn.uncertainty import predict_error
from hyperfuse.methods.local_linear.consistency import restore_consistency
from hyperfuse.networks.kernels.precision import Precision
from hyperfuse.networks.options import FeINFNOptions
from hyperfuse.progress import Progress, part, silent
from hyperfuse.sensor.model import Sensor
from hyperfuse.training.self_supervised.fit import PairFitOptions

_STEPS = {"fast": 0, "normal": 600, "best": 3000}
_SIMILAR_MARGIN = 24  # LR pixels
_SMALLEST_SIDE = 8  # LR pixels; below, there is nothing to learn from


class FeinfnSettings(MethodSettings):
    """Settings of ``feinfn``."""

    effort: Literal["fast", "normal", "best"] = Field(default="normal", description="how long the network is fitted")
    steps: int | None = Field(default=None, ge=0, description="optimisation steps, in place of the effort's")
    budget_seconds: float | None = Field(
        default=None, gt=0, description="wall time for all; the steps that fit into it are taken"
    )
    keep_best: bool = Field(default=False, description="on Ctrl-C, end with the best network so far")
    uncertainty: bool = Field(default=False, description="predict the error of every pixel and band")
    width: int = Field(default=32, ge=4, le=512, description="channels of encoders and decoder")
    encoder_blocks: int = Field(default=1, ge=0, le=16, description="residual blocks of each encoder")
    domains: Literal["spatial", "frequency", "both"] = Field(default="spatial", description="branches of the network")
    precision: Precision = Field(default="float32", description="type of the network's products while it is fitted")
    learning_rate: float = Field(default=2e-3, gt=0, le=1, description="the highest one")
    seed: int = Field(default=0, ge=0, description="of weights and patches")
    weights: str | None = Field(
        default=None, description="a network trained on other scenes to start from: a name that ships, or a folder"
    )


@dataclass(frozen=True)
class LearnedScene:
    """What all parts of a large scene share.

    Attributes:
        base: of their linear models.
        correction: of these by a network; None where there is none.
    """

    base: SharedBase
    correction: LearnedCorrection | None

    def at(self, extent: Extent) -> LearnedScene:
        """Return what a part of the scene takes."""
        return replace(self, base=self.base.at(extent))


def _prepare(samples: Sequence[PairTensors], settings: FeinfnSettings, progress: Progress) -> LearnedScene:
    """Learn on samples of a large scene what all parts of it share."""
    start = _start(settings, samples[0].hsi, samples[0].msi)
    steps = _steps(settings)
    share_of_base = 0.4 if steps else 1.0
    base = learn_base(samples, part(progress, 0.0, share_of_base))
    if steps == 0 and not isinstance(start, TrainedNetwork):
        return LearnedScene(base, None)
    signals = [without_noise(sample.hsi)[0] for sample in samples]
    shown = show_scene(start, signals, len(samples[0].msi), len(base.whitening.matrix))
    fit = _fit_options(settings, steps)
    bases = (LinearBase.fit(one.hsi, one.msi, one.sensor, silent, base.at(one.extent)) for one in samples)

    def tell(fraction: float, message: str = "") -> None:
        progress(share_of_base + (1 - share_of_base) * fraction, message)

    learnt = learn_correction(bases, shown, start, fit, None, None, tell)
    return LearnedScene(base, learnt.correction)


def _margin(sensor: Sensor, settings: MethodSettings) -> int:
    # Where the PSF is narrow, the linear part learns from similar pixels wherever they lie.
    return _SIMILAR_MARGIN if nyquist_response(sensor) >= NARROW else DEFAULT_MARGIN


@register_method(
    "feinfn",
    settings=FeinfnSettings,
    summary="local models refined by FeINFN, fitted to the pair itself on held-out LR pixels",
    reference="Liang et al., Fourier-enhanced implicit neural fusion network, NeurIPS 2024, arXiv 2404.15174",
    cost="minutes",
    capabilities=Capabilities(
        uncertainty=True, budget=True, weights=True, seed=True, shared_model=True, margin=_margin
    ),
)
@dataclass(frozen=True)
class FeinfnModel:
    """The default method fitted to a scene."""

    settings: FeinfnSettings
    samples: Sequence[PairTensors]
    learned: LearnedScene | None
    margin: int
    details: dict[str, Any]

    @classmethod
    def fit(cls, samples: Sequence[PairTensors], settings: FeinfnSettings, progress: Progress) -> FeinfnModel:
        """Learn on samples of a scene."""
        margin = _margin(samples[0].sensor, settings)
        if len(samples) == 1 and samples[0].extent == WHOLE:
            return cls(settings, samples, None, margin, {})
        return cls(settings, (), _prepare(samples, settings, progress), margin, {})

    @classmethod
    def restore(cls, settings: FeinfnSettings, state: Mapping[str, Any]) -> FeinfnModel:
        """Return the model of a state."""
        return cls(settings, (), from_state(LearnedScene, state["learned"]), state["margin"], state["details"])

    def state(self) -> dict[str, Any]:
        """Return the model as plain values."""
        learned = self.learned or _prepare(self.samples, self.settings, silent)
        return {"learned": to_state(learned), "margin": self.margin, "details": self.details}

    def apply(self, pair: PairTensors, progress: Progress = silent) -> Outcome:
        """Fuse a window."""
        learned = None if self.learned is None else self.learned.at(pair.extent)
        return _fuse(pair.hsi, pair.msi, pair.sensor, self.settings, progress, learned)


def _fuse(
    hsi: torch.Tensor,
    msi: torch.Tensor,
    sensor: Sensor,
    settings: FeinfnSettings,
    progress: Progress,
    learned: LearnedScene | None = None,
) -> Outcome:
    """Fuse by local linear models, the optics of each band, and a FeINFN that learns what both leave.

    Every step is fitted or weighed by LR pixels that it has not seen; nothing else is needed. Arguments as in
    :class:`~.registry.Method`.
    """
    if learned is not None:
        base = LinearBase.fit(hsi, msi, sensor, part(progress, 0.0, 0.8), learned.base)
        image = base.image if learned.correction is None else learned.correction.correct(base)
        expected = None
        if settings.uncertainty:
            expected = predict_error(base, held_out_error(base, learned.correction))
        return Outcome(restore_consistency(image, hsi, sensor), expected)
    began = time.monotonic()
    end = None if settings.budget_seconds is None else began + settings.budget_seconds
    start = _start(settings, hsi, msi)
    base = LinearBase.fit(hsi, msi, sensor, part(progress, 0.0, 0.2), deadline=end)
    spent = time.monotonic() - began
    steps = 1 if settings.budget_seconds is not None else _steps(settings)
    if min(hsi.shape[-2:]) < _SMALLEST_SIDE:
        steps = 0
    # Restoring consistency takes less time than a tenth of what the base took.
    deadline = None if end is None else end - 0.1 * spent
    details: dict[str, Any] = {"steps": 0}
    image, errors = base.image, []
    if steps > 0 or settings.uncertainty or isinstance(start, TrainedNetwork):
        # Without a measure of the errors there is no telling how uncertain the result is, however short the time.
        cut = None if settings.uncertainty else deadline
        learnt = learn_correction(
            [base], show_scene(start, [base.hsi], len(msi), len(base.predictors.fine)), start,
            _fit_options(settings, steps), deadline, cut, part(progress, 0.2, 0.9),
        )  # fmt: skip
        if learnt.correction is not None:
            image = learnt.correction.correct(base)
        errors = learnt.errors
        details = {"steps": learnt.fit.steps, "end": learnt.fit.end}
        if errors:
            rmse = errors[0].flatten(1).square().mean(1).sqrt().tolist()
            details["held_out_rmse"] = [float(f"{value:.3g}") for value in rmse]
    progress(0.92, "restoring consistency")
    result = restore_consistency(image, hsi, sensor)
    uncertainty = None
    if settings.uncertainty:
        progress(0.95, "predicting the error")
        uncertainty = predict_error(base, errors[0])
    progress(1.0, "done")
    return Outcome(result, uncertainty, details)


def _steps(settings: FeinfnSettings) -> int:
    return _STEPS[settings.effort] if settings.steps is None else settings.steps


def _fit_options(settings: FeinfnSettings, steps: int) -> PairFitOptions:
    return PairFitOptions(steps, None, settings.learning_rate, seed=settings.seed, keep_best=settings.keep_best)


def _start(settings: FeinfnSettings, hsi: torch.Tensor, msi: torch.Tensor) -> FeINFNOptions | TrainedNetwork:
    """Return the network to start from: one that was trained before, or the options of a fresh one."""
    return _network_options(settings) if settings.weights is None else load_for_pair(settings.weights, hsi, msi)


def _network_options(settings: FeinfnSettings) -> FeINFNOptions:
    """Return a network sized to one pair: what it learns there needs thousands of weights, not millions."""
    return FeINFNOptions(
        width=settings.width,
        encoder_blocks=settings.encoder_blocks,
        hidden=(settings.width,),
        latent=settings.width,
        decoder_width=settings.width,
        decoder_depth=1,
        domains=settings.domains,
        precision=settings.precision,
        # Inputs here have unit variance, not the range [0, 1] that the published start of the wavelets is made for, and
        # the few hidden pixels of a pair are learnt better by wavelets that start wide.
        gabor_frequency=0.5,
        gabor_scale=0.2,
    )
