"""Window: a part of an image."""

from __future__ import annotations

from typing import NamedTuple


class Window(NamedTuple):
    """A part of an image: its first row and column, and how many there are; ``header.crop(*window)``."""

    row: int
    col: int
    rows: int
    cols: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Slices of rows and columns."""
        return slice(self.row, self.row + self.rows), slice(self.col, self.col + self.cols)

    def moved(self, row: int, col: int) -> Window:
        """Return the window as seen from an image of which this one starts at (``row``, ``col``)."""
        return self._replace(row=self.row + row, col=self.col + col)
