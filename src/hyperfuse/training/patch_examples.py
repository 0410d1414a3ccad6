"""The patch at a position of the run, augmented and degraded: a pure function of the position.

What is random is drawn first (:class:`DrawnPatch`), so that a patch alone and a batch on a device are made of the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from hyperfuse.errors import InputError
from hyperfuse.sensor.axis import fold
from hyperfuse.sensor.model import Sensor
from hyperfuse.training.augmentation import Change, Rectangle, changed, draw_change, mixed, random_rectangle, shrunk
from hyperfuse.training.degradation import Degradation
from hyperfuse.training.examples import Example, ExampleBatch, Examples
from hyperfuse.training.order import DataOrder
from hyperfuse.training.pixels import ImagePixels
from hyperfuse.training.scene_store import PatchCorner, SceneStore
from hyperfuse.training.sections import AugmentationSection


@dataclass(frozen=True)
class PatchSource:
    """The patches of a run, and how they (or whole scenes) are augmented and degraded.

    ``corners`` are the patches of an epoch, as :meth:`SceneStore.grid` gives them; every step draws one of
    ``degradations``, of which there is one per ratio.
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

    def draw_change(self, generator: np.random.Generator) -> Change:
        """Draw a symmetry and a dimming, where the configuration has them."""
        return draw_change(self.augmentation, self.store.bands, generator)


class PatchWindow(NamedTuple):
    """Where a patch is cut: its upper left corner, without margin, in the part of the scene that is trained on.

    ``scale`` is the factor by which it is shrunk.
    """

    scene: str
    row: int
    col: int
    scale: float

    def span(self, degradation: Degradation) -> tuple[int, int, int]:
        """Return the first row, the first column and the side of the patch with its margin, before it is shrunk."""
        reach = round(degradation.margin * self.scale)
        side = extent(degradation.side + 2 * degradation.margin, self.scale)
        return self.row - reach, self.col - reach, side


class DrawnPatch(NamedTuple):
    """What is drawn for a patch: its ratio (index of the degradation), sensor, window, and what is done to it.

    ``other`` is the window from which a rectangle is mixed in, or None.
    """

    ratio: int
    sensor: Sensor
    window: PatchWindow
    other: tuple[PatchWindow, Rectangle] | None
    change: Change


class PatchExamples(Examples):
    """Patches cut from scenes, by their position in the run, which may lie beyond the first epoch.

    Every patch draws its augmentation.

    Raises:
        InputError: scenes too small to be shrunk as ``augmentation.scales`` asks.
    """

    def __init__(self, source: PatchSource) -> None:
        self.source = source
        largest = max(source.augmentation.scales)
        needed = extent(max(one.side for one in source.degradations), largest)
        for name in source.store.names:
            rows, cols = source.store.shape(name)
            if min(rows, cols) < needed:
                raise InputError(
                    f"the scene {name} has {rows}x{cols} pixels for training; a patch shrunk by {largest:g} needs "
                    f"{needed}x{needed}; take smaller augmentation.scales or data.patch"
                )

    def __len__(self) -> int:
        return len(self.source.corners)

    def __getitem__(self, position: int) -> Example:
        drawn = self.draw(position)
        degradation = self.source.degradations[drawn.ratio]
        window = self.cut(drawn.window, degradation)
        if drawn.other is not None:
            other, rectangle = drawn.other
            window = mixed(window, self.cut(other, degradation), rectangle)
        images = degradation.pair(drawn.change.applied(window), drawn.sensor)
        return Example(*images, None, self.corner(drawn))

    @property
    def nbytes(self) -> int:
        """What the scenes take, in bytes."""
        store = self.source.store
        return 4 * store.bands * sum(math.prod(store.shape(name)) for name in store.names)

    def on_device(self, device: torch.device) -> ResidentPatches:
        """Put the scenes on a device; they leave this process's memory."""
        resident = ResidentPatches(self, device)
        self.source.store.release()
        return resident

    def draw(self, position: int) -> DrawnPatch:
        """Draw all that is random of the patch at a position."""
        source, augmentation = self.source, self.source.augmentation
        start, ratio, generator = source.draw(position)
        degradation = source.degradations[ratio]
        sensor = degradation.draw(generator)
        window = self.draw_window(start, degradation, augmentation.random_starts, generator)
        other = None
        if generator.random() < augmentation.mix:
            start = source.corners[int(generator.integers(len(self)))]
            size = degradation.side + 2 * degradation.margin
            other = self.draw_window(start, degradation, True, generator), random_rectangle(size, size, generator)
        return DrawnPatch(ratio, sensor, window, other, source.draw_change(generator))

    def draw_window(
        self, start: PatchCorner, degradation: Degradation, anywhere: bool, generator: np.random.Generator
    ) -> PatchWindow:
        """Draw by how much a patch is shrunk, and ``anywhere`` its position in the scene, too."""
        scales = self.source.augmentation.scales
        scale = scales[int(generator.integers(len(scales)))] if len(scales) > 1 else scales[0]
        side = extent(degradation.side, scale)
        row, col = (
            int(generator.integers(length - side + 1)) if anywhere else min(grid_start, length - side)
            for length, grid_start in zip(self.source.store.shape(start.scene), start[1:], strict=True)
        )
        return PatchWindow(start.scene, row, col, scale)

    def cut(self, window: PatchWindow, degradation: Degradation) -> torch.Tensor:
        """Return a patch with its margin, (bands, rows, cols); beyond the scene's border it is reflected."""
        scene = self.source.store.load(window.scene)
        row, col, side = window.span(degradation)
        rows, cols = scene.shape[-2:]
        if row >= 0 and col >= 0 and row + side <= rows and col + side <= cols:
            image = scene[:, row : row + side, col : col + side]
        else:
            image = scene[:, torch.from_numpy(reflected(row, side, rows))]
            image = image[:, :, torch.from_numpy(reflected(col, side, cols))]
        size = degradation.side + 2 * degradation.margin
        return shrunk(image, (size, size))

    def corner(self, drawn: DrawnPatch) -> PatchCorner:
        """Return the corner of a patch in the whole scene."""
        scene, row, col, _ = drawn.window
        return PatchCorner(scene, row + self.source.store.first_row(scene), col)


