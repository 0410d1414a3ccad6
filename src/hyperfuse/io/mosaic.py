"""Images of which the parts are in several files: tiles that lie on one grid, or bands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Unpack

import numpy as np

from hyperfuse.calls import checked
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader, shifted
from hyperfuse.errors import InputError, warn
from hyperfuse.io.encoding.damage import named
from hyperfuse.io.encoding.options import ReadKeywords, ReadOptions, merge_options
from hyperfuse.io.files import read
from hyperfuse.io.formats.registry import split_variable
from hyperfuse.io.formats.stack import common_attributes, same_grid, stack
from hyperfuse.io.products import find_product
from hyperfuse.io.windows.open import find_swaths, open_windows

# Origins may be off the grid by this fraction of a pixel; more would be a shift worth resampling.
_OFF_GRID = 1e-3
_LARGEST_SPARSE = 100_000_000
# A tile of one band that adds less than this fraction of its pixels is probably another band.
_LITTLE = 0.1
_CHOICE = "are they bands (stack=True) or tiles, of which the first counts where they overlap (stack=False)?"


@checked
def read_mosaic(
    paths: Sequence[str | Path], options: ReadOptions | None = None, **keywords: Unpack[ReadKeywords]
) -> Cube:
    """Read tiles that lie on one grid and merge them (pixels that none covers are gaps), or bands and stack them.

    Parts of one overpass in sensor geometry (EMIT) are put on one grid together, without a seam.

    Where tiles overlap the first one given counts, a later one fills its gaps. Attributes that are the same in all
    tiles are kept; a band is good where it is in all tiles. Files of one band each on one and the same grid are
    stacked as bands, in the order given, with a warning; ``stack`` of the options says which of the two it is.

    Args:
        paths: one file or more; one alone is simply read.
        options: how each is read; of a stack, ``bands`` and ``wavelengths`` are those of the stacked image.
        **keywords: fields of :class:`ReadOptions` in place of ``options``; see :func:`hyperfuse.io.read`.

    Raises:
        InputError: tiles with other bands, CRS, resolution or grid than the first, or without a transform; a file that
            adds nothing to those before it, where ``stack`` does not say that they are tiles.

    Example:
        >>> import numpy, pathlib, tempfile
        >>> from hyperfuse.io import write
        >>> folder = tempfile.TemporaryDirectory()
        >>> tiles = [pathlib.Path(folder.name) / name for name in ("west.tif", "east.tif")]
        >>> for tile, x in zip(tiles, (0, 150)):
        ...     write(tile, Cube(data=numpy.ones((2, 4, 5)), crs="EPSG:32633", transform=(30, 0, x, 0, -30, 0)))
        >>> read_mosaic(tiles).data.shape
        (2, 4, 10)
    """
    if not paths:
        raise InputError("no file is named")
    how = merge_options(ReadOptions, options, keywords)
    names = [str(path) for path in paths]
    each = replace(how, stack=None)
    if len(names) == 1:
        return read(paths[0], each)
    swaths = find_swaths(paths, each)
    if swaths is not None:
        with named(f"{names[0]} and {len(names) - 1} more"):
            cube = swaths[0].read(swaths[1], each)
            changes = how.band_changes(cube.header, names[0])
        return cube.replace(**changes) if changes else cube
    if _are_bands(names, how):
        whole = replace(each, bands=None, wavelengths=None)
        stacked = stack([read(path, whole) for path in paths], names)
        index = how.band_index(stacked.bands)
        stacked = stacked if index is None else stacked.select_bands(index)
        with named(f"{names[0]} and {len(names) - 1} more"):
            changes = how.band_changes(stacked.header, names[0])
        return stacked.replace(**changes) if changes else stacked
    return merge([read(path, each) for path in paths], names, certain=how.stack is False)


def _are_bands(names: Sequence[str], options: ReadOptions) -> bool:
    """Return whether files hold a band each, not a tile each."""
    if options.stack is not None:
        return options.stack
    each = replace(options, bands=None, wavelengths=None)
    headers = [_header(name, each) for name in names]
    first = headers[0]
    if first is None or not all(one is not None and one.bands == 1 and same_grid(first, one) for one in headers):
        return False
    centres = [float(one.wavelengths[0]) for one in headers if one is not None and one.wavelengths is not None]
    if len(set(centres)) < len(centres):
        raise InputError(f"{names[0]} and {len(names) - 1} more: {_CHOICE}", "stack")
    order = [Path(name).name for name in names]
    shown = ", ".join(order if len(order) < 7 else [*order[:3], "...", *order[-2:]])
    warn(f"{len(names)} files of one band on one grid are stacked as bands, not merged as tiles: {shown}")
    return True


def _header(name: str, options: ReadOptions) -> CubeHeader | None:
    """Return the header of a file; None of a product, which is never a single band."""
    file, variable = split_variable(name)
    if find_product(file, variable) is not None:
        return None
    try:
        with closing(open_windows(name, options)) as source:
            return source.header
    except InputError:
        return read(name, options).header


def merge(cubes: Sequence[Cube], names: Sequence[str], *, certain: bool = True) -> Cube:
    """Merge cubes on one grid; see :func:`read_mosaic`.

    ``names`` are for messages; ``certain``: a tile that adds nothing to those before it is not refused.
    """
    first = cubes[0]
    for cube, name in zip(cubes, names, strict=True):
        _check(first, names[0], cube, name)
    corners = [_corner(first, cube, name) for cube, name in zip(cubes, names, strict=True)]
    top, left = min(row for row, _ in corners), min(col for _, col in corners)
    rows = max(row + cube.rows for (row, _), cube in zip(corners, cubes, strict=True)) - top
    cols = max(col + cube.cols for (_, col), cube in zip(corners, cubes, strict=True)) - left
    covered = sum(cube.rows * cube.cols for cube in cubes)
    if rows * cols > max(_LARGEST_SPARSE, 100 * covered):
        raise InputError(f"the {len(cubes)} tiles lie far apart: together they would span {rows} x {cols} pixels")
    dtype = np.result_type(*(cube.data for cube in cubes))
    data = np.full((first.bands, rows, cols), np.nan, dtype)
    valid = np.zeros(data.shape, np.bool_)
    for cube, name, (row, col) in zip(cubes, names, corners, strict=True):
        window = np.s_[:, row - top : row - top + cube.rows, col - left : col - left + cube.cols]
        fresh = ~valid[window]
        if cube.valid is not None:
            fresh &= cube.valid
        own = fresh.size if cube.valid is None else int(np.count_nonzero(cube.valid))
        added = int(np.count_nonzero(fresh))
        if not certain and own and (added == 0 or (cube.bands == 1 and added < _LITTLE * own)):
            raise InputError(f"{name}: adds nothing to the files before it; {_CHOICE}", "stack")
        data[window] = np.where(fresh, cube.data, data[window])
        valid[window] |= fresh
    good = [cube.good_bands for cube in cubes if cube.good_bands is not None]
    return first.replace(
        data=data,
        valid=valid,
        transform=shifted(first.transform, top, left),
        good_bands=np.logical_and.reduce(good) if good else None,
        attributes=common_attributes(cubes),
        history=first.history if all(cube.history == first.history for cube in cubes) else (),
    )


def _check(first: Cube, first_name: str, cube: Cube, name: str) -> None:
    from hyperfuse.cube.crs import same_crs

    def refuse(what: str) -> InputError:
        return InputError(f"{name}: cannot be merged with {first_name}: {what}")

    if cube.transform is None or first.transform is None:
        raise refuse("a tile without a transform has no position on the grid")
    if cube.bands != first.bands:
        other = "; stack=True stacks them" if same_grid(first.header, cube.header) else ""
        raise refuse(f"{cube.bands} bands, not {first.bands}{other}")
    if not same_crs(cube.crs, first.crs):
        raise refuse(f"its CRS is {_short(cube.crs)}, not {_short(first.crs)}; reproject it")
    vectors, others = ([t.a, t.b, t.d, t.e] for t in (cube.transform, first.transform))
    if not np.allclose(vectors, others, rtol=1e-6):
        raise refuse(f"its pixels are {_pixel(cube)}, not {_pixel(first)}; resample it")
    for field in ("wavelengths", "fwhm"):
        own, others = getattr(cube, field), getattr(first, field)
        if (own is None) != (others is None) or (
            own is not None and not np.allclose(own, others, rtol=1e-4, equal_nan=True)
        ):
            raise refuse(f"its {field} differ")
    if cube.units != first.units:
        raise refuse(f"its units are {cube.units}, not {first.units}")


def _short(crs: str | None) -> str:
    return "not given" if crs is None else crs if len(crs) < 40 else f"{crs[:40]}…"


def _pixel(cube: Cube) -> str:
    height, width = cube.resolution or (math.nan, math.nan)
    return f"{height:g} x {width:g}"


def _corner(first: Cube, cube: Cube, name: str) -> tuple[int, int]:
    """Return row and column of the corner of a tile on the grid of the first."""
    assert first.transform is not None
    assert cube.transform is not None
    col, row = ~first.transform @ (cube.transform.c, cube.transform.f)
    if abs(row - round(row)) > _OFF_GRID or abs(col - round(col)) > _OFF_GRID:
        shift = f"{abs(row - round(row)):.3f} rows and {abs(col - round(col)):.3f} columns"
        raise InputError(f"{name}: lies off the grid of the first tile by {shift}; resample it to that grid")
    return round(row), round(col)
