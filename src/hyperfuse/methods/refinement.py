"""What FeINFN learns of a pair: the errors that linear models make at LR pixels which they have not seen."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch

from hyperfuse.methods.brightness_trust import BrightnessTrust
from hyperfuse.methods.linear_base import LinearBase
from hyperfuse.methods.registry import Progress
from hyperfuse.methods.shown import Shown, ShownBands, ShownComponents
from hyperfuse.methods.trained_network import TrainedNetwork
from hyperfuse.networks.feinfn import FeINFN
from hyperfuse.networks.options import FeINFNOptions
from hyperfuse.sensor.model import Sensor
from hyperfuse.training.held_out import (
    HeldOutTask,
    correction,
    hiding_patterns,
    keep_blocks,
    trusted_share,
)
from hyperfuse.training.pair import NO_TIME, PairFit, PairFitOptions, fit_to_pair

_KEPT_SHARE = 0.12
_ANY_STEPS = 10**9
_FEWEST_PATCHES = 2
_SHORTEST = 1e-3  # seconds
_PATCH_HR = 64
_SMALLEST_PATCH = 8
_IMAGE_SHARE = 3  # a step sees at most about a third of the image
_NO_FIT = PairFit(0, (), (0.0, 0.0), "steps")
_NO_TIME = PairFit(0, (), (0.0, 0.0), NO_TIME)


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
    base: LinearBase,
    start: FeINFNOptions | TrainedNetwork,
    fit: PairFitOptions,
    deadline: float | None,
    cut: float | None,
    progress: Progress,
) -> Refinement:
    """Return the base image plus the trusted share of what a network knows or learns about its errors.

    Args:
        base: to be refined.
        start: options of a fresh network; or one that was trained on other scenes to improve such images, which is
            fitted in place.
        fit: how it is fitted. With no steps a trained one is taken as it is, and there is no fresh one.
        deadline: of ``time.monotonic``, when the image is to be ready; None for no limit.
        cut: when that cannot be told to be kept, the base's image is returned as it is; None to refine it anyhow.
        progress: called with the share done.
    """
    progress(0.0, "hiding pixels")
    shown: Shown
    if isinstance(start, TrainedNetwork):
        shown = ShownBands(base.hsi.shape[0], base.msi.shape[0], start.scale)
    else:
        shown = ShownComponents.of(base)
    # Pixels are kept from a fit to judge it; without one all of them judge.
    task = _task(base, shown, _KEPT_SHARE if fit.steps else 1.0, fit.seed, cut)
    if task is None:
        return Refinement(base.image, torch.zeros_like(base.hsi), base.hsi.new_zeros(base.hsi.shape[0]), _NO_TIME)
    if fit.steps == 0 and not isinstance(start, TrainedNetwork):
        return Refinement(base.image, task.error, torch.zeros_like(task.band_scale), _NO_FIT)
    network = start.network if isinstance(start, TrainedNetwork) else _network(shown, start, fit.seed)
    network.to(base.hsi)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    done = _NO_FIT
    if fit.steps:
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
        whole = shown.view(base, base.image, None)
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
    return replace(fit, steps=_ANY_STEPS, seconds=max(_SHORTEST, deadline - now - afterwards))


def _task(base: LinearBase, shown: Shown, kept_share: float, seed: int, cut: float | None) -> HeldOutTask | None:
    """Return what is to be learnt, or None where making it would take longer than there is."""
    shape = (base.hsi.shape[-2], base.hsi.shape[-1])
    device = base.hsi.device
    views, error = [], torch.zeros_like(base.hsi)
    patterns = hiding_patterns(shape, device)
    for number, hidden in enumerate(patterns):
        began = time.monotonic()
        image = base.without(hidden)
        views.append(shown.view(base, image, hidden))
        error = torch.where(hidden, base.hsi - base.sensor.degrade(image, shape), error)
        now = time.monotonic()
        if cut is not None and now + (len(patterns) - 1 - number) * (now - began) > cut:
            return None
    scale = error.flatten(1).square().mean(1).sqrt()
    kept = keep_blocks(shape, kept_share, seed, device)
    return HeldOutTask(views, error, shown.basis(error, scale), scale, kept, base.sensor)


def _network(shown: Shown, options: FeINFNOptions, seed: int) -> FeINFN:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = FeINFN(shown.components, shown.guides, options)
    with torch.no_grad():
        network.decoder.output.bias.zero_()
    return network
