"""Opening of a file to read it window by window."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader
from hyperfuse.cube.window import Window
from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io.encoding.damage import named
from hyperfuse.io.encoding.options import ReadKeywords, ReadOptions, merge_options
from hyperfuse.io.encoding.scratch import recover
from hyperfuse.io.formats.registry import format_to_read, split_variable
from hyperfuse.io.products import Product, find_product
from hyperfuse.io.products.members import Source
from hyperfuse.io.windows.relabelled import RelabelledSource
from hyperfuse.io.windows.source import WindowSource, offsets_of


def open_windows(
    path: str | Path | Sequence[str | Path], options: ReadOptions | None = None, **keywords: Unpack[ReadKeywords]
) -> WindowSource:
    """Open a file to read windows of it: GeoTIFF, COG, ENVI, other rasters that GDAL opens, Zarr, and products.

    Args:
        path: see :func:`hyperfuse.io.read`; several are parts of one overpass, see :func:`find_swaths`.
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
    how = merge_options(ReadOptions, options, keywords)
    if not isinstance(path, str | Path):
        return _open_several(path, how)
    file, variable = split_variable(path)
    recover(file.parent)
    with named(file):
        found = find_product(file, variable)
        source: WindowSource
        if found is not None:
            product, members = found
            source = _ProductSource(file, product.open([members], how))
        else:
            entry = format_to_read(file)
            if not entry.windows:
                readable = "GeoTIFF, COG, ENVI, Zarr and products"
                raise InputError(f"is {entry.name}, which is read whole; windows are read of {readable}: convert it")
            if how.quality is not None:
                raise InputError("quality is for products, and this is none; leave it out", "quality")
            source = entry.open(file, how, variable)
        return _relabelled(source, how, file.name)


def find_swaths(paths: Sequence[str | Path], options: ReadOptions) -> tuple[Product, list[Source]] | None:
    """Return the product and the files of paths that are swaths in sensor geometry of one product; else None."""
    found: list[tuple[Product, Source]] = []
    for path in paths:
        file, variable = split_variable(path)
        with named(file):
            one = find_product(file, variable)
            if one is None or (found and one[0] != found[0][0]):
                return None
            found.append(one)
            with warnings.catch_warnings():
                # What there is to say of a product is said when it is read.
                warnings.simplefilter("ignore", HyperfuseWarning)
                if not one[0].is_swath(one[1], options):
                    return None
    return (found[0][0], [source for _, source in found]) if found else None


def _open_several(paths: Sequence[str | Path], how: ReadOptions) -> WindowSource:
    where = str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
    swaths = find_swaths(paths, how)
    with named(where):
        if swaths is None:
            raise InputError("are read as one image, which is done whole")
        return _relabelled(_ProductSource(where, swaths[0].open(swaths[1], how)), how, str(paths[0]))


def _relabelled(source: WindowSource, how: ReadOptions, where: str) -> WindowSource:
    changes = how.band_changes(source.header, where)
    return RelabelledSource(source, changes) if changes else source


class _ProductSource:
    """The image of a product; errors about it name what the caller named."""

    def __init__(self, path: Path | str, source: WindowSource) -> None:
        self._path, self._source = path, source
        self.header: CubeHeader = source.header
        self.offsets = offsets_of(source)

    def read(self, window: Window) -> Cube:
        with named(self._path):
            return self._source.read(window)

    def may_hold_data(self, window: Window) -> bool:
        return self._source.may_hold_data(window)

    def close(self) -> None:
        self._source.close()
