"""Fusion of scenes of any size: tile by tile from disk to disk, resumed where it was interrupted."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hyperfuse import __version__
from hyperfuse.cube import Cube
from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.io.files import check_output
from hyperfuse.io.registry import format_of, split_variable
from hyperfuse.io.windows_write import WRITABLE, writing_windows
from hyperfuse.methods.registry import Method, MethodSettings, get_method
from hyperfuse.progress import Progress, silent
from hyperfuse.scenes import DEFAULT_METHOD
from hyperfuse.scenes.coverage import unseen_bands
from hyperfuse.scenes.pair import refuse_other_units
from hyperfuse.scenes.preparation import configure, find_device, sensor_summary
from hyperfuse.scenes.simulate import hr_transform
from hyperfuse.scenes.tiles_assemble import assemble, has_gaps
from hyperfuse.scenes.tiles_job import Job, TilePair, plan_of, read_tile, used_sensor
from hyperfuse.scenes.tiles_memory import MEMORY_GB, SAMPLE_MARGIN, SAMPLE_SIDE, samples_within, tile_size
from hyperfuse.scenes.tiles_plan import Plan, Tile
from hyperfuse.scenes.tiles_samples import WIDEST_MARGIN, learn_on_samples, margin_for
from hyperfuse.scenes.tiles_scene import Outline, Scene, open_scene, seen_bands
from hyperfuse.scenes.tiles_sensor import learn_sensor
from hyperfuse.scenes.tiles_state import TileStore, identity
from hyperfuse.scenes.tiles_workers import run_here, run_in_processes

_SAMPLES_OF_UNITS = 4
_LEARNT_SHARE = 0.1
_FUSING_SHARE = 0.9
# Settings under which a tile would not be the same twice, or that give more than an image.
_NOT_FOR_TILES = ("budget_seconds", "keep_best", "uncertainty")


@dataclass(frozen=True)
class TiledResult:
    """What came of a tiled fusion.

    Attributes:
        outline: size and metadata of the image that was written; it holds no values.
        tiles: how many tiles there are.
        fused: how many of them hold data.
    """

    outline: Cube
    tiles: int
    fused: int


def takes_tiles(out: str | Path) -> bool:
    """Return whether the format of an output can be written window by window."""
    entry = format_of(split_variable(out)[0])
    return entry is not None and entry.name in WRITABLE


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
    reading: Mapping[str, Any] | None = None,
    msi_reading: Mapping[str, Any] | None = None,
    inputs: Mapping[str, str] | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
    **writing: Any,
) -> TiledResult:
    """Fuse an LR-HSI with an HR-MSI from file to file, a tile at a time; memory does not grow with the scene.

    Tiles are whole LR pixels, read with an overlap and blended with weights that sum to 1. What a method learns of a
    scene as a whole is learnt once, on samples spread over it, and applied tile by tile (see ``Method.prepare``:
    ``local-regression``, and the linear part of ``feinfn``). Finished
    tiles are kept in ``.NAME.tiles`` beside ``out`` until the image is complete; a job that is killed goes on from
    there with ``resume`` and gives the same image. Tiles without data are neither read nor fused.

    Args:
        hsi: file of the LR-HSI (bands, h, w); see :func:`~hyperfuse.io.windows.open_windows` for the formats.
        msi: file of the HR-MSI (msi_bands, H, W) of the same place in the same unit.
        out: GeoTIFF (COG with ``cog=True``), ENVI or Zarr to write.
        method: name of a registered method. ``feinfn`` takes effort ``fast`` in tiles unless told otherwise.
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
        reading: how the HSI is read: options of :func:`~hyperfuse.io.windows.open_windows`.
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
    check_output(out, overwrite=overwrite, **writing)
    if not takes_tiles(out):
        raise InputError(f"{out}: is written whole; the result of tiles goes to .tif, .img or .zarr")
    if workers < 1 or (tile is not None and tile < 1):
        raise InputError(f"--workers and --tile are 1 or more, got {workers} and {tile}")
    if not memory_gb > 0:
        raise InputError(f"the memory for tiles is more than 0 GB, got {memory_gb:g}")
    if scheduler is not None and workers != 1:
        raise InputError("--workers are processes of this machine, --scheduler is a cluster; give one of them")
    chosen = get_method(method)
    options, notes = _settings(chosen, settings, seed)
    find_device(device)
    files = [_absolute(path) for path in (hsi, msi)]
    forbidden = None if mask is None else _absolute(mask)
    grid: Mapping[str, Any] = {"sensor": sensor, "srf": srf, "psf": psf, "ratio": ratio, "phase": phase}
    how, msi_how = dict(reading or {}), dict(msi_reading or {})

    progress(0.0, "looking at the pair")
    with closing(open_scene(files[0], files[1], forbidden, how, msi_how, grid)) as scene:
        learned = learn_sensor(scene, grid, align=align, need_srf=chosen.needs_srf)
    grid, levels = learned.grid, learned.levels
    notes = [*learned.notes, *notes]
    with closing(open_scene(files[0], files[1], forbidden, how, msi_how, grid)) as scene:
        progress(0.01, "looking for data")
        store = TileStore.beside(out)
        margin = WIDEST_MARGIN if overlap is None else overlap
        # A job may go on with other workers or memory: its tiles stay as they are.
        begun = store.told("tile") if resume else None
        size = tile or begun or tile_size(scene, chosen.name, margin, workers, memory_gb)
        plan = plan_of(scene, size, margin)
        filled = _filled(scene, plan)
        bands, msi_bands = _bands(scene, filled)
        samples = _samples(scene, chosen.prepare is not None, size, memory_gb, bands, msi_bands, device, levels)
        shared = learn_on_samples(chosen, options, samples, _part(progress, 0.02, _LEARNT_SHARE))
        if shared is not None:
            notes.append(f"models of the whole scene are learnt on {len(samples)} samples of it and hold in all tiles")
        del samples
        if overlap is None:
            margin = margin_for(shared, scene.pair.sensor)
            plan = plan_of(scene, size, margin)
            filled = _filled(scene, plan)
        job = Job(
            files[0], files[1], forbidden, how, msi_how, _plain(grid), bands, msi_bands, size, margin,
            chosen.name, options, device, store, levels, shared, f"{os.getpid()}-{time.time_ns()}",
        )  # fmt: skip
        store.start(_fingerprint(job, scene, seed), resume=resume, overwrite=overwrite)
        step = _step(scene, job, seed, notes, inputs)
        everything = len(plan.along_y.spans) * len(plan.along_x.spans)
        _run(job, filled, workers, scheduler, progress)
        held = [one for one in filled if not store.is_empty(one.name)]
        if not held:
            store.remove()
            raise InputError("no pixel holds data in both HSI and MSI; the result would be empty")
        progress(_FUSING_SHARE, "joining tiles")
        outline = _outline(scene, bands, has_gaps(plan, held, store), step)
        with writing_windows(out, outline, overwrite=overwrite, **writing) as image:
            assemble(image, plan, held, store, bands, _part(progress, _FUSING_SHARE, 1.0))
    store.remove()
    progress(1.0, "done")
    return TiledResult(outline, everything, len(held))


