"""An image that is viewed: its header, and sources of its bands that several threads read at once."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader
from hyperfuse.cube.window import Window
from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.files import read
from hyperfuse.io.windows.open import open_windows
from hyperfuse.io.windows.overviews import open_overview
from hyperfuse.io.windows.source import BLOCKS, BlockLayout, WindowSource, layout_of

Bands = tuple[int, ...]
# Sources that are open at once, and threads that read: each source holds a file open and a block of it, decoded.
_MOST_OPEN, _MOST_READING = 24, 4
_MOST_HELD_BYTES = 150_000_000
# Of blocks larger than this one thread reads at a time: GDAL would decode them again and again for several.
_LARGE_BYTES = 32_000_000


@dataclass(frozen=True)
class Opening:
    """How sources of an image are opened.

    Attributes:
        header: of the whole image, all bands.
        open: returns a source of some bands at a level (0: the image; n: pixels that are 2**n larger).
        levels: the levels above 0 that the file holds, as overviews.
        layout: how it is stored.
        file: the path, or None of an image in memory.
        options: how it is read.
    """

    header: CubeHeader
    open: Callable[[Bands, int], WindowSource]
    levels: tuple[int, ...] = ()
    layout: BlockLayout = BLOCKS
    file: str | None = None
    options: ReadOptions = field(default_factory=ReadOptions)


def open_file(path: str | Path, options: ReadOptions) -> Opening:
    """Open a file: by windows where its format allows that, else read whole and held in memory.

    Raises:
        InputError: as :func:`hyperfuse.io.read`.
    """
    try:
        source = open_windows(path, options)
    except InputError:  # reading it whole reports what is wrong with a file that is missing or damaged
        return replace(open_cube(read(path, options)), file=str(path), options=options)
    header = source.header
    stored = getattr(source, "bands", tuple(range(header.bands)))  # an alpha band is none of the image's
    # Values that only the caller declares as gaps were averaged into overviews as data.
    factors: list[int] = getattr(source, "overviews", []) if options.nodata is None else []
    ranks = {factor.bit_length() - 1: rank for rank, factor in enumerate(factors) if factor & (factor - 1) == 0}

    ready = [source]

    def open_bands(bands: Bands, level: int) -> WindowSource:
        if level == 0 and len(bands) == header.bands and ready:
            return ready.pop()
        how = replace(options, bands=[stored[band] for band in bands])
        with warnings.catch_warnings(action="ignore", category=HyperfuseWarning):  # shown when it was opened first
            return open_windows(path, how) if level == 0 else open_overview(path, how, ranks[level])

    return Opening(header, open_bands, tuple(sorted(ranks)), layout_of(source), str(path), options)


def open_cube(cube: Cube) -> Opening:
    """Open an image in memory."""
    return Opening(cube.header, lambda bands, level: _CubeBands(cube, bands))


class _CubeBands:
    """Some bands of a cube as a source of windows."""

    def __init__(self, cube: Cube, bands: Bands) -> None:
        self._cube, self._bands = cube, list(bands)
        self.header: CubeHeader = cube.header.select_bands(self._bands)

    def read(self, window: Window) -> Cube:
        part = np.ix_(self._bands, *(range(axis.start, axis.stop) for axis in window.slices))
        valid = self._cube.valid
        return Cube.from_header(
            self.header.crop(*window), self._cube.data[part], None if valid is None else valid[part]
        )

    def may_hold_data(self, window: Window) -> bool:
        return True

    def close(self) -> None:
        pass


class ViewedImage:
    """An image of which several threads read windows of some bands.

    Args:
        name: that is shown.
        opening: how it is opened.

    Attributes:
        header: of the whole image.
        layout: how it is stored.
        levels: levels of overviews in the file, above 0.
    """

    def __init__(self, name: str, opening: Opening) -> None:
        self.name, self.opening = name, opening
        self.header = opening.header
        self.levels, self.layout = opening.levels, opening.layout
        held = self.layout.rows * self.layout.cols * min(self.layout.bands, self.header.bands) * 4
        self._most = min(max(_MOST_HELD_BYTES // held, 2), _MOST_OPEN)
        self._slots = threading.Semaphore(1 if held > _LARGE_BYTES else min(self._most, _MOST_READING))
        self._idle: list[tuple[tuple[Bands, int], WindowSource]] = []
        self._used = 0
        self._lock, self._closed = threading.Lock(), False

    @property
    def every_band(self) -> Bands:
        """The indices of all bands."""
        return tuple(range(self.header.bands))

    @contextmanager
    def source(self, bands: Bands, level: int) -> Iterator[WindowSource]:
        """Give a source that no other thread reads meanwhile.

        Raises:
            InputError: the file is no longer what it was.
        """
        with self._slots:
            source = self._taken((bands, level))
            kept = False
            try:
                yield source
                kept = True
            finally:
                with self._lock:
                    self._used -= 1
                    kept = kept and not self._closed
                    if kept:
                        self._idle.append(((bands, level), source))
                if not kept:
                    source.close()

    def _taken(self, key: tuple[Bands, int]) -> WindowSource:
        """Return an open source, and close the one that was not used for the longest time where there are too many."""
        dropped = None
        with self._lock:
            self._used += 1
            found = next((one for one in reversed(self._idle) if one[0] == key), None)
            if found is not None:
                self._idle.remove(found)
                return found[1]
            if self._idle and self._used + len(self._idle) > self._most:
                dropped = self._idle.pop(0)[1]
        if dropped is not None:
            dropped.close()
        try:
            return self.opening.open(*key)
        except BaseException:
            with self._lock:
                self._used -= 1
            raise

    def values(self, bands: Bands, level: int, window: Window) -> NDArray[np.floating]:
        """Return a window of a level that the file holds, (bands, rows, cols), NaN in gaps.

        Raises:
            InputError: damaged data, or NaN that nothing declares.
        """
        with self.source(bands, level) as source:
            return values_of(source, window)

    def touched(self, bands: Bands) -> int:
        """Return how many bands are decoded when some are read."""
        together = self.layout.bands
        return min(len({band // together for band in bands}) * together, self.header.bands)

    def close(self) -> None:
        """Close what is open."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for _, source in idle:
            source.close()


def values_of(source: WindowSource, window: Window) -> NDArray[np.floating]:
    """Return a window of a source, (bands, rows, cols), NaN in gaps, without reading where there is nothing.

    Raises:
        InputError: damaged data, or NaN that nothing declares.
    """
    if not source.may_hold_data(window):
        return np.full((source.header.bands, window.rows, window.cols), np.nan, np.float32)
    return source.read(window).data
