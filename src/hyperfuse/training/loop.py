"""The training loop, from configuration to weights, on one process or many."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_all_start_methods
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.networks.base import FusionNetwork
from hyperfuse.networks.blocks.upsample import resample
from hyperfuse.networks.pretrained import from_pretrained
from hyperfuse.networks.registry import create_network
from hyperfuse.progress import Progress, silent
from hyperfuse.training.averaging import WeightAverage
from hyperfuse.training.beginning import whiten_first_layers
from hyperfuse.training.checkpoints import BEST, RunState, load_checkpoint, save_best, save_checkpoint
from hyperfuse.training.configuration import TrainingConfig
from hyperfuse.training.data import TrainingData, open_training_data
from hyperfuse.training.examples import Base, Batch, stacked
from hyperfuse.training.losses import weighted_loss
from hyperfuse.training.order import ProcessBatches
from hyperfuse.training.processes import Processes
from hyperfuse.training.run_folder import open_run
from hyperfuse.training.run_log import RunLog
from hyperfuse.training.scene_store import Scenes
from hyperfuse.training.validation import validate


@dataclass(frozen=True)
class TrainingResult:
    """What a run came to.

    Attributes:
        folder: of the run.
        steps: optimisation steps taken, over all its parts.
        best: folder of the best weights, which ``from_pretrained`` reads.
        best_step: step of them.
        best_scores: their mean scores on the scenes to validate on.
        scores: those of the last step.
    """

    folder: Path
    steps: int
    best: Path
    best_step: int
    best_scores: dict[str, float]
    scores: dict[str, float]


def train(
    config: TrainingConfig,
    scenes: Scenes,
    *,
    base: Base | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
    note: Callable[[str], None] = lambda text: None,
) -> TrainingResult:
    """Train a network as a configuration tells.

    The folder ``config.output`` gets ``config.yaml`` (all keys), ``log.jsonl``, ``tensorboard/``, ``checkpoints/`` and
    ``best/``. A run that was interrupted, however abruptly, goes on with ``resume=True`` and ends at the weights that
    an unbroken run has, on the CPU to the last bit.

    Args:
        config: with names of scenes in place of splits (:meth:`TrainingConfig.with_names`).
        scenes: where they are read from, such as ``hyperfuse.datasets.open_dataset``.
        base: an image that the network adds to, in place of the interpolated HSI; the same for every part of a run.
            Where the configuration names one, ``hyperfuse.methods.base_image.create_base`` makes it.
        overwrite: whether a run that the output folder holds is removed.
        progress: told the share done.
        note: told of what happens on the way, a line each.

    Raises:
        InputError: a configuration or data that do not fit, or an output folder in use.
        HyperfuseError: a loss that is not finite (the patches are named), or no space left.
    """
    if (config.base is None) != (base is None):
        told, given = ("names a", "none") if base is None else ("names no", "one")
        raise InputError(f"the configuration {told} base, and train() was given {given}; set both or neither")
    processes = Processes(config)
    try:
        # The loop seeds torch's generator; the caller's own goes on as if nothing had been.
        with torch.random.fork_rng(devices=[]), _reproducible(config.deterministic):
            return _train(config, scenes, base, overwrite, processes, progress, note)
    finally:
        processes.end()


def _train(
    config: TrainingConfig,
    scenes: Scenes,
    base: Base | None,
    overwrite: bool,
    processes: Processes,
    progress: Progress,
    note: Callable[[str], None],
) -> TrainingResult:
    if base is not None:
        note(f"making the images that the network starts from ({base.name})")
    data = open_training_data(config, scenes, base)
    epoch, step_patches = data.order.patches, config.step_patches
    steps = config.length.steps(epoch, step_patches)
    validate_every = config.validation.every.steps(epoch, step_patches)
    save_every = config.checkpoints.every.steps(epoch, step_patches)

    torch.manual_seed(config.seed)
    network = _create(config, data)
    network.to(processes.device)
    average = WeightAverage(network, config.average.decay, warm_up=config.average.warm_up) if config.average else None
    settings = config.optimiser
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, betas=settings.betas, weight_decay=settings.weight_decay
    )
    schedule, loss = config.create_schedule(epoch), weighted_loss(config.losses)

    state = RunState(base=None if base is None else base.name)
    checkpoint = open_run(config, processes, state.base, overwrite=overwrite)
    if checkpoint is not None:
        state = load_checkpoint(checkpoint, network, average, optimiser)
        note(f"resuming {config.output} after step {state.step} of {steps}")
    log = RunLog(config.output, state.step, tensorboard=config.log.tensorboard) if processes.main else None
    model = processes.distribute(network)

    def forward(
        model: torch.nn.Module, hsi: torch.Tensor, msi: torch.Tensor, start: torch.Tensor | None
    ) -> torch.Tensor:
        guided = start is not None and base is not None and base.as_guide
        with processes.autocast(config.precision):
            fused: torch.Tensor = model(hsi, torch.cat([msi, start], 1) if guided and start is not None else msi)
        if start is None or base is None:
            return fused
        # What a network adds to the interpolated HSI is added to the base instead.
        return start + base.scale * (fused - resample(hsi, (msi.shape[-2], msi.shape[-1])))

    def score() -> dict[str, float]:
        judged = network if average is None else average.network
        training = judged.training
        judged.eval()
        scores = validate(lambda *images: forward(judged, *images), data.validation, processes.accelerator)
        judged.train(training)
        return scores

    batches = DataLoader(
        data.examples,
        batch_sampler=ProcessBatches(data.order, state.step, steps, processes.rank, processes.count),
        collate_fn=stacked,
        num_workers=config.workers,
        pin_memory=processes.device.type == "cuda",
        # Forked, they share the scenes already read.
        multiprocessing_context="fork" if config.workers and "fork" in get_all_start_methods() else None,
    )
    stream: Iterator[Batch] = iter(batches)
    network.train()
    scores: dict[str, float] = {}
    recent: list[float] = []
    since = time.monotonic()
    progress(state.step / steps)
    with contextlib.closing(log) if log is not None else contextlib.nullcontext():
        while state.step < steps:
            # Networks that draw random numbers draw the same ones after a resume, and others in every process.
            torch.manual_seed(_step_seed(config.seed, state.step, processes.rank))
            rate = schedule(state.step * step_patches)
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.zero_grad(set_to_none=True)
            total = torch.zeros((), device=processes.device)
            seen: list[Batch] = []
            for part in range(config.accumulation):
                batch = _next(stream).to(processes.device)
                with processes.accumulating(model, part + 1 < config.accumulation):
                    fused = forward(model, batch.hsi, batch.msi, batch.base)
                    part_loss = loss(fused, batch.reference) / config.accumulation
                    processes.accelerator.backward(part_loss)
                total += part_loss.detach()
                seen.append(batch)
            norm = torch.nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_norm or float("inf"))
            mean = float(processes.mean(total))
            if not (torch.isfinite(norm) and math.isfinite(mean)):
                _refuse(network, forward, seen, state.step + 1, config.output)
            optimiser.step()
            if average is not None:
                average.update(network, state.step)
            state.step += 1

            recent.append(mean)
            progress(state.step / steps, f"step {state.step} of {steps}, loss {sum(recent) / len(recent):.5f}")
            if state.step % config.log.every == 0 or state.step == steps:
                speed = len(recent) * step_patches / max(time.monotonic() - since, 1e-9)
                entry = {"loss": sum(recent) / len(recent), "learning_rate": rate, "gradient_norm": float(norm)}
                if log is not None:
                    log.write(state.step, state.step * step_patches, {**entry, "patches_per_second": speed})
                recent, since = [], time.monotonic()
            paused = time.monotonic()
            if state.step % validate_every == 0 or state.step == steps:
                scores = score()
                better = state.best_scores is None or scores["psnr_db"] > state.best_scores["psnr_db"]
                if better:
                    state.best_step, state.best_scores = state.step, scores
                if log is not None:
                    named = {f"validation/{name}": value for name, value in scores.items()}
                    log.write(state.step, state.step * step_patches, named)
                    if better:
                        judged = network if average is None else average.network
                        save_best(config.output, judged, scores, state.step, _record_of_base(config))
                told = f"step {state.step} of {steps}: validation {scores['psnr_db']:.3f} dB"
                note(told + (" (best so far)" if better else ""))
            if processes.main and (state.step % save_every == 0 or state.step == steps):
                save_checkpoint(config.output, state, network, average, optimiser, config.checkpoints.keep)
            since += time.monotonic() - paused
    processes.wait()
    if not scores:  # resumed after its last step
        scores = score()
    assert state.best_step is not None  # the last step is always validated
    assert state.best_scores is not None
    return TrainingResult(config.output, state.step, config.output / BEST, state.best_step, state.best_scores, scores)


def _record_of_base(config: TrainingConfig) -> dict[str, Any] | None:
    """Return what whoever uses the weights must know of the base."""
    return None if config.base is None else config.base.model_dump(include={"method", "settings", "as_guide", "scale"})


def _create(config: TrainingConfig, data: TrainingData) -> FusionNetwork:
    section = config.network
    network = create_network(section.name, hsi_bands=data.hsi_bands, msi_bands=data.msi_bands, **section.options)
    if section.begin_whitened:
        if data.srf is None:
            raise InputError("network.begin_whitened needs scenes; stored pairs do not tell the MSI's responses")
        whiten_first_layers(network, data.store, data.srf, guided=config.base is not None and config.base.as_guide)
    if section.begin_with_nothing:
        network.begin_with_nothing()
    if section.weights is not None:
        given = from_pretrained(section.weights)
        try:
            network.load_state_dict(given.state_dict())
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise InputError(f"{section.weights}: does not fit the network that is configured ({reason})") from None
    return network


def _refuse(
    network: FusionNetwork,
    forward: Callable[..., torch.Tensor],
    batches: list[Batch],
    step: int,
    folder: Path,
) -> None:
    """Stop a run whose loss or gradient is not finite, naming the patches that make it so."""
    found, places = [], []
    for batch in batches:
        with torch.no_grad():
            fused = forward(network, batch.hsi, batch.msi, batch.base)
        finite = (torch.isfinite(fused) & torch.isfinite(batch.reference)).flatten(1).all(1)
        found += [place for place, good in zip(batch.places, finite.tolist(), strict=True) if not good]
        places += list(batch.places)
    if found:
        what = f"the network's output or the reference is not finite for {_listed(found)}"
    else:
        what = f"the gradient, or the loss in another process, is not finite; patches here: {_listed(places)}"
    raise HyperfuseError(
        f"step {step}: {what}; nothing was changed by this step. Check these scenes, lower optimiser.learning_rate or "
        f"set optimiser.gradient_norm; the checkpoints in {folder} stay"
    )


def _listed(places: list[Any], most: int = 8) -> str:
    more = f" and {len(places) - most} more" if len(places) > most else ""
    return ", ".join(map(str, places[:most])) + more


def _step_seed(seed: int, step: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _next(stream: Iterator[Batch]) -> Batch:
    try:
        return next(stream)
    except HyperfuseError as error:
        # From a loading process it comes with that process's traceback around it; the last line is what was said.
        said = str(error).splitlines()[-1]
        raise type(error)(said.removeprefix(f"{type(error).__module__}.{type(error).__name__}: ")) from error


@contextlib.contextmanager
def _reproducible(wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    # Read by cuBLAS when it is first used.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
