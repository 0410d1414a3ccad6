"""Data-parallel training: the device of a process, gradients averaged over all, which process writes files."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from hyperfuse.errors import InputError
from hyperfuse.networks.kernels.precision import Precision
from hyperfuse.networks.registry import network_class
from hyperfuse.runtime.optional import require
from hyperfuse.training.configuration import TrainingConfig

_KNOWN = ("NO", "MULTI_CPU", "MULTI_GPU")


class Processes:
    """One process among those of a run, by means of accelerate.

    ``torchrun`` (or ``accelerate launch`` with GPUs) starts several processes, on one host or more; each works through
    its part of every batch. Otherwise there is one. This is number ``rank`` of ``count``, computes on ``device`` and
    writes files if it is ``main``.

    Raises:
        InputError: no GPU where one is asked for, a way of distributing that is not data-parallel, or a batch that
            cannot be shared out evenly.
    """

    def __init__(self, config: TrainingConfig) -> None:
        if config.device == "cuda" and not torch.cuda.is_available():
            raise InputError("device=cuda, but torch sees no GPU; take device=auto or cpu")
        # Without a GPU accelerate starts a separate run in each process unless cpu=True.
        cpu = config.device == "cpu" or not torch.cuda.is_available()
        # Parameters that a program has and does not use get no gradient in any process.
        idle = bool(network_class(config.network.name).without_effect)
        accelerate = require("accelerate", "training")
        handlers = [accelerate.DistributedDataParallelKwargs(find_unused_parameters=True)] if idle else []
        try:
            # The loop applies autocast itself, so that one process can train in several precisions.
            self.accelerator: Any = accelerate.Accelerator(cpu=cpu, mixed_precision="no", kwargs_handlers=handlers)
        except ValueError as error:
            raise InputError(f"device={config.device}: {' '.join(str(error).split())}") from None
        self.device: torch.device = self.accelerator.device
        self.rank: int = self.accelerator.process_index
        self.count: int = self.accelerator.num_processes
        self.main: bool = self.accelerator.is_main_process
        if self.accelerator.distributed_type.name not in _KNOWN:
            raise InputError(
                f"launched as {self.accelerator.distributed_type.value}; training is data-parallel on CPUs or GPUs only"
            )
        started = int(os.environ.get("WORLD_SIZE", "1"))
        if started != self.count:
            raise InputError(f"{started} processes were launched but {self.count} found; start them with torchrun")
        if config.batch % self.count:
            raise InputError(f"a batch of {config.batch} cannot be shared out among {self.count} processes evenly")

    def accumulating(self, model: torch.nn.Module, more: bool) -> AbstractContextManager[Any]:
        """Return a context that leaves gradients in their process while ``more`` of the step is to come."""
        return self.accelerator.no_sync(model) if more else nullcontext()

    def autocast(self, precision: Precision) -> AbstractContextManager[Any]:
        """Return the context that the network runs in; losses are outside of it."""
        return nullcontext() if precision == "float32" else torch.autocast(self.device.type, dtype=torch.bfloat16)

    def mean(self, value: float) -> float:
        """Return the mean of a number over the processes, the same in all of them."""
        return float(self.accelerator.reduce(torch.tensor(value, device=self.device), "mean"))

    def end(self) -> None:
        """Leave the group of processes."""
        if self.count > 1:
            self.accelerator.end_training()
