"""What FeINFN learns of a scene: the errors that linear models make at LR pixels which they have not seen."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from hyperfuse.methods.feinfn.linear_part import LinearBase
from hyperfuse.methods.feinfn.network_input import ShownBands, ShownComponents
from hyperfuse.methods.feinfn.pretrained import TrainedNetwork
from hyperfuse.methods.local_linear.scene_models import pooled
from hyperfuse.networks.feinfn import FeINFN
from hyperfuse.networks.options import FeINFNOptions
from hyperfuse.progress import Progress, part
from hyperfuse.sensor.model import Sensor
from hyperfuse.statistics.folds import held_out_patterns, validation_blocks
from hyperfuse.statistics.shrinkage import RadianceShrinkage
from hyperfuse.training.self_supervised.fit import NO_TIME, PairFit, PairFitOptions, fit_to_pair
from hyperfuse.training.self_supervised.task import (
    HeldOutTask,
    MaskedPair,
    correction,
    expand,
    shrinkage_factor,
)

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
class LearnedCorrection:
    """What a network adds to the images of linear models, as far as it is trusted.

    Attributes:
        shown: how it is shown an image.
        options: its own, plain values.
        weights: its own.
        basis: directions of spectra in which it answers, (bands, components).
        share: of its answer that is applied, (bands,).
        trust: how its answer is trusted in the dark.
    """

    shown: ShownBands | ShownComponents
    options: dict[str, Any]
    weights: dict[str, torch.Tensor]
    basis: torch.Tensor
    share: torch.Tensor
    trust: RadianceShrinkage

    def correct(self, base: LinearBase) -> torch.Tensor:
        """Return the image of linear models (bands, H, W) with the correction added."""
        whole = self.shown.view(base, base.image, None)
        with torch.inference_mode():
            answer = correction(self.network(base.hsi), whole.hsi[None], whole.guidance[None])[0]
            found = self.share[:, None, None] * expand(self.basis, answer)
            return base.image + self.trust.of(base.image) * found

    def network(self, like: torch.Tensor) -> FeINFN:
        """Return the network, of the type and on the device of ``like``."""
        network = _network(self.shown, FeINFNOptions(**self.options), 0)
        network.load_state_dict(self.weights)
        return _placed(network, like).eval()


@dataclass(frozen=True)
class Learnt:
    """What came of learning.

    Attributes:
        correction: None where nothing was learnt that can be trusted.
        errors: of each part: measured HSI less its prediction by what has not seen the pixel, (bands, h, w).
        fit: what the fit did.
    """

    correction: LearnedCorrection | None
    errors: list[torch.Tensor]
    fit: PairFit


@dataclass(frozen=True)
class _Part:
    """What a network learns from of one pair: its HSI (bands, h, w), views, and the errors in them."""

    hsi: torch.Tensor
    sensor: Sensor
    views: list[MaskedPair]
    error: torch.Tensor


def learn_correction(
    bases: Iterable[LinearBase],
    shown: ShownBands | ShownComponents,
    start: FeINFNOptions | TrainedNetwork,
    fit: PairFitOptions,
    deadline: float | None,
    cut: float | None,
    progress: Progress,
) -> Learnt:
    """Learn what linear models leave of a pair, or of some parts of a scene.

    Args:
        bases: the linear models of each part, looked at one after the other.
        shown: how the network is shown them.
        start: options of a fresh network; or one that was trained on other scenes to improve such images, which is
            fitted in place.
        fit: how it is fitted. With no steps a trained one is taken as it is, and there is no fresh one.
        deadline: of ``time.monotonic``, when all is to be done; None for no limit.
        cut: when that cannot be told to be kept, nothing is learnt; None to learn anyhow.
        progress: called with the share done.
    """
    progress(0.0, "hiding pixels")
    parts = _parts(bases, shown, cut)
    if parts is None:
        return Learnt(None, [], _NO_TIME)
    # Pixels are kept from a fit to judge it; without one all of them judge.
    tasks = _tasks(parts, shown, _KEPT_SHARE if fit.steps else 1.0, fit.seed)
    errors = [part.error for part in parts]
    if fit.steps == 0 and not isinstance(start, TrainedNetwork):
        return Learnt(None, errors, _NO_FIT)
    network = start.network if isinstance(start, TrainedNetwork) else _network(shown, start, fit.seed)
    network = _placed(network, parts[0].hsi)
    done = _NO_FIT
    if fit.steps:
        fit = replace(fit, patch=_side(parts[0].sensor))
        fit = replace(fit, batch=_patches_a_step(parts, fit))
        if deadline is not None:
            fit = _with_time_left(fit, network, tasks, deadline)
        done = fit_to_pair(network, tasks, fit, part(progress, 0.15, 0.85))
    progress(0.9, "weighing what was learnt")
    with torch.inference_mode():
        predicted = [_predicted(network, part, tasks[0].basis) for part in parts]
        share = shrinkage_factor(tasks, predicted)
        if not bool((share > 0).any()):
            return Learnt(None, errors, done)
        predicted = [share[:, None, None] * one for one in predicted]
        unseen = [part.hsi - part.error for part in parts]
        kept = [task.validation for task in tasks]
        judged = (unseen, predicted, [part.hsi for part in parts])
        trust = RadianceShrinkage.fit(
            *(pooled([one[:, mask, None] for one, mask in zip(images, kept, strict=True)]) for images in judged)
        )
        left = [part.error - trust.of(seen) * one for part, seen, one in zip(parts, unseen, predicted, strict=True)]
    weights = {name: value.detach().clone() for name, value in network.state_dict().items()}
    options = network.options.model_dump()
    return Learnt(LearnedCorrection(shown, options, weights, tasks[0].basis, share, trust), left, done)


def show_scene(
    start: FeINFNOptions | TrainedNetwork, hsis: Sequence[torch.Tensor], msi_bands: int, msi_components: int
) -> ShownBands | ShownComponents:
    """Return how a network is shown a scene.

    Args:
        start: the network, or the options of a fresh one.
        hsis: LR-HSI of each part, (bands, h, w), without noise.
        msi_bands: of the MSI.
        msi_components: of the MSI when it is whitened.
    """
    if isinstance(start, TrainedNetwork):
        return ShownBands(hsis[0].shape[0], msi_bands, start.scale)
    return ShownComponents.of(pooled(hsis), msi_components)


def held_out_error(base: LinearBase, learned: LearnedCorrection | None) -> torch.Tensor:
    """Return measured HSI less its prediction by models that have not seen the pixel, (bands, h, w).

    Args:
        base: the linear models of a pair.
        learned: what is added to them, or None. It may have seen the pixels, among many others.
    """
    part = _part(base, None if learned is None else learned.shown, None)
    assert part is not None  # there is no limit of time
    if learned is None:
        return part.error
    with torch.inference_mode():
        change = learned.share[:, None, None] * _predicted(learned.network(base.hsi), part, learned.basis)
        return part.error - learned.trust.of(base.hsi - part.error) * change


def _parts(bases: Iterable[LinearBase], shown: ShownBands | ShownComponents, cut: float | None) -> list[_Part] | None:
    """Return what is to be learnt from, or None where making it would take longer than there is."""
    parts = []
    for base in bases:
        part = _part(base, shown, cut)
        if part is None:
            return None
        parts.append(part)
    return parts


def _part(base: LinearBase, shown: ShownBands | ShownComponents | None, cut: float | None) -> _Part | None:
    shape = (base.hsi.shape[-2], base.hsi.shape[-1])
    views, error = [], torch.zeros_like(base.hsi)
    patterns = held_out_patterns(shape, base.hsi.device)
    for number, hidden in enumerate(patterns):
        began = time.monotonic()
        image = base.without(hidden)
        if shown is not None:
            views.append(shown.view(base, image, hidden))
        error = torch.where(hidden, base.hsi - base.sensor.degrade(image, shape), error)
        now = time.monotonic()
        if cut is not None and now + (len(patterns) - 1 - number) * (now - began) > cut:
            return None
    return _Part(base.hsi, base.sensor, views, error)


def _tasks(
    parts: Sequence[_Part], shown: ShownBands | ShownComponents, kept_share: float, seed: int
) -> list[HeldOutTask]:
    error = pooled([part.error for part in parts])
    scale = error.flatten(1).square().mean(1).sqrt()
    basis = shown.basis(error, scale)
    tasks = []
    for index, one in enumerate(parts):
        shape = (one.hsi.shape[-2], one.hsi.shape[-1])
        kept = validation_blocks(shape, kept_share, seed + index, one.hsi.device)
        tasks.append(HeldOutTask(one.views, one.error, basis, scale, kept, one.sensor))
    return tasks


def _predicted(network: FeINFN, part: _Part, basis: torch.Tensor) -> torch.Tensor:
    """Return the answer to each view at the pixels that it hides, degraded to LR, (bands, h, w)."""
    predicted = torch.zeros_like(part.error)
    for view in part.views:
        assert view.held_out is not None  # views of a part hide pixels
        found = correction(network, view.hsi[None], view.guidance[None])[0]
        found = part.sensor.degrade(found, (part.error.shape[-2], part.error.shape[-1]))
        predicted = torch.where(view.held_out, expand(basis, found), predicted)
    return predicted


def _side(sensor: Sensor) -> int:
    """Return the side of a patch in LR pixels: an even number that makes about 64 HR pixels."""
    return max(_SMALLEST_PATCH, 2 * round(_PATCH_HR / max(sensor.ratio) / 2))


def _patches_a_step(parts: Sequence[_Part], fit: PairFitOptions) -> int:
    """Return how many patches a step takes: a small image has few that differ, and each costs time."""
    pixels = max(part.hsi[0].numel() for part in parts)
    patch = min(pixels, fit.patch**2)
    return min(fit.batch, max(_FEWEST_PATCHES, round(pixels / (_IMAGE_SHARE * patch))))


def _with_time_left(
    fit: PairFitOptions, network: FeINFN, tasks: Sequence[HeldOutTask], deadline: float
) -> PairFitOptions:
    began = time.monotonic()
    view = tasks[0].pairs[0]
    with torch.inference_mode():
        correction(network, view.hsi[None], view.guidance[None])
    now = time.monotonic()
    # After the fit, the network runs once on each view and once on the pair.
    afterwards = sum(len(task.pairs) + 1 for task in tasks) * (now - began)
    return replace(fit, steps=_ANY_STEPS, seconds=max(_SHORTEST, deadline - now - afterwards))


def _network(shown: ShownBands | ShownComponents, options: FeINFNOptions, seed: int) -> FeINFN:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = FeINFN(shown.components, shown.guides, options)
    with torch.no_grad():
        network.decoder.output.bias.zero_()
    return network


def _placed(network: FeINFN, like: torch.Tensor) -> FeINFN:
    network.to(like)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network
