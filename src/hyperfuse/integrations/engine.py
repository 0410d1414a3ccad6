"""``xr.open_dataset(path, engine="hyperfuse")``: every format and product that hyperfuse reads, window by window.

xarray imports this module with those of all other engines when it opens its first file, so that what reads files is
imported when one is opened. Nothing is claimed of files whose engine is not stated: those of other packages keep them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hyperfuse.runtime.optional import require

require("xarray", "the engine hyperfuse of xarray")

import xarray  # noqa: E402  (after the check)
from xarray.backends import BackendArray, BackendEntrypoint, CachingFileManager  # noqa: E402
from xarray.backends.locks import SerializableLock  # noqa: E402
from xarray.core import indexing  # noqa: E402

if TYPE_CHECKING:
    from hyperfuse.cube.header import CubeHeader
    from hyperfuse.io.encoding.options import ReadOptions
    from hyperfuse.io.windows.source import WindowSource

# Rows and columns of the chunks of ``chunks={}``.
_CHUNK = 512


class HyperfuseBackend(BackendEntrypoint):
    """The engine ``hyperfuse`` of ``xr.open_dataset``.

    The data set has one variable, ``cube``, float32 (float64 where the file holds that) with the dimensions (band, y,
    x), NaN in gaps, and as coordinates what the file states: ``wavelength`` and ``fwhm`` in nm, ``good_wavelengths``,
    ``band_name``, ``y``, ``x`` and ``spatial_ref``.

    Example:
        >>> import pathlib, tempfile
        >>> import hyperfuse as hf
        >>> folder = tempfile.TemporaryDirectory()
        >>> file = pathlib.Path(folder.name) / "cube.tif"
        >>> hf.write(file, hf.Cube(np.ones((2, 4, 5)), wavelengths=[450, 550]))
        >>> with xarray.open_dataset(file, engine=HyperfuseBackend) as opened:
        ...     opened.wavelength.values.tolist()
        [450.0, 550.0]
    """

    description: ClassVar[str] = "Hyperspectral and multispectral images and products, through hyperfuse"

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        bands: str | Sequence[int] | None = None,
        nodata: float | None = None,
        scale: float | None = None,
        offset: float | None = None,
        axes: str | None = None,
        quality: str | None = None,
        wavelengths: str | Sequence[float] | None = None,
        pixel_size: float | None = None,
    ) -> xarray.Dataset:
        """Open a file; see :class:`~hyperfuse.io.encoding.options.ReadOptions` for all but the first two arguments.

        Args:
            filename_or_obj: the file, after a colon its variable; or the folder of a product.
            drop_variables: coordinates to leave out.
            bands: see there.
            nodata: see there.
            scale: see there.
            offset: see there.
            axes: see there.
            quality: see there.
            wavelengths: see there.
            pixel_size: see there.

        Returns:
            The data set. GeoTIFF, COG, ENVI, Zarr, other rasters and products are read when values are needed, and
            only the windows and bands that are; other formats are read whole, at once.

        Raises:
            InputError: what :func:`hyperfuse.read` refuses.
        """
        from hyperfuse.cube.dataarray import encode_dataarray
        from hyperfuse.io.encoding.options import ReadOptions
        from hyperfuse.io.formats.registry import format_of, split_variable
        from hyperfuse.io.products import find_product

        path = os.fspath(filename_or_obj)
        given: dict[str, Any] = {
            "bands": bands, "nodata": nodata, "scale": scale, "offset": offset, "axes": axes, "quality": quality,
            "wavelengths": wavelengths, "pixel_size": pixel_size,
        }  # fmt: skip
        options = ReadOptions(**{name: value for name, value in given.items() if value is not None})
        file, name = split_variable(path)
        entry = format_of(file)
        if find_product(file, name) is None and entry is not None and not entry.windows:
            from hyperfuse.io.files import read

            opened, close = read(path, options).to_xarray().to_dataset(), None
        else:
            stored = _WindowArray(path, options)
            header, close = stored.header, stored.close
            # What stands for the values takes no memory; the lazy ones replace it.
            blank = np.broadcast_to(np.zeros((), stored.dtype), header.shape)
            array = encode_dataarray(header, blank, has_gaps=np.issubdtype(stored.dtype, np.floating))
            sides = {name: _CHUNK for name, size in zip("yx", header.shape[1:], strict=True) if size > _CHUNK}
            lazy = indexing.LazilyIndexedArray(stored)
            encoding = {**array.encoding, "preferred_chunks": sides}
            values = xarray.Variable(array.dims, lazy, array.attrs, encoding)
            opened = xarray.Dataset({array.name: values}, coords=array.coords)
        opened.set_close(close)
        opened.encoding["source"] = path
        return opened if drop_variables is None else opened.drop_vars(drop_variables)


class _WindowArray(BackendArray):
    """The values of an image of which windows are read; picklable, and safe to read from several threads."""

    def __init__(self, path: str, options: ReadOptions) -> None:
        if options.bands is not None:
            whole = _Opened(path, replace(options, bands=None, wavelengths=None))
            count = whole.source.header.bands
            whole.close()
            options = replace(options, bands=tuple(options.band_index(count) or ()))
        self._path, self._options, self._lock = path, options, SerializableLock()
        self._file = CachingFileManager(_Opened, path, options, lock=self._lock)
        with self._lock:
            source = self._file.acquire(needs_lock=False).source
            self.header: CubeHeader = source.header
            self.shape = source.header.shape
            # Of the values that a window has: that of a file follows from its contents.
            self.dtype = _read(source, 0, 0, 1, 1).dtype

    def close(self) -> None:
        self._file.close()

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        support = indexing.IndexingSupport.BASIC
        return indexing.explicit_indexing_adapter(key, self.shape, support, self._read)

    def _read(self, key: tuple[int | slice, ...]) -> NDArray[Any]:
        ranges = [range(*one.indices(size)) if isinstance(one, slice) else range(one, one + 1)
                  for one, size in zip(key, self.shape, strict=True)]  # fmt: skip
        squeezed = tuple(slice(None) if isinstance(one, slice) else 0 for one in key)
        if not all(map(len, ranges)):
            return np.empty([len(one) for one in ranges], self.dtype)[squeezed]
        steps = tuple(slice(None, None, one.step) if len(one) > 1 else slice(None) for one in ranges[1:])
        (top, rows), (left, cols) = ((min(one[0], one[-1]), abs(one[-1] - one[0]) + 1) for one in ranges[1:])
        with self._lock:
            if len(ranges[0]) == self.shape[0]:
                source = self._file.acquire(needs_lock=False).source
                values = _read(source, top, left, rows, cols)[:: ranges[0].step]
            else:
                values = self._some_bands(list(ranges[0]), top, left, rows, cols)
        return values[:, *steps][squeezed]

    def _some_bands(self, bands: list[int], *window: int) -> NDArray[Any]:
        known = self._options.bands
        chosen = bands if known is None else [int(known[band]) for band in bands]
        opened = _Opened(self._path, replace(self._options, bands=chosen, wavelengths=None))
        try:
            return _read(opened.source, *window)
        finally:
            opened.close()


class _Opened:
    """An open file, as xarray's cache of files keeps it: hashed by itself."""

    def __init__(self, path: str, options: ReadOptions) -> None:
        from hyperfuse.io.windows.open import open_windows

        self.source: WindowSource = open_windows(path, options)

    def close(self) -> None:
        self.source.close()


def _read(source: WindowSource, row: int, col: int, rows: int, cols: int) -> NDArray[Any]:
    from hyperfuse.cube.window import Window

    return source.read(Window(row, col, rows, cols)).data
