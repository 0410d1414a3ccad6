"""WindowSource: an image of which windows are read, so that only a part of it is ever in memory."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Protocol

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader
from hyperfuse.cube.window import Window
from hyperfuse.errors import HyperfuseWarning
from hyperfuse.io.encoding.damage import named


class WindowSource(Protocol):
    """An image of which windows are read: a file, a cube in memory, or a warped view of another source."""

    @property
    def header(self) -> CubeHeader:
        """Metadata of the whole image."""

    def read(self, window: Window) -> Cube:
        """Return a window as a cube, with the window's own transform.

        Raises:
            InputError: a window outside the image, damaged data, NaN that nothing declares.
        """

    def may_hold_data(self, window: Window) -> bool:
        """Return False where it is known, without reading, that all of a window is a gap."""

    def close(self) -> None:
        """Close the file, if there is one."""


class FileSource(ABC):
    """A :class:`WindowSource` that reads a file; subclasses read the values.

    Attributes:
        path: the file.
        header: metadata of the whole image, of the bands that are read.
    """

    path: Path
    header: CubeHeader

    def read(self, window: Window) -> Cube:
        """Return a window as a cube; see :meth:`WindowSource.read`."""
        with named(self.path):
            header = self.header.crop(*window)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", HyperfuseWarning)  # reported once, when the header was read
                cube = self._load(window)
        return cube.replace(transform=header.transform)

    def may_hold_data(self, window: Window) -> bool:
        """Return False where it is known, without reading, that all of a window is a gap."""
        return True

    def _read_header(self, rows: int, cols: int, sample: int) -> CubeHeader:
        """Return the header of the whole image from one that is read with a window of a few pixels at its corner."""
        part = self._load(Window(0, 0, min(sample, rows), min(sample, cols))).header
        return part.replace(shape=(part.bands, rows, cols))

    @abstractmethod
    def _load(self, window: Window) -> Cube:
        """Read a window that lies in the image; its transform does not matter."""

    @abstractmethod
    def close(self) -> None:
        """Close the file."""
