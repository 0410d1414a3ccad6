"""What FeINFN learns of a pair: the errors that linear models make at LR pixels which they have not seen."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch

from hyperfuse.methods.brightness_trust import BrightnessTrust
from hyperfuse.methods.linear_base import LinearBase
from hyperfuse.methods.local_models import Predictors
from hyperfuse.methods.registry import Progress
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
from hyperfuse.training.pair import PairFit, PairFitOptions, fit_to_pair

# Components that the network is shown and gives.
_SHOWN = 8
_KEPT_SHARE = 0.12
_ANY_STEPS = 10**9
_FEWEST_PATCHES = 2
_PATCH_HR = 64
_SMALLEST_PATCH = 8
_IMAGE_SHARE = 3  # a step sees at most about a third of the image
_NO_FIT = PairFit(0, (), (0.0, 0.0), "steps")


@dataclass(frozen=True)
class Refinement:
    """A refined image, and how wrong it would be at LR pixels had they been hidden.

    Attributes:
        image: (bands, H, W).
        error: measured HSI less its prediction by models that have not seen the pixel, (bands, h, w).
        share: of the network's correction that was applied, (bands,).
        fit: what the fit did.
    """

    image: torch.Tensor
    error: torch.Tensor
    share: torch.Tensor
    fit: PairFit


def refine(
    base: LinearBase, network_options: FeINFNOptions, fit: PairFitOptions, deadline: float | None, progress: Progress
) -> Refinement:
    """Return the base image plus the trusted share of what a network learns about its errors.

    Args:
        base: to be refined.
        network_options: of the network.
        fit: how it is fitted; no steps, no network.
        deadline: of ``time.monotonic``, when the image is to be ready; None for no limit.
        progress: called with the share done.
    """
    progress(0.0, "hiding pixels")
    shown = _Shown.of(base.hsi)
    task = _task(base, shown, fit.seed)
    unchanged = Refinement(base.image, task.error, torch.zeros_like(task.band_scale), _NO_FIT)
    if fit.steps == 0:
        return unchanged
    network = _network(shown, base.predictors.fine.shape[0], network_options, fit.seed).to(base.hsi)
    fit = replace(fit, patch=_side(base.sensor))
    fit = replace(fit, batch=_patches_a_step(base, fit))
    if deadline is not None:
        fit = _with_time_left(fit, network, task, deadline)
    done = fit_to_pair(network, task, fit, lambda share, words="": progress(0.15 + 0.7 * share, words))
    progress(0.9, "weighing what was learnt")
    with torch.inference_mode():
        predicted = torch.zeros_like(task.error)
        for view in task.views:
            assert view.hidden is not None  # views of a task hide pixels
            found = correction(network, view.hsi[None], view.guide[None])[0]
            found = base.sensor.degrade(found, (task.error.shape[-2], task.error.shape[-1]))
            predicted = torch.where(view.hidden, task.expand(found), predicted)
        share = trusted_share(task, predicted)
        if not bool((share > 0).any()):
            return Refinement(base.image, task.error, share, done)
        whole = shown.view(base.hsi, base.image, base.predictors, None)
        found = task.expand(correction(network, whole.hsi[None], whole.guide[None])[0])
        scale = share[:, None, None]
        found, predicted = scale * found, scale * predicted
        unseen = base.hsi - task.error
        trust = BrightnessTrust.fit(*(image[:, task.kept, None] for image in (unseen, predicted, base.hsi)))
        image = base.image + trust.of(base.image) * found
        return Refinement(image, task.error - trust.of(unseen) * predicted, share, done)


def _side(sensor: Sensor) -> int:
    """Return the side of a patch in LR pixels: an even number that makes about 64 HR pixels."""
    return max(_SMALLEST_PATCH, 2 * round(_PATCH_HR / max(sensor.ratio) / 2))


def _patches_a_step(base: LinearBase, fit: PairFitOptions) -> int:
    """Return how many patches a step takes: a small image has few that differ, and each costs time."""
    patch = min(base.hsi[0].numel(), fit.patch**2)
    return min(fit.batch, max(_FEWEST_PATCHES, round(base.hsi[0].numel() / (_IMAGE_SHARE * patch))))


def _with_time_left(fit: PairFitOptions, network: FeINFN, task: HeldOutTask, deadline: float) -> PairFitOptions:
    began = time.monotonic()
    with torch.inference_mode():
        correction(network, task.views[0].hsi[None], task.views[0].guide[None])
    now = time.monotonic()
    # After the fit, the network runs once on each view and once on the pair.
    afterwards = (len(task.views) + 1) * (now - began)
    return replace(fit, steps=_ANY_STEPS, seconds=max(0.0, deadline - now - afterwards))


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


def _network(shown: _Shown, msi_components: int, options: FeINFNOptions, seed: int) -> FeINFN:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = FeINFN(shown.components, msi_components + shown.components, options)
    with torch.no_grad():
        network.decoder.output.bias.zero_()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network
