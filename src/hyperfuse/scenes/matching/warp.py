"""Bring an MSI onto a grid parallel to the HSI's where the two are in other coordinate systems, turned or mirrored."""

from __future__ import annotations

import math
import warnings
from typing import Any, NamedTuple

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import six_numbers
from hyperfuse.errors import InputError

Matrix = NDArray[np.float64]

# A ratio within this share of a whole number is made whole: the grid is new anyway.
_WHOLE = 0.05
# Grids that drift or turn against each other by less than this, in HR pixels, over the whole image are parallel.
_DRIFT = 0.05
# HR pixels of the new grid beyond the HSI's extent: what a PSF sees beyond the outermost LR pixels, in LR pixels.
_MARGIN_LR = 2.0


class CommonGrid(NamedTuple):
    """An MSI on a grid parallel to the HSI's, and what was done to it as a sentence; None where nothing was."""

    msi: Cube
    note: str | None


def to_common_grid(hsi: Cube, msi: Cube) -> CommonGrid:
    """Resample the MSI, once, onto a grid parallel to the HSI's, where theirs are not.

    The HSI's values are never resampled: they are what is measured worst and trusted most in spectra. The new grid has
    the HSI's axes and coordinate system, the MSI's pixel size as near as a whole ratio allows, pixel corners on the
    HSI's, and covers what the two share. Interpolation is cubic (GDAL); a pixel of which the interpolation sees a gap
    at its centre is a gap. A ratio that is not whole needs no warping, and pairs whose grids are parallel, or of
    which one is not georeferenced, come back as they are.

    Args:
        hsi: LR-HSI.
        msi: HR-MSI.

    Raises:
        InputError: no overlap, or a coordinate system that cannot be transformed into the other.

    Example:
        >>> turned = (7.07, 7.07, 0.0, 7.07, -7.07, 0.0)  # an MSI of 10 m, turned by 45 degrees
        >>> hsi = Cube(data=np.ones((9, 8, 8)), transform=(30.0, 0.0, 60.0, 0.0, -30.0, 120.0), crs="EPSG:32633")
        >>> msi = Cube(data=np.ones((4, 50, 50)), transform=turned, crs="EPSG:32633")
        >>> grid = to_common_grid(hsi, msi)
        >>> grid.msi.resolution, grid.msi.valid_pixels.any()
        ((10.0, 10.0), np.True_)
    """
    if hsi.transform is None or msi.transform is None:
        return CommonGrid(msi, None)
    for transform, name in ((hsi.transform, "HSI"), (msi.transform, "MSI")):
        if not (np.isfinite(transform).all() and np.linalg.det(_matrix(transform)) != 0):
            raise InputError(
                f"the transform of the {name}, {six_numbers(transform)}, gives its pixels no area; correct it"
            )
    other_crs = _other_crs(hsi, msi)
    why = "other coordinate system" if other_crs else _why_not_parallel(hsi, msi)
    if why is None:
        return CommonGrid(msi, None)
    transform, shape, ratio = _target(hsi, msi, other_crs)
    data, valid = _reprojected(msi, hsi, transform, shape)
    if not valid.any():
        raise InputError("HSI and MSI do not overlap")
    warped = msi.replace(
        data=data,
        valid=valid,
        transform=transform,
        crs=hsi.crs if hsi.crs is not None else msi.crs,
        history=(
            *msi.history,
            {"step": "warp", "why": why, "resampling": "cubic", "transform": list(six_numbers(transform))},
        ),
    )
    text = f"{ratio[0]:g}" if ratio[0] == ratio[1] else f"{ratio[0]:g},{ratio[1]:g}"
    return CommonGrid(warped, f"MSI resampled (cubic) onto a grid parallel to the HSI's, ratio {text}: {why}")


def _other_crs(hsi: Cube, msi: Cube) -> bool:
    if hsi.crs is None or msi.crs is None:
        return False
    from hyperfuse.cube.crs import same_crs

    return not same_crs(hsi.crs, msi.crs)


