"""The training loop, from configuration to weights, on one process or many."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.networks.base import FusionNetwork
from hyperfuse.networks.blocks.upsample import resample
from hyperfuse.progress import Progress, silent
from hyperfuse.runtime.optional import check_installed
from hyperfuse.runtime.threads import let_idle_threads_sleep
from hyperfuse.training.arithmetic import arithmetic
from hyperfuse.training.averaging import WeightAverage
from hyperfuse.training.captured import OptimisationStep, compile_loss, create_adam, set_rate
from hyperfuse.training.checkpoints import BEST, RunState, load_checkpoint, save_best, save_checkpoint
from hyperfuse.training.configuration import TrainingConfig
from hyperfuse.training.data import open_training_data
from hyperfuse.training.examples import Base, ExampleBatch
from hyperfuse.training.initialisation import initial_network
from hyperfuse.training.losses import IntermediateOutputs, weighted_loss
from hyperfuse.training.order import ProcessBatches
from hyperfuse.training.processes import Processes
from hyperfuse.training.residence import open_batches
from hyperfuse.training.run_folder import open_run, run_locked
from hyperfuse.training.run_log import TENSORBOARD_PURPOSE, RunLog
from hyperfuse.training.scene_store import PatchCorner, SceneReader
from hyperfuse.training.validation import ValidationBudget, validate


@dataclass(frozen=True)
class TrainingResult:
    """The outcome of a training run.

    Attributes:
        folder: of the run.
        steps: optimisation steps taken, over all its parts.
        best: folder of the best weights, which ``from_pretrained`` reads.
        best_step: step of them.
        best_scores: their mean scores on the validation scenes.
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
    scenes: SceneReader,
    *,
    base: Base | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
    note: Callable[[str], None] = lambda text: None,
) -> TrainingResult:
    """Train a network as a configuration specifies.

    The folder ``config.output`` gets ``config.yaml`` (all keys), ``log.jsonl``, ``tensorboard/``, ``checkpoints/`` and
    ``best/``. A run that was interrupted, however abruptly, is resumed with ``resume=True`` and ends at the weights of
    an unbroken run, on the CPU to the last bit.

    Args:
        config: with names of scenes in place of splits (:meth:`TrainingConfig.with_names`).
        scenes: where they are read from, such as ``hyperfuse.datasets.open_dataset``.
        base: an image that the network adds to, in place of the interpolated HSI; the same for every part of a run.
            Where the configuration names one, ``hyperfuse.methods.base_image.create_base`` makes it.
        overwrite: whether a run that the output folder holds is removed.
        progress: receives the fraction done.
        note: receives messages on the way, one line each.

    Raises:
        InputError: a configuration or data that do not fit, or an output folder in use.
        HyperfuseError: a loss that is not finite (the patches are named), or no space left.
    """
    if (config.base is None) != (base is None):
        named, given = ("names a", "none") if base is None else ("names no", "one")
        raise InputError(f"the configuration {named} base, and train() was given {given}; set both or neither")
    if config.log.tensorboard:
        check_installed("tensorboard", TENSORBOARD_PURPOSE)
    let_idle_threads_sleep()
    processes = Processes(config)
    try:
        # The loop seeds torch's generator; the caller's own is as before afterwards.
        with torch.random.fork_rng(devices=[]), arithmetic(config, processes.device):
            run = _Run(config, scenes, base, processes, note)
            with run_locked(config.output) if processes.main else contextlib.nullcontext():
                run.open(overwrite=overwrite)
                return run.train(progress)
    finally:
        processes.end()


