"""The plane in which images are shown: the grid of one of them, on which the others are placed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from hyperfuse.cube.crs import parse_crs, same_crs
from hyperfuse.cube.header import CubeHeader, six_numbers

Floats = NDArray[np.float64]
# Points of a tile, along a side, whose coordinates are transformed; between them they are interpolated.
_LATTICE = 17


@dataclass(frozen=True)
class PlanePlacement:
    """Where an image lies in the plane.

    Attributes:
        affine: positions (col, row) in the plane to those in the image, at the centre of the plane where it varies.
        exact: whether ``affine`` holds all over the plane.
        plane, image: the headers, where it does not.
        note: how the image was placed where its file does not state that, or None.
    """

    affine: Affine
    exact: bool
    plane: CubeHeader
    image: CubeHeader
    note: str | None = None

    def positions(self, cols: Floats, rows: Floats) -> tuple[Floats, Floats]:
        """Return where positions in the plane lie in the image, as (cols, rows) of pixel corners, inf where nowhere."""
        if self.exact:
            x, y = self.affine @ (cols, rows)
            return np.asarray(x), np.asarray(y)
        return _transformed(self.plane, self.image, cols, rows)

    def grid(self, cols: Floats, rows: Floats) -> tuple[Floats, Floats]:
        """Return where the points of a grid lie in the image, (rows, cols) each, for its columns and its rows."""
        if self.exact:
            a, b, c, d, e, f = six_numbers(self.affine)
            return a * cols[None] + b * rows[:, None] + c, d * cols[None] + e * rows[:, None] + f
        few = [np.linspace(axis[0], axis[-1], min(_LATTICE, axis.size)) for axis in (cols, rows)]
        found = self.positions(*(axis.ravel() for axis in np.meshgrid(*few)))
        shape = (few[1].size, few[0].size)
        x, y = (_interpolated(few, one.reshape(shape), cols, rows) for one in found)
        return x, y


def choose_plane(headers: Sequence[CubeHeader]) -> int:
    """Return which image gives the plane: the one with most pixels among those with a position, else among all."""
    placed = [number for number, header in enumerate(headers) if header.transform is not None]
    candidates = placed or range(len(headers))
    return max(candidates, key=lambda number: headers[number].rows * headers[number].cols)


def place(plane: CubeHeader, image: CubeHeader) -> PlanePlacement:
    """Return where an image lies in the plane: by coordinates where both state them, else over the whole plane."""
    if plane.transform is None or image.transform is None:
        affine = Affine.scale(image.cols / plane.cols, image.rows / plane.rows)
        note = None
        if plane.transform is not None:
            note = "states no position; it is shown over the whole of the image with most pixels"
        return PlanePlacement(affine, True, plane, image, note)
    if plane.crs is None or image.crs is None or same_crs(plane.crs, image.crs):
        note = None
        if (plane.crs is None) != (image.crs is None):
            note = "its coordinates are taken as those of the other images: one of them states no CRS"
        return PlanePlacement(~image.transform @ plane.transform, True, plane, image, note)
    centre = plane.cols / 2, plane.rows / 2
    col, row = np.array([centre[0], centre[0] + 1, centre[0]]), np.array([centre[1], centre[1], centre[1] + 1])
    x, y = _transformed(plane, image, col, row)
    if not np.isfinite([*x, *y]).all():
        return PlanePlacement(
            Affine.identity(), False, plane, image, "its coordinates cannot be transformed to the others'"
        )
    a, b, d, e = x[1] - x[0], x[2] - x[0], y[1] - y[0], y[2] - y[0]
    start = x[0] - a * centre[0] - b * centre[1], y[0] - d * centre[0] - e * centre[1]
    return PlanePlacement(Affine(a, b, start[0], d, e, start[1]), False, plane, image)


def corners_of(placement: PlanePlacement) -> list[list[float]]:
    """Return the corners of an image in the plane, as (col, row), about."""
    header, back = placement.image, ~placement.affine
    corners = [(0, 0), (header.cols, 0), (header.cols, header.rows), (0, header.rows)]
    return [[float(value) for value in back @ corner] for corner in corners]


def _transformed(plane: CubeHeader, image: CubeHeader, cols: Floats, rows: Floats) -> tuple[Floats, Floats]:
    from rasterio.env import Env
    from rasterio.errors import CRSError, RasterioError
    from rasterio.warp import transform

    assert plane.transform is not None
    assert plane.crs is not None
    assert image.transform is not None
    assert image.crs is not None
    x, y = plane.transform @ (cols, rows)
    try:
        with Env():
            xs, ys = transform(parse_crs(plane.crs), parse_crs(image.crs), x, y)
    except (CRSError, RasterioError):
        nowhere = np.full(np.shape(cols), np.inf)
        return nowhere, nowhere
    col, row = ~image.transform @ (np.asarray(xs), np.asarray(ys))
    return np.asarray(col), np.asarray(row)


def _interpolated(few: Sequence[Floats], values: Floats, cols: Floats, rows: Floats) -> Floats:
    """Return values of a coarse grid at the columns and rows of a fine one, linearly."""
    along = np.stack([np.interp(cols, few[0], line) for line in values])
    return np.stack([np.interp(rows, few[1], column) for column in along.T], axis=1)
