"""Training examples: the patch at a position of the run, augmented and degraded, the same whenever it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Dataset

from hyperfuse.errors import InputError
from hyperfuse.sensor.axis import fold
from hyperfuse.sensor.model import Sensor
from hyperfuse.training.augmentation import dimmed, mixed, shrunk, turned
from hyperfuse.training.degradation import Degradation
from hyperfuse.training.order import DataOrder
from hyperfuse.training.scene_store import Place, SceneStore
from hyperfuse.training.sections import AugmentationSection

BaseImage = Callable[[torch.Tensor, torch.Tensor, Sensor], torch.Tensor]


@dataclass(frozen=True)
class Base:
    """A fused image that a network is trained to improve, in place of the interpolated HSI.

    Attributes:
        name: for the record; a run is resumed with the same name only.
        image: called with HSI (bands, h, w), MSI (msi_bands, H, W) and the sensor as it is known; returns
            (bands, H, W).
        as_guide: whether the network also sees that image, as further bands of the MSI.
        versions: how many times each scene is augmented and degraded anew for each ratio.
        scale: unit of what the network adds.
    """

    name: str
    image: BaseImage
    as_guide: bool = False
    versions: int = 1
    scale: float = 1.0


@dataclass(frozen=True)
class Example:
    """One pair with its reference: (bands, h, w), (msi_bands, H, W), (bands, H, W), and the base's image or None."""

    hsi: torch.Tensor
    msi: torch.Tensor
    reference: torch.Tensor
    base: torch.Tensor | None
    place: Place


@dataclass(frozen=True)
class Batch:
    """Examples stacked: (B, bands, h, w), (B, msi_bands, H, W), (B, bands, H, W), the base's images, and the places."""

    hsi: torch.Tensor
    msi: torch.Tensor
    reference: torch.Tensor
    base: torch.Tensor | None
    places: tuple[Place, ...]

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device; copies from pinned memory do not wait."""
        base = None if self.base is None else self.base.to(device, non_blocking=True)
        hsi, msi, reference = (x.to(device, non_blocking=True) for x in (self.hsi, self.msi, self.reference))
        return Batch(hsi, msi, reference, base, self.places)

    def pin_memory(self) -> Batch:
        """Return the batch in pinned memory, as a loader asks for it."""
        base = None if self.base is None else self.base.pin_memory()
        return Batch(self.hsi.pin_memory(), self.msi.pin_memory(), self.reference.pin_memory(), base, self.places)


def stacked(examples: Sequence[Example]) -> Batch:
    """Stack examples of one ratio."""
    bases = [example.base for example in examples if example.base is not None]
    return Batch(
        torch.stack([example.hsi for example in examples]),
        torch.stack([example.msi for example in examples]),
        torch.stack([example.reference for example in examples]),
        torch.stack(bases) if bases else None,
        tuple(example.place for example in examples),
    )


class PatchExamples(Dataset[Example]):
    """Patches cut from scenes, by their position in the run.

    Args:
        store: the scenes, of which only the part to learn from is seen.
        places: the patches of an epoch, as :meth:`SceneStore.grid` gives them.
        order: which patch comes when.
        degradations: one a ratio; every step draws one of them.
        augmentation: what is done to patches.

    Raises:
        InputError: scenes too small to be shrunk as ``augmentation.scales`` asks.
    """

    def __init__(
        self,
        store: SceneStore,
        places: Sequence[Place],
        order: DataOrder,
        degradations: Sequence[Degradation],
        augmentation: AugmentationSection,
    ) -> None:
        self._store, self._places, self._order = store, places, order
        self._degradations, self._augmentation = degradations, augmentation
        largest = max(augmentation.scales)
        for name in store.names:
            needed = _extent(max(one.side for one in degradations), largest)
            if min(store.shape(name)) < needed:
                rows, cols = store.shape(name)
                raise InputError(
                    f"the scene {name} leaves {rows}x{cols} pixels to learn from; a patch shrunk by {largest:g} needs "
                    f"{needed}x{needed}; take smaller augmentation.scales or data.patch"
                )

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, position: int) -> Example:
        """Return the example at a position of the run, which may lie beyond the first epoch."""
        generator = self._order.generator(position)
        degradation = self._degradations[self._order.choice(position, len(self._degradations))]
        sensor = degradation.draw(generator)
        start = self._places[self._order.place(position)[1]]
        window, place = self._window(start, degradation, self._augmentation.random_starts, generator)
        if generator.random() < self._augmentation.mix:
            other = self._places[int(generator.integers(len(self._places)))]
            window = mixed(window, self._window(other, degradation, True, generator)[0], generator)
        if self._augmentation.symmetries:
            window = turned(window, int(generator.integers(8)))
        if self._augmentation.gain:
            window = dimmed(window, self._augmentation.gain, generator)
        hsi, msi, reference = degradation.pair(window, sensor)
        return Example(hsi, msi, reference, None, place)

    def _window(
        self, start: Place, degradation: Degradation, anywhere: bool, generator: np.random.Generator
    ) -> tuple[torch.Tensor, Place]:
        """Cut a patch with its margin; beyond the scene's border it is reflected."""
        scales = self._augmentation.scales
        scale = scales[int(generator.integers(len(scales)))] if len(scales) > 1 else scales[0]
        scene = self._store.load(start.scene)
        extent = _extent(degradation.side, scale)
        corner = []
        for length, grid_start in zip(scene.shape[1:], start[1:], strict=True):
            corner.append(
                int(generator.integers(length - extent + 1)) if anywhere else min(grid_start, length - extent)
            )
        size = degradation.side + 2 * degradation.margin
        reach = round(degradation.margin * scale)
        window = _cut(scene, corner[0] - reach, corner[1] - reach, _extent(size, scale))
        window = shrunk(window, (size, size))
        return window, Place(start.scene, corner[0] + self._store.first_row(start.scene), corner[1])


def _extent(side: int, scale: float) -> int:
    return int(np.ceil(side * scale - 1e-9))


def _cut(scene: torch.Tensor, row: int, col: int, size: int) -> torch.Tensor:
    rows, cols = scene.shape[-2:]
    if row >= 0 and col >= 0 and row + size <= rows and col + size <= cols:
        return scene[:, row : row + size, col : col + size]
    at_rows = torch.from_numpy(fold(np.arange(row, row + size), rows, "reflect"))
    at_cols = torch.from_numpy(fold(np.arange(col, col + size), cols, "reflect"))
    return scene[:, at_rows][:, :, at_cols]
