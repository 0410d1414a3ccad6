"""Opening of a file to read it window by window."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader
from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.damage import named
from hyperfuse.io.encoding.options import ReadKeywords, ReadOptions, merge_options
from hyperfuse.io.encoding.scratch import recover
from hyperfuse.io.formats.registry import format_to_read, split_variable
from hyperfuse.io.products import find_product
from hyperfuse.io.windows.relabelled import RelabelledSource
from hyperfuse.io.windows.source import WindowSource


def open_windows(
    path: str | Path, options: ReadOptions | None = None, **keywords: Unpack[ReadKeywords]
) -> WindowSource:
    """Open a file to read windows of it: GeoTIFF, COG, ENVI, other rasters that GDAL opens, Zarr, and most products.

    Args:
        path: see :func:`hyperfuse.io.read`.
        options: how it is read.
        **keywords: fields of :class:`ReadOptions` in place of ``options``.

    Raises:
        InputError: no such file, or one of a format that has to be read whole.

    Example:
        >>> import numpy, pathlib, tempfile
        >>> from hyperfuse.cube.cube import Cube
        >>> from hyperfuse.cube.window import Window
        >>> from hyperfuse.io import write
        >>> folder = tempfile.TemporaryDirectory()
        >>> file = pathlib.Path(folder.name) / "cube.tif"
        >>> write(file, Cube(data=numpy.ones((2, 40, 50))))
        >>> open_windows(file).read(Window(8, 0, 10, 50)).data.shape
        (2, 10, 50)
    """
    file, variable = split_variable(path)
    how = merge_options(ReadOptions, options, keywords)
    recover(file.parent)
    with named(file):
        found = None if variable is not None else find_product(file)
        source: WindowSource
        if found is not None:
            product, members = found
            _check(product.windows, product.name)
            source = _ProductSource(file, product.open(members, how))
        else:
            entry = format_to_read(file)
            _check(entry.windows, entry.name)
            if how.quality is not None:
                raise InputError("quality is for products, and this is none; leave it out", "quality")
            source = entry.open(file, how, variable)
        changes = how.band_changes(source.header, file.name)
        return RelabelledSource(source, changes) if changes else source


def _check(windows: bool, name: str) -> None:
    if not windows:
        readable = "GeoTIFF, COG, ENVI, Zarr and most products"
        raise InputError(f"is {name}, which is read whole; windows are read of {readable}: convert it")


class _ProductSource:
    """The image of a product; errors about it name what the caller named."""

    def __init__(self, path: Path, source: WindowSource) -> None:
        self._path, self._source = path, source
        self.header: CubeHeader = source.header

    def read(self, window: Window) -> Cube:
        with named(self._path):
            return self._source.read(window)

    def may_hold_data(self, window: Window) -> bool:
        return self._source.may_hold_data(window)

    def close(self) -> None:
        self._source.close()
