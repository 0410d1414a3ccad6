"""FeINFN fitted to the pair itself: no training data, any sensors."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field

from hyperfuse.methods.consistency import restore_consistency
from hyperfuse.methods.linear_base import LinearBase
from hyperfuse.methods.local_models import Predictors
from hyperfuse.methods.registry import MethodSettings, Progress, register_method
from hyperfuse.methods.subspace import fit_subspace
from hyperfuse.networks.feinfn import FeINFN
from hyperfuse.networks.options import FeINFNOptions
from hyperfuse.sensor.model import Sensor
from hyperfuse.training.held_out import (
    HeldOutTask,
    View,
    correction,
    hiding_patterns,
    keep_blocks,
    trusted_share,
)
from hyperfuse.training.pair import PairFitOptions, fit_to_pair

# Components that the network is shown and gives.
_SHOWN = 8
_KEPT_SHARE = 0.12
_STEPS = {"fast": 100, "normal": 400, "best": 1600}
_SMALLEST_SIDE = 8  # LR pixels; below, there is nothing to learn from


class FeinfnSettings(MethodSettings):
    """Settings of ``feinfn``."""

    effort: Literal["fast", "normal", "best"] = Field(default="normal", description="how long the network is fitted")
    steps: int | None = Field(default=None, ge=0, description="optimisation steps, in place of the effort's")
    budget_seconds: float | None = Field(
        default=None, gt=0, description="wall time for all; the steps that fit into it are taken"
    )
    width: int = Field(default=32, ge=4, le=512, description="channels of encoders and decoder")
    encoder_blocks: int = Field(default=2, ge=0, le=16, description="residual blocks of each encoder")
    domains: Literal["spatial", "frequency", "both"] = Field(default="both", description="branches of the network")
    learning_rate: float = Field(default=2e-3, gt=0, le=1, description="the highest one")
    seed: int = Field(default=0, ge=0, description="of weights and patches")


@register_method(
    "feinfn",
    settings=FeinfnSettings,
    summary="local models refined by FeINFN, fitted to the pair itself on hidden LR pixels",
    reference="Liang et al., Fourier-enhanced implicit neural fusion network, NeurIPS 2024, arXiv 2404.15174",
    cost="minutes",
)
def feinfn(
    hsi: torch.Tensor, msi: torch.Tensor, sensor: Sensor, settings: FeinfnSettings, progress: Progress
) -> torch.Tensor:
    """Fuse by local linear models, the optics of each band, and a FeINFN that learns what both leave.

    Every step is fitted or weighed by LR pixels that it has not seen; nothing else is needed. Arguments as in
    :class:`~.registry.Method`.
    """
    start = time.monotonic()
    base = LinearBase.fit(hsi, msi, sensor, lambda share, words="": progress(0.2 * share, words))
    fused = base.image
    steps = _STEPS[settings.effort] if settings.steps is None else settings.steps
    if steps > 0 and min(hsi.shape[-2:]) >= _SMALLEST_SIDE:
        fused = _refine(base, hsi, sensor, settings, steps, start, progress)
    progress(0.97, "restoring consistency")
    result = restore_consistency(fused, hsi, sensor)
    progress(1.0, "done")
    return result


def _refine(
    base: LinearBase,
    hsi: torch.Tensor,
    sensor: Sensor,
    settings: FeinfnSettings,
    steps: int,
    start: float,
    progress: Progress,
) -> torch.Tensor:
    """Return the base image plus the trusted share of what a network learns about its errors."""
    progress(0.2, "hiding pixels")
    shown = _Shown.of(base.hsi)
    task = _task(base, shown, settings.seed)
    spent_before_fit = time.monotonic() - start
    network = _network(shown, base.predictors.fine.shape[0], settings).to(hsi.device, hsi.dtype)
    seconds = None
    if settings.budget_seconds is not None:
        began = time.monotonic()
        with torch.inference_mode():
            correction(network, task.views[0].hsi[None], task.views[0].guide[None])
        # After the fit, the network runs once on each view and once on the pair, and consistency is restored.
        afterwards = (len(task.views) + 2) * (time.monotonic() - began)
        seconds = max(0.0, settings.budget_seconds - spent_before_fit - afterwards)
        steps = 10**9
    options = PairFitOptions(steps, seconds, settings.learning_rate, seed=settings.seed)
    fit_to_pair(network, task, options, lambda share, words="": progress(0.25 + 0.6 * share, words))
    progress(0.87, "weighing what was learnt")
    shape = (hsi.shape[-2], hsi.shape[-1])
    with torch.inference_mode():
        predicted = torch.zeros_like(task.error)
        for view in task.views:
            assert view.hidden is not None  # views of a task hide pixels
            found = sensor.degrade(correction(network, view.hsi[None], view.guide[None])[0], shape)
            predicted = torch.where(view.hidden, task.expand(found), predicted)
        share = trusted_share(task, predicted)
        if not bool((share > 0).any()):
            return base.image
        whole = shown.view(base.hsi, base.image, base.predictors, None)
        found = task.expand(correction(network, whole.hsi[None], whole.guide[None])[0])
        return base.image + share[:, None, None] * found


@dataclass(frozen=True)
class _Shown:
    """How images are shown to the network: leading components, each of unit variance."""

    mean: torch.Tensor
    matrix: torch.Tensor

    @classmethod
    def of(cls, targets: torch.Tensor) -> _Shown:
        subspace = fit_subspace(targets, _SHOWN)
        deviation = subspace.project(targets).flatten(1).double().std(1, correction=0)
        usable = deviation > 1e-6 * deviation.max().clamp_min(1e-30)
        usable[0] = True
        scale = 1.0 / deviation[usable].clamp_min(1e-30)
        return cls(subspace.mean, subspace.basis[:, usable].T * scale[:, None])

    @property
    def components(self) -> int:
        return self.matrix.shape[0]

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        matrix = self.matrix.to(image.dtype)
        flat = matrix @ (image.flatten(1) - self.mean.to(image.dtype)[:, None])
        return flat.reshape(-1, *image.shape[1:])

    def view(
        self, targets: torch.Tensor, image: torch.Tensor, predictors: Predictors, hidden: torch.Tensor | None
    ) -> View:
        if hidden is not None:
            targets = torch.where(
                hidden, predictors.sensor.degrade(image, (targets.shape[-2], targets.shape[-1])), targets
            )
        return View(hidden, self(targets), torch.cat([predictors.fine, self(image)]))


def _task(base: LinearBase, shown: _Shown, seed: int) -> HeldOutTask:
    shape = (base.hsi.shape[-2], base.hsi.shape[-1])
    device = base.hsi.device
    views, error = [], torch.zeros_like(base.hsi)
    for hidden in hiding_patterns(shape, device):
        image = base.without(hidden)
        views.append(shown.view(base.hsi, image, base.predictors, hidden))
        error = torch.where(hidden, base.hsi - base.sensor.degrade(image, shape), error)
    scale = error.flatten(1).square().mean(1).sqrt()
    relative = (error.flatten(1) / scale.clamp_min(torch.finfo(error.dtype).tiny)[:, None]).double()
    vectors, values, _ = torch.linalg.svd(relative @ relative.T / relative.shape[1])
    basis = scale[:, None] * (vectors * values.sqrt())[:, : shown.components].to(error.dtype)
    return HeldOutTask(views, error, basis, scale, keep_blocks(shape, _KEPT_SHARE, seed, device), base.sensor)


def _network(shown: _Shown, msi_components: int, settings: FeinfnSettings) -> FeINFN:
    options = FeINFNOptions(
        width=settings.width,
        encoder_blocks=settings.encoder_blocks,
        hidden=(2 * settings.width, settings.width),
        latent=settings.width,
        decoder_width=settings.width,
        domains=settings.domains,
        # Inputs here have unit variance, not the range [0, 1] that the published start of the wavelets is made for.
        gabor_frequency=3.0,
        gabor_scale=1.0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = FeINFN(shown.components, msi_components + shown.components, options)
    # Start from nearly no correction: what is not learnt must not disturb.
    with torch.no_grad():
        network.decoder.output.weight.mul_(0.1)
        network.decoder.output.bias.zero_()
    return network
