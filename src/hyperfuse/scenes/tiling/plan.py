"""How a scene is cut into tiles: whole LR pixels with a margin, and weights that join the results without seams."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError
from hyperfuse.sensor.model import Sensor

# Results are blended over at most this many LR pixels to either side of the border between two tiles.
_BLEND = 4
# LR pixels from the centre of the outermost one to the rim of what is read of the MSI: see Method.fuse.
SEEN = 1.5
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Span:
    """One tile along one axis; first and one past last index of everything.

    Attributes:
        lr: LR pixels that are read.
        hr: HR pixels that are read.
        kept: HR pixels of which the result is kept.
        core: HR pixels between the middles of the blends.
        phase: of the LR pixels that are read, in the HR pixels that are read.
    """

    lr: tuple[int, int]
    hr: tuple[int, int]
    kept: tuple[int, int]
    core: tuple[int, int]
    phase: float


@dataclass(frozen=True)
class Axis:
    """All tiles along one axis.

    Attributes:
        spans: in order.
        reach: half the width of each border's blend, in HR pixels; one less than there are tiles.
    """

    spans: tuple[Span, ...]
    reach: tuple[int, ...]

    @classmethod
    def plan(cls, coarse: int, fine: int, ratio: float, phase: float, size: int, margin: int) -> Axis:
        """Cut an axis of ``coarse`` LR and ``fine`` HR pixels.

        Args:
            coarse: LR pixels.
            fine: HR pixels.
            ratio: of the axis.
            phase: of the axis.
            size: LR pixels of a tile without its margins, at most.
            margin: LR pixels that are read around it.
        """
        corner = phase + 0.5 - ratio / 2
        count = max(1, math.ceil(coarse / size))
        edges = [round(index * coarse / count) for index in range(count + 1)]

        def place(edge: int) -> int:
            if edge in (0, coarse):
                return 0 if edge == 0 else fine
            return min(max(round(corner + ratio * edge), 0), fine)

        cores = [(place(first), place(last)) for first, last in itertools.pairwise(edges)]
        narrowest = min(last - first for first, last in cores)
        reach = min(narrowest // 2, math.floor(min(margin / 2, _BLEND) * ratio))
        spans = []
        for index, (first, last) in enumerate(itertools.pairwise(edges)):
            low, high = max(0, first - margin), min(coarse, last + margin)
            # Beyond its LR pixels a tile reads what their PSF sees of the MSI, as far as methods take that.
            first_sample, last_sample = phase + ratio * low, phase + ratio * (high - 1)
            start = 0 if low == 0 else max(0, math.floor(first_sample - SEEN * ratio) + 1)
            end = fine if high == coarse else min(fine, math.ceil(last_sample + SEEN * ratio))
            kept = (
                cores[index][0] - (reach if index > 0 else 0),
                cores[index][1] + (reach if index < count - 1 else 0),
            )
            spans.append(Span((low, high), (start, end), kept, cores[index], phase + ratio * low - start))
        return cls(tuple(spans), (reach,) * (count - 1))

    def weights(self, index: int) -> NDArray[np.float32]:
        """Return how much a tile counts at each of its kept pixels: at every pixel of the axis the sum is 1."""
        first, last = self.spans[index].kept
        weight = np.ones(last - first, np.float32)
        at = np.arange(first, last)
        if index > 0:
            weight *= self._rise(index - 1, at)
        if index < len(self.spans) - 1:
            weight *= np.float32(1) - self._rise(index, at)
        return weight

    def _rise(self, border: int, at: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return 0 before a border's blend, 1 after it, and half a wave of a cosine between."""
        place, reach = self.spans[border].core[1], self.reach[border]
        if reach == 0:
            return np.asarray(at >= place, np.float32)
        share = np.clip((at + 0.5 - (place - reach)) / (2 * reach), 0.0, 1.0)
        return np.asarray(0.5 - 0.5 * np.cos(np.pi * share), np.float32)


@dataclass(frozen=True)
class Tile:
    """One tile: its place among the others, and what it reads and keeps along (y, x)."""

    row: int
    col: int
    y: Span
    x: Span

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"tile-{self.row:05d}-{self.col:05d}"

    @property
    def lr(self) -> Window:
        """LR pixels that are read, in the pair cut to its common extent."""
        return _window(self.y.lr, self.x.lr)

    @property
    def hr(self) -> Window:
        """HR pixels that are read."""
        return _window(self.y.hr, self.x.hr)

    @property
    def kept(self) -> Window:
        """HR pixels of which the result is kept."""
        return _window(self.y.kept, self.x.kept)

    def sensor(self, whole: Sensor) -> Sensor:
        """Return the forward model between what is read of both images."""
        return whole.replace(phase=(self.y.phase, self.x.phase))


@dataclass(frozen=True)
class Plan:
    """The tiles of a scene, by row and column."""

    along_y: Axis
    along_x: Axis

    @classmethod
    def of(cls, coarse: tuple[int, int], fine: tuple[int, int], sensor: Sensor, tile: int, margin: int) -> Plan:
        """Plan square tiles.

        Args:
            coarse: (rows, cols) of the LR image.
            fine: (rows, cols) of the HR image.
            sensor: relates the two.
            tile: side of a tile without its margins, in HR pixels.
            margin: LR pixels that are read around it.

        Raises:
            InputError: a tile smaller than an LR pixel, or a negative margin.
        """
        if margin < 0:
            raise InputError(f"the overlap of tiles is 0 or more LR pixels, got {margin}")
        axes = []
        for axis in (0, 1):
            size = math.floor(tile / sensor.ratio[axis] + _ROUNDING)
            if size < 1:
                raise InputError(f"a tile of {tile} pixels is smaller than one HSI pixel; take a larger one")
            axes.append(Axis.plan(coarse[axis], fine[axis], sensor.ratio[axis], sensor.offset[axis], size, margin))
        return cls(*axes)

    def tiles(self) -> Iterator[Tile]:
        """Return all tiles, row by row."""
        for row, y in enumerate(self.along_y.spans):
            for col, x in enumerate(self.along_x.spans):
                yield Tile(row, col, y, x)

    def weights(self, tile: Tile) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the weights of a tile's kept rows and columns; their products sum to 1 over the tiles."""
        return self.along_y.weights(tile.row), self.along_x.weights(tile.col)


def _window(rows: tuple[int, int], cols: tuple[int, int]) -> Window:
    return Window(rows[0], cols[0], rows[1] - rows[0], cols[1] - cols[0])
