"""Images in sensor geometry as images on a grid: each pixel of the grid shows one pixel of the sensor, or none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader, Grid
from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError

# Values of an image that are read at once.
_BLOCK_VALUES = 2**24


class Parts(Protocol):
    """An image of which windows are read; what :mod:`hyperfuse.io.windows` calls a source of windows."""

    header: CubeHeader

    def read(self, window: Window) -> Cube:
        """Return a window as a cube."""

    def may_hold_data(self, window: Window) -> bool:
        """Return False where it is known, without reading, that all of a window is a gap."""

    def close(self) -> None:
        """Close the file, if there is one."""


@dataclass(frozen=True, eq=False)
class PixelMap:
    """Which pixel of the sensor each pixel of a grid shows.

    Attributes:
        grid: its pixels.
        index: int, (rows, cols): number of the pixel of the sensor, those of an image row by row, of several images
            one after the other; -1 where there is none.
        step: what the history of the image says about it.
        offsets: how far the pixel of the sensor lies from the centre of the pixel that shows it, (2, rows, cols), along
            rows, then columns, in pixels, 0 where there is none; None where that is not known.
    """

    grid: Grid
    index: NDArray[np.int32]
    step: Mapping[str, Any]
    offsets: NDArray[np.float32] | None = None

    def every(self, step: int) -> PixelMap:
        """Return the placement of every ``step``-th pixel of the grid, the nearest to the centres of the larger ones.

        Its grid keeps its extent.
        """
        grid = self.grid
        rows, cols = -(-grid.rows // step), -(-grid.cols // step)
        sizes = ((rows, grid.rows), (cols, grid.cols))
        picked = [((np.arange(few) + 0.5) * whole / few).astype(np.intp) for few, whole in sizes]
        transform = None
        if grid.transform is not None:
            transform = grid.transform @ Affine.scale(grid.cols / cols, grid.rows / rows)
        return replace(
            self, grid=Grid(rows, cols, transform, grid.crs), index=self.index[np.ix_(*picked)], offsets=None
        )


class PlacedImage:
    """Images in sensor geometry as one image on a grid, a source of windows.

    Values are taken as they are, once; every pixel of the sensor that a window needs is read once. Memory is that of
    the window and of some rows of the sensor.

    Args:
        images: in sensor geometry, with the same bands.
        placement: of their pixels.

    Raises:
        InputError: images with other bands than the first.
    """

    def __init__(self, images: Sequence[Parts], placement: PixelMap) -> None:
        self._images, self.placement = tuple(images), placement
        headers = [image.header for image in images]
        first = headers[0]
        for other in headers[1:]:
            _check_bands(first, other)
        good = [header.good_bands for header in headers if header.good_bands is not None]
        common = {
            key: text
            for key, text in first.attributes.items()
            if all(header.attributes.get(key) == text for header in headers)
        }
        history = first.history
        if history:
            history = (*history[:-1], {**history[-1], **placement.step})
        grid = placement.grid
        self.header = first.replace(
            shape=(first.bands, grid.rows, grid.cols),
            transform=grid.transform,
            crs=grid.crs,
            good_bands=np.logical_and.reduce(good) if good else None,
            attributes=common,
            history=history,
        )

    def read(self, window: Window | None = None) -> Cube:
        """Return a window, or all, as a cube."""
        window = Window(0, 0, self.header.rows, self.header.cols) if window is None else window
        header = self.header.crop(*window)
        index = self.placement.index[window.slices].ravel()
        data = np.full((header.bands, index.size), np.nan, np.float32)
        valid = np.zeros(data.shape, np.bool_)
        order = np.argsort(index, kind="stable")
        for image, start, sorted_pixels in self._parts(index[order]):
            pixels = order[sorted_pixels]
            for part, chosen, positions in _blocks(image, index[pixels] - start, pixels):
                cube = image.read(part)
                data = data.astype(np.result_type(data, cube.data), copy=False)
                data[:, positions] = cube.data[:, chosen[0], chosen[1]]
                valid[:, positions] = True if cube.valid is None else cube.valid[:, chosen[0], chosen[1]]
        return Cube.from_header(header, data.reshape(header.shape), valid.reshape(header.shape))

    @property
    def offsets(self) -> NDArray[np.float32] | None:
        """How far samples lie from the centres of their pixels; see :class:`PixelMap`."""
        return self.placement.offsets

    def may_hold_data(self, window: Window) -> bool:
        """Return False where no pixel of the sensor lies in a window."""
        return bool((self.placement.index[window.slices] >= 0).any())

    def every(self, step: int) -> PlacedImage:
        """Return the image on the grid of every ``step``-th pixel; its history states the size of the whole."""
        if step == 1:
            return self
        few = PlacedImage(self._images, self.placement.every(step))
        whole = {"rows": self.header.rows, "cols": self.header.cols, "step": step}
        few.header = few.header.replace(
            history=tuple(
                {**one, "overview": whole} if one.get("step") == "read" else one for one in few.header.history
            )
        )
        return few

    def close(self) -> None:
        """Close the images."""
        for image in self._images:
            image.close()

    def _parts(self, index: NDArray[np.int32]) -> Iterator[tuple[Parts, int, slice]]:
        """Give each image that sorted numbers of pixels are of, the number of its first pixel, and which of them."""
        start = 0
        for image in self._images:
            end = start + image.header.rows * image.header.cols
            first, last = np.searchsorted(index, (start, end))
            if last > first:
                yield image, start, slice(int(first), int(last))
            start = end


def _blocks(
    image: Parts, numbers: NDArray[Any], pixels: NDArray[np.intp]
) -> Iterator[tuple[Window, tuple[NDArray[Any], NDArray[Any]], NDArray[np.intp]]]:
    """Give windows of an image that hold its pixels of sorted ``numbers``, where these are in them, and ``pixels``."""
    rows, cols = np.divmod(numbers, image.header.cols)
    left, right = int(cols.min()), int(cols.max()) + 1
    height = max(1, _BLOCK_VALUES // (image.header.bands * (right - left)))
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    for row in range(top, bottom, height):
        first, last = np.searchsorted(rows, (row, row + height))
        if last > first:
            # The rows that are needed may be fewer.
            low, high = int(rows[first]), int(rows[last - 1]) + 1
            part = Window(low, left, high - low, right - left)
            yield part, (rows[first:last] - low, cols[first:last] - left), pixels[first:last]


def _check_bands(first: CubeHeader, other: CubeHeader) -> None:
    same = first.bands == other.bands and first.coding.units == other.coding.units
    for name in ("wavelengths", "fwhm"):
        one, two = getattr(first, name), getattr(other, name)
        same = same and (one is None) == (two is None) and (one is None or np.allclose(one, two, rtol=1e-4))
    if not same:
        raise InputError("the images have other bands or units than the first, so they are no parts of one image")
