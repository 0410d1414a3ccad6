"""Execution of a fusion job: whole in memory, or from file to file, in tiles where the scene is large."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader
from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io.encoding.options import WriteOptions
from hyperfuse.io.formats.registry import split_variable
from hyperfuse.progress import Progress, part
from hyperfuse.runtime.interruption import remove_at_the_end, uninterrupted
from hyperfuse.runtime.locks import LockedError
from hyperfuse.runtime.memory import total_bytes
from hyperfuse.scenes.files import PairFiles, StagedFiles
from hyperfuse.scenes.images import BandFiles, ImageFiles, MsiImage
from hyperfuse.scenes.job import FusionJob
from hyperfuse.scenes.matching.displaced import match_stated
from hyperfuse.scenes.pipeline import Fusion, fuse_windows
from hyperfuse.scenes.preview import read_preview
from hyperfuse.scenes.resume import digest_of, fingerprint
from hyperfuse.scenes.several import sharpening_job, to_finest
from hyperfuse.scenes.source import MatchedSource, PairSource
from hyperfuse.scenes.targets import FileTarget, MemoryTarget, Outputs, SceneFile
from hyperfuse.scenes.tiling.local import Runner, run_here, run_in_processes
from hyperfuse.scenes.tiling.memory import operator_bytes, tile_side
from hyperfuse.scenes.tiling.store import TileStore
from hyperfuse.sensor.geometry import PairGeometry

# LR pixels by which a field that is not estimated yet may move samples, beyond the shift that the phase states.
_MAY_MOVE = 2
# A scene is fused whole where that takes no more than this fraction of the machine's memory, about this many images of
# the size of the result in float32.
_MEMORY_FRACTION = 0.5
_IMAGES = 6
# Progress reached when all bands of several MSIs have the pixels of the finest.
SHARPENED = 0.3


def fuse_whole(source: PairSource, job: FusionJob, preview: bool, progress: Progress) -> Fusion[Cube]:
    """Fuse a pair as one window, and return the image with what is known about it."""
    target = MemoryTarget()
    fusion = fuse_windows(source, target, job, run_here, progress)
    image, uncertainty = target.fused, target.expected
    assert image is not None  # written now
    shown = None
    if preview:
        shown = read_preview(source, fusion.match, None, lambda _: (image, uncertainty))
    return Fusion(
        image, uncertainty, fusion.match, fusion.model, fusion.notes, fusion.windows, shown, fusion.displacement
    )


class TilingRequest(NamedTuple):
    """How files are fused in tiles; see :func:`~hyperfuse.scenes.fuse.fuse_tiles`."""

    tile: int | None
    workers: int
    memory_gb: float | None
    scheduler: str | None
    resume: bool
    keep: bool


def fuse_files(
    files: PairFiles, images: Outputs, job: FusionJob, tiling: TilingRequest, preview: int | None, report: Progress
) -> Fusion[CubeHeader]:
    """Fuse files, whole or in tiles."""
    store = TileStore.next_to(images.out)
    requested = tiling.tile is not None or tiling.workers != 1 or tiling.scheduler is not None or images.resumed
    if tiling.scheduler is not None:
        from hyperfuse.scenes.tiling.cluster import check_cluster

        inputs_of = [split_variable(path)[0].absolute() for image in files.images for path in image.paths]
        check_cluster(tiling.scheduler, store.folder.parent, inputs_of)
    with _staging(images.out, store, images.resumed) as staged, ExitStack() as stack:
        described = files
        if isinstance(files.msi, BandFiles) and not files.msi.fine:
            files, notes = _sharpened(files, staged, job, tiling, part(report, 0.0, SHARPENED))
            job, report = replace(job, notes=notes), part(report, SHARPENED, 1.0)
        if images.by_windows and not requested:
            requested = _is_large(files, staged, job.geometry, tiling.memory_gb)
        if not requested:
            whole = fuse_whole(staged.read(files), job, preview is not None, report)
            images.write(whole.image, whole.uncertainty)
            expected = None if whole.uncertainty is None else whole.uncertainty.header
            header, notes = whole.image.header, whole.notes
            return Fusion(
                header, expected, whole.match, whole.model, notes, whole.windows, whole.preview, whole.displacement
            )
        images.refuse_whole()
        stack.enter_context(store.locked())
        pair = staged.stage(files)
        with closing(pair.open()) as source:
            side = tiling.tile or (store.described("tile") if images.resumed else None)
            side = side or _tile_side(_match_headers(source, job.geometry), job)
            job = replace(job, tile=side)
            started = fingerprint(described, job)
            with uninterrupted():
                restored = store.start(started, resume=tiling.resume, overwrite=images.overwrite)
                stack.enter_context(_removed(store, keep=tiling.keep))
            key = f"{os.getpid()}-{job.started}"
            job = replace(job, digest=digest_of(described, job))
            opener = SceneFile(pair, store, job.method.name, job.settings, str(job.device), key)
            target = FileTarget(store, opener, images)
            shown = None
            fusion = fuse_windows(source, target, job, _runner(tiling.workers, tiling.scheduler, key), report)
            if preview is not None:
                shown = read_preview(source, fusion.match, preview, images.read)
        with uninterrupted():
            store.remove()
    count, held = fusion.windows
    notes = (*staged.notes, *restored, *fusion.notes, f"fused in tiles, {held} of {count} with data")
    return replace(fusion, notes=notes, preview=shown)


def _sharpened(
    files: PairFiles, staged: StagedFiles, job: FusionJob, tiling: TilingRequest, report: Progress
) -> tuple[PairFiles, tuple[str, ...]]:
    """Return files of which all bands of the MSI have the pixels of the finest, and notes."""
    msi = files.msi
    assert isinstance(msi, BandFiles)
    own = sharpening_job(job)

    def sharpen(
        image: MsiImage[ImageFiles], finer: Sequence[MsiImage[ImageFiles]], progress: Progress
    ) -> tuple[ImageFiles, Sequence[str]]:
        name = f"{image.image.name}.tif"
        pair = PairFiles(image.image, BandFiles(tuple(finer)), files.mask)
        described = json.dumps(fingerprint(pair, own), default=str)
        sharp = ImageFiles(image.image.name, (str(staged.folder / name),))
        if staged.holds(name, described):
            return sharp, ()
        staged.folder.mkdir(exist_ok=True)
        to = Outputs(sharp.paths[0], None, WriteOptions(nodata=math.nan), overwrite=True, resumed=False)
        fusion = fuse_files(pair, to, own, tiling._replace(resume=False), None, progress)
        staged.seal(name, described)
        return sharp, fusion.notes

    used, notes = to_finest(msi.parts, staged.header(files.hsi), sharpen, report)
    return replace(files, msi=BandFiles(tuple(used))), tuple(notes)


@contextmanager
def _staging(out: str | Path, store: TileStore, resumed: bool) -> Iterator[StagedFiles]:
    """Give staged files; their copies are removed unless an interrupted job needs them."""
    staged = StagedFiles(out, resume=resumed)
    try:
        yield staged
    except LockedError:  # they belong to another process
        raise
    except BaseException:
        if not store.folder.exists():
            with uninterrupted():
                staged.remove()
        raise
    with uninterrupted():
        staged.remove()


@contextmanager
def _removed(store: TileStore, *, keep: bool) -> Iterator[None]:
    """Remove the store of a job that fails or is interrupted, unless it holds what is worth resuming from.

    That is a finished tile, or what was learnt; not of a job that is refused before a tile is finished.
    """
    remove = store.remove if keep else remove_at_the_end(store.folder, store.remove)
    try:
        yield
    except BaseException as error:
        worth = store.holds_tiles() or (store.has_model() and not isinstance(error, InputError))
        if not (keep and worth):
            with uninterrupted():
                remove()
        raise
    if not keep:
        remove()


def _match_headers(source: PairSource, geometry: PairGeometry) -> MatchedSource:
    """Match a pair by its headers without the warnings, which follow when it is fused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HyperfuseWarning)
        return source.matched(match_stated(source.hsi.header, source.msi.header, geometry))


