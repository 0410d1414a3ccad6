"""Windows of Zarr folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.window import Window
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.formats.zarr import open_zarr
from hyperfuse.io.windows.source import FileSource


class ZarrSource(FileSource):
    """An array in a Zarr folder, format 2 or 3."""

    def __init__(self, path: Path, options: ReadOptions, variable: str | None = None) -> None:
        self._cube = open_zarr(path, options, variable)
        super().__init__(path, self._cube.header)

    def _read_values(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        return self._cube.read(window)

    def close(self) -> None:
        """Do nothing: files of chunks are open only while they are read."""
