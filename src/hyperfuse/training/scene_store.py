"""The scenes of a run: checked once, kept in memory up to a bound, and cut into the part that is learnt from."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

import torch

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError

Part = Literal["all", "top", "bottom"]


class Scenes(Protocol):
    """Named scenes that are read when they are asked for, such as those of ``hyperfuse.datasets.open_dataset``."""

    @property
    def names(self) -> Sequence[str]:
        """Names of the scenes."""

    def load(self, name: str) -> Cube:
        """Read a scene."""

    def shape(self, name: str) -> tuple[int, int, int]:
        """Return (bands, rows, cols) of a scene."""


class Place(NamedTuple):
    """Where a patch lies: the scene, and the row and column of its corner in that scene."""

    scene: str
    row: int
    col: int

    def __str__(self) -> str:
        return f"{self.scene} ({self.row}, {self.col})"


class SceneStore:
    """Scenes as tensors (bands, rows, cols) in float32; the latest ones stay in memory.

    Args:
        scenes: where from.
        names: which of them.
        hold_out: share of the rows at the bottom of every scene that is held out.
        part: ``top`` is what is left when rows are held out, ``bottom`` those rows, ``all`` the whole scene.
        memory_bytes: how much the scenes kept may take together; the one in use is always kept.

    Raises:
        InputError: no such scene, or scenes with different numbers of bands.
    """

    def __init__(
        self,
        scenes: Scenes,
        names: Sequence[str],
        *,
        hold_out: float = 0.0,
        part: Part = "all",
        memory_bytes: float = 4e9,
    ) -> None:
        self.names = tuple(names)
        self._scenes, self._hold_out, self._part = scenes, hold_out, part
        self._memory_bytes = memory_bytes
        self._kept: OrderedDict[str, torch.Tensor] = OrderedDict()
        self._shapes = {name: scenes.shape(name) for name in self.names}
        first = self.names[0]
        self.bands = self._shapes[first][0]
        for name, (bands, _, _) in self._shapes.items():
            if bands != self.bands:
                raise InputError(
                    f"the scene {first} has {self.bands} bands and {name} {bands}; a network needs one number"
                )

    def shape(self, name: str) -> tuple[int, int]:
        """Return (rows, cols) of the part of a scene that is used.

        Raises:
            InputError: a share held out that leaves no row.
        """
        _, rows, cols = self._shapes[name]
        first, last = self._rows(rows)
        if last <= first:
            raise InputError(f"the scene {name} has {rows} rows: data.hold_out={self._hold_out:g} leaves it none")
        return last - first, cols

    def first_row(self, name: str) -> int:
        """Return where in the whole scene the part begins."""
        return self._rows(self._shapes[name][1])[0]

    def load(self, name: str) -> torch.Tensor:
        """Return the part of a scene, (bands, rows, cols), float32; not to be changed.

        Raises:
            InputError: a damaged scene, or one with gaps.
        """
        if name in self._kept:
            self._kept.move_to_end(name)
            return self._kept[name]
        cube = self._scenes.load(name)
        if cube.valid is not None:
            raise InputError(f"the scene {name} has gaps; to train on it a value is needed everywhere")
        first, last = self._rows(cube.rows)
        # A copy of the part, so that what is held out does not stay in memory with it.
        data = torch.from_numpy(cube.data[:, first:last]).to(torch.float32, copy=True).contiguous()
        room = self._memory_bytes - data.nbytes
        while self._kept and sum(kept.nbytes for kept in self._kept.values()) > room:
            self._kept.popitem(last=False)
        self._kept[name] = data
        return data

    def load_while_room(self) -> None:
        """Read scenes until the memory granted is used, so that processes forked later share them."""
        used = 0
        for name in self.names:
            rows, cols = self.shape(name)
            used += 4 * self.bands * rows * cols
            if used > self._memory_bytes:
                return
            self.load(name)

    def grid(self, size: int, stride: int) -> list[Place]:
        """Return the places of patches of ``size`` x ``size``, scene by scene, row by row.

        Starts are ``range(0, length - size, stride)``, and 0 where a patch just fits: the group's own grid.

        Raises:
            InputError: a scene that is smaller than a patch.
        """
        places = []
        for name in self.names:
            rows, cols = self.shape(name)
            if min(rows, cols) < size:
                raise InputError(
                    f"the scene {name} leaves {rows}x{cols} pixels to learn from, fewer than a patch of {size}x{size};"
                    " take a smaller data.patch (or augmentation.scales, or data.hold_out)"
                )
            ends = max(rows - size, 1), max(cols - size, 1)
            places += [Place(name, row, col) for row in range(0, ends[0], stride) for col in range(0, ends[1], stride)]
        return places

    def _rows(self, rows: int) -> tuple[int, int]:
        held_out = round(rows * self._hold_out)
        if self._part == "top":
            return 0, rows - held_out
        return (rows - held_out, rows) if self._part == "bottom" else (0, rows)
