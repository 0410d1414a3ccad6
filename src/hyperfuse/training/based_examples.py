"""Training examples for a network that improves another fusion, whose image is made of whole scenes, then cut."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from hyperfuse.errors import InputError
from hyperfuse.training.augmentation import shrunk
from hyperfuse.training.examples import Base, Example, PatchSource
from hyperfuse.training.scene_store import PatchCorner

# Separates the random numbers of a version of a scene from those of patches (see order.py).
_VERSION = 4


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
