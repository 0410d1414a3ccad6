"""How a scene is cut into tiles: whole LR pixels with a margin, and weights that blend the results without seams."""

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

# Results are blended over at most this many LR pixels on either side of the border between two tiles.
_BLEND = 4
# LR pixels from the centre of the outermost one to the edge of the MSI that is read; methods accept no more.
MSI_REACH = 1.5
_ROUNDING = 1e-6

# Smallest and largest displacement of LR pixels along an axis, in HR pixels.
Moved = tuple[float, float]
UNMOVED: Moved = (0.0, 0.0)


@dataclass(frozen=True)
class TileSpan:
    """One tile along one axis; first and one past last index.

    Attributes:
        lr: LR pixels that are read.
        hr: HR pixels that are read.
        output: HR pixels that are written.
        core: HR pixels between the centres of the blends.
        phase: of the LR pixels that are read, in the HR pixels that are read.
    """

    lr: tuple[int, int]
    hr: tuple[int, int]
    output: tuple[int, int]
    core: tuple[int, int]
    phase: float

    @property
    def written(self) -> slice:
        """The output within the HR pixels that are read."""
        return slice(self.output[0] - self.hr[0], self.output[1] - self.hr[0])


@dataclass(frozen=True)
class AxisPlan:
    """All tiles along one axis.

    Attributes:
        spans: in order.
        blends: half the width of the blend at each border in HR pixels; one fewer than tiles.
    """

    spans: tuple[TileSpan, ...]
    blends: tuple[int, ...]

    @classmethod
    def cut(
        cls, coarse: int, fine: int, ratio: float, phase: float, size: int, margin: int, moved: Moved = UNMOVED
    ) -> AxisPlan:
        """Cut an axis of ``coarse`` LR and ``fine`` HR pixels.

        Args:
            coarse: LR pixels.
            fine: HR pixels.
            ratio: HR pixels per LR pixel.
            phase: HR position of the first LR pixel.
            size: maximum of LR pixels per tile without its margins.
            margin: LR pixels that are read around it.
            moved: smallest and largest displacement of an LR pixel along the axis, in HR pixels.
        """
        corner = phase + 0.5 - ratio / 2
        count = max(1, math.ceil(coarse / size))
        edges = [round(index * coarse / count) for index in range(count + 1)]

        def hr_edge(edge: int) -> int:
            if edge in (0, coarse):
                return 0 if edge == 0 else fine
            return min(max(round(corner + ratio * edge), 0), fine)

        cores = [(hr_edge(first), hr_edge(last)) for first, last in itertools.pairwise(edges)]
        narrowest = min(last - first for first, last in cores)
        blend = min(narrowest // 2, math.floor(min(margin / 2, _BLEND) * ratio))
        spans = []
        for index, (first, last) in enumerate(itertools.pairwise(edges)):
            output = (
                cores[index][0] - (blend if index > 0 else 0),
                cores[index][1] + (blend if index < count - 1 else 0),
            )
            # An HR pixel lies among LR pixels that are displaced to it.
            low = min(max(0, math.floor(first - margin - moved[1] / ratio)), coarse - 1)
            high = max(min(coarse, math.ceil(last + margin - moved[0] / ratio)), low + 1)
            start, end = hr_span(low, high, coarse, fine, ratio, phase, moved)
            start, end = min(start, output[0]), max(end, output[1])
            spans.append(TileSpan((low, high), (start, end), output, cores[index], phase + ratio * low - start))
        return cls(tuple(spans), (blend,) * (count - 1))

    def weights(self, index: int) -> NDArray[np.float32]:
        """Return the weight of a tile at each of its output pixels: at every pixel of the axis the sum is 1."""
        first, last = self.spans[index].output
        weight = np.ones(last - first, np.float32)
        at = np.arange(first, last)
        if index > 0:
            weight *= self._rise(index - 1, at)
        if index < len(self.spans) - 1:
            weight *= np.float32(1) - self._rise(index, at)
        return weight

    def _rise(self, border: int, at: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return 0 before the blend at a border, 1 after it, and half a period of a cosine between."""
        edge, blend = self.spans[border].core[1], self.blends[border]
        if blend == 0:
            return np.asarray(at >= edge, np.float32)
        fraction = np.clip((at + 0.5 - (edge - blend)) / (2 * blend), 0.0, 1.0)
        return np.asarray(0.5 - 0.5 * np.cos(np.pi * fraction), np.float32)


@dataclass(frozen=True)
class Tile:
    """One tile: its row and column among the tiles, and what it reads and writes along (y, x)."""

    row: int
    col: int
    y: TileSpan
    x: TileSpan

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
    def output(self) -> Window:
        """HR pixels that are written."""
        return _window(self.y.output, self.x.output)

    @property
    def core(self) -> Window:
        """HR pixels without the blends: the cores of all tiles cover the scene once."""
        return _window(self.y.core, self.x.core)

    @property
    def written(self) -> tuple[slice, slice]:
        """Rows and columns of the output within the HR pixels that are read."""
        return self.y.written, self.x.written

    def sensor(self, whole: Sensor) -> Sensor:
        """Return the forward model between the LR and HR pixels that are read."""
        return whole.window((self.y.lr[0], self.x.lr[0]), (self.y.phase, self.x.phase))


@dataclass(frozen=True)
class TilePlan:
    """The tiles of a scene, by row and column."""

    along_y: AxisPlan
    along_x: AxisPlan

    @classmethod
    def of(cls, coarse: tuple[int, int], fine: tuple[int, int], sensor: Sensor, tile: int, margin: int) -> TilePlan:
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
        axes, moved = [], displacements(sensor, coarse)
        for axis in (0, 1):
            size = math.floor(tile / sensor.ratio[axis] + _ROUNDING)
            if size < 1:
                raise InputError(f"a tile of {tile} pixels is smaller than one HSI pixel; choose a larger one")
            ratio, phase = sensor.ratio[axis], sensor.offset[axis]
            axes.append(AxisPlan.cut(coarse[axis], fine[axis], ratio, phase, size, margin, moved[axis]))
        return cls(*axes)

    @classmethod
    def whole(cls, coarse: tuple[int, int], fine: tuple[int, int], sensor: Sensor) -> TilePlan:
        """Plan one tile that is the scene."""
        spans = (
            TileSpan((0, low), (0, high), (0, high), (0, high), phase)
            for low, high, phase in zip(coarse, fine, sensor.offset, strict=True)
        )
        return cls(*(AxisPlan((span,), ()) for span in spans))

    @property
    def count(self) -> int:
        """Number of tiles."""
        return len(self.along_y.spans) * len(self.along_x.spans)

    def tile(self, row: int, col: int) -> Tile:
        """Return the tile of a row and column of tiles."""
        return Tile(row, col, self.along_y.spans[row], self.along_x.spans[col])

    def tiles(self) -> Iterator[Tile]:
        """Return all tiles, row by row."""
        for row in range(len(self.along_y.spans)):
            for col in range(len(self.along_x.spans)):
                yield self.tile(row, col)

    def weights(self, tile: Tile) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the weights of the output rows and columns of a tile; their products sum to 1 over the tiles."""
        return self.along_y.weights(tile.row), self.along_x.weights(tile.col)


def displacements(sensor: Sensor, coarse: tuple[int, int], first: tuple[int, int] = (0, 0)) -> tuple[Moved, Moved]:
    """Return the smallest and largest displacement along y, then x, of ``coarse`` LR pixels from ``first`` on."""
    if sensor.displacement is None:
        return UNMOVED, UNMOVED
    return sensor.displacement.bounds(first, coarse)


def hr_span(
    low: int, high: int, coarse: int, fine: int, ratio: float, phase: float, moved: Moved = UNMOVED
) -> tuple[int, int]:
    """Return the HR pixels to read with the LR pixels ``low`` to ``high`` - 1: as far as methods accept.

    Args:
        low: first LR pixel.
        high: one past the last.
        coarse: LR pixels of the axis.
        fine: HR pixels of the axis.
        ratio: HR pixels per LR pixel.
        phase: HR position of the first LR pixel of the axis.
        moved: smallest and largest displacement of an LR pixel.
    """
    first, last = phase + ratio * low + moved[0], phase + ratio * (high - 1) + moved[1]
    start = 0 if low == 0 else min(max(0, math.floor(first - MSI_REACH * ratio) + 1), fine - 1)
    end = fine if high == coarse else max(min(fine, math.ceil(last + MSI_REACH * ratio)), start + 1)
    return start, end


def _window(rows: tuple[int, int], cols: tuple[int, int]) -> Window:
    return Window(rows[0], cols[0], rows[1] - rows[0], cols[1] - cols[0])
