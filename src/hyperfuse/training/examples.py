"""Training examples: the patch at a position of the run, augmented and degraded, a pure function of the position."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_all_start_methods
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.sensor.axis import fold
from hyperfuse.sensor.model import Sensor
from hyperfuse.training.augmentation import dimmed, mixed, rotated, shrunk
from hyperfuse.training.degradation import Degradation
from hyperfuse.training.order import DataOrder
from hyperfuse.training.scene_store import PatchCorner, SceneStore
from hyperfuse.training.sections import AugmentationSection


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


def _unwrapped(batches: Iterator[ExampleBatch]) -> Iterator[ExampleBatch]:
    try:
        yield from batches
    except HyperfuseError as error:
        # From a worker it comes with the traceback of that process around it; the last line is the message.
        message = str(error).splitlines()[-1]
        raise type(error)(message.removeprefix(f"{type(error).__module__}.{type(error).__name__}: ")) from error


@dataclass(frozen=True)
class PatchSource:
    """The patches of a run, and how they are augmented and degraded.

    Attributes:
        store: the scenes; only the training part of each is used.
        corners: the patches of an epoch, as :meth:`SceneStore.grid` gives them.
        order: which patch comes when.
        degradations: one per ratio; every step draws one of them.
        augmentation: of patches, or of whole scenes.
    """

    store: SceneStore
    corners: Sequence[PatchCorner]
    order: DataOrder
    degradations: Sequence[Degradation]
    augmentation: AugmentationSection

    def draw(self, position: int) -> tuple[PatchCorner, int, np.random.Generator]:
        """Return the patch at a position of the run, its ratio (index of the degradation) and its generator."""
        corner = self.corners[self.order.locate(position)[1]]
        return corner, self.order.choice(position, len(self.degradations)), self.order.generator(position)

    def changed(self, image: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
        """Draw a symmetry and a dimming of an image (bands, rows, cols), where the configuration has them."""
        if self.augmentation.symmetries:
            image = rotated(image, int(generator.integers(8)))
        return dimmed(image, self.augmentation.gain, generator) if self.augmentation.gain else image


class PatchExamples(Dataset[Example]):
    """Patches cut from scenes, by their position in the run, which may lie beyond the first epoch.

    Every patch draws its augmentation.

    Raises:
        InputError: scenes too small to be shrunk as ``augmentation.scales`` asks.
    """

    def __init__(self, source: PatchSource) -> None:
        self._source = source
        largest = max(source.augmentation.scales)
        needed = _extent(max(one.side for one in source.degradations), largest)
        for name in source.store.names:
            rows, cols = source.store.shape(name)
            if min(rows, cols) < needed:
                raise InputError(
                    f"the scene {name} has {rows}x{cols} pixels for training; a patch shrunk by {largest:g} needs "
                    f"{needed}x{needed}; take smaller augmentation.scales or data.patch"
                )

    def __len__(self) -> int:
        return len(self._source.corners)

    def __getitem__(self, position: int) -> Example:
        source, augmentation = self._source, self._source.augmentation
        start, ratio, generator = source.draw(position)
        degradation = source.degradations[ratio]
        sensor = degradation.draw(generator)
        window, corner = self._window(start, degradation, augmentation.random_starts, generator)
        if generator.random() < augmentation.mix:
            other = source.corners[int(generator.integers(len(self)))]
            window = mixed(window, self._window(other, degradation, True, generator)[0], generator)
        return Example(*degradation.pair(source.changed(window, generator), sensor), None, corner)

    def _window(
        self, start: PatchCorner, degradation: Degradation, anywhere: bool, generator: np.random.Generator
    ) -> tuple[torch.Tensor, PatchCorner]:
        """Cut a patch with its margin; beyond the scene's border it is reflected."""
        store, scales = self._source.store, self._source.augmentation.scales
        scale = scales[int(generator.integers(len(scales)))] if len(scales) > 1 else scales[0]
        scene = store.load(start.scene)
        extent = _extent(degradation.side, scale)
        row, col = (
            int(generator.integers(length - extent + 1)) if anywhere else min(grid_start, length - extent)
            for length, grid_start in zip(scene.shape[1:], start[1:], strict=True)
        )
        size = degradation.side + 2 * degradation.margin
        reach = round(degradation.margin * scale)
        window = _cut(scene, row - reach, col - reach, _extent(size, scale))
        return shrunk(window, (size, size)), PatchCorner(start.scene, row + store.first_row(start.scene), col)


def _extent(side: int, scale: float) -> int:
    return int(np.ceil(side * scale - 1e-9))


def _cut(scene: torch.Tensor, row: int, col: int, size: int) -> torch.Tensor:
    rows, cols = scene.shape[-2:]
    if row >= 0 and col >= 0 and row + size <= rows and col + size <= cols:
        return scene[:, row : row + size, col : col + size]
    at_rows = torch.from_numpy(fold(np.arange(row, row + size), rows, "reflect"))
    at_cols = torch.from_numpy(fold(np.arange(col, col + size), cols, "reflect"))
    return scene[:, at_rows][:, :, at_cols]
