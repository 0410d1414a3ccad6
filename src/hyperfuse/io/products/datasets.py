"""The bands and flags of a product in datasets of an HDF5 file, read by windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.wavelengths import to_nanometres
from hyperfuse.errors import InputError
from hyperfuse.io.products import hdf5
from hyperfuse.io.products.image import Part, ProductBand


@dataclass(frozen=True)
class DatasetBand:
    """A band in a dataset: its axes as letters of b (bands), r (rows) and c (cols), and the band's index there."""

    dataset: h5py.Dataset
    axes: str
    index: int = 0


@dataclass(frozen=True)
class FlagDataset:
    """A dataset (rows, cols) or (rows, cols, values) of flags; ``marked`` returns where those of pixels make gaps.

    That is (rows, cols), or with ``by_band`` (rows, cols, bands), for each band of the product.
    """

    dataset: h5py.Dataset
    marked: Callable[[NDArray[Any]], NDArray[np.bool_]]
    by_band: bool = False


class DatasetBands:
    """The bands of a product in an HDF5 file, and its flags; see :class:`~.image.StoredBands`.

    Args:
        file: open; it is closed with this.
        bands: in the order of the product.
        flags: of which some make gaps, in all bands.
        others: files that the flags are in; they are closed too.
    """

    def __init__(
        self,
        file: h5py.File,
        bands: Sequence[DatasetBand],
        flags: Sequence[FlagDataset] = (),
        others: Sequence[h5py.File] = (),
    ) -> None:
        self._files, self._bands, self._flags = (file, *others), bands, flags

    def read(self, bands: Sequence[int], part: Part) -> NDArray[Any]:
        """Return the numbers of bands in a part of their grid."""
        return read_datasets([self._bands[index] for index in bands], part)

    def gaps(self, bands: Sequence[int], part: Part) -> NDArray[np.bool_] | None:
        """Return where flags make gaps, (bands, rows, cols), or (1, rows, cols) where it is the same in all bands."""
        if not self._flags:
            return None
        by_band = any(flag.by_band for flag in self._flags)
        gaps = np.zeros((len(bands) if by_band else 1, *part.shape), np.bool_)
        for flag in self._flags:
            window, (rows, cols) = part.window.slices, _within(part)
            marked = flag.marked(hdf5.stored(flag.dataset, window)[rows[:, None], cols])
            gaps |= np.moveaxis(marked[..., list(bands)], -1, 0) if flag.by_band else marked
        return gaps

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()


def read_datasets(bands: Sequence[DatasetBand], part: Part) -> NDArray[Any]:
    """Return the numbers of bands in a part of their grid, (bands, rows, cols)."""
    runs: list[list[DatasetBand]] = []
    for band in bands:
        if not runs or runs[-1][-1].dataset != band.dataset:
            runs.append([])
        runs[-1].append(band)
    return np.concatenate([_numbers(run, part) for run in runs])


def cube_bands(dataset: h5py.Dataset, axes: str) -> list[DatasetBand]:
    """Return all bands of a dataset."""
    return [DatasetBand(dataset, axes, index) for index in range(dataset.shape[axes.index("b")])]


def spectral_bands(
    columns: tuple[NDArray[Any] | None, NDArray[Any] | None, NDArray[Any] | None],
    unit: str,
    count: int,
    where: str,
    nodata: tuple[float, ...] = (),
) -> list[ProductBand]:
    """Return bands of centres and widths in a unit, and of numbers that are 0 where a band is bad; each may be None.

    Raises:
        InputError: other than ``count`` of them, or a unit that is no length.
    """
    for column, what in zip(columns, ("wavelengths", "widths", "flags of bands"), strict=True):
        if column is not None and np.size(column) != count:
            raise InputError(f"lists {np.size(column)} {what} for {count} bands")
    centres, widths = to_nanometres(columns[0], unit, columns[1], where=where)
    nan = np.full(count, np.nan)
    known = (nan if centres is None else centres, nan if widths is None else widths)
    good = np.ones(count) if columns[2] is None else columns[2]
    return [
        ProductBand(centre=float(centre), width=float(width), good=bool(use), nodata=nodata)
        for centre, width, use in zip(*known, good, strict=True)
    ]


def _numbers(bands: Sequence[DatasetBand], part: Part) -> NDArray[Any]:
    """Return bands of one dataset, (bands, rows, cols)."""
    item, axes = bands[0].dataset, bands[0].axes
    indices = np.array([band.index for band in bands], np.intp)
    low, high = int(indices.min()), int(indices.max()) + 1
    # h5py is much faster with slices than with lists.
    taken: Any = slice(low, high) if high - low <= 4 * indices.size else np.unique(indices)
    position = indices - low if isinstance(taken, slice) else np.searchsorted(taken, indices)
    chosen = dict(zip("rc", part.window.slices, strict=True), b=taken)
    block = hdf5.stored(item, tuple(chosen[axis] for axis in axes))
    if "b" not in axes:
        block, axes = block[None], f"b{axes}"
    block = block.transpose([axes.index(letter) for letter in "brc"])
    rows, cols = _within(part)
    return block[position][:, rows[:, None], cols] if part.step > 1 else block[position]


def _within(part: Part) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows and columns that are read, counted from the window's."""
    return part.rows - part.window.row, part.cols - part.window.col
