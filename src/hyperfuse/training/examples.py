"""Training examples: what they are, and how the batches of a run are made of them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_all_start_methods, get_context
from typing import Any, NamedTuple, Protocol

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.sensor.model import Sensor
from hyperfuse.training.base_images import BaseImages, Inputs
from hyperfuse.training.scene_store import PatchCorner


@dataclass(frozen=True)
class Base:
    """A fused image that a network is trained to improve, in place of the interpolated HSI.

    Attributes:
        name: recorded; a run is resumed with the same name only.
        image: called with HSI (bands, h, w), MSI (msi_bands, H, W) and the sensor as it is known; returns
            (bands, H, W).
        guidance: whether that image is a further input of the network, as bands next to those of the MSI.
        versions: augmented and degraded versions of each scene, per ratio.
        scale: unit of what the network adds.
    """

    name: str
    image: Callable[[torch.Tensor, torch.Tensor, Sensor], torch.Tensor]
    guidance: bool = False
    versions: int = 1
    scale: float = 1.0

    def images(self, inputs: Sequence[Inputs]) -> list[torch.Tensor]:
        """Return the images of several pairs, made by parallel processes where the base has them."""
        return self.image.all(inputs) if isinstance(self.image, BaseImages) else [self.image(*one) for one in inputs]


class Example(NamedTuple):
    """One pair with its reference: (bands, h, w), (msi_bands, H, W), (bands, H, W), and the base's image or None."""

    hsi: torch.Tensor
    msi: torch.Tensor
    reference: torch.Tensor
    base: torch.Tensor | None
    corner: PatchCorner


class ExampleBatch(NamedTuple):
    """Examples of one ratio, stacked along a first axis, and their corners."""

    hsi: torch.Tensor
    msi: torch.Tensor
    reference: torch.Tensor
    base: torch.Tensor | None
    corners: Sequence[PatchCorner]

    def to(self, device: torch.device) -> ExampleBatch:
        """Return the batch on a device; copies from pinned memory do not wait."""
        moved: Any = (x.to(device, non_blocking=True) if isinstance(x, torch.Tensor) else x for x in self)
        return ExampleBatch._make(moved)


class Batches(Protocol):
    """Makes the batches of a run where its data are."""

    def batch(self, positions: Sequence[int]) -> ExampleBatch:
        """Return the examples at positions of one step, with tensors on the device."""


class Examples(Dataset[Example], ABC):
    """Examples by their position in the run."""

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """What all data that examples are made of take on a device, in bytes."""

    @abstractmethod
    def on_device(self, device: torch.device) -> Batches:
        """Put the data on a device, where batches are then made: the same examples, up to the rounding of sums."""


def stacked(examples: Sequence[Example]) -> ExampleBatch:
    """Stack examples of one ratio."""
    hsi, msi, reference, base, corners = zip(*examples, strict=True)
    bases = None if base[0] is None else torch.stack(base)
    return ExampleBatch(torch.stack(hsi), torch.stack(msi), torch.stack(reference), bases, corners)


def load_batches(
    examples: Dataset[Example], sampler: Sampler[list[int]], *, workers: int, pinned: bool
) -> Iterator[ExampleBatch]:
    """Give the batches whose positions a sampler lists, prepared by ``workers`` processes (0: this one).

    ``pinned`` puts them in pinned memory, for a GPU.
    """
    if workers:
        try:
            get_context().Lock()
        except (OSError, ImportError) as error:
            raise _no_shared_memory(error) from error
    loader = DataLoader(
        examples,
        batch_sampler=sampler,
        collate_fn=stacked,
        num_workers=workers,
        pin_memory=pinned,
        # Forked, they share the scenes already read.
        multiprocessing_context="fork" if workers and "fork" in get_all_start_methods() else None,
    )
    # Made at once: it draws from torch's generator, which the loop seeds before every step.
    return _unwrapped(iter(loader))


def _no_shared_memory(error: Exception) -> InputError:
    said = " ".join(str(error).split())
    return InputError(
        f"workers=... need shared memory, and this system gives none ({said}): mount /dev/shm, larger in a"
        " container (docker run --shm-size=2g), or set workers=0",
        parameter="workers",
    )


def _unwrapped(batches: Iterator[ExampleBatch]) -> Iterator[ExampleBatch]:
    try:
        yield from batches
    except HyperfuseError as error:
        # From a worker it comes with the traceback of that process around it; the last line is the message.
        message = str(error).splitlines()[-1]
        raise type(error)(message.removeprefix(f"{type(error).__module__}.{type(error).__name__}: ")) from error
    except RuntimeError as error:
        if not re.search(r"shared memory|/dev/shm|shm_|[Bb]us error", str(error)):
            raise
        raise _no_shared_memory(RuntimeError(str(error).splitlines()[-1])) from error