def _is_large(files: PairFiles, staged: StagedFiles, geometry: PairGeometry, memory_gb: float | None) -> bool:
    """Return whether a pair takes too much memory to be fused whole, by its headers."""
    try:
        hsi, msi = staged.open(files.hsi), staged.open(files.msi)
        with closing(PairSource(hsi, msi)) as source:
            matched = _match_headers(source, geometry)
    except InputError:  # reported when the pair is fused
        return False
    rows, cols = matched.match.msi[2:]
    limit = _MEMORY_FRACTION * total_bytes() if memory_gb is None else memory_gb * 1e9
    return 4 * matched.hsi_header.bands * rows * cols * _IMAGES > limit


def _tile_side(source: MatchedSource, job: FusionJob) -> int:
    """Return the side of tiles in HR pixels, as memory allows."""
    cost = job.method.capabilities.bytes_per_pixel
    bytes_per_pixel = cost.hsi_band * source.hsi_header.bands + cost.msi_band * source.msi_header.bands
    sensor, margin = source.match.sensor, job.margin(source.match.sensor)
    if sensor.displacement is not None:
        moved = sensor.displacement.largest(source.match.hsi[2:]) / min(sensor.ratio)
        margin, bytes_per_pixel = margin + math.ceil(moved), bytes_per_pixel + operator_bytes(sensor)
    elif job.geometry.estimates_position:
        # A field may be found: there is to be room for its operators, and for LR pixels that it moves into a tile.
        margin, bytes_per_pixel = margin + _MAY_MOVE, bytes_per_pixel + operator_bytes(sensor)
    return tile_side(bytes_per_pixel, sensor.mean_ratio, margin, job.workers, job.memory_gb)


def _runner(workers: int, scheduler: str | None, key: str) -> Runner:
    if scheduler is not None:
        from hyperfuse.scenes.tiling.cluster import run_on_scheduler

        return partial(run_on_scheduler, scheduler=scheduler, key=key)
    if workers > 1:
        return partial(run_in_processes, workers=workers, threads=max(1, torch.get_num_threads() // workers))
    return run_here
