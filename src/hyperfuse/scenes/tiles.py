"""Fusion of scenes of any size: tile by tile from disk to disk, resumed where it was interrupted."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.io.files import check_output
from hyperfuse.io.formats.registry import split_variable
from hyperfuse.io.windows.write import is_written_by_windows, writing_windows
from hyperfuse.methods.contract.method import Method, MethodSettings
from hyperfuse.methods.contract.registry import get_method
from hyperfuse.progress import Progress, part, silent
from hyperfuse.runtime.devices import find_device
from hyperfuse.scenes import DEFAULT_METHOD
from hyperfuse.scenes.preparation import configure
from hyperfuse.scenes.record import fingerprint, history_step, outline_of
from hyperfuse.scenes.samples import (
    bands_with_data,
    filled_tiles,
    learn_on_samples,
    read_samples,
)
from hyperfuse.scenes.source import Scene, open_scene
from hyperfuse.scenes.tiles_job import Job, plan_of
from hyperfuse.scenes.tiles_sensor import learn_sensor
from hyperfuse.scenes.tiles_shown import ShownPart, part_to_show
from hyperfuse.scenes.tiling.blend import assemble, has_gaps
from hyperfuse.scenes.tiling.local import run_here, run_in_processes
from hyperfuse.scenes.tiling.memory import MEMORY_GB, tile_size
from hyperfuse.scenes.tiling.plan import Tile
from hyperfuse.scenes.tiling.store import TileStore

_LEARNT_SHARE = 0.1
_FUSING_SHARE = 0.9
_UNCODED = {"dtype": "float32"}  # an uncertainty is no measured quantity that has a code
# Settings under which a tile would not be the same twice.
_NOT_FOR_TILES = ("budget_seconds", "keep_best")


@dataclass(frozen=True)
class TiledResult:
    """What came of a tiled fusion.

    Attributes:
        outline: size and metadata of the image that was written; it holds no values.
        tiles: how many tiles there are.
        fused: how many of them hold data.
        uncertain: size and metadata of the image of the uncertainty, or None.
        shown: the part that was asked for, or None.
    """

    outline: Cube
    tiles: int
    fused: int
    uncertain: Cube | None = None
    shown: ShownPart | None = None


def takes_tiles(out: str | Path) -> bool:
    """Return whether the format of an output can be written window by window."""
    return is_written_by_windows(out)


def fuse_tiles(
    hsi: str | Path,
    msi: str | Path,
    out: str | Path,
    *,
    method: str = DEFAULT_METHOD,
    sensor: Any = None,
    srf: Any = None,
    psf: str | None = None,
    ratio: float | tuple[float, float] | None = None,
    phase: float | tuple[float, float] | None = None,
    align: bool = True,
    mask: str | Path | None = None,
    device: str = "auto",
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    tile: int | None = None,
    overlap: int | None = None,
    workers: int = 1,
    memory_gb: float = MEMORY_GB,
    scheduler: str | None = None,
    resume: bool = False,
    uncertainty: str | Path | None = None,
    show: int | None = None,
    reading: Mapping[str, Any] | None = None,
    msi_reading: Mapping[str, Any] | None = None,
    inputs: Mapping[str, str] | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
    **writing: Any,
) -> TiledResult:
    """Fuse an LR-HSI with an HR-MSI from file to file, a tile at a time; memory does not grow with the scene.

    Tiles are whole LR pixels, read with an overlap and blended with weights that sum to 1. What a method learns of a
    scene as a whole is learnt once, on samples spread over it, and applied tile by tile (methods with
    ``capabilities.shared_model``). That and finished tiles are kept in ``.NAME.tiles`` beside ``out`` until the
    image is complete; a job that is killed goes on from there with ``resume`` and gives the same image. Tiles without
    data are neither read nor fused.

    Args:
        hsi: file of the LR-HSI (bands, h, w); see :func:`~hyperfuse.io.windows.open.open_windows` for the formats.
        msi: file of the HR-MSI (msi_bands, H, W) of the same place in the same unit.
        out: GeoTIFF (COG with ``cog=True``), ENVI or Zarr to write.
        method: name of a registered method.
        sensor: as for :func:`hyperfuse.scenes.fuse.fuse`, as are srf, psf, ratio and phase.
        srf: see there.
        psf: see there.
        ratio: see there.
        phase: see there.
        align: look for a shift between the two images where nothing tells their position.
        mask: file of one band on the MSI's grid, not 0 where the MSI must not be used.
        device: where to compute.
        seed: of methods that draw random numbers.
        settings: of the method.
        tile: side of a tile without overlap, in HR pixels; follows from the memory unless given.
        overlap: LR pixels that are read around a tile; what the method needs unless given.
        workers: processes of this machine.
        memory_gb: what all processes together may take, in GB; each worker of a scheduler may take it.
        scheduler: address of a dask.distributed scheduler to run the tiles on, in place of ``workers``.
        resume: go on with an interrupted job, if there is one.
        uncertainty: image to write beside ``out``: the standard deviation of the error that is to be expected.
        show: return a part of about so many HR pixels a side to look at.
        reading: how the HSI is read: options of :func:`~hyperfuse.io.windows.open.open_windows`.
        msi_reading: how the MSI is read.
        inputs: names of the inputs for the history.
        overwrite: replace an existing ``out``.
        progress: called with the share done.
        **writing: dtype, compress, nodata and options of the format; see :func:`hyperfuse.io.write`.

    Returns:
        Size and metadata of what was written, and how many tiles it took.

    Raises:
        InputError: files, names or settings that do not fit; the message says what to do.
        HyperfuseError: no space left, or workers that die.
    """
    # An interrupted job may have written the one before the other.
    again = overwrite or (resume and TileStore.beside(out).folder.exists())
    check_output(out, overwrite=overwrite, **writing)
    if uncertainty is not None:
        check_output(uncertainty, overwrite=again, **(writing | _UNCODED))
    for target in (out, uncertainty):
        if target is not None and not takes_tiles(target):
            raise InputError(f"{target}: is written whole; the result of tiles goes to .tif, .img or .zarr")
    if workers < 1 or (tile is not None and tile < 1):
        raise InputError(f"--workers and --tile are 1 or more, got {workers} and {tile}")
    if not memory_gb > 0:
        raise InputError(f"the memory for tiles is more than 0 GB, got {memory_gb:g}")
    if scheduler is not None and workers != 1:
        raise InputError("--workers are processes of this machine, --scheduler is a cluster; give one of them")
    chosen = get_method(method)
    options = _settings(chosen, settings, uncertainty is not None, seed)
    find_device(device)
    files = [_absolute(path) for path in (hsi, msi)]
    forbidden = None if mask is None else _absolute(mask)
    grid: Mapping[str, Any] = {"sensor": sensor, "srf": srf, "psf": psf, "ratio": ratio, "phase": phase}
    how, msi_how = dict(reading or {}), dict(msi_reading or {})

    progress(0.0, "looking at the pair")
    with closing(open_scene(files[0], files[1], forbidden, how, msi_how, grid)) as scene:
        found = learn_sensor(scene, grid, align=align, need_srf=chosen.capabilities.needs_srf)
    grid, levels = found.grid, found.levels
    notes = list(found.notes)
    with closing(open_scene(files[0], files[1], forbidden, how, msi_how, grid)) as scene:
        progress(0.01, "looking for data")
        store = TileStore.beside(out)
        margin = chosen.capabilities.margin(scene.pair.sensor, options) if overlap is None else overlap
        # A job may go on with other workers or memory: its tiles stay as they are.
        begun = store.told("tile") if resume else None
        size = tile or begun or tile_size(scene, chosen.capabilities.bytes_per_pixel, margin, workers, memory_gb)
        plan = plan_of(scene, size, margin)
        filled = filled_tiles(scene, plan)
        bands, msi_bands = bands_with_data(scene, filled)
        job = Job(
            files[0], files[1], forbidden, how, msi_how, _plain(grid), bands, msi_bands, size, margin,
            chosen.name, options, device, store, levels, None, f"{os.getpid()}-{time.time_ns()}",
        )  # fmt: skip
        store.start(fingerprint(job, scene, seed, overlap), resume=resume, overwrite=overwrite)
        kept = store.learned()
        if kept is None:
            try:
                kept = _learn(scene, job, memory_gb, part(progress, 0.02, _LEARNT_SHARE))
            except InputError:
                store.remove()
                raise
            store.keep_learned(kept)
        if kept["learned"] is not None:
            notes.append(
                f"models of the whole scene are learnt on {kept['samples']} samples of it and hold in all tiles"
            )
        if overlap is None:
            margin = margin if kept["learned"] is None else kept["learned"]["margin"]
            plan = plan_of(scene, size, margin)
            filled = filled_tiles(scene, plan)
        job = replace(job, margin=margin, learned=kept["learned"] and kept["learned"]["state"])
        step = history_step(scene, job, seed, notes, inputs)
        everything = len(plan.along_y.spans) * len(plan.along_x.spans)
        _run(job, filled, workers, scheduler, progress)
        held = [one for one in filled if not store.is_empty(one.name)]
        if not held:
            store.remove()
            raise InputError("no pixel holds data in both HSI and MSI; the result would be empty")
        progress(_FUSING_SHARE, "joining tiles")
        gaps = has_gaps(plan, held, store)
        outline = outline_of(scene, bands, gaps, step)
        told = {**step, "quantity": "standard deviation of the expected error"}
        uncertain = None if uncertainty is None else outline_of(scene, bands, gaps, told)
        middle = _FUSING_SHARE if uncertain is None else (1 + _FUSING_SHARE) / 2
        if uncertainty is not None and uncertain is not None:
            below = int(bands.sum())
            with writing_windows(uncertainty, uncertain.header, overwrite=again, **(writing | _UNCODED)) as image:
                assemble(image, plan, held, store, bands, part(progress, _FUSING_SHARE, middle), first=below)
        with writing_windows(out, outline.header, overwrite=overwrite, **writing) as image:
            assemble(image, plan, held, store, bands, part(progress, middle, 1.0))
        shown = None if show is None else part_to_show(scene, levels, show)
    store.remove()
    progress(1.0, "done")
    return TiledResult(outline, everything, len(held), uncertain, shown)


def _settings(method: Method[Any], given: Mapping[str, Any] | None, uncertainty: bool, seed: int) -> MethodSettings:
    """Return the settings of every tile."""
    values = dict(given or {})
    if values.get("uncertainty") and not uncertainty:
        raise InputError("the uncertainty is written to a file in tiles; name one (uncertainty=)")
    if uncertainty:
        values["uncertainty"] = True
    for name in _NOT_FOR_TILES:
        if values.get(name):
            raise InputError(f"{name} is not offered in tiles; fuse the scene whole, or leave it out")
    return configure(method, values, seed)


def _learn(scene: Scene, job: Job, memory_gb: float, progress: Progress) -> dict[str, Any]:
    """Return what the job's tiles share, and how many samples of the scene it was learnt on."""
    method = get_method(job.method)
    learning = method.capabilities.shared_model
    samples = read_samples(scene, learning, job.tile, memory_gb, job.bands, job.msi_bands, job.device, job.levels)
    return {"learned": learn_on_samples(method, job.settings, samples, progress), "samples": len(samples)}


