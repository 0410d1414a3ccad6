"""Fusion of xarray's arrays as a graph of dask: one task fits what holds for the scene, then one fuses each tile.

The graph is that of ``fuse_tiles``: the same matching, the same samples, the same tiles and weights. What is read of
the inputs is computed inside the task that needs it, window by window, so that no more than a tile is in memory.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import xarray
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.dataarray import decode_dataarray, decode_dataarray_header, encode_dataarray, image_dimensions
from hyperfuse.cube.window import Window
from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.methods import DEFAULT_METHOD, get_method
from hyperfuse.runtime.devices import find_device
from hyperfuse.runtime.optional import require
from hyperfuse.scenes.job import FusionJob, Settings, configure, predicts_uncertainty, specified_geometry
from hyperfuse.scenes.matching.blind import Match
from hyperfuse.scenes.matching.displaced import match_stated
from hyperfuse.scenes.pipeline import fit_scene
from hyperfuse.scenes.record import header_on_msi_grid
from hyperfuse.scenes.source import PairSource
from hyperfuse.scenes.tiling.blend import blended, tiles_near
from hyperfuse.scenes.tiling.plan import TilePlan
from hyperfuse.scenes.tiling.store import MemoryStore
from hyperfuse.scenes.windows import FuseTile, Scene
from hyperfuse.sensor.geometry import PairGeometry
from hyperfuse.version import __version__

# Side of a tile in HR pixels where the MSI has no chunks.
_SIDE = 512


class ArraySource:
    """A :class:`~hyperfuse.io.windows.source.WindowSource` over a ``DataArray``, computed window by window.

    Example:
        >>> array = Cube(np.ones((2, 40, 50))).to_xarray()
        >>> ArraySource(array).read(Window(8, 0, 10, 50)).data.shape
        (2, 10, 50)
    """

    def __init__(self, array: xarray.DataArray) -> None:
        self._array, self.header = array, decode_dataarray_header(array)

    def read(self, window: Window) -> Cube:
        """Compute a window, in this thread."""
        _, *along = image_dimensions(self._array)
        part = self._array.isel(dict(zip(along, window.slices, strict=True))).compute(scheduler="synchronous")
        _, data, valid = decode_dataarray(part)
        return Cube.from_header(self.header.crop(*window), data, valid)

    def may_hold_data(self, window: Window) -> bool:
        """Return True: nothing is known before it is computed."""
        return True

    def close(self) -> None:
        """Do nothing: there is no file."""


@dataclass(frozen=True, kw_only=True)
class LazyFusion:
    """What a task needs to know of a fusion.

    Attributes:
        source: the pair.
        stated: how the two images relate by what headers and caller state.
        method: by name.
        settings: of the method.
        geometry: what is specified of the pair.
        device: by name.
        seed: of methods that draw random numbers.
        tile: side of a tile in HR pixels.
    """

    source: PairSource
    stated: Match
    method: str
    settings: Settings | None
    geometry: PairGeometry
    device: str
    seed: int
    tile: int

    def job(self) -> FusionJob:
        """Return the job, whose budget counts from now."""
        method = get_method(self.method)
        settings = configure(method, self.settings, self.seed)
        if predicts_uncertainty(method, settings):
            raise InputError(
                "a lazy fusion returns no uncertainty; load both images, or use hyperfuse.fuse", "settings"
            )
        return FusionJob(
            method=method,
            settings=settings,
            geometry=self.geometry,
            device=find_device(self.device),
            seed=self.seed,
            tile=self.tile,
        )


class _Fitted(NamedTuple):
    """What holds for a whole scene, and its tiles."""

    scene: Scene
    plan: TilePlan


class _Block(NamedTuple):
    """A chunk of the result: its tile, by the headers alone, and its window in the whole MSI."""

    row: int
    col: int
    window: Window


# A row and column of tiles, and what was fused there: None where there is no data.
_FusedTile = tuple[int, int, NDArray[np.float32] | None]


def fuse_lazily(
    hsi: xarray.DataArray,
    msi: xarray.DataArray,
    *,
    method: str = DEFAULT_METHOD,
    settings: Settings | None = None,
    geometry: PairGeometry | None = None,
    device: str = "auto",
    seed: int = 0,
    tile: int | None = None,
    **fields: Any,
) -> xarray.DataArray:
    """Return the fusion of two arrays as one of which nothing is computed yet.

    Args:
        hsi: LR-HSI.
        msi: HR-MSI.
        method: see :func:`hyperfuse.fuse`, as for settings, geometry, device and seed.
        settings: see there.
        geometry: see there.
        device: see there.
        seed: see there.
        tile: side of a tile in HR pixels; default: that of the MSI's largest chunk.
        **fields: of ``geometry``.

    Returns:
        Float32 (band, y, x) in chunks of a tile, NaN in gaps, on the grid that the headers state. What the images show
        of their position counts when it is computed; what they then do not cover is a gap.

    Raises:
        InputError: what the headers show not to fit. What values show is raised when they are computed.
    """
    delayed: Any = require("dask", "a lazy fusion").delayed
    array: Any = import_module("dask.array")
    side = _chunk_side(msi) if tile is None else tile
    if side < 1:
        raise InputError(f"tile is 1 or more, got {side}", "tile")
    source = PairSource(ArraySource(hsi), ArraySource(msi))
    specified = specified_geometry(geometry, **fields)
    stated = match_stated(source.hsi.header, source.msi.header, specified)
    call = LazyFusion(
        source=source,
        stated=stated,
        method=get_method(method).name,
        settings=settings,
        geometry=specified,
        device=device,
        seed=seed,
        tile=side,
    )
    job, matched = call.job(), source.matched(stated)
    plan = matched.plan(side, job.margin(stated.sensor))
    # The graphs of the inputs are part of the call, which is one node, not a part of every task.
    scene = delayed(_fitted)(delayed(call, traverse=False))
    fused = {(tile.row, tile.col): delayed(_fused)(scene, tile.row, tile.col) for tile in plan.tiles()}

    def chunk(row: int, col: int) -> Any:
        core = plan.tile(row, col).core
        block = _Block(row, col, core.moved(stated.msi.row, stated.msi.col))
        near = [fused[at] for at in fused if max(abs(at[0] - row), abs(at[1] - col)) <= 1]
        shape = (source.hsi.header.bands, core.rows, core.cols)
        return array.from_delayed(delayed(_joined)(scene, block, near), shape, np.dtype(np.float32))

    rows, cols = len(plan.along_y.spans), len(plan.along_x.spans)
    values = array.block([[[chunk(row, col) for col in range(cols)] for row in range(rows)]])
    header = header_on_msi_grid(matched.hsi_header, matched.msi_header, stated.sensor)
    step = {
        "step": "fuse",
        "method": job.method.name,
        "settings": job.settings.model_dump(mode="json"),
        "tiles": {"tile": side},
        "seed": seed,
        "notes": [*stated.notes, "fused as a graph of dask, when its values were computed: estimates are not recorded"],
        "version": __version__,
    }
    return encode_dataarray(header.replace(history=(*header.history, step)), values, has_gaps=True)


def is_lazy(array: xarray.DataArray) -> bool:
    """Return whether the values of an array are not computed yet."""
    return array.chunks is not None


def _chunk_side(msi: xarray.DataArray) -> int:
    _, *along = image_dimensions(msi)
    return max(max(msi.chunksizes[name]) for name in along) if is_lazy(msi) else _SIDE


def _fitted(call: LazyFusion) -> _Fitted:
    """Compute what holds for the whole scene."""
    job = call.job()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HyperfuseWarning)  # given when the graph was made
        scene = fit_scene(call.source, job, {})
    if scene.source.match.grid != call.stated.grid:
        raise InputError(
            "the images show a rotation, which would change the grid that the result has already; correct it first"
            " (hyperfuse.align), or pass align=False"
        )
    return _Fitted(scene, scene.source.plan(call.tile, job.margin(scene.sensor, scene.model)))


def _fused(fitted: _Fitted, row: int, col: int) -> _FusedTile:
    """Fuse one tile."""
    plan, store = fitted.plan, MemoryStore()
    if row >= len(plan.along_y.spans) or col >= len(plan.along_x.spans):
        return row, col, None
    tile = plan.tile(row, col)
    held = FuseTile(lambda: fitted.scene, store)(tile)
    return row, col, store.get(tile.name) if held else None


def _joined(fitted: _Fitted, block: _Block, near: Sequence[_FusedTile]) -> NDArray[np.float32]:
    """Blend the tiles near a chunk of the result into it."""
    (scene, plan), store = fitted, MemoryStore()
    match, window = scene.source.match, block.window
    result = np.full((scene.bands.size, window.rows, window.cols), np.nan, np.float32)
    top, left = max(window.row, match.msi.row), max(window.col, match.msi.col)
    bottom = min(window.row + window.rows, match.msi.row + match.msi.rows)
    right = min(window.col + window.cols, match.msi.col + match.msi.cols)
    if bottom <= top or right <= left:
        return result
    common = Window(top, left, bottom - top, right - left)
    inside = common.moved(-match.msi.row, -match.msi.col)
    needed = list(tiles_near(plan, {(tile.row, tile.col): tile for tile in plan.tiles()}, inside))
    if any(max(abs(tile.row - block.row), abs(tile.col - block.col)) > 1 for tile in needed):
        raise InputError("the images lie too far off for tiles as small as these; pass a larger tile=...", "tile")
    filled = {(row, col): values for row, col, values in near if values is not None}
    held = [tile for tile in needed if (tile.row, tile.col) in filled]
    for tile in held:
        store.put(tile.name, filled[tile.row, tile.col])
    cube = blended(plan, held, store, scene.bands, 0, inside)
    if cube is not None:
        result[:, *common.moved(-window.row, -window.col).slices] = cube.data
    return result
