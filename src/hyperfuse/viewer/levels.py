"""Values of an image at any level of reduction: from its overviews, its pyramid, or its pixels where these are few."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np

from hyperfuse.cube.window import Window
from hyperfuse.errors import HyperfuseError
from hyperfuse.viewer.image import Bands, ViewedImage, values_of
from hyperfuse.viewer.pyramid import FIRST, DiskPyramid, Floats, reduced, reduced_size

# Stored values of an image that are read for one picture of it, in about a second; more need a pyramid.
_MOST_DIRECT = 64_000_000
# Values that are held at once while they are reduced, and values of a band that are read to sample it.
_MOST_HELD = 4_000_000
_MOST_SAMPLED = 262_144


class Levels:
    """The levels of an image, of which the pixels of level n are 2**n larger.

    Args:
        image: the image.
        pyramid: of it, or None where it needs none.
    """

    def __init__(self, image: ViewedImage, pyramid: DiskPyramid | None) -> None:
        self.image, self.pyramid = image, pyramid
        self._closed = threading.Event()

    def size(self, level: int) -> tuple[int, int]:
        """Return (rows, cols) of a level."""
        return reduced_size(self.image.header.rows, level), reduced_size(self.image.header.cols, level)

    def is_direct(self, bands: Bands, level: int) -> bool:
        """Return whether a level is made of what the file holds, without a pyramid."""
        held = self._held(level)
        rows, cols = self.size(held)
        few = rows * cols * self.image.touched(bands) <= _MOST_DIRECT
        if self.pyramid is None or level - held < FIRST:
            return True
        return few and not self.pyramid.done[list(bands)].all()

    def read(self, bands: Bands, level: int, window: Window) -> tuple[Floats, bool]:
        """Return a window of a level, (bands, rows, cols), NaN in gaps and in what is not known yet, and if all is.

        Raises:
            InputError: damaged data, or NaN that nothing declares.
        """
        if self.pyramid is not None and not self.is_direct(bands, level):
            return self.pyramid.read(bands, level, window)
        return self.reduce(bands, self._held(level), level, window), True

    def reduce(self, bands: Bands, held: int, level: int, window: Window) -> Floats:
        """Return a window of a level, reduced from a level that the file holds."""
        steps = level - held
        whole = self._whole(held, window, steps)
        values = np.full((len(bands), window.rows, window.cols), np.nan, np.float32)
        with self.image.source(bands, held) as source:
            for part in self._parts(bands, held, whole, 1 << steps):
                if self._closed.is_set():
                    raise HyperfuseError("the viewer was closed")
                rows, cols = (
                    slice((first - start) >> steps, reduced_size(first - start + count, steps))
                    for first, count, start in zip(part[:2], part[2:], whole[:2], strict=True)
                )
                values[:, rows, cols] = reduced(values_of(source, part), steps)
        return values

    def sample(self, bands: Bands, side: int) -> Floats:
        """Return values of about ``side`` x ``side`` pixels from all over the image, (bands, n), NaN in gaps.

        From a level of about this size where one is at hand, else from blocks of the image, as few as are read in a
        fraction of a second.
        """
        rows, cols = self.size(0)
        level = max(0, (max(rows, cols) // side).bit_length() - 1)
        held = self._held(level)
        small = int(np.prod(self.size(held))) * self.image.touched(bands) <= _MOST_DIRECT // 8
        if small or (self.pyramid is not None and level >= FIRST and self.pyramid.done[list(bands)].all()):
            level = level if small or self.pyramid is None else min(level, self.pyramid.last)
            values, _ = self.read(bands, level, Window(0, 0, *self.size(level)))
            return values.reshape(len(bands), -1)
        layout = self.image.layout
        width = min(layout.cols, cols)
        height = min(layout.rows, rows, max(1, _MOST_SAMPLED // width))
        cost = min(layout.rows, rows) * width * self.image.touched(bands)
        count = int(np.clip(np.sqrt(_MOST_DIRECT / 8 / cost), 1, 16))
        drawn = []
        for row in _spread(rows, layout.rows, count):
            for col in _spread(cols, layout.cols, count):
                window = Window(row, col, min(height, rows - row), min(width, cols - col))
                values = self.image.values(bands, 0, window)
                drawn.append(values[:, :: -(-height // 64), :: -(-width // 256)].reshape(len(bands), -1))
        return np.concatenate(drawn, axis=1).astype(np.float32, copy=False)

    def cell(self, bands: Bands, cell: tuple[int, int]) -> Floats:
        """Return a cell of the first level of the pyramid, (bands, rows, cols)."""
        assert self.pyramid is not None
        window = self.pyramid.cell_window(cell)
        return self.reduce(bands, self._held(FIRST), FIRST, window)

    def stop(self) -> None:
        """End what other threads read, with an error in them."""
        self._closed.set()

    def close(self) -> None:
        """Close the files."""
        self.stop()
        self.image.close()
        if self.pyramid is not None:
            self.pyramid.close()

    def _held(self, level: int) -> int:
        """Return the highest level, up to this one, that the file holds."""
        return max((one for one in self.image.levels if one <= level), default=0)

    def _whole(self, held: int, window: Window, steps: int) -> Window:
        """Return the window of a level that the file holds of which a window of a higher one is made."""
        rows, cols = self.size(held)
        row, col = window.row << steps, window.col << steps
        return Window(row, col, min(window.rows << steps, rows - row), min(window.cols << steps, cols - col))

    def _parts(self, bands: Bands, held: int, whole: Window, factor: int) -> Iterator[Window]:
        """Give parts of a window that are reduced one after the other: inside one block of the file if that helps."""
        layout = self.image.layout
        limit = _MOST_HELD // len(bands)
        width = _multiple(min(layout.cols, limit // factor), factor, whole.cols)
        height = _multiple(limit // width, factor, whole.rows)
        # A block of the file is decoded once while the parts inside it are read one after the other.
        tiled = layout.cols < self.image.header.cols and layout.rows >= factor
        block = _multiple(layout.rows, factor, whole.rows) if tiled else height
        height = min(height, block)
        for start in range(0, whole.rows, block):
            for left in range(0, whole.cols, width):
                for top in range(start, min(start + block, whole.rows), height):
                    rows = min(height, start + block - top, whole.rows - top)
                    yield Window(whole.row + top, whole.col + left, rows, min(width, whole.cols - left))


def _multiple(size: int, factor: int, most: int) -> int:
    """Return the multiple of a factor near ``size``, at least one, or ``most`` where that is less."""
    return min(max(size // factor, 1) * factor, -(-most // factor) * factor)


def _spread(size: int, block: int, count: int) -> list[int]:
    """Return where blocks start, ``count`` at most, all over an axis."""
    starts = np.arange(0, size, block)
    chosen = np.unique(((np.arange(count) + 0.5) * starts.size / count).astype(int))
    return [int(start) for start in starts[chosen]]
