"""A pyramid of an image in the user's cache folder: its bands with pixels 4, 8, 16, ... times larger."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.window import Window
from hyperfuse.errors import HyperfuseError
from hyperfuse.io.encoding.atomic import replacing
from hyperfuse.runtime.locks import FileLock

Floats = NDArray[np.float32]
# Pixels of the first level are 4 times larger; of the last, the image has no side of more than this many.
FIRST, _LAST_SIDE = 2, 256
# Sides of the cells of the image that are added one after the other.
_CELL = 512
_FORMAT = 1
# What all pyramids may take on the disk together; the oldest are removed.
_MOST_BYTES = 20e9
_MOST_OF_FREE = 0.5


class DiskPyramid:
    """Levels of an image on the disk: a file of float32 for each band, its levels one after the other, NaN in gaps.

    A level holds the mean of the valid ones of 2 x 2 pixels of the level below. Files are made as bands are added, so
    that a pyramid takes the space of the bands that were viewed.

    Args:
        shape: (bands, rows, cols) of the image.
        identity: what distinguishes the image and how it is read from all others.
        folder: of all pyramids.
        strips: whether cells are as wide as the image: its rows are stored one by one.
    """

    def __init__(
        self, shape: tuple[int, int, int], identity: Sequence[Any], folder: Path, *, strips: bool = False
    ) -> None:
        self.shape = shape
        text = json.dumps([_FORMAT, shape, strips, *identity], default=str)
        self.folder = folder / hashlib.sha256(text.encode()).hexdigest()[:32]
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._lock = threading.Lock()
        sizes = [(reduced_size(shape[1], FIRST), reduced_size(shape[2], FIRST))]
        while max(sizes[-1]) > _LAST_SIDE:
            sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
        self._sizes = sizes
        self._starts = np.concatenate([[0], np.cumsum([rows * cols for rows, cols in sizes])]) * 4
        self._cell = (_CELL, -(-shape[2] // _CELL) * _CELL if strips else _CELL)
        self.cells = tuple(-(-size // side) for size, side in zip(shape[1:], self._cell, strict=True))
        self.done = np.zeros((shape[0], *self.cells), np.bool_)
        self._take_folder(folder)

    @property
    def last(self) -> int:
        """The level of the largest pixels."""
        return FIRST + len(self._sizes) - 1

    @property
    def bytes_per_band(self) -> int:
        """What a band takes on the disk."""
        return int(self._starts[-1])

    def _take_folder(self, folder: Path) -> None:
        """Lock the folder of this image, or use a temporary one where another process builds it."""
        try:
            for made in (folder, self.folder):
                made.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._held: FileLock | None = FileLock(self.folder / "lock")
        except OSError:
            self._held = None
            self._temporary = tempfile.TemporaryDirectory(prefix="hyperfuse-view-")
            self.folder = Path(self._temporary.name)
            return
        os.utime(self.folder)
        with contextlib.suppress(OSError, ValueError):
            done = np.load(self.folder / "done.npy", allow_pickle=False)
            if done.shape == self.done.shape and done.dtype == np.bool_:
                whole = [self._is_whole(band) for band in range(self.shape[0])]
                self.done = done & np.array(whole)[:, None, None]
        prune(folder, keep=self.folder)

    def fits(self, bands: int) -> bool:
        """Return whether this many bands more may be written."""
        needed = bands * self.bytes_per_band
        return needed <= min(_MOST_BYTES, _MOST_OF_FREE * shutil.disk_usage(self.folder).free)

    def cell_window(self, cell: tuple[int, int]) -> Window:
        """Return the window of the first level that a cell is."""
        (rows, cols), (height, width) = self._sizes[0], (side >> FIRST for side in self._cell)
        row, col = cell[0] * height, cell[1] * width
        return Window(row, col, min(height, rows - row), min(width, cols - col))

    def add(self, band: int, cell: tuple[int, int], values: Floats) -> None:
        """Add a cell of the first level of a band, (rows, cols), and what it adds to the levels above.

        Raises:
            OSError: the disk is full.
        """
        row, col, *_ = self.cell_window(cell)
        file = self._file(band)
        if not file.exists():
            with file.open("wb") as made:
                made.truncate(self.bytes_per_band)
        for rank, size in enumerate(self._sizes):
            if rank:
                values, row, col = halved(values), row // 2, col // 2
            level = np.memmap(file, np.float32, "r+", int(self._starts[rank]), size)
            level[row : row + values.shape[0], col : col + values.shape[1]] = values
        with self._lock:
            self.done[band, *cell] = True

    def read(self, bands: Sequence[int], level: int, window: Window) -> tuple[Floats, bool]:
        """Return a window of a level, (bands, rows, cols), NaN where nothing was added yet, and whether all was."""
        rank = min(level, self.last) - FIRST
        scale = 1 << level
        cells = tuple(
            slice(start * scale // side, -(-(start + count) * scale // side))
            for start, count, side in zip(window[:2], window[2:], self._cell, strict=True)
        )
        done = self.done[list(bands)][:, *cells]
        values = np.full((len(bands), window.rows, window.cols), np.nan, np.float32)
        for at, band in enumerate(bands):
            if not done[at].any():
                continue
            stored = np.memmap(self._file(band), np.float32, "r", int(self._starts[rank]), self._sizes[rank])
            values[at] = stored[window.slices]
            if not done[at].all():
                values[at][~self._added(done[at], cells, scale, window)] = np.nan
        return values, bool(done.all())

    def _added(self, done: NDArray[np.bool_], cells: Sequence[slice], scale: int, window: Window) -> NDArray[np.bool_]:
        """Return which pixels of a window lie in cells that were added."""
        index = [
            (np.arange(start, start + count) * scale // side) - axis.start
            for start, count, side, axis in zip(window[:2], window[2:], self._cell, cells, strict=True)
        ]
        return done[np.ix_(*index)]

    def size(self, level: int) -> tuple[int, int]:
        """Return (rows, cols) of a level."""
        return self._sizes[level - FIRST]

    def save(self) -> None:
        """Record which cells were added, so that the next viewer of this image has them."""
        if self._temporary is None:
            failing = contextlib.suppress(OSError, HyperfuseError)
            with self._lock, failing, replacing(self.folder / "done.npy") as scratch:
                np.save(scratch, self.done)

    def close(self) -> None:
        """Record what was added and let other processes use it."""
        self.save()
        if self._held is not None:
            self._held.release()
        if self._temporary is not None:
            self._temporary.cleanup()

    def _is_whole(self, band: int) -> bool:
        file = self._file(band)
        return file.is_file() and file.stat().st_size == self.bytes_per_band

    def _file(self, band: int) -> Path:
        return self.folder / f"band-{band + 1:05}.f32"


def prune(folder: Path, *, keep: Path, most: float = _MOST_BYTES) -> None:
    """Remove the pyramids that were not used for the longest time, until all take no more than ``most`` bytes."""
    held = [one for one in folder.iterdir() if one.is_dir() and one != keep]
    sizes = {one: sum(file.stat().st_blocks * 512 if hasattr(file.stat(), "st_blocks") else file.stat().st_size
                      for file in one.iterdir()) for one in held}  # fmt: skip
    total = sum(sizes.values())
    for one in sorted(held, key=lambda path: path.stat().st_mtime):
        if total <= most:
            return
        try:
            lock = FileLock(one / "lock")
        except OSError:  # in use
            continue
        lock.release()
        shutil.rmtree(one, ignore_errors=True)
        total -= sizes[one]


def reduced_size(size: int, level: int) -> int:
    """Return how many pixels of a level cover ``size`` pixels of the image."""
    return -(-size >> level)


def halved(values: NDArray[np.floating]) -> Floats:
    """Return the means of the valid ones of 2 x 2 pixels over the last two axes; of odd sizes the last alone."""
    return reduced(values, 1)


def reduced(values: NDArray[np.floating], levels: int) -> Floats:
    """Return the means of the valid ones of 2**levels x 2**levels pixels over the last two axes, NaN without any.

    Example:
        >>> reduced(np.array([[[1.0, 3.0, np.nan], [5.0, 7.0, 2.0]]]), 1).tolist()
        [[[4.0, 2.0]]]
    """
    factor = 1 << levels
    if factor == 1:
        return values.astype(np.float32, copy=False)
    *before, rows, cols = values.shape
    padding = [(0, 0)] * len(before) + [(0, -rows % factor), (0, -cols % factor)]
    if any(after for _, after in padding):
        values = np.pad(values, padding, constant_values=np.nan)
    shape = (*before, values.shape[-2] // factor, factor, values.shape[-1] // factor, factor)
    blocks = values.reshape(shape)
    valid = np.isfinite(blocks)
    if valid.all():
        means: Floats = blocks.mean(axis=(-3, -1), dtype=np.float32)
        return means
    count = valid.sum(axis=(-3, -1))
    total = np.where(valid, blocks, 0).sum(axis=(-3, -1), dtype=np.float32)
    return np.where(count > 0, total / np.maximum(count, 1), np.float32(np.nan)).astype(np.float32)
