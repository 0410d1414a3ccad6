"""Images written window by window: GeoTIFF, COG, ENVI and Zarr, whole or absent like any other output."""

from __future__ import annotations

import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError  # what the COG driver raises when it closes; public under no other name
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.io.encoding.atomic import replacing
from hyperfuse.io.encoding.coding import Encoded, encode, gap_mark
from hyperfuse.io.encoding.options import WriteOptions
from hyperfuse.io.files import companions_of, prepare_output, sidecars_of
from hyperfuse.io.formats import envi, geotiff
from hyperfuse.io.windows.open import Window

# Windows that start and end at multiples of this are whole blocks of every format.
BLOCK = 256
WRITABLE = ("GeoTIFF", "ENVI", "Zarr")
_CACHE_MB = 128


class WindowTarget(ABC):
    """An image that is being written."""

    def __init__(self, path: Path, outline: Cube, options: WriteOptions) -> None:
        self.path, self.outline, self.options = path, outline, options
        mark = gap_mark(outline, options)
        linear = (1.0, 0.0) if options.dtype.kind == "f" else (outline.scale, outline.offset)
        self.coding = Encoded(np.empty(0, options.dtype), *linear, mark)

    def write(self, window: Window, cube: Cube) -> None:
        """Write a window; its gaps become the mark of gaps, which the whole image has to have."""
        if cube.valid is not None and self.coding.nodata is None:
            raise HyperfuseError("a window with gaps in an image that was declared to have none")
        told = cube.replace(nodata=self.coding.nodata, scale=self.outline.scale, offset=self.outline.offset)
        self._store(window, encode(told, self.options).stored)

    @abstractmethod
    def _store(self, window: Window, stored: np.ndarray[Any, Any]) -> None:
        """Put the numbers (bands, rows, cols) of a window in place."""

    @abstractmethod
    def finish(self) -> None:
        """End the file and check that it is whole."""


