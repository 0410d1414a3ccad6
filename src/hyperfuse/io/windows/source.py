"""WindowSource: an image of which windows are read, so that only a part of it is ever in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader
from hyperfuse.cube.window import Window
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

    def __init__(self, path: Path, header: CubeHeader) -> None:
        self.path, self.header = path, header

    def read(self, window: Window) -> Cube:
        """Return a window as a cube; see :meth:`WindowSource.read`."""
        with named(self.path):
            return Cube.from_header(self.header.crop(*window), *self._read_values(window))

    def may_hold_data(self, window: Window) -> bool:
        """Return False where it is known, without reading, that all of a window is a gap."""
        return True

    @abstractmethod
    def _read_values(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Return values and validity of a window that lies in the image, as in a cube."""

    @abstractmethod
    def close(self) -> None:
        """Close the file."""
