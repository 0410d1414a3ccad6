"""Finished tiles blended into one image, block by block, always in the same order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.window import Window
from hyperfuse.io.windows.write import BLOCK
from hyperfuse.progress import Progress
from hyperfuse.scenes.tiling.plan import Tile, TilePlan
from hyperfuse.scenes.tiling.store import Store


class ImageTarget(Protocol):
    """An image that is written window by window."""

    def write(self, window: Window, cube: Cube) -> None:
        """Write a window; windows that are never written are gaps."""


def has_gaps(plan: TilePlan, tiles: Sequence[Tile], store: Store) -> bool:
    """Return whether any pixel of the image is a gap in a band that is used."""
    return len(tiles) < plan.count or any(store.has_gaps(tile.name) for tile in tiles)


def assemble(
    target: ImageTarget,
    plan: TilePlan,
    tiles: Sequence[Tile],
    store: Store,
    bands: NDArray[np.bool_],
    progress: Progress,
    *,
    first: int = 0,
) -> None:
    """Write an image from its tiles.

    Args:
        target: to write to.
        plan: all tiles.
        tiles: those that hold data.
        store: has them.
        bands: bool, the bands of the image that are fused; the others stay gaps.
        progress: called with the fraction done.
        first: layer of a tile that is the first band of the image.
    """
    present = {(tile.row, tile.col): tile for tile in tiles}
    rows, cols = (axis.spans[-1].output[1] for axis in (plan.along_y, plan.along_x))
    block = max(rows, cols) if plan.count == 1 else BLOCK
    for row in range(0, rows, block):
        progress(row / rows, "joining tiles")
        for col in range(0, cols, block):
            window = Window(row, col, min(block, rows - row), min(block, cols - col))
            near = list(tiles_near(plan, present, window))
            cube = blended(plan, near, store, bands, first, window) if near else None
            if cube is not None:
                target.write(window, cube)


def tiles_near(plan: TilePlan, present: Mapping[tuple[int, int], Tile], window: Window) -> Iterator[Tile]:
    """Return the tiles whose output has a part in a window, row by row."""
    along = []
    for axis, start, size in ((plan.along_y, window.row, window.rows), (plan.along_x, window.col, window.cols)):
        spans = enumerate(axis.spans)
        along.append([i for i, span in spans if span.output[0] < start + size and span.output[1] > start])
    for row in along[0]:
        for col in along[1]:
            if (row, col) in present:
                yield present[row, col]


def blended(
    plan: TilePlan, tiles: Sequence[Tile], store: Store, bands: NDArray[np.bool_], first: int, window: Window
) -> Cube | None:
    """Return the weighted sum of tiles in a window of the image, with all its bands; None where all of it is a gap."""
    shape = (window.rows, window.cols)
    total = np.zeros((int(bands.sum()), *shape), np.float32)
    weight = np.zeros(shape, np.float32)
    for tile in tiles:
        weights_y, weights_x = plan.weights(tile)
        into_y, from_y = _common(tile.y.output, window.row, window.rows)
        into_x, from_x = _common(tile.x.output, window.col, window.cols)
        here = weights_y[from_y, None] * weights_x[None, from_x]
        values = store.get(tile.name)[first:, from_y, from_x]
        weight[into_y, into_x] += here
        if (here == 1).all():  # no other tile adds to it
            total[:, into_y, into_x] = values[: len(total)]
            continue
        for band in range(len(total)):
            # At the edge of its blend the weight of a tile is 0, and a gap there does not count.
            total[band, into_y, into_x] += np.where(here > 0, here * values[band], 0)
    if (weight <= 0.5).any():
        total[:, weight <= 0.5] = np.nan
    valid = np.isfinite(total)
    if not valid.any():
        return None
    if bands.all():
        return Cube(data=total, valid=valid)
    data = np.full((bands.size, *shape), np.nan, np.float32)
    data[bands] = total
    return Cube(data=data, valid=np.isfinite(data))


def _common(output: tuple[int, int], start: int, size: int) -> tuple[slice, slice]:
    """Return the overlap of a tile's output with a window, in the window and in the output."""
    first, last = max(output[0], start), min(output[1], start + size)
    return slice(first - start, last - start), slice(first - output[0], last - output[0])
