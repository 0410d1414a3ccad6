"""Patch files as scenes: each patch is one, with the pair that the file carries for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.training.examples import Example, ExampleBatch, Examples
from hyperfuse.training.order import DataOrder
from hyperfuse.training.scene_store import PatchCorner


class Patches(Protocol):
    """A file of patches, such as ``hyperfuse.datasets.PatchFile``: each has ``GT``, ``LRHSI`` and ``RGB``."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, int, int, int]]:
        """Shapes of the arrays by name, (N, bands, rows, cols)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Mapping[str, NDArray[Any]]: ...


class PatchScenes:
    """The patches of a file as scenes called ``patch-0``, ``patch-1``, …; the references are their cubes."""

    def __init__(self, file: Patches) -> None:
        self._file = file
        self.names = tuple(f"patch-{number}" for number in range(len(file)))
        self.ratio = file.shapes["GT"][2] / file.shapes["LRHSI"][2]
        self.msi_bands = file.shapes["RGB"][1]

    def load(self, name: str) -> Cube:
        """Read the reference of a patch."""
        return Cube(data=self._file[_number(name)]["GT"])

    def shape(self, name: str) -> tuple[int, int, int]:
        """Return (bands, rows, cols) of a patch."""
        if not 0 <= _number(name) < len(self._file):
            raise InputError(f"no {name!r}: the file holds the patches patch-0 to patch-{len(self._file) - 1}")
        return self._file.shapes["GT"][1:]

    def pair(self, name: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Read the stored HSI and MSI and the reference of a patch, float32."""
        patch = self._file[_number(name)]
        hsi, msi, reference = (torch.from_numpy(patch[key]).float() for key in ("LRHSI", "RGB", "GT"))
        return hsi, msi, reference

    def split(self, hold_out: float) -> tuple[Sequence[str], Sequence[str]]:
        """Return the names of the training patches and of those held out, the fraction ``hold_out`` at the end.

        Such files are ordered by scene and neighbouring patches overlap, so that random patches would not be held out.
        """
        count = len(self.names) - round(len(self.names) * hold_out)
        return self.names[:count], self.names[count:]


class StoredExamples(Examples):
    """Stored pairs, unchanged, by their position in the run."""

    def __init__(self, scenes: PatchScenes, names: Sequence[str], order: DataOrder) -> None:
        self._scenes, self._names, self._order = scenes, names, order

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, position: int) -> Example:
        name = self._names[self._order.locate(position)[1]]
        return Example(*self._scenes.pair(name), None, PatchCorner(name, 0, 0))

    @property
    def nbytes(self) -> int:
        """What all pairs take, in bytes."""
        return len(self._names) * sum(image.nbytes for image in self._scenes.pair(self._names[0]))

    def on_device(self, device: torch.device) -> ResidentPairs:
        """Put all pairs on a device."""
        return ResidentPairs(self._scenes, self._names, self._order, device)


class ResidentPairs:
    """Batches of stored pairs that live on a device."""

    def __init__(self, scenes: PatchScenes, names: Sequence[str], order: DataOrder, device: torch.device) -> None:
        self._names, self._order = names, order
        self._images = [torch.empty(len(names), *image.shape, device=device) for image in scenes.pair(names[0])]
        for number, name in enumerate(names):
            for images, image in zip(self._images, scenes.pair(name), strict=True):
                images[number] = image

    def batch(self, positions: Sequence[int]) -> ExampleBatch:
        """Return the pairs at positions of the run."""
        numbers = [self._order.locate(position)[1] for position in positions]
        hsi, msi, reference = (images[numbers] for images in self._images)
        corners = tuple(PatchCorner(self._names[number], 0, 0) for number in numbers)
        return ExampleBatch(hsi, msi, reference, None, corners)


def _number(name: str) -> int:
    prefix, _, digits = name.partition("-")
    if prefix != "patch" or not digits.isdigit():
        raise InputError(f"no patch {name!r}; patches are called patch-0, patch-1, …")
    return int(digits)
