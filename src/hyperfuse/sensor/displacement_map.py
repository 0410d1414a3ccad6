"""DisplacementMap: where an HSI lies on an MSI against its headers, kept in a file and applied to other pairs."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import ArrayLike, NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader, Grid
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.options import WriteOptions
from hyperfuse.io.files import read, write
from hyperfuse.sensor.displacement import Displacement
from hyperfuse.sensor.model import Sensor

Floats = NDArray[np.float64]
Two = tuple[float, float]

_KEY = "displacement"
_METRES_PER_DEGREE = 111_320.0
# Grids are parallel where they drift by no more than this fraction of an LR pixel over the image.
_DRIFT = 0.01


@dataclass(frozen=True, eq=False, kw_only=True)
class DisplacementMap:
    """Where the pixels of an HSI lie on an MSI, against what their headers state.

    LR pixel (i, j), which lies at p by the headers, lies at
    ``p + shift + scale * ratio * (i, j) + displacement.at(i, j)``, in HR pixels, along (y, x).

    Attributes:
        grid: of the HSI.
        ratio: HR pixels per LR pixel along (y, x), by the headers.
        shift: of LR pixel (0, 0), in HR pixels.
        scale: relative change of the ratio.
        displacement: what else a smooth field says, or None.
    """

    grid: Grid
    ratio: Two
    shift: Two = (0.0, 0.0)
    scale: Two = (0.0, 0.0)
    displacement: Displacement | None = None

    @classmethod
    def between(cls, stated: Sensor, found: Sensor, grid: Grid) -> DisplacementMap:
        """Return what leads from one sensor to another; both relate the whole images, with pixels of one size.

        Args:
            stated: by the headers.
            found: by the images.
            grid: of the HSI.
        """
        shift = (found.offset[0] - stated.offset[0], found.offset[1] - stated.offset[1])
        scale = (found.ratio[0] / stated.ratio[0] - 1, found.ratio[1] / stated.ratio[1] - 1)
        # Offsets of samples are those of one image, which states them.
        smooth = None if found.displacement is None else found.displacement.smooth
        return cls(grid=grid, ratio=stated.ratio, shift=shift, scale=scale, displacement=smooth)

    @property
    def vectors(self) -> Floats:
        """How far each LR pixel lies off, (2, rows, cols), along rows and columns, in HR pixels."""
        return self.at(np.arange(self.grid.rows), np.arange(self.grid.cols))

    def at(self, rows: ArrayLike, cols: ArrayLike) -> Floats:
        """Return how far LR positions (n,) along rows and (m,) along columns lie off, (2, n, m), in HR pixels."""
        lines = [np.asarray(line, np.float64) for line in (rows, cols)]
        straight = [
            shift + scale * ratio * line
            for shift, scale, ratio, line in zip(self.shift, self.scale, self.ratio, lines, strict=True)
        ]
        vectors = np.stack(np.meshgrid(*straight, indexing="ij"))
        return vectors if self.displacement is None else vectors + self.displacement.at(*lines)

    def at_points(self, rows: ArrayLike, cols: ArrayLike) -> Floats:
        """Return how far n scattered LR positions lie off, (2, n), in HR pixels."""
        lines = [np.asarray(line, np.float64) for line in (rows, cols)]
        straight = np.stack(
            [
                shift + scale * ratio * line
                for shift, scale, ratio, line in zip(self.shift, self.scale, self.ratio, lines, strict=True)
            ]
        )
        return straight if self.displacement is None else straight + self.displacement.at_points(*lines)

    @property
    def metres(self) -> Two | None:
        """Length of an HR pixel along (y, x) in metres, or None where it is not known."""
        lengths = metres_per_pixel(self.grid)
        return None if lengths is None else (lengths[0] / self.ratio[0], lengths[1] / self.ratio[1])

    def apply(self, sensor: Sensor) -> Sensor:
        """Return the sensor of whole images by their headers with the pixels where the map says."""
        (y, x), (ratio_y, ratio_x) = sensor.offset, sensor.ratio
        return sensor.replace(
            phase=(y + self.shift[0], x + self.shift[1]),
            ratio=(ratio_y * (1 + self.scale[0]), ratio_x * (1 + self.scale[1])),
            displacement=self.displacement,
        )

    def on(self, hsi: CubeHeader | Grid, ratio: Two) -> DisplacementMap:
        """Return the map of another HSI of the scene, whose pixels may be others, at the ratio to its MSI.

        Raises:
            InputError: an HSI elsewhere, on a rotated grid, or one of the two has no position.
        """
        grid = Grid(hsi.rows, hsi.cols, hsi.transform, hsi.crs)
        first, step = self._relative(grid)
        factor = [new / (old * one) for new, old, one in zip(ratio, self.ratio, step, strict=True)]
        start = [
            (shift + scale * own * at) * times
            for shift, scale, own, at, times in zip(self.shift, self.scale, self.ratio, first, factor, strict=True)
        ]
        field = self.displacement
        if field is not None:
            field = Displacement(
                field.coefficients * np.reshape(factor, (2, 1, 1)),
                spacing=(field.spacing[0] / step[0], field.spacing[1] / step[1]),
                origin=((field.origin[0] - first[0]) / step[0], (field.origin[1] - first[1]) / step[1]),
            )
        return DisplacementMap(grid=grid, ratio=ratio, shift=(start[0], start[1]), scale=self.scale, displacement=field)

    def _relative(self, grid: Grid) -> tuple[Two, Two]:
        """Return the LR position of the first pixel of another grid in this one, and its pixel size in LR pixels."""
        from hyperfuse.cube.crs import same_crs

        own = self.grid
        if own.transform is None or grid.transform is None:
            if (own.transform is None) != (grid.transform is None) or (own.rows, own.cols) != (grid.rows, grid.cols):
                raise InputError(
                    f"the displacement is of an HSI of {own.rows} x {own.cols} pixels"
                    f"{' without a position' if own.transform is None else ''}, this one has {grid.rows} x {grid.cols}"
                    f"{' without a position' if grid.transform is None else ''}; estimate it for this one",
                    _KEY,
                )
            return (0.0, 0.0), (1.0, 1.0)
        if not same_crs(own.crs, grid.crs):
            raise InputError("the displacement is of an HSI in another CRS; estimate it for this one", _KEY)
        relative: Affine = ~own.transform @ grid.transform
        if max(abs(relative.b) * grid.rows, abs(relative.d) * grid.cols) > _DRIFT or min(relative.a, relative.e) <= 0:
            raise InputError("the displacement is of an HSI on a rotated grid; estimate it for this one", _KEY)
        step = tuple(
            round(size) if abs(size - round(size)) * pixels < 1e-6 else size
            for size, pixels in ((relative.e, grid.rows), (relative.a, grid.cols))
        )
        first = (relative.f + step[0] / 2 - 0.5, relative.c + step[1] / 2 - 0.5)
        last = (first[0] + step[0] * (grid.rows - 1), first[1] + step[1] * (grid.cols - 1))
        if min(last) < -0.5 or first[0] > own.rows - 0.5 or first[1] > own.cols - 0.5:
            raise InputError("the displacement is of an HSI elsewhere; estimate it for this one", _KEY)
        near = (round(first[0], 6), round(first[1], 6))
        return (near[0], near[1]), (float(step[0]), float(step[1]))

    def to_cube(self) -> Cube:
        """Return the map as an image of two bands on the HSI's grid: how far its pixels lie off along rows and columns.

        In metres where the HSI has a position, else in HR pixels; positive down and to the right. The attribute
        ``displacement`` holds what is needed to apply it exactly.
        """
        lengths = self.metres
        factor = np.reshape((1.0, 1.0) if lengths is None else lengths, (2, 1, 1))
        return Cube(
            data=self.vectors * factor,
            band_names=("along rows", "along columns"),
            transform=self.grid.transform,
            crs=self.grid.crs,
            units="HR pixels" if lengths is None else "m",
            attributes={_KEY: json.dumps(self.to_dict(), allow_nan=False)},
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that say all but the grid."""
        field = None if self.displacement is None else self.displacement.to_dict()
        return {"ratio": self.ratio, "shift": self.shift, "scale": self.scale, "field": field}

    def write(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the map as :meth:`to_cube` returns it; GeoTIFF, or another format that keeps attributes.

        Raises:
            InputError: an existing file without ``overwrite``, or a path that cannot be written to.
        """
        write(path, self.to_cube(), WriteOptions(dtype="float64"), overwrite=overwrite)

    @classmethod
    def load(cls, path: str | Path) -> DisplacementMap:
        """Read a map that :meth:`write` wrote.

        Raises:
            InputError: no such file, or one that holds no displacement.
        """
        cube = read(path)
        text = cube.attributes.get(_KEY)
        grid = Grid(cube.rows, cube.cols, cube.transform, cube.crs)
        try:
            values = json.loads(text or "")
            field = values["field"]
            numbers = {name: _pair(values[name]) for name in ("ratio", "shift", "scale")}
            if min(numbers["ratio"]) <= 0 or min(numbers["scale"]) <= -1:
                raise ValueError
            found = None if field is None else Displacement.from_dict(field)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            if isinstance(error, InputError):
                raise InputError(f"{path}: {error}", error.parameter) from error
            raise InputError(
                f"{path}: holds no displacement; `hyperfuse fuse --displacement FILE` and `hyperfuse align` write one",
                _KEY,
            ) from error
        return cls(grid=grid, displacement=found, **numbers)


def metres_per_pixel(grid: CubeHeader | Grid) -> Two | None:
    """Return the size of pixels along (y, x) in metres, or None where the image has no coordinate system."""
    from hyperfuse.cube.crs import is_geographic, metres_per_unit

    transform = grid.transform
    if transform is None or grid.crs is None:
        return None
    height, width = math.hypot(transform.b, transform.e), math.hypot(transform.a, transform.d)
    if not is_geographic(grid.crs):
        unit = metres_per_unit(grid.crs)
        return height * unit, width * unit
    latitude = (transform @ (grid.cols / 2, grid.rows / 2))[1]
    shrunk = max(math.cos(math.radians(latitude)), 1e-3)
    return height * _METRES_PER_DEGREE, width * _METRES_PER_DEGREE * shrunk


def _pair(values: Any) -> Two:
    y, x = (float(value) for value in values)
    if not (math.isfinite(y) and math.isfinite(x)):
        raise ValueError
    return y, x