@contextmanager
def writing_windows(
    path: str | Path,
    outline: Cube,
    *,
    dtype: Any = "float32",
    compress: str | None = None,
    overwrite: bool = False,
    nodata: float | None = None,
    **options: Any,
) -> Iterator[WindowTarget]:
    """Give an image to write windows to; when the block ends well it takes its place, else nothing is left of it.

    Windows that are never written are gaps. Options are those of :func:`hyperfuse.io.write`.

    Args:
        path: the file.
        outline: size and metadata of the image; its values do not matter. Its ``nodata`` (or the option) marks gaps.
        dtype: see there.
        compress: see there.
        overwrite: see there.
        nodata: see there.
        **options: see there.

    Raises:
        InputError: what :func:`hyperfuse.io.write` refuses, or a format that is written whole.
        HyperfuseError: no space left, or another failure to write.
    """
    target, entry, settings = prepare_output(path, overwrite, dtype, compress, nodata, options)
    try:
        if entry.name not in WRITABLE:
            raise InputError(f"{entry.name} is written whole; a large result goes to .tif, .img or .zarr")
        with (
            replacing(target, stale=(*companions_of(entry, target), *sidecars_of(target))) as scratch,
            rasterio.Env(GDAL_CACHEMAX=_CACHE_MB),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            writer = _TARGETS[entry.name](scratch, outline, settings)
            yield writer
            writer.finish()
    except InputError as error:
        raise InputError(f"{target}: {error}") from error.__cause__
    except HyperfuseError as error:
        if type(error) is not HyperfuseError:
            raise
        raise HyperfuseError(f"{target}: {error}") from error.__cause__


class _GeoTiffTarget(WindowTarget):
    """GeoTIFF in which blocks that were never written take no space; a COG is made of it at the end."""

    def __init__(self, path: Path, outline: Cube, options: WriteOptions) -> None:
        super().__init__(path, outline, options)
        compression, cog, interleave = geotiff.layout_of(options)
        self._cog = geotiff.cog_options(outline, compression) if cog else None
        self._plain = path.with_name(f"{path.name}.plain") if cog else path
        packing = geotiff.tiff_options(outline, "none" if cog else compression, options.dtype, interleave)
        profile = {"driver": "GTiff", **geotiff.profile_of(outline, self.coding), **packing, "sparse_ok": True}
        # What will be deflated may still pass 4 GB: the size is not known before it is written.
        profile["bigtiff"] = "YES" if _bytes(outline, options) > 2**31 else "IF_SAFER"
        self._tags = geotiff.file_tags(outline, options.dtype)
        with _gdal_told():
            self._file = rasterio.open(self._plain, "w", **profile)
            geotiff.describe_file(self._file, outline, self.coding, self._tags)

    def _store(self, window: Window, stored: np.ndarray[Any, Any]) -> None:
        rows, cols = (window.row, window.row + window.rows), (window.col, window.col + window.cols)
        with _gdal_told():
            self._file.write(stored, window=(rows, cols))

    def finish(self) -> None:
        with _gdal_told():
            self._file.close()
        if self._cog is not None:
            from rasterio.shutil import copy

            _check_blocks(self._plain, self.outline, self._tags)
            with _gdal_told():
                copy(self._plain, self.path, driver="COG", bigtiff="IF_SAFER", sparse_ok="YES", **self._cog)
            self._plain.unlink()
        _check_blocks(self.path, self.outline, self._tags)


@contextmanager
def _gdal_told() -> Iterator[None]:
    try:
        yield
    except (RasterioError, CPLE_BaseError) as error:
        raise OSError(str(error.__cause__ or error)) from error


def _check_blocks(path: Path, outline: Cube, tags: dict[str, str]) -> None:
    """Check the tags and that every block there is lies within the file: GDAL may close it on a full disk silently."""
    whole = True
    try:
        with rasterio.open(path) as written:
            size = path.stat().st_size
            height, width = written.block_shapes[0]
            planes = range(1, outline.bands + 1) if written.profile.get("interleave") == "band" else range(1, 2)
            whole = set(tags) <= set(written.tags()) and written.count == outline.bands
            for plane in planes:
                for y in range(-(-outline.rows // height)):
                    for x in range(-(-outline.cols // width)):
                        offset = written.get_tag_item(f"BLOCK_OFFSET_{x}_{y}", "TIFF", bidx=plane)
                        if offset is not None:
                            length = written.get_tag_item(f"BLOCK_SIZE_{x}_{y}", "TIFF", bidx=plane)
                            whole = whole and length is not None and int(offset) + int(length) <= size
    except RasterioError as error:
        raise HyperfuseError("cannot be written whole; is the disk full?") from error
    if not whole:
        raise HyperfuseError("cannot be written whole; is the disk full?")


class _EnviTarget(WindowTarget):
    """ENVI: the header by GDAL, the numbers put where they belong in a file that has its full size from the start."""

    def __init__(self, path: Path, outline: Cube, options: WriteOptions) -> None:
        super().__init__(path, outline, options)
        interleave = envi.interleave_of(path, options)
        options.compression(("none",), "none")
        if options.dtype == np.int8:
            raise InputError("ENVI has no int8; write int16")
        self._order = envi.INTERLEAVES[interleave]
        with rasterio.Env(GDAL_PAM_ENABLED="NO"):
            envi.write_header(path, outline, self.coding, interleave)
        size = _bytes(outline, options)
        with path.open("wb") as file:
            # Space is taken now: a write to a mapped file on a full disk kills the process.
            os.posix_fallocate(file.fileno(), 0, size)
            if self.coding.nodata not in (None, 0.0):
                line = np.full(2**20, self.coding.nodata, options.dtype).tobytes()
                for start in range(0, size, len(line)):
                    file.write(line[: size - start])

    def _store(self, window: Window, stored: np.ndarray[Any, Any]) -> None:
        shape = self.outline.data.shape
        # Mapped for one window only: what stays mapped counts as memory of the process.
        place = np.memmap(self.path, self.options.dtype, "r+", shape=tuple(shape[axis] for axis in self._order))
        by_band = place.transpose(np.argsort(self._order))
        by_band[:, window.row : window.row + window.rows, window.col : window.col + window.cols] = stored

    def finish(self) -> None:
        with rasterio.open(self.path) as written:
            missing = set(envi.header_items(self.outline, self.options.dtype)) - set(written.tags(ns="ENVI"))
        if missing:
            raise HyperfuseError(f"cannot be written: the header lacks {', '.join(sorted(missing))}; is the disk full?")


class _ZarrTarget(WindowTarget):
    """Zarr of format 3, laid out as by :func:`.formats.zarr.write_zarr`; chunks of gaps only are left out."""

    def __init__(self, path: Path, outline: Cube, options: WriteOptions) -> None:
        from hyperfuse.cube.cf import DIMENSIONS, GRID_MAPPING, attributes, coordinates
        from hyperfuse.io.encoding.variables import check_name
        from hyperfuse.io.formats import zarr as layout

        super().__init__(path, outline, options)
        zarr = layout.zarr_package()
        packed = {"compressors": None} if options.compression(("none", "zstd"), "zstd") == "none" else {}
        name, coords = check_name(options.variable), coordinates(outline)
        if name in coords or name in DIMENSIONS:
            raise InputError(f"{name!r} is the name of a coordinate; give the variable another")
        root = zarr.create_group(path, zarr_format=3)
        root.attrs.update(attributes(outline, ("scale", "offset") if options.dtype.kind == "f" else ()))
        for key, item in coords.items():
            values = item.values.astype(np.dtypes.StringDType()) if item.values.dtype.kind == "O" else item.values
            array = root.create_array(key, data=np.asarray(values), dimension_names=item.dims)
            array.attrs.update(item.attrs)
        shape = outline.data.shape
        chunks = tuple(min(size, most) for size, most in zip(shape, layout.CHUNK, strict=True))
        mark = self.coding.nodata
        self._array = root.create_array(
            name, shape=shape, dtype=options.dtype, chunks=chunks, dimension_names=DIMENSIONS,
            fill_value=0 if mark is None else options.dtype.type(mark), **packed,
        )  # fmt: skip
        about: dict[str, Any] = {"coordinates": " ".join(key for key in coords if key not in DIMENSIONS)}
        if GRID_MAPPING in coords:
            about["grid_mapping"] = GRID_MAPPING
        about["units"] = outline.units or ""
        if mark is not None:
            about["_FillValue"] = layout.encode_fill(mark, options.dtype)
        if (self.coding.scale, self.coding.offset) != (1.0, 0.0):
            about.update(scale_factor=self.coding.scale, add_offset=self.coding.offset)
        self._array.attrs.update({key: value for key, value in about.items() if value != ""})

    def _store(self, window: Window, stored: np.ndarray[Any, Any]) -> None:
        self._array[:, window.row : window.row + window.rows, window.col : window.col + window.cols] = stored

    def finish(self) -> None:
        pass  # every chunk is a file that was written when it was stored


_TARGETS: dict[str, type[WindowTarget]] = {"GeoTIFF": _GeoTiffTarget, "ENVI": _EnviTarget, "Zarr": _ZarrTarget}


def _bytes(outline: Cube, options: WriteOptions) -> int:
    return int(np.prod(outline.data.shape)) * options.dtype.itemsize
