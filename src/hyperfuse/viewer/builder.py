"""The thread that builds pyramids: of the bands that are looked at first, then of the others of each image."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hyperfuse.errors import HyperfuseError
from hyperfuse.viewer.image import Bands
from hyperfuse.viewer.levels import Levels

# Values of cells that are held at once, and seconds after which what was added is recorded.
_MOST_HELD = 32_000_000
_BANDS_AT_ONCE = 8
# Seconds without a request after which work starts that nobody waits for.
_QUIET_SECONDS = 2.0


class Built(NamedTuple):
    """How far the bands are that somebody waits for.

    Attributes:
        fraction: in [0, 1]; 1 where nobody waits.
        failures: by the number of an image: why its pyramid cannot be built.
    """

    fraction: float
    failures: dict[int, str]


class Builder:
    """Builds the pyramids of images in a thread of its own.

    Args:
        images: the levels of each image; those without a pyramid are left alone.
    """

    def __init__(self, images: Sequence[Levels]) -> None:
        self._images = images
        self._requested: list[tuple[int, Bands]] = []
        self._wished: list[tuple[int, Bands]] = []
        self._quiet_from = 0.0
        self._failures: dict[int, str] = {}
        self._changed, self._ending = threading.Condition(), False
        self._thread: threading.Thread | None = None

    def want(self, number: int, bands: Bands) -> None:
        """Build the pyramid of some bands of an image before everything else."""
        with self._changed:
            if self._ending or number in self._failures:
                return
            missing = self._missing(number, bands)
            if missing and (number, missing) not in self._requested:
                self._requested.insert(0, (number, missing))
                self._changed.notify()
            self._start()

    def wish(self, number: int, bands: Bands) -> None:
        """Build the pyramid of some bands of an image, and then of the others, when nobody waits for anything."""
        with self._changed:
            if self._ending or number in self._failures:
                return
            self._quiet_from = time.monotonic() + _QUIET_SECONDS
            missing = self._missing(number, bands)
            if missing and (number, missing) not in self._wished:
                self._wished.append((number, missing))
            self._start()

    def progress(self) -> Built:
        """Return how far the bands are that were requested."""
        with self._changed:
            done, count = 0, 0
            for number, bands in self._requested:
                pyramid = self._images[number].pyramid
                if pyramid is not None:
                    part = pyramid.done[list(bands)]
                    done, count = done + int(part.sum()), count + part.size
            return Built(1.0 if count == 0 else done / count, dict(self._failures))

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._ending = True
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _start(self) -> None:
        if self._thread is None and any(one.pyramid is not None for one in self._images):
            self._thread = threading.Thread(target=self._run, name="hyperfuse-view-pyramids", daemon=True)
            self._thread.start()

    def _missing(self, number: int, bands: Bands) -> Bands:
        pyramid = self._images[number].pyramid
        if pyramid is None:
            return ()
        return tuple(band for band in bands if not pyramid.done[band].all())

    def _run(self) -> None:
        while True:
            with self._changed:
                self._requested = [(number, bands) for number, bands in self._requested if self._missing(number, bands)]
                job = self._requested[0] if self._requested else None
                while job is None and not self._ending:
                    remaining = self._quiet_from - time.monotonic()
                    job = None if remaining > 0 else self._background()
                    if job is None:
                        self._changed.wait(remaining if remaining > 0 else None)
                    job = self._requested[0] if self._requested else job
                if self._ending or job is None:
                    return
            number, bands = job
            try:
                self._build(number, self._together(number, bands))
            except (HyperfuseError, OSError, MemoryError) as error:
                with self._changed:
                    self._failures[number] = str(error)
                    self._requested = [one for one in self._requested if one[0] != number]

    def _background(self) -> tuple[int, Bands] | None:
        """Return bands that nobody waits for: those that were looked at, then others where all fit on the disk."""
        while self._wished:
            number, bands = self._wished.pop(0)
            missing = self._missing(number, bands)
            pyramid = self._images[number].pyramid
            if missing and number not in self._failures and pyramid is not None and pyramid.fits(len(missing)):
                return number, missing
        for number, levels in enumerate(self._images):
            missing = self._missing(number, levels.image.every_band)
            waits = missing and number not in self._failures
            if waits and levels.pyramid is not None and levels.pyramid.fits(len(missing)):
                return number, missing[:_BANDS_AT_ONCE] if levels.image.layout.bands == 1 else missing
        return None

    def _together(self, number: int, bands: Bands) -> Bands:
        """Return the bands to build in one pass: with those that are decoded with them, where all fit on the disk."""
        levels = self._images[number]
        assert levels.pyramid is not None
        together = levels.image.layout.bands
        groups = {band // together for band in bands}
        more = tuple(band for band in self._missing(number, levels.image.every_band) if band // together in groups)
        rows, cols = levels.pyramid.cell_window((0, 0))[2:]
        limit = max(_MOST_HELD // (rows * cols), 1)
        chosen = (*bands, *(band for band in more if band not in bands)) if levels.pyramid.fits(len(more)) else bands
        return tuple(sorted(chosen[:limit]))

    def _build(self, number: int, bands: Bands) -> None:
        """Add all cells of some bands, unless somebody starts to wait for others."""
        levels = self._images[number]
        assert levels.pyramid is not None
        first = self._requested[:1]
        for cell in np.ndindex(*levels.pyramid.cells):
            missing = tuple(band for band in bands if not levels.pyramid.done[band, *cell])
            if missing:
                values = levels.cell(missing, cell)
                for band, part in zip(missing, values, strict=True):
                    levels.pyramid.add(band, cell, part)
            if self._ending or self._requested[:1] != first:
                break
        levels.pyramid.save()
