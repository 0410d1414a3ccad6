"""Training examples: the patch at a position of the run, augmented and degraded, a pure function of the position."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_all_start_methods, get_context
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

# Separates the random numbers of a version of a scene from those of patches (see order.py).
_VERSION = 4


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


class _Version(NamedTuple):
    """A scene after augmentation: HSI, MSI, reference and the base's image, and the factor by which it was shrunk."""

    hsi: torch.Tensor
    msi: torch.Tensor
    reference: torch.Tensor
    base: torch.Tensor
    scale: float


class BasedExamples(Dataset[Example]):
    """Patches of whole pairs, by their position in the run.

    A fusion such as local regression needs a larger neighbourhood than a patch and takes too long for every patch. So
    each scene is augmented and degraded as a whole, ``base.versions`` times per ratio, and patches are cut from the
    pair and the base's image together, at the borders of LR pixels.

    Raises:
        InputError: scenes too small to be shrunk as asked.
    """

    def __init__(self, source: PatchSource, base: Base) -> None:
        self._source, self._base = source, base
        self._versions: dict[tuple[str, int], list[_Version]] = {
            (name, ratio): [self._version(number, ratio, version) for version in range(base.versions)]
            for number, name in enumerate(source.store.names)
            for ratio in range(len(source.degradations))
        }

    def __len__(self) -> int:
        return len(self._source.corners)

    def __getitem__(self, position: int) -> Example:
        start, ratio, generator = self._source.draw(position)
        versions = self._versions[start.scene, ratio]
        version = versions[int(generator.integers(len(versions)))]
        degradation = self._source.degradations[ratio]
        lr, hr = [slice(None)], [slice(None)]
        for size, grid_start in zip(version.hsi.shape[1:], start[1:], strict=True):
            last = size - degradation.lr_side
            near = round(grid_start / version.scale / degradation.ratio)
            first = int(generator.integers(last + 1)) if self._source.augmentation.random_starts else min(near, last)
            # Patches start at a common border of an LR pixel and an HR pixel; at a ratio of 2.5 every second is one.
            first -= first % _lr_pixels_per_whole_pixel(degradation.ratio)
            pixel = round(first * degradation.ratio)
            lr.append(slice(first, first + degradation.lr_side))
            hr.append(slice(pixel, pixel + degradation.side))
        msi, reference, base = (image[tuple(hr)] for image in version[1:4])
        corner = PatchCorner(start.scene, hr[1].start, hr[2].start)
        return Example(version.hsi[tuple(lr)], msi, reference, base, corner)

    def _version(self, number: int, ratio: int, version: int) -> _Version:
        store = self._source.store
        name = store.names[number]
        degradation, scales = self._source.degradations[ratio], self._source.augmentation.scales
        generator = np.random.default_rng([_VERSION, self._source.order.seed, number, ratio, version])
        scale = scales[int(generator.integers(len(scales)))]
        image = store.load(name)
        rows, cols = (int(size / scale) for size in image.shape[-2:])
        if min(rows, cols) < degradation.side:
            raise InputError(
                f"the scene {name} shrunk by {scale:g} has {rows}x{cols} pixels for training, fewer than a patch "
                f"of {degradation.side}x{degradation.side}; take smaller augmentation.scales or data.patch"
            )
        image = self._source.changed(shrunk(image, (rows, cols)), generator)
        hsi, msi, reference = degradation.whole_pair(image, generator)
        return _Version(hsi, msi, reference, self._base.image(hsi, msi, degradation.nominal).to(reference), scale)


def _lr_pixels_per_whole_pixel(ratio: float) -> int:
    return next(count for count in range(1, 1001) if abs(count * ratio - round(count * ratio)) < 1e-6)


def _extent(side: int, scale: float) -> int:
    return int(np.ceil(side * scale - 1e-9))


def _cut(scene: torch.Tensor, row: int, col: int, size: int) -> torch.Tensor:
    rows, cols = scene.shape[-2:]
    if row >= 0 and col >= 0 and row + size <= rows and col + size <= cols:
        return scene[:, row : row + size, col : col + size]
    at_rows = torch.from_numpy(fold(np.arange(row, row + size), rows, "reflect"))
    at_cols = torch.from_numpy(fold(np.arange(col, col + size), cols, "reflect"))
    return scene[:, at_rows][:, :, at_cols]
