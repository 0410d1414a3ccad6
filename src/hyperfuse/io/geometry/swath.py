"""Images whose pixels have a latitude and longitude each: put on a grid in one step, the nearest sample for each pixel.

Grids of metres: those of another image (its CRS, its pixel corners) where one is stated, else UTM on WGS 84. A pixel
shows the nearest sample at most 0.75 pixels away; how far samples lie from the centres they are shown at is recorded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from hyperfuse.cube.crs import is_geographic, metres_per_unit, parse_crs
from hyperfuse.cube.header import Grid
from hyperfuse.errors import InputError
from hyperfuse.io.geometry.placement import Parts, PixelMap, PlacedImage

WGS84 = "EPSG:4326"
# How far from the centre of a pixel the sample may lie that it shows, in pixels.
_REACH = 0.75
# Pixels of the grid around the image that it is for: what a search for the shift between the two may need.
_MARGIN = 32
_MAX_SIDE = 22_000
# A pixel of the other image that is larger than this fraction of the swath's is no unit for its grid.
_FINE = 0.75
_NORTHERNMOST, _SOUTHERNMOST = 84.0, -80.0
_BLOCK_ROWS = 256


@dataclass(frozen=True, eq=False)
class Swath:
    """An image in sensor geometry with the positions of its pixels.

    Attributes:
        image: without a transform.
        latitude: degrees on WGS 84, (rows, cols); NaN, or what is no latitude, where a pixel has no position.
        longitude: likewise.
        pixel: nominal size of a pixel in metres; None: as the positions show.
    """

    image: Parts
    latitude: NDArray[Any]
    longitude: NDArray[Any]
    pixel: float | None = None

    def __post_init__(self) -> None:
        size = self.image.header.shape[1:]
        for name in ("latitude", "longitude"):
            found = getattr(self, name).shape
            if found != size:
                raise InputError(f"its {name} has the shape {found}, its image {size[0]} x {size[1]} pixels")

    @property
    def placed(self) -> NDArray[np.bool_]:
        """Which pixels have a position, (rows, cols); 0 in both counts as none, as what was never filled holds it."""
        latitude, longitude = self.latitude, self.longitude
        with np.errstate(invalid="ignore"):
            inside = (np.abs(latitude) <= 90) & (np.abs(longitude) <= 360)
        return np.asarray(inside & ((latitude != 0) | (longitude != 0)))


def place_swaths(swaths: Sequence[Swath], like: Grid | None = None) -> PlacedImage:
    """Put swaths on one grid, in one step: parts of one overpass have no seam.

    Args:
        swaths: with the same bands.
        like: grid of the image that they are for: they get its CRS, pixels of a whole number of its pixels, on its
            corners, and what lies far from it is left out. None, or one in degrees: UTM of the centre.

    Raises:
        InputError: swaths without positions, far apart, or with other bands than the first.
    """
    placed = [swath.placed for swath in swaths]
    latitude, longitude = (
        np.concatenate([getattr(swath, name)[used] for swath, used in zip(swaths, placed, strict=True)]).astype(float)
        for name in ("latitude", "longitude")
    )
    if not latitude.size:
        raise InputError("no pixel has a latitude and longitude; its position is not known")
    known = like is not None and like.transform is not None and like.crs is not None and not is_geographic(like.crs)
    crs = like.crs if known and like is not None and like.crs is not None else utm_crs(latitude, longitude)
    points = _projected(latitude, longitude, crs)
    numbers = np.concatenate([_numbers(placed, number) for number in range(len(swaths))])
    finite = np.isfinite(points).all(axis=1)
    points, numbers = points[finite], numbers[finite]
    if not points.size:
        raise InputError(f"its latitudes and longitudes cannot be transformed to {crs}")
    metres = metres_per_unit(crs)
    nominal = swaths[0].pixel or _spacing(swaths[0])
    pixel, corner = _pixels(nominal / metres, like if known else None)
    grid, near = _grid(points, pixel, corner or (0.0, 0.0), crs, like if known else None)
    index, offsets = _nearest(points[near], numbers[near], grid, pixel)
    size = f"{pixel * metres:g}"
    away = np.square(offsets).sum(axis=0)[index >= 0]
    rms = math.sqrt(float(away.mean(dtype=np.float64))) * pixel * metres if away.size else 0.0
    step = {
        "orthorectified": f"by latitude and longitude, nearest sample within {_REACH * pixel * metres:g} m",
        "grid": f"{_short(crs)}, pixels of {size} m" + ("" if corner is None else " on the corners of the other image"),
        "residual_rms_m": round(rms, 3),
    }
    return PlacedImage([swath.image for swath in swaths], PixelMap(grid, index, step, offsets))


def utm_crs(latitude: NDArray[Any], longitude: NDArray[Any]) -> str:
    """Return the UTM zone on WGS 84 of the centre of points; near the poles, polar stereographic (UPS).

    Example:
        >>> utm_crs(np.array([52.4, 52.5]), np.array([13.0, 13.1]))
        'EPSG:32633'
    """
    angle = np.radians(longitude)
    centre = math.degrees(math.atan2(float(np.sin(angle).mean()), float(np.cos(angle).mean())))
    mean_latitude = float(np.mean(latitude))
    if mean_latitude > _NORTHERNMOST:
        return "EPSG:32661"
    if mean_latitude < _SOUTHERNMOST:
        return "EPSG:32761"
    zone = min(int((centre + 180) // 6) + 1, 60)
    return f"EPSG:{(32600 if mean_latitude >= 0 else 32700) + zone}"


def _projected(latitude: NDArray[Any], longitude: NDArray[Any], crs: str) -> NDArray[np.float64]:
    """Return x and y, (n, 2)."""
    from rasterio.warp import transform  # it takes a third of a second to load

    found = transform(parse_crs(WGS84), parse_crs(crs), longitude, latitude)
    return np.stack([np.asarray(found[0]), np.asarray(found[1])], axis=1)


def _numbers(placed: Sequence[NDArray[np.bool_]], number: int) -> NDArray[np.intp]:
    """Return the numbers of the pixels of an image that have a position, among those of all images."""
    return np.flatnonzero(placed[number]) + sum(one.size for one in placed[:number])


def _spacing(swath: Swath) -> float:
    """Return the mean distance of neighbouring samples in metres along rows and columns, with two digits."""
    degree = math.pi / 180 * 6_371_000
    used = swath.placed
    found = []
    for axis in (0, 1):
        both = used.take(range(1, used.shape[axis]), axis) & used.take(range(used.shape[axis] - 1), axis)
        if not both.any():
            continue
        north = np.diff(np.asarray(swath.latitude, float), axis=axis)[both]
        east = np.diff(np.asarray(swath.longitude, float), axis=axis)[both]
        east *= math.cos(math.radians(float(np.mean(swath.latitude[used]))))
        found.append(float(np.median(np.hypot(north, east))) * degree)
    if not found or not min(found) > 0:
        raise InputError("the size of its pixels is not stated, and its latitudes and longitudes do not show it")
    return float(f"{math.sqrt(found[0] * found[-1]):.2g}")


def _pixels(nominal: float, like: Grid | None) -> tuple[float, tuple[float, float] | None]:
    """Return the size of pixels and a corner of another image to put them on, in units of the CRS; None: any."""
    if like is None or like.transform is None:
        return nominal, None
    a, b, c, d, e, f = like.transform[:6]
    fine = math.hypot(a, d)
    square = abs(math.hypot(b, e) - fine) < 1e-6 * fine
    if b or d or not square or fine > _FINE * nominal:
        return nominal, None
    return fine * max(1, round(nominal / fine)), (c, f)


def _grid(
    points: NDArray[np.float64], pixel: float, corner: tuple[float, float], crs: str, like: Grid | None
) -> tuple[Grid, NDArray[np.bool_]]:
    """Return the grid of points, cut to what lies near another one, and which points are on it."""
    low, high = points.min(axis=0) - pixel / 2, points.max(axis=0) + pixel / 2
    if like is not None and like.transform is not None:
        ends = [like.transform @ (col, row) for col in (0, like.cols) for row in (0, like.rows)]
        first, last = np.min(ends, axis=0) - _MARGIN * pixel, np.max(ends, axis=0) + _MARGIN * pixel
        # Of images apart from each other, that they are is reported when the two are matched.
        if (np.maximum(low, first) < np.minimum(high, last)).all():
            low, high = np.maximum(low, first), np.minimum(high, last)
    start = np.floor((low - corner) / pixel + 1e-6)
    end = np.ceil((high - corner) / pixel - 1e-6)
    cols, rows = (int(size) for size in end - start)
    if max(rows, cols) > _MAX_SIDE:
        raise InputError(f"its pixels lie far apart: a grid of {pixel:g} m would have {rows} x {cols} pixels")
    west, north = corner[0] + start[0] * pixel, corner[1] + end[1] * pixel
    near = ((points >= low - pixel) & (points <= high + pixel)).all(axis=1)
    return Grid(rows, cols, Affine(pixel, 0.0, west, 0.0, -pixel, north), crs), near


def _nearest(
    points: NDArray[np.float64], numbers: NDArray[np.intp], grid: Grid, pixel: float
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the number of the nearest point of each pixel, (rows, cols), -1 for none, and its offset in pixels."""
    index = np.full((grid.rows, grid.cols), -1, np.int32)
    offsets = np.zeros((2, grid.rows, grid.cols), np.float32)
    from scipy.spatial import KDTree

    assert grid.transform is not None
    order = np.argsort(points[:, 1])
    heights = points[order, 1]
    x = grid.transform.c + pixel * (np.arange(grid.cols) + 0.5)
    for top in range(0, grid.rows, _BLOCK_ROWS):
        rows = np.arange(top, min(top + _BLOCK_ROWS, grid.rows))
        y = grid.transform.f - pixel * (rows + 0.5)
        # Points of these rows alone: a tree of all of a large image would take much memory.
        low, high = np.searchsorted(heights, (y[-1] - pixel, y[0] + pixel))
        near = order[low:high]
        if not near.size:
            continue
        tree = KDTree(points[near], leafsize=32, balanced_tree=False, compact_nodes=False)
        centres = np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=-1)
        away, found = tree.query(centres, distance_upper_bound=_REACH * pixel)
        reached = np.isfinite(away)
        nearest = near[np.where(reached, found, 0)]
        index[rows] = np.where(reached, numbers[nearest], -1)
        # Rows run to the south.
        for axis, sign in ((0, -1), (1, 1)):
            vector = sign * (points[nearest, 1 - axis] - centres[..., 1 - axis]) / pixel
            offsets[axis, rows] = np.where(reached, vector, 0)
    return index, offsets


def _short(crs: str) -> str:
    return crs if len(crs) < 30 else "its projection"
