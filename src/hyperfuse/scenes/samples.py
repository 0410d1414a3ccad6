"""What is learnt once for a whole scene, from samples spread over it, and then holds in all of its tiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.methods.contract.method import Method, MethodSettings, PairTensors
from hyperfuse.progress import Progress
from hyperfuse.scenes.matching.grid import refuse_other_units
from hyperfuse.scenes.preparation import on_device
from hyperfuse.scenes.source import Scene, seen_bands
from hyperfuse.scenes.tiles_job import TilePair, plan_of, read_tile
from hyperfuse.scenes.tiling.memory import SAMPLE_MARGIN, SAMPLE_SIDE, samples_within
from hyperfuse.scenes.tiling.plan import Plan, Tile

_SAMPLES_OF_UNITS = 4


def filled_tiles(scene: Scene, plan: Plan) -> list[Tile]:
    """Return the tiles that may hold data, as far as that is known without reading."""
    return [tile for tile in plan.tiles() if scene.may_hold_data(tile)]


def bands_with_data(scene: Scene, tiles: Sequence[Tile]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which bands of HSI and MSI hold data in some tiles.

    Raises:
        InputError: none does.
    """
    bands = seen_bands(scene.hsi, (scene.hsi_window(tile.lr) for tile in tiles))
    msi_bands = seen_bands(scene.msi, (scene.msi_window(tile.hr) for tile in tiles))
    if not bands.any() or not msi_bands.any():
        raise InputError(f"the {'MSI' if bands.any() else 'HSI'} holds no data where the two images overlap")
    return bands, msi_bands


def read_samples(
    scene: Scene,
    learning: bool,
    size: int,
    memory_gb: float,
    bands: NDArray[np.bool_],
    msi_bands: NDArray[np.bool_],
    device: str,
    levels: NDArray[np.float64] | None,
) -> list[TilePair]:
    """Return small tiles with data, spread over the scene, and check that both images are in one unit.

    Args:
        scene: to be fused.
        learning: whether a method is to learn on them.
        size: side of a tile in HR pixels; a method learns on samples of a size of their own.
        memory_gb: what they may take.
        bands: which HSI bands are used.
        msi_bands: which MSI bands are.
        device: where they are put.
        levels: see :class:`~.tiles_job.Job`.

    Raises:
        InputError: no pixel holds data in both images, or they are in different units.
    """
    found: list[TilePair] = []
    wanted = _SAMPLES_OF_UNITS
    if learning:
        size = SAMPLE_SIDE
        wanted = samples_within(scene, size, memory_gb)
    tiles = filled_tiles(scene, plan_of(scene, size, SAMPLE_MARGIN))
    # First some far apart, then all others, until there are enough.
    count = len(tiles)
    order = dict.fromkeys([(2 * k + 1) * count // (2 * wanted) for k in range(wanted)] + list(range(count)))
    for index in order:
        pair = read_tile(scene, tiles[index], bands, msi_bands, device, levels)
        if pair is not None:
            found.append(pair)
            refuse_other_units(Cube(data=pair.hsi.cpu().numpy()), Cube(data=pair.msi.cpu().numpy()))
        if len(found) == min(wanted, count):
            break
    if not found:
        raise InputError("no pixel holds data in both HSI and MSI; the result would be empty")
    return found


def learn_on_samples(
    method: Method[Any], settings: MethodSettings, samples: Sequence[TilePair], progress: Progress
) -> Any | None:
    """Return what the tiles of a scene share, on the CPU; None of a method that fits every tile by itself.

    Args:
        method: to fuse with.
        settings: of the method.
        samples: parts of the scene.
        progress: called with the share done.
    """
    if not method.capabilities.shared_model:
        return None
    model = method.fit(
        [PairTensors(pair.hsi, pair.msi, pair.sensor, pair.extent) for pair in samples], settings, progress
    )
    return {"state": on_device(model.state(), torch.device("cpu")), "margin": model.margin}
