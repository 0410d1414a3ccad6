"""The grid onto which an MSI is resampled where it is in another CRS, rotated or mirrored against the HSI."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from hyperfuse.cube.header import CubeHeader, Grid
from hyperfuse.errors import InputError
from hyperfuse.scenes.matching.grid import relative_transform, swapped_hint

Matrix = NDArray[np.float64]

# A ratio within this fraction of a whole number is made whole: the grid is new anyway.
_WHOLE = 0.05
# Grids that drift or rotate against each other by less than this, in HR pixels, over the whole image are parallel.
_DRIFT = 0.05
# LR pixels of the new grid beyond the HSI's extent: what the PSFs of the outermost LR pixels reach.
_MARGIN_LR = 2.0


@dataclass(frozen=True)
class WarpGrid:
    """A grid onto which an MSI is resampled (cubic), once.

    Attributes:
        grid: its pixels; the transform is that to the pixels of the MSI where this has none of its own.
        steps: what the history of the MSI says about it.
        notes: the same as sentences.
    """

    grid: Grid
    steps: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...]

    def state(self) -> dict[str, Any]:
        """Return plain values from which :meth:`restore` makes the same grid."""
        rows, cols, transform, crs = astuple(self.grid)
        return {
            "grid": [rows, cols, list(transform[:6]), crs],
            "steps": [dict(step) for step in self.steps],
            "notes": list(self.notes),
        }

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> WarpGrid:
        """Return the grid of which :meth:`state` was taken."""
        rows, cols, transform, crs = state["grid"]
        return cls(Grid(rows, cols, Affine(*transform), crs), tuple(state["steps"]), tuple(state["notes"]))

    def header(self, msi: CubeHeader) -> CubeHeader:
        """Return the header of an MSI that is resampled onto the grid."""
        return msi.replace(
            shape=(msi.bands, self.grid.rows, self.grid.cols),
            transform=None if msi.transform is None else self.grid.transform,
            crs=self.grid.crs,
            history=(*msi.history, *self.steps),
        )


def parallel_grid(hsi: CubeHeader, msi: CubeHeader) -> WarpGrid | None:
    """Return a grid for the MSI that is parallel to the HSI's; None where theirs are parallel, or one has none.

    The HSI's values are never resampled, so that measured spectra stay as they are. The grid has the HSI's axes and
    coordinate system, the MSI's pixel size as near as a whole ratio allows, pixel corners on the HSI's, and covers the
    common extent. A ratio that is not whole needs no warping.

    Raises:
        InputError: no overlap, or a coordinate system that cannot be transformed into the other.

    Example:
        >>> rotated = (7.07, 7.07, 0.0, 7.07, -7.07, 0.0)  # an MSI of 10 m, rotated by 45 degrees
        >>> hsi = CubeHeader(shape=(9, 8, 8), transform=(30.0, 0.0, 60.0, 0.0, -30.0, 120.0), crs="EPSG:32633")
        >>> msi = CubeHeader(shape=(4, 50, 50), transform=rotated, crs="EPSG:32633")
        >>> parallel_grid(hsi, msi).grid.transform.a
        10.0
    """
    if hsi.transform is None or msi.transform is None:
        return None
    relative = relative_transform(hsi, msi)
    other_crs = _other_crs(hsi, msi)
    why = "other coordinate system" if other_crs else _why_not_parallel(relative, hsi)
    if why is None:
        return None
    corners = _hsi_pixels_of_msi(hsi, msi, other_crs)
    ratio = _ratios(hsi, msi, other_crs, corners)
    # The extent of the MSI in HSI pixels, cut to the HSI and what its PSF reaches around it.
    low = np.floor(np.maximum(corners.min(axis=0), -_MARGIN_LR))
    high = np.ceil(np.minimum(corners.max(axis=0), np.array([hsi.rows, hsi.cols]) + _MARGIN_LR))
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (high > np.maximum(low, 0)).all()):
        raise InputError("HSI and MSI do not overlap")
    transform = (
        hsi.transform @ Affine.translation(float(low[1]), float(low[0])) @ Affine.scale(1 / ratio[1], 1 / ratio[0])
    )
    rows, cols = (math.ceil((last - first) * times) for first, last, times in zip(low, high, ratio, strict=True))
    text = f"{ratio[0]:g}" if ratio[0] == ratio[1] else f"{ratio[0]:g},{ratio[1]:g}"
    step = {"step": "warp", "why": why, "resampling": "cubic", "transform": list(transform[:6])}
    note = f"MSI resampled (cubic) onto a grid parallel to the HSI's, ratio {text}: {why}"
    return WarpGrid(Grid(rows, cols, transform, hsi.crs if hsi.crs is not None else msi.crs), (step,), (note,))


def rotated_grid(msi: CubeHeader, grid: WarpGrid | None, radians: float, centre: tuple[float, float]) -> WarpGrid:
    """Return a grid of the same size that is rotated about ``centre``.

    Pixel u of it lies at ``centre + Rot(radians) (u - centre)`` of the image.

    Args:
        msi: header of the MSI, on ``grid`` where there is one.
        grid: onto which the MSI is resampled already, or None.
        radians: angle as in :class:`~hyperfuse.sensor.estimation.views.Motion`.
        centre: (y, x) in pixels, 0 at the centre of the first one.
    """
    y, x = centre[0] + 0.5, centre[1] + 0.5
    cos, sin = math.cos(radians), math.sin(radians)
    # (col, row) of pixel corners of the rotated grid to those of the image.
    rotation = Affine(cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y)
    degrees = math.degrees(radians)
    step = {"step": "rotate", "degrees": degrees, "centre": list(centre), "resampling": "cubic"}
    note = f"MSI resampled (cubic), rotated by {degrees:.3g} degrees to lie along the HSI"
    before = (grid.steps, grid.notes) if grid is not None else ((), ())
    transform = rotation if msi.transform is None else msi.transform @ rotation
    return WarpGrid(Grid(msi.rows, msi.cols, transform, msi.crs), (*before[0], step), (*before[1], note))


def _other_crs(hsi: CubeHeader, msi: CubeHeader) -> bool:
    if hsi.crs is None or msi.crs is None:
        return False
    from hyperfuse.cube.crs import same_crs

    return not same_crs(hsi.crs, msi.crs)


def _why_not_parallel(relative: Affine, hsi: CubeHeader) -> str | None:
    size = max(abs(relative.a), abs(relative.e), 1e-12)
    if max(abs(relative.b) * hsi.rows, abs(relative.d) * hsi.cols) > max(_DRIFT, 1e-4 * size):
        return f"rotated by {math.degrees(math.atan2(relative.d, relative.a)):.3g} degrees"
    if relative.a <= 0 or relative.e <= 0:
        return "mirrored"
    return None


def _hsi_pixels_of_msi(hsi: CubeHeader, msi: CubeHeader, other_crs: bool) -> Matrix:
    """Return points along the MSI's border as (row, col) of HSI pixel corners, (n, 2)."""
    along = np.linspace(0, 1, 21)
    sides = [(along, 0 * along), (along, 1 + 0 * along), (0 * along, along), (1 + 0 * along, along)]
    rows = np.concatenate([side[0] for side in sides]) * msi.rows
    cols = np.concatenate([side[1] for side in sides]) * msi.cols
    points = _between(msi, hsi, rows, cols, other_crs)
    finite = points[np.isfinite(points).all(axis=1)]
    if not len(finite):
        raise InputError("HSI and MSI do not overlap: the MSI lies outside the HSI's coordinate system")
    return np.asarray(finite)