def _absolute(path: str | Path) -> str:
    file, variable = split_variable(path)
    return str(file.absolute()) + ("" if variable is None else f":{variable}")


def _plain(grid: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is told of the grid without the operators that a sensor has computed: it goes to other processes."""
    sensor = grid["sensor"]
    return {**grid, "sensor": None if sensor is None else sensor.replace()}


def _run(job: Job, tiles: Sequence[Tile], workers: int, scheduler: str | None, progress: Progress) -> None:
    left = [tile for tile in tiles if not job.store.done(tile.name)]
    runs: Iterator[bool]
    if scheduler is not None:
        from hyperfuse.scenes.tiling.cluster import run_on_scheduler

        runs = run_on_scheduler(job, left, scheduler)
    elif workers > 1 and len(left) > 1:
        runs = run_in_processes(job, left, workers, max(1, torch.get_num_threads() // workers))
    else:
        runs = run_here(job, left)
    report = part(progress, _LEARNT_SHARE, _FUSING_SHARE)
    done = len(tiles) - len(left)
    for _ in runs:
        done += 1
        report(done / len(tiles), f"tile {done} of {len(tiles)}")
    lost = [tile for tile in tiles if not job.store.done(tile.name)]
    if lost:
        raise HyperfuseError(
            f"{len(lost)} of {len(tiles)} tiles are missing in {job.store.folder}; can all workers write there?"
        )
