"""One tile of a scene, fused by whichever process has it: everything it needs is in its job and on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import hyperfuse.methods  # noqa: F401  (registers every method)
from hyperfuse.errors import InputError
from hyperfuse.methods.contract.method import Extent, Method, MethodSettings, Model, PairTensors
from hyperfuse.methods.contract.registry import get_method
from hyperfuse.runtime.devices import find_device
from hyperfuse.scenes.gaps import fill_gaps
from hyperfuse.scenes.matching.grid import MatchedPair
from hyperfuse.scenes.preparation import on_device, validity_at_hr
from hyperfuse.scenes.source import Scene, open_scene
from hyperfuse.scenes.tiling.crop import Part
from hyperfuse.scenes.tiling.plan import Plan, Tile
from hyperfuse.scenes.tiling.store import TileStore
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.srf.restrict import restrict_responses


@dataclass(frozen=True, eq=False)
class Job:
    """What a process must know to fuse a tile.

    Attributes:
        hsi, msi, mask: files.
        reading, msi_reading: how they are read.
        grid: what was told of how they relate.
        bands, msi_bands: which of their bands are used.
        tile, margin: of the plan, in HR and LR pixels.
        method: name of the method.
        settings: of the method.
        device: where to compute.
        store: where tiles go.
        levels: factor and offset of each MSI band, (2, msi_bands), applied to what is read; or None.
        learned: state of the model fitted to samples of the scene, or None.
        key: differs between jobs.
    """

    hsi: str
    msi: str
    mask: str | None
    reading: Mapping[str, Any]
    msi_reading: Mapping[str, Any]
    grid: Mapping[str, Any]
    bands: NDArray[np.bool_]
    msi_bands: NDArray[np.bool_]
    tile: int
    margin: int
    method: str
    settings: MethodSettings
    device: str
    store: TileStore
    levels: NDArray[np.float64] | None
    learned: Any | None
    key: str

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and other.key == self.key

    def open(self) -> Scene:
        """Open the pair."""
        return open_scene(self.hsi, self.msi, self.mask, self.reading, self.msi_reading, self.grid)


@dataclass(frozen=True)
class TilePair:
    """The tensors of the part of a tile that holds data, gaps filled.

    Attributes:
        hsi: (bands, h, w).
        msi: (msi_bands, H, W).
        sensor: relates the two.
        valid: bool (bands, rows, cols) of the whole tile, False in gaps.
        place: rows and columns of the part in it.
        extent: where the part lies in the scene.
    """

    hsi: torch.Tensor
    msi: torch.Tensor
    sensor: Sensor
    valid: NDArray[np.bool_]
    place: tuple[slice, slice]
    extent: Extent


def plan_of(scene: Scene, tile: int, margin: int) -> Plan:
    """Return the tiles of a scene."""
    pair = scene.pair
    return Plan.of((pair.hsi.rows, pair.hsi.cols), (pair.msi.rows, pair.msi.cols), pair.sensor, tile, margin)


def used_sensor(scene: Scene, bands: NDArray[np.bool_], msi_bands: NDArray[np.bool_]) -> Sensor:
    """Return the scene's sensor with responses between the bands that are used."""
    return scene.pair.sensor.replace(srf=restrict_responses(scene.pair.sensor.srf, msi_bands, bands))


