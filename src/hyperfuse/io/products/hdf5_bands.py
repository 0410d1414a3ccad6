"""The bands of a product in datasets of an HDF5 file, with what flags gaps; see :class:`~.image.Stored`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.wavelengths import to_nanometres
from hyperfuse.io.products import hdf5
from hyperfuse.io.products.image import Part, ProductBand

# A dataset, the order of its axes ("rcb"), and its indices of those bands of the product that it holds, in their order.
BandCube = tuple[h5py.Dataset, str, Sequence[int]]
# Returns where flags make gaps in bands (indices) of a part of the image, (bands, rows, cols) or (1, rows, cols).
Flags = Callable[[Sequence[int], Part], NDArray[np.bool_]]


class Hdf5Bands:
    """The bands of a product in an HDF5 file; it closes the file.

    Args:
        path: of the file.

    Attributes:
        file: open.
        cubes: that hold the bands of the product, one after the other.
        flags: what makes gaps, or None.
    """

    def __init__(self, path: Path) -> None:
        self.file = hdf5.open_file(path)
        self._others: list[h5py.File] = []
        self.cubes: Sequence[BandCube] = ()
        self.flags: Flags | None = None

    def also(self, path: Path) -> h5py.File:
        """Open another file, which is closed with this one."""
        self._others.append(hdf5.open_file(path))
        return self._others[-1]

    def read(self, bands: Sequence[int], part: Part) -> NDArray[Any]:
        """Return the numbers of bands (indices) in a part of the image, (bands, rows, cols)."""
        found: list[NDArray[Any]] = []
        start = 0
        for item, axes, index in self.cubes:
            own = [index[band - start] for band in bands if start <= band < start + len(index)]
            if own:
                found.append(read_bands(item, axes, own, part))
            start += len(index)
        if len(found) == 1:
            return found[0]
        # Bands of several cubes may be asked for in any order.
        starts = np.cumsum([0, *(len(index) for _, _, index in self.cubes)])
        order = np.argsort(np.searchsorted(starts, bands, side="right"), kind="stable")
        return np.concatenate(found)[np.argsort(order)]

    def gaps(self, bands: Sequence[int], part: Part) -> NDArray[np.bool_] | None:
        """Return where flags make gaps, or None."""
        return None if self.flags is None else self.flags(bands, part)

    def close(self) -> None:
        """Close the files."""
        for file in (self.file, *self._others):
            file.close()

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Close the files where a product cannot be opened."""
        try:
            yield
        except BaseException:
            self.close()
            raise


def read_bands(item: h5py.Dataset, axes: str, bands: Sequence[int], part: Part) -> NDArray[Any]:
    """Return bands of a dataset in a part of the image, (bands, rows, cols); ``axes`` is such as "rcb" or "rc"."""
    chosen, order = np.unique(bands, return_inverse=True)
    rows, cols = part.rows, part.cols
    # h5py is much faster with slices than with lists.
    slices = {axis: slice(int(index[0]), int(index[-1]) + 1) for axis, index in zip("rc", (rows, cols), strict=True)}
    low, high = int(chosen[0]), int(chosen[-1]) + 1
    slices["b"] = slice(low, high)
    picked: Any = chosen if high - low > 4 * chosen.size else slices["b"]
    if part.step > 1 and "r" in axes:
        rows_each = [_stored(item, axes, {**slices, "r": slice(row, row + 1)}, picked) for row in rows.tolist()]
        block = np.concatenate(rows_each, axis=1)[:, :, cols - cols[0]]
    else:
        block = _stored(item, axes, slices, picked)
    if picked is not chosen:
        block = block[chosen - low]
    return np.ascontiguousarray(block[order])


def _stored(item: h5py.Dataset, axes: str, slices: dict[str, slice], bands: Any) -> NDArray[Any]:
    index = {**slices, "b": bands}
    block = hdf5.stored(item, tuple(index[axis] for axis in axes))
    if "b" not in axes:
        block, axes = block[None], f"b{axes}"
    return block.transpose([axes.index(axis) for axis in "brc"])


def spectral_bands(
    centres: NDArray[Any] | None,
    unit: str,
    widths: NDArray[Any] | None,
    where: str,
    *,
    good: NDArray[Any] | None = None,
    nodata: tuple[float, ...] = (),
) -> list[ProductBand]:
    """Return bands of centres and widths in a unit; ``good`` is not 0 where a band is."""
    found, full = to_nanometres(centres, unit, widths, where=where)
    count = next(len(one) for one in (found, full, good) if one is not None)
    nan = np.full(count, np.nan)
    columns = (nan if found is None else found, nan if full is None else full, np.ones(count) if good is None else good)
    return [
        ProductBand(centre=float(centre), width=float(width), good=bool(use), nodata=nodata)
        for centre, width, use in zip(*columns, strict=True)
    ]
