"""The scenes of a run: checked once, kept in memory up to a bound, cut into a training and a held-out part."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import product
from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError


class SceneReader(Protocol):
    """Named scenes that are read on demand, such as those of ``hyperfuse.datasets.open_dataset``."""

    @property
    def names(self) -> Sequence[str]:
        """Names of the scenes."""

    def load(self, name: str) -> Cube:
        """Read a scene."""

    def shape(self, name: str) -> tuple[int, int, int]:
        """Return (bands, rows, cols) of a scene."""


class PatchCorner(NamedTuple):
    """The scene of a patch, and the row and column of its upper left corner in that scene."""

    scene: str
    row: int
    col: int

    def __str__(self) -> str:
        return f"{self.scene} ({self.row}, {self.col})"


class SceneStore:
    """The named ``scenes`` as tensors (bands, rows, cols) in float32; the latest ones stay in memory.

    The fraction ``hold_out`` of the rows, at the bottom of every scene, is held out: ``part="bottom"`` is these rows,
    ``top`` the others, ``all`` the whole scene. ``memory_bytes`` bounds the memory of the cached scenes; the one in use
    is always cached.

    Raises:
        InputError: no such scene, or scenes with different numbers of bands.
    """

    def __init__(
        self,
        scenes: SceneReader,
        names: Sequence[str],
        *,
        hold_out: float = 0.0,
        part: Literal["all", "top", "bottom"] = "all",
        memory_bytes: float = 4e9,
    ) -> None:
        self.names = tuple(names)
        self._scenes, self._hold_out, self._part, self._memory_bytes = scenes, hold_out, part, memory_bytes
        self._cache: OrderedDict[str, torch.Tensor] = OrderedDict()
        self._shapes = {name: scenes.shape(name) for name in self.names}
        first, self.bands = self.names[0], self._shapes[self.names[0]][0]
        for name, (bands, _, _) in self._shapes.items():
            if bands != self.bands:
                raise InputError(
                    f"the scene {first} has {self.bands} bands and {name} {bands}; a network needs one number"
                )

    def shape(self, name: str) -> tuple[int, int]:
        """Return (rows, cols) of the part of a scene that is used.

        Raises:
            InputError: a fraction held out that leaves no row.
        """
        _, rows, cols = self._shapes[name]
        first, last = self._rows(rows)
        if last <= first:
            raise InputError(f"the scene {name} has {rows} rows: data.hold_out={self._hold_out:g} leaves it none")
        return last - first, cols

    def first_row(self, name: str) -> int:
        """Return the first row of the part in the whole scene."""
        return self._rows(self._shapes[name][1])[0]

    def load(self, name: str) -> torch.Tensor:
        """Return the part of a scene, (bands, rows, cols), float32; not to be changed.

        Raises:
            InputError: a damaged scene, or one with gaps.
        """
        if name in self._cache:
            self._cache.move_to_end(name)
            return self._cache[name]
        cube = self._scenes.load(name)
        if cube.valid is not None:
            raise InputError(f"the scene {name} has gaps; to train on it a value is needed everywhere")
        first, last = self._rows(cube.rows)
        # A copy, so that the rest of the scene does not stay in memory.
        data = torch.from_numpy(np.array(cube.data[:, first:last], dtype=np.float32, order="C"))
        room = self._memory_bytes - data.nbytes
        while self._cache and sum(data.nbytes for data in self._cache.values()) > room:
            self._cache.popitem(last=False)
        self._cache[name] = data
        return data

    def load_while_room(self) -> None:
        """Read scenes up to the bound on memory, so that processes forked later share them."""
        used = 0
        for name in self.names:
            rows, cols = self.shape(name)
            used += 4 * self.bands * rows * cols
            if used > self._memory_bytes:
                return
            self.load(name)

    def release(self) -> None:
        """Drop the scenes in memory; they are read again where they are asked for."""
        self._cache.clear()

    def grid(self, size: int, stride: int) -> list[PatchCorner]:
        """Return the corners of patches of ``size`` x ``size``, scene by scene, row by row.

        Starts are ``range(0, length - size, stride)``, and 0 where a patch just fits: the grid of the authors' patches.

        Raises:
            InputError: a scene that is smaller than a patch.
        """
        corners = []
        for name in self.names:
            rows, cols = self.shape(name)
            if min(rows, cols) < size:
                raise InputError(
                    f"the scene {name} has {rows}x{cols} pixels for training, fewer than a patch of {size}x{size};"
                    " take a smaller data.patch (or augmentation.scales, or data.hold_out)"
                )
            starts = (range(0, max(length - size, 1), stride) for length in (rows, cols))
            corners += [PatchCorner(name, row, col) for row, col in product(*starts)]
        return corners

    def _rows(self, rows: int) -> tuple[int, int]:
        held_out = round(rows * self._hold_out)
        if self._part == "top":
            return 0, rows - held_out
        return (rows - held_out, rows) if self._part == "bottom" else (0, rows)