def _why_not_parallel(hsi: Cube, msi: Cube) -> str | None:
    assert hsi.transform is not None
    assert msi.transform is not None
    matrix = np.linalg.inv(_matrix(msi.transform)) @ _matrix(hsi.transform)
    size = max(abs(matrix[0, 0]), abs(matrix[1, 1]), 1e-12)
    if max(abs(matrix[0, 1]) * hsi.rows, abs(matrix[1, 0]) * hsi.cols) > max(_DRIFT, 1e-4 * size):
        degrees = math.degrees(math.atan2(matrix[1, 0], matrix[0, 0]))
        return f"turned by {degrees:.3g} degrees"
    if matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        return "mirrored"
    return None


def _target(hsi: Cube, msi: Cube, other_crs: bool) -> tuple[Affine, tuple[int, int], tuple[float, float]]:
    """Return transform and shape of the new grid, and the ratio of the HSI's pixels to its."""
    assert hsi.transform is not None
    corners = _hsi_pixels_of_msi(hsi, msi, other_crs)
    ratio = _ratios(hsi, msi, other_crs, corners)
    # The MSI's outline in HSI pixels, cut to the HSI and what its PSF sees around it.
    low = np.floor(np.maximum(corners.min(axis=0), -_MARGIN_LR))
    high = np.ceil(np.minimum(corners.max(axis=0), np.array([hsi.rows, hsi.cols]) + _MARGIN_LR))
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (high > np.maximum(low, 0)).all()):
        raise InputError("HSI and MSI do not overlap")
    a, b, c, d, e, f = six_numbers(hsi.transform)
    y, x = (float(value) for value in low)
    transform = Affine(a / ratio[1], b / ratio[0], c + a * x + b * y, d / ratio[1], e / ratio[0], f + d * x + e * y)
    shape = (math.ceil((high[0] - low[0]) * ratio[0]), math.ceil((high[1] - low[1]) * ratio[1]))
    return transform, shape, ratio


def _hsi_pixels_of_msi(hsi: Cube, msi: Cube, other_crs: bool) -> Matrix:
    """Return points along the MSI's outline as (row, col) of HSI pixel corners, (n, 2)."""
    along = np.linspace(0, 1, 21)
    sides = [(along, 0 * along), (along, 1 + 0 * along), (0 * along, along), (1 + 0 * along, along)]
    rows = np.concatenate([side[0] for side in sides]) * msi.rows
    cols = np.concatenate([side[1] for side in sides]) * msi.cols
    points = _between(msi, hsi, rows, cols, other_crs)
    finite = points[np.isfinite(points).all(axis=1)]
    if not len(finite):
        raise InputError("HSI and MSI do not overlap: the MSI lies outside the HSI's coordinate system")
    return np.asarray(finite)


def _ratios(hsi: Cube, msi: Cube, other_crs: bool, corners: Matrix) -> tuple[float, float]:
    """Return HSI pixels in MSI pixels along (rows, cols), measured in the middle of what the two share."""
    low = np.maximum(corners.min(axis=0), 0)
    high = np.minimum(corners.max(axis=0), (hsi.rows, hsi.cols))
    if not (high > low).all():
        raise InputError("HSI and MSI do not overlap")
    y, x = (low + high) / 2
    points = _between(hsi, msi, np.array([y - 0.5, y + 0.5, y, y]), np.array([x, x, x - 0.5, x + 0.5]), other_crs)
    sizes = (float(np.linalg.norm(points[1] - points[0])), float(np.linalg.norm(points[3] - points[2])))
    if not min(sizes) > 1 - _WHOLE:
        hint = "; HSI and MSI look swapped" if hsi.bands < msi.bands else ""
        raise InputError(f"the HSI's pixels are finer than the MSI's (ratio {sizes[0]:.3g},{sizes[1]:.3g}){hint}")
    return _whole(sizes[0]), _whole(sizes[1])