class ResidentPatches:
    """Batches of patches of scenes that live on a device: gathered, augmented and degraded there."""

    def __init__(self, examples: PatchExamples, device: torch.device) -> None:
        self._examples, store = examples, examples.source.store
        self._shapes = {name: store.shape(name) for name in store.names}
        self._numbers = {name: number for number, name in enumerate(store.names)}
        self._pixels = ImagePixels.copied(
            map(store.load, store.names), list(self._shapes.values()), store.bands, device
        )

    def batch(self, positions: Sequence[int]) -> ExampleBatch:
        """Return the patches at positions of one step."""
        examples = self._examples
        drawn = [examples.draw(position) for position in positions]
        degradation = examples.source.degradations[drawn[0].ratio]
        windows = self._windows([one.window for one in drawn], degradation)
        others = [(number, *one.other) for number, one in enumerate(drawn) if one.other is not None]
        if others:
            images = self._windows([window for _, window, _ in others], degradation)
            for image, (number, _, (rows, cols)) in zip(images, others, strict=True):
                windows[number, :, rows, cols] = image[:, rows, cols]
        windows = changed(windows, [one.change for one in drawn])
        pairs = degradation.pairs(windows, [one.sensor for one in drawn])
        return ExampleBatch(*pairs, None, tuple(examples.corner(one) for one in drawn))

    def _windows(self, windows: Sequence[PatchWindow], degradation: Degradation) -> torch.Tensor:
        """Return patches with their margins, (B, bands, rows, cols), as :meth:`PatchExamples.cut` does each."""
        size = degradation.side + 2 * degradation.margin
        parts, order = [], []
        for scale in {one.scale for one in windows}:  # patches shrunk by one factor have one size before
            chosen = [number for number, one in enumerate(windows) if one.scale == scale]
            rows, cols = [], []
            for one in (windows[number] for number in chosen):
                (row, col, side), (height, width) = one.span(degradation), self._shapes[one.scene]
                rows.append(reflected(row, side, height))
                cols.append(reflected(col, side, width))
            numbers = np.array([self._numbers[windows[number].scene] for number in chosen])
            image = self._pixels.gather(numbers, np.stack(rows), np.stack(cols)).contiguous()
            parts.append(shrunk(image, (size, size)))
            order += chosen
        return parts[0] if len(parts) == 1 else torch.cat(parts)[np.argsort(order)]


def extent(side: int, scale: float) -> int:
    """Return the pixels of a scene along the side of a patch that is shrunk by ``scale``."""
    return int(np.ceil(side * scale - 1e-9))


def reflected(first: int, count: int, size: int) -> NDArray[np.int64]:
    """Return ``count`` indices from ``first`` on, reflected beyond the border of ``size`` pixels."""
    return fold(np.arange(first, first + count), size, "reflect")
