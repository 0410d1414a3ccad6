"""The one pipeline: match, fit on samples, and for every window read, fuse, cut; blend, write, record."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader
from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.methods.contract.method import MethodSettings, Model
from hyperfuse.progress import Progress, part, silent
from hyperfuse.runtime.threads import let_idle_threads_sleep
from hyperfuse.scenes.gaps import GapRegression
from hyperfuse.scenes.job import FusionJob
from hyperfuse.scenes.matching.blind import Match, match_samples
from hyperfuse.scenes.matching.displaced import displacement_of, match_stated
from hyperfuse.scenes.matching.grid import MatchedPair
from hyperfuse.scenes.matching.quantities import binary_exponent, largest_values, positions_lost
from hyperfuse.scenes.matching.undeclared import find_undeclared, undeclared_pixels, without_undeclared
from hyperfuse.scenes.overview import SceneComponents, scene_components
from hyperfuse.scenes.preview import Preview
from hyperfuse.scenes.record import UNCERTAINTY, history_step, result_header
from hyperfuse.scenes.samples import (
    bands_with_data,
    filled_tiles,
    fits_whole,
    matching_parts,
    parts_at_the_border,
    sample_plan,
    spread,
)
from hyperfuse.scenes.saturation import negative_note, saturation_note
from hyperfuse.scenes.source import MatchedSource, PairSource
from hyperfuse.scenes.tiling.blend import ImageTarget, assemble, has_gaps
from hyperfuse.scenes.tiling.local import Runner
from hyperfuse.scenes.tiling.plan import TilePlan
from hyperfuse.scenes.tiling.store import Store
from hyperfuse.scenes.windows import FuseTile, ReadyWindow, Scene
from hyperfuse.sensor.displacement_map import DisplacementMap

_EMPTY = "no pixel holds data in both HSI and MSI; the result would be empty"
# Progress reached when a model is fitted, of one window and of many, and when the windows are fused.
_FITTED_WHOLE, _FITTED, _FUSED = 0.9, 0.1, 0.9
# Of a budget: seconds that are left at least to a method, what is written per second, uncompressed, on a machine that
# does nothing else, and how many times longer it may take at most on another.
_MIN_SECONDS, _BYTES_PER_SECOND, _SLOWEST = 0.1, 150e6, 10.0

ImageT = TypeVar("ImageT", Cube, CubeHeader)


class FusionTarget(Protocol):
    """Where windows and images go."""

    @property
    def store(self) -> Store:
        """Where finished windows go."""

    def keep(self, scene: Scene) -> None:
        """Keep what was learnt of a scene, before its windows are fused."""

    def scene(self) -> Callable[[], Scene] | None:
        """Return what gives the scene in any process that fuses windows of it; None before it is kept."""

    def image(self, header: CubeHeader) -> AbstractContextManager[ImageTarget]:
        """Open the fused image."""

    def uncertainty(self, header: CubeHeader) -> AbstractContextManager[ImageTarget]:
        """Open the image of its uncertainty."""


@dataclass(frozen=True)
class Fusion(Generic[ImageT]):
    """A fused image with what is known about it.

    Attributes:
        image: on the MSI's grid with the HSI's bands; its header where the image was written to a file.
        uncertainty: image of the same grid, bands and unit: standard deviation of the expected error. None where it
            was not requested (setting ``uncertainty``).
        match: how the two images relate, and what was estimated.
        model: fitted to the scene; None where every window is fitted by itself.
        notes: what was decided, a sentence each.
        windows: how many windows the scene was fused in, and how many of them hold data.
        preview: the pair and the result, or a part of them; None where it was not requested.
        displacement: where the HSI's pixels lie against the headers.
    """

    image: ImageT
    uncertainty: ImageT | None
    match: Match = field(repr=False)
    model: Model | None = field(repr=False)
    notes: tuple[str, ...]
    windows: tuple[int, int]
    preview: Preview | None = field(default=None, repr=False)
    displacement: DisplacementMap | None = field(default=None, repr=False)


def fuse_windows(
    source: PairSource, target: FusionTarget, job: FusionJob, run: Runner, progress: Progress = silent
) -> Fusion[CubeHeader]:
    """Fuse a scene, window by window.

    Everything that holds for the whole scene is computed once, on samples of it, before the first window: units,
    registration, responses, radiometry, saturation, how gaps are filled, and the model of the method. A scene that is
    fused whole is one sample and one window.

    Args:
        source: the pair.
        target: where windows and images go.
        job: what is to be done.
        run: calls a task for every window.
        progress: called with the fraction done.

    Returns:
        What is known about the fused image; ``image`` and ``uncertainty`` are headers of what was written.

    Raises:
        InputError: a pair, a name or a setting that does not fit; the message says what to do.
        HyperfuseError: no space left, or workers that are killed.
    """
    fitted = _FITTED_WHOLE if job.tile is None and job.method.capabilities.shared_model else 0.0
    fitted = fitted if job.tile is None else _FITTED
    ready: dict[str, ReadyWindow] = {}
    if target.scene() is None:
        target.keep(fit_scene(source, job, ready, part(progress, 0.0, fitted)))
    opener = target.scene()
    assert opener is not None  # kept now
    scene, store = opener(), target.store
    plan = _plan(scene.source, job, job.margin(scene.sensor, scene.model))
    tiles = filled_tiles(scene.source, plan.tiles())
    details: dict[str, Any] = {}
    fused = 1.0 if plan.count == 1 else _FUSED
    windows = part(progress, fitted, fused)
    task = FuseTile(opener, store, windows if job.tile is None else silent, ready, details)
    waiting = [tile for tile in tiles if not store.done(tile.name)]
    with closing(run(task, waiting)) as results:
        for number, _ in enumerate(results, len(tiles) - len(waiting) + 1):
            if job.tile is not None:
                windows(number / len(tiles), f"tile {number} of {len(tiles)}")
    lost = [tile for tile in tiles if not store.done(tile.name)]
    if lost:
        raise HyperfuseError(f"{len(lost)} of {len(tiles)} tiles are missing; can all workers write the tiles?")
    held = [tile for tile in tiles if not store.is_empty(tile.name)]
    if not held:
        raise InputError(_EMPTY)
    count, gaps = int(scene.bands.sum()), has_gaps(plan, held, store)
    more: dict[str, Any] = {} if job.inputs is None else {"inputs": dict(job.inputs)}
    if job.tile is not None:
        more["tiles"] = {"tile": job.tile, "overlap": job.margin(scene.sensor, scene.model), "job": job.digest}
    fit = scene.model.details if scene.model is not None else {}
    step = history_step(scene, job.seed, {**fit, **(details if job.tile is None else {})}, more)
    header, uncertain = result_header(scene, gaps, step), None
    joining = silent if plan.count == 1 else progress
    halfway = fused
    if len(store.get(held[0].name)) > count:
        uncertain = result_header(scene, gaps, {**step, "quantity": UNCERTAINTY})
        halfway = (1 + fused) / 2
        with target.uncertainty(uncertain) as image:
            assemble(image, plan, held, store, scene.bands, part(joining, fused, halfway), first=count)
    with target.image(header) as image:
        assemble(image, plan, held, store, scene.bands, part(joining, halfway, 1.0))
    match = scene.source.match
    displacement = displacement_of(match, source.hsi.header, source.msi.header, job.geometry)
    return Fusion(
        header,
        uncertain,
        match,
        scene.model,
        tuple(step["notes"]),
        (plan.count, len(held)),
        displacement=displacement,
    )


class MatchedScene(NamedTuple):
    """A matched pair: its source, the bands that hold data, parts of it as they were read, and whether one is all."""

    source: MatchedSource
    bands: NDArray[np.bool_]
    msi_bands: NDArray[np.bool_]
    parts: Sequence[MatchedPair]
    whole: bool


def match_scene(source: PairSource, job: FusionJob) -> MatchedScene:
    """Match two images by their headers, then on parts of them.

    Raises:
        InputError: images that do not fit together, or of which one holds no data.
    """
    let_idle_threads_sleep()
    headers = (source.hsi.header, source.msi.header)
    matched = source.matched(match_stated(*headers, job.geometry))
    capabilities = job.method.capabilities
    cost = capabilities.bytes_per_pixel
    bytes_per_pixel = cost.hsi_band * headers[0].bands + cost.msi_band * headers[1].bands
    whole = job.tile is None or fits_whole(matched, bytes_per_pixel, job.memory_gb)
    # A tile that is too small is refused before anything is fitted.
    plan = matched.whole if job.tile is None else matched.plan(job.tile, 0)
    bands = bands_with_data(matched, matched.whole if whole else plan)
    before = matched.match
    looked_at = matching_parts(matched, whole)
    if not whole:
        looked_at += parts_at_the_border(matched)
    undeclared, doubts = find_undeclared(looked_at, bands, headers, whole=whole)
    known = [without_undeclared(part.hsi, undeclared_pixels(part.hsi, undeclared.hsi)) for part in looked_at]
    exponent = binary_exponent(largest_values(known, known)[0])
    lost = () if source.offsets is not None else positions_lost(headers[0])
    before = replace(before, exponent=exponent, undeclared=undeclared, notes=(*before.notes, *lost, *doubts))
    match = match_samples(
        before,
        headers,
        job.geometry,
        bands,
        _Reader(source, whole),
        need_srf=capabilities.needs_srf,
        by_detector=capabilities.fuses_by_detector(job.settings),
    )
    matched = source.matched(match)
    parts = matching_parts(matched, whole)
    if not whole and len(match.notes) > len(before.notes):
        note = f"the two images are matched on {len(parts)} parts of the scene"
        matched = source.matched(replace(match, notes=(*match.notes, note)))
    return MatchedScene(matched, *bands, parts, whole)


class _Reader(NamedTuple):
    """Reads a pair as a match places it."""

    source: PairSource
    whole: bool

    def parts(self, match: Match) -> Sequence[MatchedPair]:
        """Return parts of the pair, those with most data first."""
        return matching_parts(self.source.matched(match), self.whole)

    def components(self, match: Match, bands: tuple[NDArray[np.bool_], NDArray[np.bool_]]) -> SceneComponents:
        """Return components of the whole pair, and how many LR pixels they bin along each axis."""
        return scene_components(self.source.matched(match), bands, whole=self.whole)


def fit_scene(source: PairSource, job: FusionJob, ready: dict[str, ReadyWindow], progress: Progress = silent) -> Scene:
    """Compute everything that holds for a whole scene.

    Args:
        source: the pair.
        job: what is to be done.
        ready: receives the one window of a scene that is fused whole, which is its sample.
        progress: called with the fraction done.

    Raises:
        InputError: a pair that does not fit together or holds no data.
    """
    progress(0.0, "matching the pair")
    found = match_scene(source, job)
    notes = [
        *job.notes,
        saturation_note("HSI", [part.hsi for part in found.parts]),
        saturation_note("MSI", [part.msi for part in found.parts]),
    ]
    if job.method.capabilities.nonnegative:
        notes += [negative_note("HSI", [part.hsi for part in found.parts], job.method.name)]
        notes += [negative_note("MSI", [part.msi for part in found.parts], job.method.name)]
    notes += job.method.capabilities.notes(found.source.match.sensor, job.settings)
    scene = Scene(found.source, found.bands, found.msi_bands, job.method, job.settings, job.device)
    shared = job.method.capabilities.shared_model
    plan, count = sample_plan(found.source, found.whole, None if shared else job.tile, job.memory_gb)
    tiles = spread(filled_tiles(found.source, plan.tiles()), count)
    windows = ((tile, scene.read(tile)) for tile in tiles)
    samples = list(islice(((tile, window) for tile, window in windows if window is not None), count))
    if not samples:
        raise InputError(_EMPTY)
    gaps = None
    if job.tile is not None or not samples[0][1].pair.complete:
        gaps = GapRegression.fit([window.pair for _, window in samples])
    if job.tile is None and not samples[0][1].pair.complete:
        progress(0.0, "filling gaps")
    pairs = [window.filled(gaps) for _, window in samples] if shared or job.tile is None else []
    model = job.method.fit(pairs, _fit_settings(job, found.source), progress) if shared else None
    if shared and not found.whole:
        notes.append(f"models of the whole scene are fitted to {count} samples of it")
    if job.tile is None:
        ready[samples[0][0].name] = (samples[0][1], pairs[0])
    seconds = None if shared else _window_seconds(job, found.source)
    return replace(scene, gaps=gaps, model=model, window_seconds=seconds, notes=tuple(note for note in notes if note))


def _fit_settings(job: FusionJob, source: MatchedSource) -> MethodSettings:
    """Return the settings of a fit: of a budget, what matching took and writing will take is subtracted."""
    if job.budget_seconds is None:
        return job.settings
    return job.settings.model_copy(update={"budget_seconds": _remaining_seconds(job, source, job.budget_seconds)})


def _window_seconds(job: FusionJob, source: MatchedSource) -> float | None:
    """Return the wall time for each window of a scene whose windows are fitted by themselves, None without a budget."""
    if job.budget_seconds is None:
        return None
    count = len(filled_tiles(source, _plan(source, job, job.margin(source.match.sensor)).tiles()))
    return max(_remaining_seconds(job, source, job.budget_seconds) * min(job.workers, count) / count, _MIN_SECONDS)


def _remaining_seconds(job: FusionJob, source: MatchedSource, budget_seconds: float) -> float:
    """Return what remains of a budget, less what writing will take."""
    rows, cols = source.match.msi[2:]
    taken = time.monotonic() - job.started
    # A machine with other work takes longer for all, for writing as for matching.
    slowness = min(max(1.0, taken / max(time.process_time() - job.computed, 0.01)), _SLOWEST)
    writing = slowness * 4 * source.hsi_header.bands * rows * cols * job.images / _BYTES_PER_SECOND
    return max(budget_seconds - taken - writing, _MIN_SECONDS)


def _plan(source: MatchedSource, job: FusionJob, margin: int) -> TilePlan:
    return source.whole if job.tile is None else source.plan(job.tile, margin)