def _whole(ratio: float) -> float:
    near = max(1, round(ratio))
    return float(near) if abs(ratio / near - 1) <= _WHOLE else ratio


def _between(source: Cube, target: Cube, rows: Matrix, cols: Matrix, other_crs: bool) -> Matrix:
    """Return where pixel corners (row, col) of one cube lie among those of the other, (n, 2)."""
    assert source.transform is not None
    assert target.transform is not None
    x, y, _ = _matrix(source.transform) @ np.stack([cols, rows, np.ones_like(rows)])
    if other_crs:
        from rasterio.errors import CRSError, RasterioError
        from rasterio.warp import transform

        from hyperfuse.cube.crs import parse_crs

        assert source.crs is not None
        assert target.crs is not None
        try:
            x, y = (np.asarray(v) for v in transform(parse_crs(source.crs), parse_crs(target.crs), x, y))
        except (CRSError, RasterioError) as error:
            raise InputError(f"the coordinates of one image cannot be turned into the other's: {error}") from error
    col, row, _ = np.linalg.inv(_matrix(target.transform)) @ np.stack([x, y, np.ones_like(x)])
    return np.stack([row, col], axis=1)


def _reprojected(
    msi: Cube, hsi: Cube, transform: Affine, shape: tuple[int, int]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    from hyperfuse.cube.crs import parse_crs

    assert msi.transform is not None
    if msi.crs is None or hsi.crs is None:
        return _resampled(msi.data, msi.transform, None, transform, None, shape)
    return _resampled(msi.data, msi.transform, parse_crs(msi.crs), transform, parse_crs(hsi.crs), shape)


def turn(msi: Cube, radians: float, centre: tuple[float, float]) -> Cube:
    """Resample an MSI (cubic) onto a grid turned about ``centre``; its transform, if any, turns along.

    Pixel u of the result shows what lay at ``centre + Rot(radians) (u - centre)``; the size stays, and pixels that
    come from beyond the image are gaps.

    Args:
        msi: the image.
        radians: angle as in :class:`~hyperfuse.sensor.estimation.views.Motion`.
        centre: (y, x) in pixels, 0 at the centre of the first one.
    """
    y, x = centre[0] + 0.5, centre[1] + 0.5
    cos, sin = math.cos(radians), math.sin(radians)
    # (col, row) of pixel corners in the result to those in the source.
    to_source = Affine(cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y)
    data, valid = _resampled(msi.data, Affine.identity(), None, to_source, None, (msi.rows, msi.cols))
    transform = msi.transform
    if transform is not None:
        transform = transform @ to_source
    step = {"step": "turn", "degrees": math.degrees(radians), "centre": list(centre), "resampling": "cubic"}
    return msi.replace(data=data, valid=valid, transform=transform, history=(*msi.history, step))


def _resampled(
    image: NDArray[Any],
    source: Affine,
    source_crs: Any,
    target: Affine,
    target_crs: Any,
    shape: tuple[int, int],
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    from rasterio.crs import CRS
    from rasterio.errors import CRSError, RasterioError
    from rasterio.warp import Resampling, reproject

    # Images without a coordinate system share whatever plane they lie in: any projected one does as its name.
    plane = CRS.from_epsg(32631)
    data = np.full((len(image), *shape), np.nan, image.dtype)
    for band, values in enumerate(image):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of images whose transform is the identity: that is meant
                reproject(
                    np.ascontiguousarray(values),
                    data[band],
                    src_transform=source,
                    src_crs=source_crs or plane,
                    src_nodata=np.nan,
                    dst_transform=target,
                    dst_crs=target_crs or plane,
                    dst_nodata=np.nan,
                    resampling=Resampling.cubic,
                )
        except (CRSError, RasterioError) as error:
            raise InputError(f"the MSI cannot be warped to the HSI's grid: {error}") from error
    return data, np.isfinite(data)


def _matrix(transform: Affine) -> Matrix:
    return np.reshape(transform, (3, 3))
