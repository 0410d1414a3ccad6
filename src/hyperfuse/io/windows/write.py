"""Images written window by window: GeoTIFF, COG, ENVI and Zarr, whole or absent like any other output."""

from __future__ import annotations

import math
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader
from hyperfuse.cube.window import Window
from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.io.encoding.atomic import replacing
from hyperfuse.io.encoding.coding import encode_values, stored_coding
from hyperfuse.io.encoding.damage import named
from hyperfuse.io.encoding.options import WriteKeywords, WriteOptions, merge_options
from hyperfuse.io.formats import envi, geotiff
from hyperfuse.io.formats.registry import format_of, split_variable
from hyperfuse.io.formats.targets import prepare
from hyperfuse.io.windows.open import resolve

# Windows that start and end at multiples of this are whole blocks of every format.
BLOCK = 256
_CACHE_MB = 128


class WindowTarget(ABC):
    """An image that is being written.

    Attributes:
        path: the file.
        header: size and metadata of the image.
        options: how it is written.
        coding: how its values are stored.
    """

    def __init__(self, path: Path, header: CubeHeader, options: WriteOptions, variable: str | None) -> None:
        self.path, self.header, self.options = path, header, options
        self.coding = stored_coding(header, options, has_gaps=False)

    def write(self, window: Window, cube: Cube) -> None:
        """Write a window; its gaps become the mark of gaps, which the whole image has to have."""
        if cube.valid is not None and self.coding.nodata is None:
            raise HyperfuseError("a window with gaps in an image that was declared to have none")
        self._store(window, encode_values(cube, self.coding, self.options.dtype))

    @abstractmethod
    def _store(self, window: Window, stored: NDArray[Any]) -> None:
        """Put the numbers (bands, rows, cols) of a window into the file."""

    @abstractmethod
    def finish(self) -> None:
        """End the file and check that it is whole."""


def is_written_by_windows(path: str | Path) -> bool:
    """Return whether the format of an output can be written window by window."""
    entry = format_of(split_variable(path)[0])
    return entry is not None and entry.target is not None


@contextmanager
def writing_windows(
    path: str | Path,
    header: CubeHeader,
    options: WriteOptions | None = None,
    *,
    overwrite: bool = False,
    **keywords: Unpack[WriteKeywords],
) -> Iterator[WindowTarget]:
    """Give an image to write windows to; when the block ends without an error it is moved to its path, else removed.

    Windows that are never written are gaps.

    Args:
        path: the file; see :func:`hyperfuse.io.write`, as for the other arguments.
        header: size and metadata of the image. Its ``nodata`` (or the option) marks gaps.
        options: see there.
        overwrite: see there.
        **keywords: see there.

    Raises:
        InputError: what :func:`hyperfuse.io.write` refuses, or a format that is written whole.
        HyperfuseError: no space left, or another failure to write.
    """
    how = merge_options(WriteOptions, options, keywords)
    target = prepare(path, how, overwrite=overwrite)
    with named(target.path):
        if target.format.target is None:
            raise InputError(f"{target.format.name} is written whole; a large result goes to .tif, .img or .zarr")
        kind: type[WindowTarget] = resolve(target.format.target)
        with (
            replacing(target.path, stale=(*target.companions, *target.sidecars)) as scratch,
            rasterio.Env(GDAL_CACHEMAX=_CACHE_MB),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            writer = kind(scratch, header, how, target.variable)
            yield writer
            writer.finish()


class GeoTiffTarget(WindowTarget):
    """GeoTIFF in which blocks that were never written take no space; a COG is made of it at the end."""

    def __init__(self, path: Path, header: CubeHeader, options: WriteOptions, variable: str | None) -> None:
        super().__init__(path, header, options, variable)
        compression, cog, interleave = geotiff.layout_of(options)
        self._cog = geotiff.cog_options(header, compression) if cog else None
        self._plain = path.with_name(f"{path.name}.plain") if cog else path
        packing = geotiff.tiff_options(header, "none" if cog else compression, options.dtype, interleave)
        profile = {
            "driver": "GTiff",
            **geotiff.profile_of(header, self.coding, options.dtype),
            **packing,
            "sparse_ok": True,
        }
        # What will be deflated may still pass 4 GB: the size is not known before it is written.
        profile["bigtiff"] = "YES" if _bytes(header, options) > 2**31 else "IF_SAFER"
        self._tags = geotiff.file_tags(header, options.dtype)
        with geotiff.failures_as_os_errors():
            self._file = rasterio.open(self._plain, "w", **profile)
            geotiff.describe_file(self._file, header, self.coding, self._tags)

    def _store(self, window: Window, stored: NDArray[Any]) -> None:
        rows, cols = (window.row, window.row + window.rows), (window.col, window.col + window.cols)
        with geotiff.failures_as_os_errors():
            self._file.write(stored, window=(rows, cols))

    def finish(self) -> None:
        """Close the file, and make a COG of it if one is requested."""
        with geotiff.failures_as_os_errors():
            self._file.close()
        if self._cog is not None:
            from rasterio.shutil import copy

            geotiff.check_whole(self._plain, self.header, self._tags, sparse=True)
            with geotiff.failures_as_os_errors():
                copy(self._plain, self.path, driver="COG", bigtiff="IF_SAFER", sparse_ok="YES", **self._cog)
            self._plain.unlink()
        geotiff.check_whole(self.path, self.header, self._tags, sparse=True)


class EnviTarget(WindowTarget):
    """ENVI: the header by GDAL, the numbers written into a file that has its full size from the start."""

    def __init__(self, path: Path, header: CubeHeader, options: WriteOptions, variable: str | None) -> None:
        super().__init__(path, header, options, variable)
        self._order = envi.INTERLEAVES[envi.interleave_of(path, options)]
        with rasterio.Env(GDAL_PAM_ENABLED="NO"):
            envi.write_header(path, header, self.coding, options)
        size = _bytes(header, options)
        with path.open("wb") as file:
            # Space is taken now: a write to a mapped file on a full disk kills the process.
            os.posix_fallocate(file.fileno(), 0, size)
            if self.coding.nodata not in (None, 0.0):
                line = np.full(2**20, self.coding.nodata, options.dtype).tobytes()
                for start in range(0, size, len(line)):
                    file.write(line[: size - start])

    def _store(self, window: Window, stored: NDArray[Any]) -> None:
        shape = self.header.shape
        # Mapped for one window only: what stays mapped counts as memory of the process.
        mapped = np.memmap(self.path, self.options.dtype, "r+", shape=tuple(shape[axis] for axis in self._order))
        rows, cols = window.slices
        mapped.transpose(np.argsort(self._order))[:, rows, cols] = stored

    def finish(self) -> None:
        """Check the header."""
        envi.check_header(self.path, self.header, self.options.dtype)


class ZarrTarget(WindowTarget):
    """Zarr of format 3; chunks of gaps only are left out."""

    def __init__(self, path: Path, header: CubeHeader, options: WriteOptions, variable: str | None) -> None:
        from hyperfuse.io.formats.zarr import create_zarr

        super().__init__(path, header, options, variable)
        self._array = create_zarr(path, header, self.coding, options, variable)

    def _store(self, window: Window, stored: NDArray[Any]) -> None:
        rows, cols = window.slices
        self._array[:, rows, cols] = stored

    def finish(self) -> None:
        """Every chunk is a file that was written when it was stored."""


def _bytes(header: CubeHeader, options: WriteOptions) -> int:
    return math.prod(header.shape) * int(options.dtype.itemsize)
