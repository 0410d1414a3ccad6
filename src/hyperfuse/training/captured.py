"""An optimisation step that a GPU repeats from a recording, so that it never waits for the CPU to launch operations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch

from hyperfuse.errors import InputError

# Steps of a shape that run before it is recorded: libraries choose algorithms, compilers compile, the optimiser makes
# its state.
WARM_UP_STEPS = 3
# Recordings that are kept: each holds the memory of a step, as far as they cannot share it.
MOST_RECORDINGS = 4

Key = tuple[tuple[torch.Size, torch.dtype] | None, ...]
Inputs = tuple[torch.Tensor | None, ...]


class OptimisationStep:
    """Loss, gradients, their clipping and the optimiser's update, by one call.

    On a GPU the step is recorded once per shape of its inputs as a CUDA graph, and repeated with new inputs: a thousand
    launches become one. ``loss`` then has to do the same for all inputs of a shape, without reading anything on the
    CPU. Where that fails, ``note`` receives why, and every operation is launched on its own. A step of which loss or
    gradient is not finite changes nothing.

    Args:
        loss: maps the inputs to a scalar with a gradient.
        parameters: those that are clipped and updated.
        optimiser: of :func:`create_adam` where steps are recorded.
        gradient_norm: to which longer gradients are scaled.
        recorded: whether to record; False on a CPU.
        note: receives messages, one line each.
    """

    def __init__(
        self,
        loss: Callable[..., torch.Tensor],
        parameters: Iterable[torch.nn.Parameter],
        optimiser: torch.optim.Optimizer,
        *,
        gradient_norm: float = float("inf"),
        recorded: bool,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.loss, self.parameters, self.optimiser = loss, list(parameters), optimiser
        self.gradient_norm, self.recorded, self.note = gradient_norm, recorded, note
        self._launched: Counter[Key] = Counter()
        self._recordings: dict[Key, _Recording] = {}
        self._aside: torch.cuda.Stream | None = None

    def __call__(self, *inputs: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Take a step.

        Args:
            inputs: of ``loss``, on its device.

        Returns:
            The loss, and the norm of the gradient before it was clipped, both on the device.
        """
        if not self.recorded:
            return self._launch(inputs)
        key = tuple(None if x is None else (x.shape, x.dtype) for x in inputs)
        if key not in self._recordings:
            if self._launched[key] < WARM_UP_STEPS or len(self._recordings) == MOST_RECORDINGS:
                self._launched[key] += 1
                return self._launch_aside(inputs)
            try:
                self._recordings[key] = _record(self._launch, inputs, next(iter(self._recordings.values()), None))
            except RuntimeError as error:
                self.recorded = False
                self.note(
                    "the training step could not be recorded as a CUDA graph, its operations are launched one by one "
                    f"({str(error).splitlines()[0]})"
                )
                return self._launch(inputs)
        loss, norm = self._recordings[key].replay(inputs)
        return loss, norm

    def _launch(self, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.loss(*inputs)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.gradient_norm)
        finite = torch.isfinite(loss.detach()) & torch.isfinite(norm)
        if _on_device(self.optimiser):
            self.optimiser.found_inf = (~finite).to(torch.float32)  # type: ignore[attr-defined]
            self.optimiser.step()
        elif finite:
            self.optimiser.step()
        return loss.detach(), norm

    def _launch_aside(self, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        """Take a step on a stream of its own, as steps before a recording have to be."""
        if self._aside is None:
            self._aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        main, aside = torch.cuda.current_stream(), self._aside
        aside.wait_stream(main)
        with torch.cuda.stream(aside):
            result = self._launch(inputs)
        main.wait_stream(aside)
        return result


def compile_loss(loss: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """Return a loss that ``torch.compile`` compiles when it is first called with images of a shape.

    The one that is returned raises InputError where the compiler fails.
    """
    compiled = torch.compile(loss, dynamic=False)

    def call(*inputs: torch.Tensor | None) -> torch.Tensor:
        try:
            return compiled(*inputs)
        except RuntimeError as error:
            if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                raise
            reason = next((line for line in str(error).splitlines() if line), "no reason given")
            raise InputError(f"torch.compile failed ({reason}); set compiled=false", parameter="compiled") from error

    return call


def create_adam(
    kind: type[torch.optim.Adam],
    parameters: Iterable[torch.nn.Parameter],
    rate: float,
    *,
    recorded: bool,
    **options: Any,
) -> torch.optim.Adam:
    """Make an optimiser; one for recorded steps keeps its state and the learning rate on the device.

    Args:
        kind: ``torch.optim.Adam`` or ``AdamW``.
        parameters: on their device.
        rate: the learning rate; :func:`set_rate` changes it.
        recorded: whether it is for recorded steps.
        options: of ``kind``.
    """
    parameters = list(parameters)
    if not recorded:
        return kind(parameters, lr=rate, **options)
    on_device = torch.tensor(rate, device=parameters[0].device)
    return kind(parameters, lr=on_device, fused=True, capturable=True, **options)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Change the learning rate, also that of recorded steps."""
    for group in optimiser.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def _on_device(optimiser: torch.optim.Optimizer) -> bool:
    """Return whether an optimiser leaves out a step by a number on the device."""
    return all(group.get("capturable") and group.get("fused") for group in optimiser.param_groups)


@dataclass(frozen=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    inputs: Inputs
    outputs: tuple[torch.Tensor, ...]

    def replay(self, inputs: Inputs) -> tuple[torch.Tensor, ...]:
        for ours, theirs in zip(self.inputs, inputs, strict=True):
            if ours is not None and theirs is not None:
                ours.copy_(theirs, non_blocking=True)
        self.graph.replay()
        return tuple(output.clone() for output in self.outputs)  # the next replay overwrites them


def _record(
    launch: Callable[[Inputs], tuple[torch.Tensor, ...]], inputs: Inputs, earlier: _Recording | None
) -> _Recording:
    """Record what a function launches, without executing it; memory is shared with an earlier recording."""
    graph, own = torch.cuda.CUDAGraph(), tuple(None if x is None else x.clone() for x in inputs)
    pool = None if earlier is None else earlier.graph.pool()
    # Other threads, such as the one that pins batches, may go on.
    with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
        outputs = launch(own)
    return _Recording(graph, own, outputs)
