"""Samples of a scene, on which everything that holds for all of it is computed once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader
from hyperfuse.errors import InputError
from hyperfuse.scenes.matching.grid import MatchedPair
from hyperfuse.scenes.source import MatchedSource
from hyperfuse.scenes.tiling.memory import pixels_within
from hyperfuse.scenes.tiling.plan import Tile, TilePlan

Bools = NDArray[np.bool_]

# Side of the parts by which two images are matched, in LR pixels: enough for a shift of a tenth of an HR pixel.
_PART_SIDE = 96
_PARTS, _PARTS_READ = 9, 18
# A part of which this fraction holds data is taken as it comes, others only where there are too few of these.
_FILLED = 0.9
# Samples to which a model is fitted are large, so that as little of them is border; bytes per HR pixel of each band, as
# measured: a method may hold every sample at HR.
_SAMPLE_SIDE, _SAMPLE_MARGIN = 256, 4  # HR and LR pixels
_SAMPLE_HSI, _SAMPLE_MSI = 8, 110
_MIN_SAMPLES, _MAX_SAMPLES = 4, 12


def filled_tiles(source: MatchedSource, tiles: Iterable[Tile]) -> list[Tile]:
    """Return the tiles that may hold data, as far as that is known without reading."""
    return [tile for tile in tiles if source.may_hold_data(tile)]


def spread(tiles: Sequence[Tile], count: int) -> Iterator[Tile]:
    """Yield all tiles: first ``count`` far from each other, then the others in their order."""
    size = len(tiles)
    for index in dict.fromkeys([(2 * k + 1) * size // (2 * count) for k in range(count)] + list(range(size))):
        yield tiles[index]


def bands_with_data(source: MatchedSource, plan: TilePlan) -> tuple[Bools, Bools]:
    """Return which bands of HSI and MSI are neither bad nor empty, bool (bands,) and (msi_bands,).

    Args:
        source: the scene.
        plan: of what is read at a time; reading ends where all bands were found to hold data.

    Raises:
        InputError: none does.
    """
    low = (tile.lr for tile in plan.tiles() if source.hsi_may_hold_data(tile.lr))
    high = (tile.hr for tile in plan.tiles() if source.msi_may_hold_data(tile.hr))
    bands = _bands(source.hsi_header, map(source.read_hsi, low))
    msi_bands = _bands(source.msi_header, map(source.read_msi, high))
    if not bands.any() or not msi_bands.any():
        raise InputError(f"the {'MSI' if bands.any() else 'HSI'} holds no data where the two images overlap")
    return bands, msi_bands


def _bands(header: CubeHeader, windows: Iterable[Cube]) -> Bools:
    required = np.ones(header.bands, np.bool_) if header.good_bands is None else header.good_bands
    found = np.zeros(header.bands, np.bool_)
    for window in windows:
        found |= window.usable_bands
        if found[required].all():
            break
    return np.asarray(found & required, np.bool_)


def matching_parts(source: MatchedSource, whole: bool) -> list[MatchedPair]:
    """Return parts of a scene by which its images are matched.

    Args:
        source: the scene.
        whole: one part that is the scene; else parts with data, spread over it.
    """
    if whole:
        return [source.read(tile) for tile in source.whole.tiles()]
    side = int(np.ceil(_PART_SIDE * source.match.sensor.mean_ratio))
    tiles = filled_tiles(source, source.plan(side, 0).tiles())
    read: list[tuple[float, MatchedPair]] = []
    for number, tile in enumerate(spread(tiles, _PARTS)):
        part = source.read(tile)
        read.append((min(_filled(part.hsi), _filled(part.msi)), part))
        if number + 1 >= _PARTS_READ or sum(fraction > _FILLED for fraction, _ in read) >= _PARTS:
            break
    read = sorted(((fraction, part) for fraction, part in read if fraction > 0), key=lambda one: -one[0])
    return [part for _, part in read[:_PARTS]]


def parts_at_the_border(source: MatchedSource) -> list[MatchedPair]:
    """Return the parts in the corners of a scene and midway between them, as large as those that match its images."""
    side = int(np.ceil(_PART_SIDE * source.match.sensor.mean_ratio))
    tiles = list(source.plan(side, 0).tiles())
    lines = [
        sorted({0, last // 2, last}) for last in (max(tile.row for tile in tiles), max(tile.col for tile in tiles))
    ]
    at = {(row, col) for row in lines[0] for col in lines[1]}
    return [source.read(tile) for tile in filled_tiles(source, tiles) if (tile.row, tile.col) in at]


def _filled(cube: Cube) -> float:
    """Return the fraction of pixels that hold data."""
    return float(1 - cube.empty_pixels.mean()) if cube.usable_bands.any() else 0.0


def sample_plan(source: MatchedSource, whole: bool, tile: int | None, memory_gb: float) -> tuple[TilePlan, int]:
    """Return the windows among which samples of a scene are chosen, and how many.

    Args:
        source: the scene.
        whole: one sample that is the scene.
        tile: side of the windows in HR pixels, where no model is fitted to the samples; else None.
        memory_gb: memory that samples to which a model is fitted may take.
    """
    if whole:
        return source.whole, 1
    if tile is not None:
        return source.plan(tile, _SAMPLE_MARGIN), _MIN_SAMPLES
    side = _SAMPLE_SIDE + 2 * _SAMPLE_MARGIN * source.match.sensor.mean_ratio
    bytes_per_pixel = _SAMPLE_HSI * source.hsi_header.bands + _SAMPLE_MSI * source.msi_header.bands
    count = pixels_within(bytes_per_pixel, memory_gb) / side**2
    return source.plan(_SAMPLE_SIDE, _SAMPLE_MARGIN), int(min(max(count, _MIN_SAMPLES), _MAX_SAMPLES))


def fits_whole(source: MatchedSource, bytes_per_pixel: float, memory_gb: float) -> bool:
    """Return whether a scene can be its own sample.

    Args:
        source: the scene.
        bytes_per_pixel: memory that a method takes, per HR pixel.
        memory_gb: memory that it may take.
    """
    rows, cols = source.match.msi[2:]
    return rows * cols <= pixels_within(bytes_per_pixel, memory_gb)