def _settings(method: Method, given: Mapping[str, Any] | None, seed: int) -> tuple[MethodSettings, list[str]]:
    """Return the settings of every tile, and a note on what is other than for a scene that is fused whole."""
    values = dict(given or {})
    for name in _NOT_FOR_TILES:
        if values.get(name):
            raise InputError(f"{name} is not offered in tiles; fuse the scene whole, or leave it out")
    notes = []
    if "effort" in method.settings.model_fields and not {"effort", "steps"} & set(values):
        values["effort"] = "fast"
        notes.append(
            "fused in tiles (effort fast): "
            + ("the network is taken as it is" if values.get("weights") else "without a network")
            + "; effort=normal fits one to every tile"
        )
    return configure(method, values, seed), notes


def _absolute(path: str | Path) -> str:
    file, variable = split_variable(path)
    return str(file.absolute()) + ("" if variable is None else f":{variable}")


def _plain(grid: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is told of the grid without the operators that a sensor has computed: it goes to other processes."""
    sensor = grid["sensor"]
    return {**grid, "sensor": None if sensor is None else sensor.replace()}


def _filled(scene: Scene, plan: Plan) -> list[Tile]:
    """Return the tiles that may hold data, as far as that is known without reading."""
    return [tile for tile in plan.tiles() if scene.may_hold_data(tile)]


def _bands(scene: Scene, tiles: Sequence[Tile]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    bands = seen_bands(scene.hsi, (scene.hsi_window(tile.lr) for tile in tiles))
    msi_bands = seen_bands(scene.msi, (scene.msi_window(tile.hr) for tile in tiles))
    if not bands.any() or not msi_bands.any():
        raise InputError(f"the {'MSI' if bands.any() else 'HSI'} holds no data where the two images overlap")
    return bands, msi_bands


def _samples(
    scene: Scene,
    learning: bool,
    size: int,
    memory_gb: float,
    bands: NDArray[np.bool_],
    msi_bands: NDArray[np.bool_],
    device: str,
    levels: NDArray[np.float64] | None,
) -> list[TilePair]:
    """Return small tiles with data, spread over the scene, and check that both images are in one unit."""
    found: list[TilePair] = []
    wanted = _SAMPLES_OF_UNITS
    if learning:
        size = SAMPLE_SIDE
        wanted = samples_within(scene, size, memory_gb)
    tiles = _filled(scene, plan_of(scene, size, SAMPLE_MARGIN))
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


def _run(job: Job, tiles: Sequence[Tile], workers: int, scheduler: str | None, progress: Progress) -> None:
    left = [tile for tile in tiles if not job.store.done(tile.name)]
    runs: Iterator[bool]
    if scheduler is not None:
        from hyperfuse.scenes.distributed import run_on_scheduler

        runs = run_on_scheduler(job, left, scheduler)
    elif workers > 1 and len(left) > 1:
        runs = run_in_processes(job, left, workers, max(1, torch.get_num_threads() // workers))
    else:
        runs = run_here(job, left)
    report = _part(progress, _LEARNT_SHARE, _FUSING_SHARE)
    done = len(tiles) - len(left)
    for _ in runs:
        done += 1
        report(done / len(tiles), f"tile {done} of {len(tiles)}")
    lost = [tile for tile in tiles if not job.store.done(tile.name)]
    if lost:
        raise HyperfuseError(
            f"{len(lost)} of {len(tiles)} tiles are missing in {job.store.folder}; can all workers write there?"
        )


def _part(progress: Progress, first: float, last: float) -> Progress:
    return lambda fraction, message="": progress(first + (last - first) * fraction, message)


def _fingerprint(job: Job, scene: Scene, seed: int) -> dict[str, Any]:
    """Return everything that decides the values of the tiles."""
    files = [path for path in (job.hsi, job.msi, job.mask) if path is not None]
    return {
        "inputs": [identity(path) for path in files],
        "reading": [dict(job.reading), dict(job.msi_reading)],
        "sensor": scene.pair.sensor.to_dict(),
        "levels": None if job.levels is None else [[f"{value:.6g}" for value in row] for row in job.levels],
        "bands": [np.flatnonzero(job.bands).tolist(), np.flatnonzero(job.msi_bands).tolist()],
        "tile": job.tile,
        "overlap": job.margin,
        "method": job.method,
        "settings": job.settings.model_dump(mode="json"),
        "seed": seed,
        "device": find_device(job.device).type,
        "version": __version__,
    }


def _step(scene: Scene, job: Job, seed: int, notes: Sequence[str], inputs: Mapping[str, str] | None) -> dict[str, Any]:
    """Return the step of the history, as :func:`hyperfuse.scenes.fuse.fuse` tells it."""
    used = used_sensor(scene, job.bands, job.msi_bands)
    told = replace(scene.pair, hsi=scene.pair.hsi.replace(good_bands=job.bands))
    unseen = unseen_bands(told, used, None)
    return {
        "step": "fuse",
        "method": job.method,
        "settings": job.settings.model_dump(mode="json"),
        "tiles": {"tile": job.tile, "overlap": job.margin},
        "sensor": sensor_summary(scene.pair.sensor),
        "seed": seed,
        "device": find_device(job.device).type,
        "notes": [*scene.pair.notes, *notes, *([unseen] if unseen else [])],
        "msi_history": [dict(earlier) for earlier in scene.pair.msi.history],
        "version": __version__,
        **({} if inputs is None else {"inputs": dict(inputs)}),
    }


def _outline(scene: Scene, bands: NDArray[np.bool_], gaps: bool, step: Mapping[str, Any]) -> Outline:
    """Return size and metadata of the result, as for one that is fused whole."""
    hsi, msi = scene.pair.hsi, scene.pair.msi
    transform, crs = msi.transform, msi.crs or hsi.crs
    if transform is None:
        transform, crs = hr_transform(hsi.transform, scene.pair.sensor), hsi.crs or msi.crs
    marked = gaps or not bands.all()
    header = hsi.replace(
        good_bands=None if hsi.good_bands is None and bands.all() else bands,
        transform=transform,
        crs=crs,
        nodata=(hsi.nodata if hsi.nodata is not None else float("nan")) if marked else hsi.nodata,
        history=(*hsi.history, step),
    )
    return Outline.of(header, msi.rows, msi.cols)