def read_tile(
    scene: Scene,
    tile: Tile,
    bands: NDArray[np.bool_],
    msi_bands: NDArray[np.bool_],
    device: str,
    levels: NDArray[np.float64] | None = None,
) -> TilePair | None:
    """Read what a tile needs; None where nothing of what it keeps holds data, which most often takes no reading."""
    low_window, high_window = scene.hsi_window(tile.lr), scene.msi_window(tile.hr)
    if not scene.may_hold_data(tile):
        return None
    hsi = scene.hsi.read(low_window)
    hsi_valid = np.ones((int(bands.sum()), hsi.rows, hsi.cols), np.bool_) if hsi.valid is None else hsi.valid[bands]
    if not hsi_valid.any():
        return None
    msi = scene.msi.read(high_window)
    seen = np.ones((msi.rows, msi.cols), np.bool_) if msi.valid is None else msi.valid[msi_bands].all(axis=0)
    seen &= ~scene.distrusted(tile.hr)
    sensor = tile.sensor(used_sensor(scene, bands, msi_bands))
    valid = validity_at_hr(hsi_valid, MatchedPair(hsi, msi, sensor, ()), sensor) & seen
    if not valid[_inside(tile)].any():
        return None
    part = Part.with_data(np.asarray(valid.any(axis=0)), (hsi.rows, hsi.cols), sensor)
    device_used = find_device(device)
    low_valid, high_valid = hsi_valid[:, *part.lr], seen[part.hr]
    low = torch.from_numpy(np.nan_to_num(hsi.data[bands][:, *part.lr], nan=0.0)).float().to(device_used)
    high = torch.from_numpy(np.nan_to_num(msi.data[msi_bands][:, *part.hr], nan=0.0)).float().to(device_used)
    if levels is not None:
        factor, offset = torch.from_numpy(levels[:, msi_bands, None, None]).float().to(device_used)
        high = factor * high + offset
    if not (low_valid.all() and high_valid.all()):
        known = (torch.from_numpy(np.ascontiguousarray(one)).to(device_used) for one in (low_valid, high_valid))
        low, high = fill_gaps(low, next(known), high, next(known), part.sensor)
    return TilePair(low, high, part.sensor, valid, part.hr, _extent(scene, tile, part.hr))


def _extent(scene: Scene, tile: Tile, place: tuple[slice, slice]) -> Extent:
    """Return where a part of a tile lies in the scene."""
    ends = []
    for start, part, size in zip(tile.hr[:2], place, (scene.pair.msi.rows, scene.pair.msi.cols), strict=True):
        ends += [2 * (start + at) / max(size - 1, 1) - 1 for at in (part.start, part.stop - 1)]
    return (ends[0], ends[1], ends[2], ends[3])


def run_tile(job: Job, row: int, col: int) -> bool:
    """Fuse one tile and keep it in the store, unless it is there already.

    Returns:
        Whether it holds data.
    """
    scene, plan, method, model = _opened(job)
    tile = Tile(row, col, plan.along_y.spans[row], plan.along_x.spans[col])
    if job.store.done(tile.name):
        return not job.store.is_empty(tile.name)
    pair = read_tile(scene, tile, job.bands, job.msi_bands, job.device, job.levels)
    job.store.put(tile.name, None if pair is None else _fused(pair, tile, method, job.settings, model))
    return pair is not None


def _fused(
    pair: TilePair, tile: Tile, method: Method[Any], settings: MethodSettings, model: Model | None
) -> NDArray[np.float32]:
    """Return what is kept of a tile: its image and, where it is asked for, its uncertainty below, NaN in gaps."""
    window = PairTensors(pair.hsi, pair.msi, pair.sensor, pair.extent)
    outcome = method.fuse(window, settings) if model is None else model.apply(window)
    if not bool(torch.isfinite(outcome.image).all()):
        raise InputError(f"the method {method.name} gave values that are not finite; try --method regression")
    images = [outcome.image] if outcome.uncertainty is None else [outcome.image, outcome.uncertainty]
    valid = pair.valid[_inside(tile)]
    into, out_of = [], []
    for kept, place in zip(_inside(tile)[1:], pair.place, strict=True):
        first, last = max(kept.start, place.start), min(kept.stop, place.stop)
        into.append(slice(first - kept.start, last - kept.start))
        out_of.append(slice(first - place.start, last - place.start))
    # Outside the part that was fused there is no data.
    result = np.full((len(images), *valid.shape), np.nan, np.float32)
    for values, image in zip(result, images, strict=True):
        values[:, *into] = np.where(valid[:, *into], image[:, *out_of].cpu().numpy(), np.float32(np.nan))
    return result.reshape(-1, *valid.shape[1:])


def _inside(tile: Tile) -> tuple[slice, slice, slice]:
    """Return where what a tile keeps lies in what it reads."""
    rows, cols = (slice(span.kept[0] - span.hr[0], span.kept[1] - span.hr[0]) for span in (tile.y, tile.x))
    return slice(None), rows, cols


@lru_cache(maxsize=1)
def _opened(job: Job) -> tuple[Scene, Plan, Method[Any], Model | None]:
    """Open files, and restore the model on the device, once per process and job."""
    scene, method = job.open(), get_method(job.method)
    model = None if job.learned is None else method.restore(on_device(job.learned, find_device(job.device)))
    return scene, plan_of(scene, job.tile, job.margin), method, model


def forget() -> None:
    """Let go of the files that this process has opened for tiles."""
    _opened.cache_clear()
