"""FeINFN fitted to the pair itself: no training data, any sensors."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field

from hyperfuse.methods.consistency import restore_consistency
from hyperfuse.methods.linear_base import LinearBase, SharedBase
from hyperfuse.methods.linear_samples import learn_base
from hyperfuse.methods.refinement import refine
from hyperfuse.methods.registry import MethodSettings, Outcome, Progress, Sample, register_method
from hyperfuse.methods.trained_network import load_for_pair
from hyperfuse.methods.uncertainty import predict_error
from hyperfuse.networks.blocks.precision import Precision
from hyperfuse.networks.options import FeINFNOptions
from hyperfuse.sensor.model import Sensor
from hyperfuse.training.pair import NO_TIME, PairFitOptions

_STEPS = {"fast": 0, "normal": 600, "best": 3000}
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


def _prepare(samples: Sequence[Sample], settings: FeinfnSettings, progress: Progress) -> SharedBase:
    """Learn on samples of a large scene what all parts of it share."""
    return learn_base(samples, progress)


@register_method(
    "feinfn",
    settings=FeinfnSettings,
    summary="local models refined by FeINFN, fitted to the pair itself on hidden LR pixels",
    reference="Liang et al., Fourier-enhanced implicit neural fusion network, NeurIPS 2024, arXiv 2404.15174",
    cost="minutes",
    prepare=_prepare,
)
def feinfn(
    hsi: torch.Tensor,
    msi: torch.Tensor,
    sensor: Sensor,
    settings: FeinfnSettings,
    progress: Progress,
    learned: SharedBase | None = None,
) -> Outcome:
    """Fuse by local linear models, the optics of each band, and a FeINFN that learns what both leave.

    Every step is fitted or weighed by LR pixels that it has not seen; nothing else is needed. Arguments as in
    :class:`~.registry.Method`.
    """
    start = time.monotonic()
    end = None if settings.budget_seconds is None else start + settings.budget_seconds
    trained = None if settings.weights is None else load_for_pair(settings.weights, hsi, msi)
    base = LinearBase.fit(hsi, msi, sensor, lambda share, words="": progress(0.2 * share, words), learned, end)
    spent = time.monotonic() - start
    steps = _STEPS[settings.effort] if settings.steps is None else settings.steps
    if settings.budget_seconds is not None:
        steps = 1
    if min(hsi.shape[-2:]) < _SMALLEST_SIDE:
        steps = 0
    # Restoring consistency takes less time than a tenth of what the base took.
    deadline = None if end is None else end - 0.1 * spent
    details: dict[str, Any] = {"steps": 0}
    if steps > 0 or settings.uncertainty or trained is not None:
        fit = PairFitOptions(steps, None, settings.learning_rate, seed=settings.seed, keep_best=settings.keep_best)
        network = _network_options(settings) if trained is None else trained
        # Without a measure of the errors there is no telling how uncertain the result is, however short the time.
        cut = None if settings.uncertainty else deadline
        refined = refine(base, network, fit, deadline, cut, lambda share, words="": progress(0.2 + 0.7 * share, words))
        image = refined.image
        details = {"steps": refined.fit.steps, "end": refined.fit.end}
        if refined.fit.end != NO_TIME:
            rmse = refined.error.flatten(1).square().mean(1).sqrt().tolist()
            details["held_out_rmse"] = [float(f"{value:.3g}") for value in rmse]
    else:
        refined, image = None, base.image
    progress(0.92, "restoring consistency")
    result = restore_consistency(image, hsi, sensor)
    uncertainty = None
    if settings.uncertainty:
        assert refined is not None
        progress(0.95, "predicting the error")
        uncertainty = predict_error(base, refined.error)
    progress(1.0, "done")
    return Outcome(result, uncertainty, details)


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
