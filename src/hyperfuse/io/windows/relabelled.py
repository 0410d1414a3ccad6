"""A view of an image with other metadata of its bands."""

from __future__ import annotations

from typing import Any

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader
from hyperfuse.cube.window import Window
from hyperfuse.io.windows.source import WindowSource, layout_of, offsets_of


class RelabelledSource:
    """A :class:`~hyperfuse.io.windows.source.WindowSource` with some fields of its header changed.

    Args:
        source: the image; it is closed with this view.
        changes: fields of its header, none of which depends on the window.
    """

    def __init__(self, source: WindowSource, changes: dict[str, Any]) -> None:
        self._source, self._changes = source, changes
        self.header: CubeHeader = source.header.replace(**changes)
        self.offsets, self.layout = offsets_of(source), layout_of(source)

    def read(self, window: Window) -> Cube:
        """Return a window as a cube, with the window's own transform."""
        return self._source.read(window).replace(**self._changes)

    def may_hold_data(self, window: Window) -> bool:
        """Return False where the source is known to hold no data for a window."""
        return self._source.may_hold_data(window)

    def close(self) -> None:
        """Close the source."""
        self._source.close()
