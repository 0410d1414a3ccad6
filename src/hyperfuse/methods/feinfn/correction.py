"""A network that predicts the errors of linear models at held-out LR pixels, and corrects their image."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from hyperfuse.methods.feinfn.linear_part import LinearImage
from hyperfuse.methods.feinfn.network_input import BandEncoding, ComponentEncoding, Encoding
from hyperfuse.methods.feinfn.pretrained import TrainedNetwork
from hyperfuse.methods.local_linear.predictors import Predictors, pooled
from hyperfuse.networks.feinfn import FeINFN
from hyperfuse.networks.options import FeINFNOptions
from hyperfuse.progress import Progress, part
from hyperfuse.sensor.model import Sensor
from hyperfuse.statistics.folds import held_out_patterns, validation_blocks
from hyperfuse.statistics.shrinkage import RadianceShrinkage
from hyperfuse.training.self_supervised.fit import NO_TIME, NOTHING_LEARNT, PairFit, PairFitOptions, fit_to_pair
from hyperfuse.training.self_supervised.task import HeldOutTask, MaskedPair, correction, expand, shrinkage_factor

_VALIDATION_FRACTION = 0.12
_UNLIMITED_STEPS = 10**9
_MIN_PATCHES = 2
_PATCH_HR = 64
_MIN_PATCH = 8
_STEPS_PER_IMAGE = 3  # a step uses at most about a third of the image
_NO_FIT = PairFit(0, (), (0.0, 0.0), "steps")
_NO_TIME = PairFit(0, (), (0.0, 0.0), NO_TIME)
_NOTHING = PairFit(0, (), (0.0, 0.0), NOTHING_LEARNT)
# Bands that vary by less than this fraction of the values are constant: there is nothing to learn.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class NetworkCorrection:
    """What a network adds to the images of linear models, with the factors that held-out pixels support.

    Attributes:
        encoding: of its input.
        options: its own, plain values.
        weights: its own.
        basis: spectra of its output, (bands, components).
        factor: on its output, (bands,).
        shrinkage: of its output, at low radiance.
    """

    encoding: ComponentEncoding | BandEncoding
    options: dict[str, Any]
    weights: dict[str, torch.Tensor]
    basis: torch.Tensor
    factor: torch.Tensor
    shrinkage: RadianceShrinkage

    def correct(self, linear: LinearImage) -> torch.Tensor:
        """Return the image of linear models (bands, H, W) with the correction added."""
        whole = self.encoding.encode(linear, linear.image, None)
        with torch.inference_mode():
            output = correction(self._network(linear.image), whole.hsi[None], whole.guidance[None])[0]
            change = self.factor[:, None, None] * expand(self.basis, output)
            return linear.image + self.shrinkage.of(linear.image) * change

    def held_out_error(self, linear: LinearImage) -> torch.Tensor:
        """Return the measured HSI of a window minus its held-out prediction with the correction, (bands, h, w).

        The network itself may have been fitted to the pixels, among many others.
        """
        masked = _mask(linear, self.encoding)
        with torch.inference_mode():
            return self._corrected(masked, _predict(self._network(linear.image), masked, self.basis))

    def _corrected(self, masked: _MaskedImage, predicted: torch.Tensor) -> torch.Tensor:
        estimate = masked.hsi - masked.error
        return masked.error - self.shrinkage.of(estimate) * (self.factor[:, None, None] * predicted)

    def _network(self, like: torch.Tensor) -> FeINFN:
        network = _create(self.encoding, FeINFNOptions(**self.options), 0)
        network.load_state_dict(self.weights)
        return _placed(network, like).eval()


@dataclass(frozen=True)
class CorrectionFit:
    """What came of fitting a correction.

    Attributes:
        correction: None where none can be distinguished from chance, or there was no time.
        errors: of each sample the measured HSI minus its held-out prediction, (bands, h, w); none without time.
        fit: record of the network's.
    """

    correction: NetworkCorrection | None
    errors: list[torch.Tensor]
    fit: PairFit


@dataclass(frozen=True)
class _MaskedImage:
    """A window as a network learns from it: LR-HSI (bands, h, w), masked pairs, and held-out errors (bands, h, w)."""

    hsi: torch.Tensor
    predictors: Predictors
    pairs: list[MaskedPair]
    error: torch.Tensor


class _OutOfTimeError(Exception):
    """There is no time to predict the held-out pixels."""


@dataclass(frozen=True)
class TimeLimit:
    """When all is to be done.

    Attributes:
        deadline: of ``time.monotonic``, without the linear part of applying the model.
        required: held-out pixels are predicted whatever time is left: the uncertainty is known from them.
        passes: of the network on a sample's area that applying the model to the scene takes.
        slowness: wall time per CPU time so far; one measurement of a second is no measure of a machine with other work.
    """

    deadline: float
    required: bool
    passes: float
    slowness: float


def fit_correction(
    images: Iterable[LinearImage],
    encoding: Encoding,
    start: FeINFNOptions | TrainedNetwork,
    fit: PairFitOptions,
    limit: TimeLimit | None,
    progress: Progress,
) -> CorrectionFit:
    """Fit a network to the held-out errors of linear models on samples of a scene.

    Args:
        images: of each sample, used one after the other.
        encoding: of the network's input.
        start: options of a new network; or one that was trained on other scenes, which is fitted in place.
        fit: its settings. With no steps a trained network is used as it is, and there is no new one.
        limit: of time; None for none.
        progress: called with the fraction done.
    """
    progress(0.0, "predicting held-out pixels")
    try:
        masked = [
            _mask(one, encoding, math.inf if limit is None or limit.required else limit.deadline) for one in images
        ]
    except _OutOfTimeError:
        return CorrectionFit(None, [], _NO_TIME)
    # Validation pixels are left out of a fit; without one all pixels validate.
    tasks = _tasks(masked, encoding, _VALIDATION_FRACTION if fit.steps else 1.0, fit.seed)
    errors = [one.error for one in masked]
    if fit.steps == 0 and not isinstance(start, TrainedNetwork):
        return CorrectionFit(None, errors, _NO_FIT)
    if all(_is_constant(one.hsi) for one in masked):
        return CorrectionFit(None, errors, _NOTHING)
    network = start.network if isinstance(start, TrainedNetwork) else _create(encoding, start, fit.seed)
    network = _placed(network, errors[0])
    done = _NO_FIT
    if fit.steps:
        fit = replace(fit, patch=_patch_side(tasks[0].sensor))
        fit = replace(fit, batch=_patches_per_step(errors, fit))
        if limit is not None:
            fit = _within(limit, fit, network, tasks)
            if not fit.seconds and not isinstance(start, TrainedNetwork):
                return CorrectionFit(None, errors, _NO_TIME)
        accepts = partial(_is_accepted, tasks, masked) if isinstance(start, TrainedNetwork) else None
        done = fit_to_pair(network, tasks, fit, part(progress, 0.15, 0.85), accepts)
    progress(0.9, "validating the correction")
    with torch.inference_mode():
        basis = tasks[0].basis
        predicted = [_predict(network, one, basis) for one in masked]
        factor = shrinkage_factor(tasks, predicted)
        if not bool((factor > 0).any()):
            return CorrectionFit(None, errors, done)
        images_at_lr = ([one.hsi - one.error for one in masked], predicted, [one.hsi for one in masked])
        estimate, change, measured = (
            pooled([image[:, task.validation, None] for image, task in zip(sample, tasks, strict=True)])
            for sample in images_at_lr
        )
        shrinkage = RadianceShrinkage.fit(estimate, factor[:, None, None] * change, measured)
        weights = {name: value.detach().clone() for name, value in network.state_dict().items()}
        found = NetworkCorrection(encoding, network.options.model_dump(), weights, basis, factor, shrinkage)
        errors = [found._corrected(*sample) for sample in zip(masked, predicted, strict=True)]
    return CorrectionFit(found, errors, done)


def fit_encoding(
    start: FeINFNOptions | TrainedNetwork, hsis: Sequence[torch.Tensor], msi_bands: int, msi_components: int
) -> Encoding:
    """Return the input encoding of a network for a scene.

    Args:
        start: the network, or the options of a new one.
        hsis: LR-HSI of each sample, (bands, h, w), without noise.
        msi_bands: of the MSI.
        msi_components: of the whitened MSI.
    """
    if isinstance(start, TrainedNetwork):
        return BandEncoding(hsis[0].shape[0], msi_bands, start.scale)
    return ComponentEncoding.fit(pooled(hsis), msi_components)


def _mask(linear: LinearImage, encoding: Encoding, deadline: float = math.inf) -> _MaskedImage:
    """Predict every LR pixel from the others, unless that would take longer than there is."""
    predictors = linear.predictors
    pairs, error = [], torch.zeros_like(linear.hsi)
    patterns = held_out_patterns(predictors.shape, linear.hsi.device)
    for number, held_out in enumerate(patterns):
        started = time.monotonic()
        image = linear.without(held_out)
        pairs.append(encoding.encode(linear, image, held_out))
        error = torch.where(held_out, linear.hsi - predictors.degrade(image), error)
        now = time.monotonic()
        if now + (len(patterns) - 1 - number) * (now - started) > deadline:
            raise _OutOfTimeError
    return _MaskedImage(linear.hsi, predictors, pairs, error)


def _tasks(masked: Sequence[_MaskedImage], encoding: Encoding, validation: float, seed: int) -> list[HeldOutTask]:
    error = pooled([one.error for one in masked])
    scale = error.flatten(1).square().mean(1).sqrt()
    basis = encoding.basis(error, scale)
    return [
        HeldOutTask(
            one.pairs,
            one.error,
            basis,
            scale,
            validation_blocks(one.predictors.shape, validation, seed + index, one.error.device),
            one.predictors.sensor,
        )
        for index, one in enumerate(masked)
    ]


def _predict(network: FeINFN, masked: _MaskedImage, basis: torch.Tensor) -> torch.Tensor:
    """Return the network's output for each masked pair at its held-out pixels, degraded to LR, (bands, h, w)."""
    predicted = torch.zeros_like(masked.error)
    for pair in masked.pairs:
        assert pair.held_out is not None
        output = masked.predictors.degrade(correction(network, pair.hsi[None], pair.guidance[None])[0])
        predicted = torch.where(pair.held_out, expand(basis, output), predicted)
    return predicted


