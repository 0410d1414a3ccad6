"""Images written window by window: GeoTIFF, COG, ENVI and Zarr, whole or absent like any other output."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Unpack

import rasterio

from hyperfuse.cube.header import CubeHeader
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.atomic import replacing
from hyperfuse.io.encoding.damage import named
from hyperfuse.io.encoding.options import WriteKeywords, WriteOptions, merge_options
from hyperfuse.io.formats.registry import format_of, resolve, split_variable
from hyperfuse.io.formats.targets import WindowTarget, prepare

# Windows that start and end at multiples of this are whole blocks of every format.
BLOCK = 256
_CACHE_MB = 128


def is_written_by_windows(path: str | Path) -> bool:
    """Return whether the format of an output can be written window by window."""
    entry = format_of(split_variable(path)[0])
    return entry is not None and entry.windows and entry.writer is not None


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

    Windows that are never written are gaps, which ``header.coding.nodata`` (or the option) marks. For the other
    arguments see :func:`hyperfuse.io.write`.

    Raises:
        InputError: what :func:`hyperfuse.io.write` refuses, or a format that is written whole.
        HyperfuseError: no space left, or another failure to write.
    """
    how = merge_options(WriteOptions, options, keywords)
    output = prepare(path, how, overwrite=overwrite)
    with named(output.path):
        if not output.format.windows:
            raise InputError(f"{output.format.name} is written whole; a large result goes to .tif, .img or .zarr")
        with replacing(output.path, stale=output.outdated) as scratch, rasterio.Env(GDAL_CACHEMAX=_CACHE_MB):
            target: WindowTarget = resolve(output.format.writer or "")(scratch, header, how, output.variable)
            try:
                yield target
                target.finish()
            except BaseException:
                target.abandon()
                raise
