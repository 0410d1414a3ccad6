"""Where training data live: on the device where they fit it, else in the processes that prepare patches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch.utils.data import Sampler

from hyperfuse.errors import InputError
from hyperfuse.runtime import devices, memory
from hyperfuse.training.examples import Batches, ExampleBatch, Examples, load_batches

# Of the free memory of a device, data take at most this fraction: the rest is the network's.
_FRACTION = 0.5

Resident = Literal["auto"] | bool


def open_batches(
    examples: Examples,
    sampler: Sampler[list[int]],
    device: torch.device,
    *,
    resident: Resident = "auto",
    workers: int = 0,
    note: Callable[[str], None] = lambda text: None,
) -> Iterator[ExampleBatch]:
    """Give the batches whose positions a sampler lists: made on the device, or prepared by worker processes.

    Args:
        examples: of the run.
        sampler: lists of positions, each of one step.
        device: of the network.
        resident: whether the data live on the device, so that there are no worker processes; ``auto``: on an
            accelerator where they take at most half of the memory that is free there.
        workers: processes that prepare patches of data that do not live there (0: this one).
        note: receives where the data live, where that is on an accelerator.

    Raises:
        InputError: ``resident=True`` for data that do not fit.
    """
    batches = _on_device(examples, device, resident)
    if batches is None:
        return load_batches(examples, sampler, workers=workers, pinned=device.type == "cuda")
    unused = f"; workers={workers} are not needed" if workers else ""
    if unused or device.type != "cpu":
        note(f"{examples.nbytes / 1e9:.2f} GB of training data live on {device}{unused}")
    return map(batches.batch, sampler)


def _on_device(examples: Examples, device: torch.device, resident: Resident) -> Batches | None:
    if resident is False or (resident == "auto" and device.type == "cpu"):
        return None
    free = memory.free_bytes() if device.type == "cpu" else devices.free_bytes(device)
    needed = examples.nbytes
    if free is None:
        return examples.on_device(device) if resident is True else None
    if needed <= _FRACTION * free:
        return examples.on_device(device)
    if resident is True:
        raise InputError(
            f"data.resident=true: the training data take {needed / 1e9:.2f} GB, and of the memory of {device}"
            f" {free / 1e9:.2f} GB are free, half of it for data; take fewer scenes or data.resident=auto",
            parameter="data",
        )
    return None
