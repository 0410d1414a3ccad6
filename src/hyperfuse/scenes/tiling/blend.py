"""Finished tiles joined into one image: blended where they overlap, block by block, always in the same order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.window import Window
from hyperfuse.io.windows.write import BLOCK, WindowTarget
from hyperfuse.progress import Progress
from hyperfuse.scenes.tiling.plan import Plan, Tile
from hyperfuse.scenes.tiling.store import TileStore


def has_gaps(plan: Plan, tiles: Sequence[Tile], store: TileStore) -> bool:
    """Return whether any pixel of the image would be a gap in a band that is used."""
    if len(tiles) < len(plan.along_y.spans) * len(plan.along_x.spans):
        return True
    return any(store.has_gaps(tile.name) for tile in tiles)


def assemble(
    target: WindowTarget,
    plan: Plan,
    tiles: Sequence[Tile],
    store: TileStore,
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
        bands: which bands of the image are fused; the others stay gaps.
        progress: called with the share done.
        first: of the layers of a tile, where the image's bands begin.
    """
    present = {(tile.row, tile.col): tile for tile in tiles}
    header = target.header
    starts = list(range(0, header.rows, BLOCK))
    for index, row in enumerate(starts):
        progress(index / len(starts), "joining tiles")
        rows = (row, min(row + BLOCK, header.rows))
        for col in range(0, header.cols, BLOCK):
            cols = (col, min(col + BLOCK, header.cols))
            near = list(_near(plan, present, rows, cols))
            if near:
                cube = _joined(plan, near, store, bands, first, rows, cols)
                if cube is not None:
                    target.write(Window(row, col, cube.rows, cube.cols), cube)


def _near(
    plan: Plan, present: dict[tuple[int, int], Tile], rows: tuple[int, int], cols: tuple[int, int]
) -> Iterator[Tile]:
    """Return the tiles that have a part in a window, row by row."""
    along = []
    for axis, (first, last) in ((plan.along_y, rows), (plan.along_x, cols)):
        along.append([i for i, span in enumerate(axis.spans) if span.kept[0] < last and span.kept[1] > first])
    for row in along[0]:
        for col in along[1]:
            if (row, col) in present:
                yield present[row, col]


def _joined(
    plan: Plan,
    tiles: Sequence[Tile],
    store: TileStore,
    bands: NDArray[np.bool_],
    first: int,
    rows: tuple[int, int],
    cols: tuple[int, int],
) -> Cube | None:
    """Return the weighted sum of tiles in a window; None where all of it is a gap."""
    shape = (rows[1] - rows[0], cols[1] - cols[0])
    total = np.zeros((int(bands.sum()), *shape), np.float32)
    weight = np.zeros(shape, np.float32)
    for tile in tiles:
        weights_y, weights_x = plan.weights(tile)
        (into_y, from_y), (into_x, from_x) = _shared(tile.y.kept, rows), _shared(tile.x.kept, cols)
        share = weights_y[from_y, None] * weights_x[None, from_x]
        values = store.get(tile.name)[first:, from_y, from_x]
        for band in range(len(total)):
            # At the rim of its blend a tile's weight is 0, and a gap there is nothing to it.
            total[band, into_y, into_x] += np.where(share > 0, share * values[band], 0)
        weight[into_y, into_x] += share
    known = weight > 0.5
    data = np.full((bands.size, *shape), np.nan, np.float32)
    data[bands] = np.where(known, total, np.float32(np.nan))
    valid = np.isfinite(data)
    return Cube(data=data, valid=valid) if valid.any() else None


def _shared(kept: tuple[int, int], part: tuple[int, int]) -> tuple[slice, slice]:
    """Return the overlap of a tile with a window, in the window and in the tile."""
    first, last = max(kept[0], part[0]), min(kept[1], part[1])
    return slice(first - part[0], last - part[0]), slice(first - kept[0], last - kept[0])