def _is_constant(hsi: torch.Tensor) -> bool:
    low, high = hsi.flatten(1).aminmax(dim=1)
    return bool((high - low <= _ROUNDING * torch.maximum(high.abs(), low.abs())).all())


def _is_accepted(tasks: Sequence[HeldOutTask], masked: Sequence[_MaskedImage], network: FeINFN) -> bool:
    """Return whether any of a network's correction would be applied."""
    network.eval()
    with torch.inference_mode():
        factor = shrinkage_factor(tasks, [_predict(network, one, tasks[0].basis) for one in masked])
    network.train()
    return bool((factor > 0).any())


def _patch_side(sensor: Sensor) -> int:
    """Return the side of a patch in LR pixels: an even number that makes about 64 HR pixels."""
    return max(_MIN_PATCH, 2 * round(_PATCH_HR / max(sensor.ratio) / 2))


def _patches_per_step(errors: Sequence[torch.Tensor], fit: PairFitOptions) -> int:
    """Return the number of patches per step: a small image has few that differ, and each takes time."""
    pixels = max(error[0].numel() for error in errors)
    patch = min(pixels, fit.patch**2)
    return min(fit.batch, max(_MIN_PATCHES, round(pixels / (_STEPS_PER_IMAGE * patch))))


def _within(limit: TimeLimit, fit: PairFitOptions, network: FeINFN, tasks: Sequence[HeldOutTask]) -> PairFitOptions:
    """Return how long the network may be fitted: 0.0 seconds where there is no time."""
    if time.monotonic() >= limit.deadline:
        return replace(fit, steps=_UNLIMITED_STEPS, seconds=0.0)
    started = time.process_time()
    pair = tasks[0].pairs[0]
    with torch.inference_mode():
        correction(network, pair.hsi[None], pair.guidance[None])
    taken = limit.slowness * (time.process_time() - started)
    # After the fit, the network runs once on each masked pair and once on the scene.
    afterwards = (sum(len(task.pairs) for task in tasks) + limit.passes) * taken
    seconds = limit.deadline - time.monotonic() - afterwards
    return replace(fit, steps=_UNLIMITED_STEPS, seconds=max(0.0, seconds))


def _create(encoding: Encoding, options: FeINFNOptions, seed: int) -> FeINFN:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = FeINFN(encoding.channels, encoding.guidance_channels, options)
    with torch.no_grad():
        network.decoder.output.bias.zero_()
    return network


def _placed(network: FeINFN, like: torch.Tensor) -> FeINFN:
    network.to(like)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network