class _Run:
    """A training run in one of its processes: what is trained, and how far it is."""

    def __init__(
        self,
        config: TrainingConfig,
        scenes: SceneReader,
        base: Base | None,
        processes: Processes,
        note: Callable[[str], None],
    ) -> None:
        if base is not None:
            note(f"making the images that the network starts from ({base.name})")
        self.config, self.base, self.processes, self.note = config, base, processes, note
        self.data = open_training_data(config, scenes, base)
        epoch = self.data.order.patches
        self.milliseconds = config.length.milliseconds
        self.budget = ValidationBudget(config.validation.time_fraction or (0.1 if self.milliseconds else None))
        self.steps = sys.maxsize if self.milliseconds else config.length.steps(epoch, config.step_patches)
        self.validate_every, self.save_every = (
            one.every.steps(epoch, config.step_patches) for one in (config.validation, config.checkpoints)
        )

        torch.manual_seed(config.seed)
        self.network = initial_network(config, self.data).to(processes.device)
        average, settings = config.average, config.optimiser
        self.average = WeightAverage(self.network, average.decay, warm_up=average.warm_up) if average else None
        kind = torch.optim.AdamW if settings.name == "adamw" else torch.optim.Adam
        self.one_pass = processes.count == 1 and config.accumulation == 1
        if config.compiled and processes.count > 1:
            raise InputError("compiled=true is for one process; start one, or set compiled=false", parameter="compiled")
        self.recorded = self.one_pass and processes.device.type == "cuda"
        if processes.device.type == "cuda" and not self.recorded:
            note("steps of several processes or of accumulated batches are not recorded as a CUDA graph")
        self.optimiser = create_adam(
            kind,
            self.network.parameters(),
            settings.learning_rate,
            recorded=self.recorded,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
        )
        self.schedule, self.loss = config.create_schedule(epoch), weighted_loss(config.losses)
        self.state = RunState(base=None if base is None else base.name)
        self.scores: dict[str, float] = {}
        self.log: RunLog | None = None
        self.started, self.earlier = time.monotonic(), 0.0

    @property
    def result_network(self) -> FusionNetwork:
        """The network that is validated and kept: the averaged one where there is one."""
        return self.network if self.average is None else self.average.network

    def open(self, *, overwrite: bool) -> None:
        """Prepare the folder of the run, or take over the state of its latest checkpoint."""
        checkpoint = open_run(self.config, self.processes, self.state.base, overwrite=overwrite)
        if checkpoint is not None:
            self.state = load_checkpoint(checkpoint, self.network, self.average, self.optimiser)
            resuming = f"resuming {self.config.output} after {self._where()}"
            self.note(f"{self.config.output} is complete" if self._finished() else resuming)

    def train(self, progress: Progress) -> TrainingResult:
        """Take all steps that are left, then return the outcome."""
        state, data, log_every = self.state, self.data, self.config.log.every
        outputs = IntermediateOutputs(self.network) if self.config.network.intermediate else self.network
        model = self.processes.accelerator.prepare_model(outputs)  # gradients are averaged over the processes

        def loss_of(
            hsi: torch.Tensor, msi: torch.Tensor, reference: torch.Tensor, base: torch.Tensor | None
        ) -> torch.Tensor:
            return self._loss(model, ExampleBatch(hsi, msi, reference, base, ()))

        optimisation = OptimisationStep(
            compile_loss(loss_of) if self.config.compiled else loss_of,
            self.network.parameters(),
            self.optimiser,
            gradient_norm=self.config.optimiser.gradient_norm or float("inf"),
            recorded=self.recorded,
            note=self.note,
        )
        sampler = ProcessBatches(data.order, state.step, self.steps, self.processes.rank, self.processes.count)
        resident, workers = self.config.data.resident, self.config.workers
        batches = open_batches(
            data.examples, sampler, self.processes.device, resident=resident, workers=workers, note=self.note
        )
        self.network.train()
        losses: list[float] = []
        started = self.started = time.monotonic()
        self.earlier = state.seconds
        progress(self._fraction())
        if self.processes.main:
            self.log = RunLog(self.config.output, state.step, tensorboard=self.config.log.tensorboard)
        with contextlib.nullcontext() if self.log is None else contextlib.closing(self.log):
            while not self._finished():
                seen = state.step * self.config.step_patches
                rate = self.schedule(round(1000 * state.seconds) if self.milliseconds else seen)
                set_rate(self.optimiser, rate)
                loss, gradient_norm = self._step(model, optimisation, batches)
                losses.append(loss)
                mean = sum(losses) / len(losses)
                progress(min(1.0, self._fraction()), f"{self._where()}, loss {mean:.5f}")
                if self._due(log_every):
                    speed = len(losses) * self.config.step_patches / max(time.monotonic() - started, 1e-9)
                    entry = {"loss": mean, "learning_rate": rate, "gradient_norm": gradient_norm}
                    self._write({**entry, "patches_per_second": speed})
                    losses, started = [], time.monotonic()
                paused = time.monotonic()
                if self._due(self.validate_every) and self._affords_validation():
                    self._validate()
                    self.budget.add(self.processes.mean(time.monotonic() - paused))
                if self.processes.main and self._due(self.save_every):
                    count = self.config.checkpoints.keep
                    save_checkpoint(self.config.output, state, self.network, self.average, self.optimiser, count)
                started += time.monotonic() - paused
        self.processes.accelerator.wait_for_everyone()
        scores = self.scores or self._score()  # a run that is resumed after its last step has none yet
        assert state.best_step is not None  # the last step is always validated
        assert state.best_scores is not None
        folder = self.config.output
        return TrainingResult(folder, state.step, folder / BEST, state.best_step, state.best_scores, scores)

    def _step(
        self, model: torch.nn.Module, optimisation: OptimisationStep, stream: Iterator[ExampleBatch]
    ) -> tuple[float, float]:
        """Take an optimisation step; return the loss over all processes and the norm of the gradient."""
        config, state, processes = self.config, self.state, self.processes
        # Networks that draw random numbers draw the same ones after a resume, and others in every process.
        seeds = np.random.SeedSequence([config.seed, state.step, processes.rank]).generate_state(1, np.uint64)
        torch.manual_seed(int(seeds[0] >> np.uint64(1)))
        batches = [next(stream).to(processes.device) for _ in range(config.accumulation)]
        if self.one_pass:
            total, norm = optimisation(*batches[0][:4])
        else:
            total, norm = self._accumulate(model, batches)
        loss = float(processes.accelerator.reduce(total, "mean"))
        if not (torch.isfinite(norm) and math.isfinite(loss)):
            raise self._not_finite(batches)
        if not self.one_pass:
            self.optimiser.step()
        if self.average is not None:
            self.average.update(self.network, state.step)
        state.step += 1
        # The same in all processes, so that they end after the same step.
        state.seconds = processes.mean(self.earlier + time.monotonic() - self.started)
        return loss, float(norm)

    def _accumulate(self, model: torch.nn.Module, batches: list[ExampleBatch]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss of this process's batches and the norm of the gradient before it was clipped."""
        processes, count = self.processes, len(batches)
        self.optimiser.zero_grad(set_to_none=True)
        total = torch.zeros((), device=processes.device)
        for part, batch in enumerate(batches):
            with processes.accumulating(model, part + 1 < count):
                part_loss = self._loss(model, batch) / count
                processes.accelerator.backward(part_loss)
            total += part_loss.detach()
        maximum = self.config.optimiser.gradient_norm or float("inf")
        return total, torch.nn.utils.clip_grad_norm_(self.network.parameters(), maximum)

    def _finished(self) -> bool:
        return self._fraction() >= 1

    def _fraction(self) -> float:
        """Return the fraction of the run that is done, at most 1 where it ends by steps."""
        state = self.state
        return 1000 * state.seconds / self.milliseconds if self.milliseconds else state.step / self.steps

    def _where(self) -> str:
        state, timed = self.state, self.milliseconds
        if timed is None:
            return f"step {state.step} of {self.steps}"
        return f"step {state.step}, {state.seconds / 60:.1f} of {timed / 60_000:g} minutes"

    def _loss(self, model: torch.nn.Module, batch: ExampleBatch) -> torch.Tensor:
        if not self.config.network.intermediate:
            return self.loss(self._forward(model, batch.hsi, batch.msi, batch.base), batch.reference)
        scale = self.network.full_scale
        with self.processes.autocast(self.config.precision):
            outputs = tuple(output / scale for output in model(batch.hsi * scale, batch.msi * scale))
        terms = self.network.compared(outputs, batch.reference)
        return torch.stack([term.weight * self.loss(term.output, term.reference) for term in terms]).sum()

    def _forward(
        self, model: torch.nn.Module, hsi: torch.Tensor, msi: torch.Tensor, start: torch.Tensor | None
    ) -> torch.Tensor:
        base, scale = self.base, self.network.full_scale
        guidance = [start] if start is not None and base is not None and base.guidance else []
        with self.processes.autocast(self.config.precision):
            fused: torch.Tensor = model(hsi * scale, torch.cat([msi, *guidance], 1) * scale) / scale
        if start is None or base is None:
            return fused
        # What a network adds to the interpolated HSI is added to the base instead.
        return start + base.scale * (fused - resample(hsi, (msi.shape[-2], msi.shape[-1])))

    def _score(self) -> dict[str, float]:
        network = self.result_network
        training = network.training
        network.eval()
        scores = validate(
            lambda *images: self._forward(network, *images), self.data.validation, self.processes.accelerator
        )
        network.train(training)
        return scores

    def _validate(self) -> None:
        """Score the network, and keep its weights where they are the best so far."""
        state = self.state
        self.scores = scores = self._score()
        better = state.best_scores is None or scores["psnr_db"] > state.best_scores["psnr_db"]
        if better:
            state.best_step, state.best_scores = state.step, scores
        self._write({f"validation/{name}": value for name, value in scores.items()})
        if better and self.processes.main:
            base = self.config.base
            # What whoever uses the weights must know of the base.
            record = None if base is None else base.model_dump(include={"method", "settings", "guidance", "scale"})
            save_best(self.config.output, self.result_network, scores, state.step, record)
        message = f"{self._where()}: validation {scores['psnr_db']:.3f} dB"
        self.note(message + (" (best so far)" if better else ""))

    def _due(self, every: int) -> bool:
        return self.state.step % every == 0 or self._finished()

    def _affords_validation(self) -> bool:
        return self._finished() or self.budget.allows(self.state.seconds - self.earlier)

    def _write(self, values: dict[str, float]) -> None:
        if self.log is not None:
            self.log.write(self.state.step, self.state.step * self.config.step_patches, values)

    def _not_finite(self, batches: list[ExampleBatch]) -> HyperfuseError:
        """Return the error for a step whose loss or gradient is not finite, naming the patches that make it so."""
        found: list[PatchCorner] = []
        for batch in batches:
            with torch.no_grad():
                fused = self._forward(self.network, batch.hsi, batch.msi, batch.base)
            finite = (torch.isfinite(fused) & torch.isfinite(batch.reference)).flatten(1).all(1)
            found += [corner for corner, good in zip(batch.corners, finite.tolist(), strict=True) if not good]
        if found:
            what = f"the network's output or the reference is not finite for {_listed(found)}"
        else:
            corners = [corner for batch in batches for corner in batch.corners]
            what = f"the gradient, or the loss in another process, is not finite; patches here: {_listed(corners)}"
        return HyperfuseError(
            f"step {self.state.step + 1}: {what}; nothing was changed by this step. Check these scenes, lower "
            f"optimiser.learning_rate or set optimiser.gradient_norm; the checkpoints in {self.config.output} stay"
        )


def _listed(corners: list[PatchCorner], maximum: int = 8) -> str:
    more = f" and {len(corners) - maximum} more" if len(corners) > maximum else ""
    return ", ".join(map(str, corners[:maximum])) + more