def _ratios(hsi: CubeHeader, msi: CubeHeader, other_crs: bool, corners: Matrix) -> tuple[float, float]:
    """Return MSI pixels per HSI pixel along (rows, cols), measured in the centre of the common extent."""
    low = np.maximum(corners.min(axis=0), 0)
    high = np.minimum(corners.max(axis=0), (hsi.rows, hsi.cols))
    if not (high > low).all():
        raise InputError("HSI and MSI do not overlap")
    y, x = (low + high) / 2
    points = _between(hsi, msi, np.array([y - 0.5, y + 0.5, y, y]), np.array([x, x, x - 0.5, x + 0.5]), other_crs)
    sizes = (float(np.linalg.norm(points[1] - points[0])), float(np.linalg.norm(points[3] - points[2])))
    if not min(sizes) > 1 - _WHOLE:
        raise InputError(
            f"the HSI's pixels are finer than the MSI's (ratio {sizes[0]:.3g},{sizes[1]:.3g}){swapped_hint(hsi, msi)}"
        )
    return _whole(sizes[0]), _whole(sizes[1])


def _whole(ratio: float) -> float:
    near = max(1, round(ratio))
    return float(near) if abs(ratio / near - 1) <= _WHOLE else ratio


def _between(source: CubeHeader, target: CubeHeader, rows: Matrix, cols: Matrix, other_crs: bool) -> Matrix:
    """Return where pixel corners (row, col) of one image lie among those of the other, (n, 2)."""
    assert source.transform is not None
    assert target.transform is not None
    x, y = source.transform @ (cols, rows)
    if other_crs:
        from rasterio.errors import CRSError, RasterioError
        from rasterio.warp import transform

        from hyperfuse.cube.crs import parse_crs

        assert source.crs is not None
        assert target.crs is not None
        try:
            x, y = (np.asarray(v) for v in transform(parse_crs(source.crs), parse_crs(target.crs), x, y))
        except (CRSError, RasterioError) as error:
            raise InputError(f"the coordinates of one image cannot be converted to the other's: {error}") from error
    col, row = ~target.transform @ (x, y)
    return np.stack([row, col], axis=1)
