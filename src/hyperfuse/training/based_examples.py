"""Patches of whole pairs together with the image of a base, which a network is trained to improve."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import torch

from hyperfuse.errors import InputError
from hyperfuse.training.augmentation import shrunk
from hyperfuse.training.base_images import Inputs
from hyperfuse.training.examples import Base, Example, ExampleBatch, Examples
from hyperfuse.training.patch_examples import PatchSource
from hyperfuse.training.pixels import ImagePixels
from hyperfuse.training.scene_store import PatchCorner

# Separates the random numbers of a version of a scene from those of patches (see order.py).
_VERSION = 4


class VersionPair(NamedTuple):
    """A scene after augmentation: HSI, MSI and reference, and the factor by which it was shrunk."""

    hsi: torch.Tensor
    msi: torch.Tensor
    reference: torch.Tensor
    scale: float


class Version(NamedTuple):
    """A scene after augmentation, and the image of the base."""

    pair: VersionPair
    base: torch.Tensor


class VersionPatch(NamedTuple):
    """A patch of a version, by the number of the version, its first LR pixel and its first HR pixel along (y, x)."""

    ratio: int
    number: int
    lr: tuple[int, int]
    hr: tuple[int, int]


class BasedExamples(Examples):
    """Patches of whole pairs, by their position in the run.

    A fusion such as local regression needs a larger neighbourhood than a patch and takes too long for every patch. So
    each scene is augmented and degraded as a whole, ``base.versions`` times per ratio, and patches are cut from the
    pair and the base's image together, at the borders of LR pixels.

    Raises:
        InputError: scenes too small to be shrunk as asked.
    """

    def __init__(self, source: PatchSource, base: Base) -> None:
        self.source, self._count = source, base.versions
        self._scenes = {name: number for number, name in enumerate(source.store.names)}
        # Versions of a scene at a ratio follow each other.
        keys = list(product(range(len(self._scenes)), range(len(source.degradations)), range(base.versions)))
        pairs = [self._pair(*key) for key in keys]
        sensors = [source.degradations[ratio].nominal for _, ratio, _ in keys]
        images = base.images([Inputs(one.hsi, one.msi, sensor) for one, sensor in zip(pairs, sensors, strict=True)])
        self.versions = [Version(one, image.to(one.reference)) for one, image in zip(pairs, images, strict=True)]

    def __len__(self) -> int:
        return len(self.source.corners)

    def __getitem__(self, position: int) -> Example:
        drawn = self.draw(position)
        pair, base = self.versions[drawn.number]
        degradation = self.source.degradations[drawn.ratio]
        lr, hr = (
            tuple(slice(start, start + side) for start in first)
            for first, side in ((drawn.lr, degradation.lr_side), (drawn.hr, degradation.side))
        )
        msi, reference, image = (whole[:, *hr] for whole in (pair.msi, pair.reference, base))
        return Example(pair.hsi[:, *lr], msi, reference, image, self.corner(drawn))

    @property
    def nbytes(self) -> int:
        """What all versions take, in bytes."""
        return sum(image.nbytes for pair, base in self.versions for image in (*pair[:3], base))

    def on_device(self, device: torch.device) -> ResidentVersions:
        """Put all versions on a device."""
        return ResidentVersions(self, device)

    def draw(self, position: int) -> VersionPatch:
        """Draw the version and the patch at a position."""
        source = self.source
        start, ratio, generator = source.draw(position)
        number = (self._scenes[start.scene] * len(source.degradations) + ratio) * self._count
        number += int(generator.integers(self._count))
        pair, degradation = self.versions[number].pair, source.degradations[ratio]
        lr, hr = [], []
        for size, grid_start in zip(pair.hsi.shape[1:], start[1:], strict=True):
            last = size - degradation.lr_side
            near = round(grid_start / pair.scale / degradation.ratio)
            first = int(generator.integers(last + 1)) if source.augmentation.random_starts else min(near, last)
            # Patches start at a common border of an LR pixel and an HR pixel; at a ratio of 2.5 every second is one.
            first -= first % _lr_pixels_per_whole_pixel(degradation.ratio)
            lr.append(first)
            hr.append(round(first * degradation.ratio))
        return VersionPatch(ratio, number, (lr[0], lr[1]), (hr[0], hr[1]))

    def _pair(self, number: int, ratio: int, version: int) -> VersionPair:
        store = self.source.store
        name = store.names[number]
        degradation, scales = self.source.degradations[ratio], self.source.augmentation.scales
        generator = np.random.default_rng([_VERSION, self.source.order.seed, number, ratio, version])
        scale = scales[int(generator.integers(len(scales)))]
        image = store.load(name)
        rows, cols = (int(size / scale) for size in image.shape[-2:])
        if min(rows, cols) < degradation.side:
            raise InputError(
                f"the scene {name} shrunk by {scale:g} has {rows}x{cols} pixels for training, fewer than a patch "
                f"of {degradation.side}x{degradation.side}; take smaller augmentation.scales or data.patch"
            )
        image = self.source.draw_change(generator).applied(shrunk(image, (rows, cols)))
        return VersionPair(*degradation.whole_pair(image, generator), scale)

    def corner(self, drawn: VersionPatch) -> PatchCorner:
        """Return the scene of a patch, and its corner in the version of it."""
        scene = drawn.number // self._count // len(self.source.degradations)
        return PatchCorner(self.source.store.names[scene], *drawn.hr)


class ResidentVersions:
    """Batches of patches of whole pairs that live on a device, gathered there."""

    def __init__(self, examples: BasedExamples, device: torch.device) -> None:
        self._examples = examples

        def pixels(images: list[torch.Tensor]) -> ImagePixels:
            shapes = [(image.shape[1], image.shape[2]) for image in images]
            return ImagePixels.copied(images, shapes, images[0].shape[0], device)

        pairs = [one.pair for one in examples.versions]
        self._hsi = pixels([one.hsi for one in pairs])
        fine = [one.msi for one in pairs], [one.reference for one in pairs], [one.base for one in examples.versions]
        self._fine = [pixels(images) for images in fine]

    def batch(self, positions: Sequence[int]) -> ExampleBatch:
        """Return the patches at positions of one step."""
        drawn = [self._examples.draw(position) for position in positions]
        degradation = self._examples.source.degradations[drawn[0].ratio]
        numbers = np.array([one.number for one in drawn])
        lr, hr = np.array([one.lr for one in drawn]), np.array([one.hr for one in drawn])
        hsi = self._hsi.crops(numbers, lr[:, 0], lr[:, 1], degradation.lr_side).contiguous()
        msi, reference, base = (
            one.crops(numbers, hr[:, 0], hr[:, 1], degradation.side).contiguous() for one in self._fine
        )
        return ExampleBatch(hsi, msi, reference, base, tuple(map(self._examples.corner, drawn)))


def _lr_pixels_per_whole_pixel(ratio: float) -> int:
    return next(count for count in range(1, 1001) if abs(count * ratio - round(count * ratio)) < 1e-6)
