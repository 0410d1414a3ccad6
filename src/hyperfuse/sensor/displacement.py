"""Displacement: how far LR samples lie from their regular positions, as a smooth field over the LR image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage, sparse

from hyperfuse.calls import checked_fields
from hyperfuse.errors import InputError
from hyperfuse.yaml_text import load_yaml, save_yaml

Floats = NDArray[np.float64]
Pair = tuple[float, float]

# Of a field from any file: control points, and the largest number of any kind.
_MOST_POINTS = 2**16
_LARGEST = 1e6
_FINEST = 0.1  # LR pixels between control points, at least
_CHECKS = 4  # positions per control point and axis at which a field is tested for folds
_RECORDED = 256  # control points of which a record holds the values
_ROWS = 256  # of LR pixels evaluated at a time
# Of the inversion: steps at most with one Jacobian, with new ones, how often these are halved; LR pixels left over.
_CHORDS, _STEPS, _HALVINGS, _CLOSE = 4, 40, 12, 1e-8
_POINTS = 2**18  # inverted at a time


@checked_fields("coefficients", "spacing", "origin")
@dataclass(frozen=True, eq=False)
class Displacement:
    """Smooth displacement of LR samples from their regular positions, in HR pixels: a cubic B-spline.

    At the LR position (row, col) it is ``sum_kl c_kl B(v - k) B(u - l)`` with ``v = (row - origin_y) / spacing_y``,
    ``u`` likewise along x, and the cubic B-spline ``B`` of unit knots (Unser, IEEE SPM 16(6), 1999). Outer control
    values are repeated beyond the control points, so that the field becomes constant within one spacing of the last.

    Attributes:
        coefficients: control values (2, rows, cols): along y, then x, in HR pixels.
        spacing: LR pixels between control points along (y, x).
        origin: LR position (row, col) of the control point (0, 0).

    Raises:
        InputError: values of other shapes, not finite, or more than any sensor's.

    Example:
        >>> shift = Displacement(np.full((2, 1, 1), 0.5), spacing=(8, 8), origin=(0, 0))
        >>> shift.at([0, 1], [0, 1, 2]).shape, round(float(shift.at([3.5], [9])[0, 0, 0]), 6)
        ((2, 2, 3), 0.5)
    """

    coefficients: Floats
    spacing: Pair
    origin: Pair

    def __post_init__(self) -> None:
        values = _numbers(self.coefficients, "coefficients")
        if values.ndim != 3 or values.shape[0] != 2 or 0 in values.shape:
            raise InputError(f"the coefficients of a displacement are (2, rows, cols), got {values.shape}")
        if values[0].size > _MOST_POINTS:
            raise InputError(f"a displacement has at most {_MOST_POINTS} control points, got {values[0].size}")
        values.flags.writeable = False
        object.__setattr__(self, "coefficients", values)
        for name in ("spacing", "origin"):
            pair = _numbers(getattr(self, name), name)
            if pair.shape != (2,):
                raise InputError(f"the {name} of a displacement is a pair (y, x), got {pair.tolist()}")
            object.__setattr__(self, name, (float(pair[0]), float(pair[1])))
        if min(self.spacing) < _FINEST:
            raise InputError(f"the spacing of a displacement is {_FINEST} LR pixels or more, got {min(self.spacing):g}")

    def at(self, rows: ArrayLike, cols: ArrayLike) -> Floats:
        """Return the displacement on a grid of LR positions.

        Args:
            rows: LR positions along y, (n,), not necessarily whole.
            cols: likewise along x, (m,).

        Returns:
            (2, n, m), along y and x, in HR pixels.
        """
        along_y, along_x = self.basis(rows, 0), self.basis(cols, 1)
        return _field(along_y, self.coefficients, along_x)

    def slopes(self, rows: ArrayLike, cols: ArrayLike) -> Floats:
        """Return the derivatives (2, 2, n, m) on a grid of LR positions: of y and x, along y and x, per LR pixel."""
        plain, slope = ([self.basis(line, axis, d) for axis, line in enumerate((rows, cols))] for d in (False, True))
        along_y, along_x = (
            _field(slope[0], self.coefficients, plain[1]),
            _field(plain[0], self.coefficients, slope[1]),
        )
        return np.stack([along_y, along_x], axis=1)

    def at_points(self, rows: ArrayLike, cols: ArrayLike) -> Floats:
        """Return the displacement (2, n) at n scattered LR positions, in HR pixels."""
        along_y, along_x = self.basis(rows, 0), self.basis(cols, 1)
        return np.stack([np.asarray(along_x.multiply(along_y @ values).sum(axis=1)) for values in self.coefficients])

    def at_samples(self, pixels: ArrayLike) -> Floats:
        """Return the displacement of LR samples (row, col), (n, 2), in HR pixels."""
        rows, cols = np.asarray(pixels, np.float64).T
        return self.at_points(rows, cols).T

    def basis(self, positions: ArrayLike, axis: int, derivative: bool = False) -> sparse.csr_array:
        """Return the weights of the control points along an axis: (n, rows) for y, (n, cols) for x.

        Args:
            positions: LR positions along the axis, (n,).
            axis: 0 for y, 1 for x.
            derivative: weights of the derivative, per LR pixel.
        """
        at = (np.asarray(positions, np.float64).ravel() - self.origin[axis]) / self.spacing[axis]
        count = self.coefficients.shape[axis + 1]
        at = np.clip(at, -2.0, count + 1.0)  # constant beyond
        index = np.floor(at).astype(np.int64)[:, None] + np.arange(-1, 3)
        offset = at[:, None] - index
        weight = _slope(offset) / self.spacing[axis] if derivative else _spline(offset)
        rows = np.repeat(np.arange(at.size), 4)
        # Entries of one control point, as of outer ones that are repeated, are summed.
        entries = (weight.ravel(), (rows, np.clip(index, 0, count - 1).ravel()))
        return sparse.coo_array(entries, shape=(at.size, count)).tocsr()

    def invert(self, rows: ArrayLike, cols: ArrayLike, ratio: Pair) -> Floats:
        """Return where the LR positions lie that are displaced to a regular grid.

        Args:
            rows: lines of the grid along y, as LR positions, (n,).
            cols: likewise along x, (m,).
            ratio: HR pixels per LR pixel along (y, x).

        Returns:
            (2, n, m): LR positions ``p`` with ``p + displacement(p) / ratio`` on the grid.

        Raises:
            InputError: a field too irregular to be inverted.
        """
        along_y, along_x = (np.asarray(one, np.float64).ravel() for one in (rows, cols))
        found = np.empty((2, along_y.size, along_x.size))
        step = max(1, _POINTS // max(1, along_x.size))
        for start in range(0, along_y.size, step):
            found[:, start : start + step] = self._inverted(along_y[start : start + step], along_x, ratio)
        return found

    def _inverted(self, rows: Floats, cols: Floats, ratio: Pair) -> Floats:
        scale, goal = np.reshape(ratio, (2, 1, 1)), np.stack(np.meshgrid(rows, cols, indexing="ij"))
        # At first one Jacobian serves all steps: where it is taken, on the grid, it hardly differs.
        slopes = self.slopes(rows, cols) / scale[:, None]
        found = goal - _solved(slopes, _field(self.basis(rows, 0), self.coefficients, self.basis(cols, 1)) / scale)
        for _ in range(_CHORDS):
            excess = found + self._interpolated(found) / scale - goal
            if np.abs(excess).max(initial=0.0) < _CLOSE:
                return found
            found -= _solved(slopes, excess)
        excess = found + self._interpolated(found) / scale - goal
        points, target, excess = (one.reshape(2, -1) for one in (found, goal, excess))
        for _ in range(_STEPS):
            far = np.flatnonzero(np.abs(excess).max(axis=0) >= _CLOSE)
            if far.size == 0:
                return points.reshape(found.shape)
            at, off = points[:, far], excess[:, far]
            step = _solved(self._slopes_at(at) / scale, off)
            # Newton's step, halved where it would not come closer.
            for _ in range(_HALVINGS):
                tried = at - step
                after = tried + self.at_points(*tried) / scale[:, 0] - target[:, far]
                farther = np.linalg.norm(after, axis=0) > np.linalg.norm(off, axis=0)
                if not farther.any():
                    break
                step[:, farther] /= 2
            points[:, far], excess[:, far] = tried, after
        raise InputError("the displacement is too irregular to be inverted; make it smoother", "displacement")

    def _slopes_at(self, points: Floats) -> Floats:
        """Return the derivatives (2, 2, n) of y and x, along y and x, at LR positions (2, n)."""
        (plain_y, slope_y), (plain_x, slope_x) = (
            [self.basis(points[axis], axis, derivative) for derivative in (False, True)] for axis in (0, 1)
        )
        along_y, along_x = (
            np.stack([np.asarray(right.multiply(left @ one).sum(axis=1)) for one in self.coefficients])
            for left, right in ((slope_y, plain_x), (plain_y, slope_x))
        )
        return np.stack([along_y, along_x], axis=1)

    def _interpolated(self, positions: Floats) -> Floats:
        """Return the displacement at LR positions (2, n, m)."""
        count = self.coefficients.shape[1:]
        # The outer control values are repeated as far as a spline reads them.
        padded = np.pad(self.coefficients, ((0, 0), (2, 2), (2, 2)), mode="edge")
        at = [
            np.clip((positions[axis] - self.origin[axis]) / self.spacing[axis] + 2, 0, count[axis] + 3)
            for axis in (0, 1)
        ]
        return np.stack(
            [ndimage.map_coordinates(values, at, order=3, mode="nearest", prefilter=False) for values in padded]
        )

    @property
    def limits(self) -> Pair:
        """What no displacement along y, and along x, exceeds anywhere, in HR pixels."""
        y, x = np.abs(self.coefficients).max(axis=(1, 2)).tolist()
        return y, x

    @property
    def smooth(self) -> Displacement | None:
        """The smooth field: this one."""
        return self

    def moved(self, first: tuple[float, float]) -> Displacement:
        """Return the field as it is seen from a window whose LR pixel (0, 0) is the LR pixel ``first``."""
        (y, x), (row, col) = self.origin, first
        return Displacement(self.coefficients, self.spacing, (y - row, x - col))

    def bounds(self, first: tuple[int, int], shape: tuple[int, int]) -> tuple[Pair, Pair]:
        """Return the smallest and largest displacement along y, then along x, over a window of LR pixels.

        Args:
            first: its first LR pixel.
            shape: its LR rows and columns.
        """
        low, high = np.full(2, np.inf), np.full(2, -np.inf)
        cols = np.arange(first[1], first[1] + shape[1])
        for start in range(first[0], first[0] + shape[0], _ROWS):
            values = self.at(np.arange(start, min(start + _ROWS, first[0] + shape[0])), cols)
            low, high = np.minimum(low, values.min((1, 2))), np.maximum(high, values.max((1, 2)))
        return (float(low[0]), float(high[0])), (float(low[1]), float(high[1]))

    def largest(self, shape: tuple[int, int]) -> float:
        """Return the largest displacement along y or x over an LR image of ``shape``, in HR pixels."""
        return max(abs(value) for pair in self.bounds((0, 0), shape) for value in pair)

    def folds(self, ratio: Pair) -> bool:
        """Return whether LR positions ``ratio * (i, j) + displacement`` fold, or nearly so.

        They do not, anywhere, where the symmetric part of the Jacobian in LR pixels is positive definite.

        Args:
            ratio: HR pixels per LR pixel along (y, x).
        """
        count = self.coefficients.shape[1:]
        lines = [
            self.origin[axis] + self.spacing[axis] * np.arange(-1, count[axis] + 1 / _CHECKS, 1 / _CHECKS)
            for axis in (0, 1)
        ]
        (yy, yx), (xy, xx) = self.slopes(*lines) / np.reshape(ratio, (2, 1, 1, 1))
        yy, xx, shear = 1 + yy, 1 + xx, (yx + xy) / 2
        return bool((yy <= 0).any() or (xx <= 0).any() or (yy * xx <= shear**2).any())

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a YAML or JSON file; :meth:`from_dict` reads them back."""
        return {
            "spacing": list(self.spacing),
            "origin": list(self.origin),
            "coefficients": self.coefficients.tolist(),
        }

    def to_record(self) -> dict[str, Any]:
        """Return plain values of bounded size for a history, in HR pixels; control values where they are few.

        Sizes are those of the field at control points, without the outermost, which lie around the image.
        """
        few = self.coefficients[0].size <= _RECORDED
        inner = [
            start + step * np.arange(count)[slice(1, -1) if count > 2 else slice(None)]
            for start, step, count in zip(self.origin, self.spacing, self.coefficients.shape[1:], strict=True)
        ]
        values = self.at(*inner)
        return {
            "control_points": list(self.coefficients.shape[1:]),
            "spacing": list(self.spacing),
            "origin": list(self.origin),
            "rms": round(float(np.sqrt(np.mean(values**2))), 4),
            "largest": round(float(np.abs(values).max()), 4),
            **({"coefficients": self.coefficients.round(4).tolist()} if few else {}),
        }

    def save(self, path: str | Path) -> None:
        """Write the field as YAML.

        Raises:
            InputError: a path that cannot be written to.
        """
        save_yaml(path, self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> Displacement:
        """Read a field that :meth:`save` wrote, or that of a sensor in its file.

        Raises:
            InputError: no such file, not YAML, or no displacement.
        """
        values = load_yaml(path)
        if isinstance(values, Mapping) and "ratio" in values:
            values = values.get("displacement")
        try:
            return cls.from_dict(values)
        except InputError as error:
            raise InputError(f"{path}: {error}", error.parameter) from error

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Displacement:
        """Build a displacement from ``coefficients``, ``spacing`` and ``origin``, which may come from any file.

        Raises:
            InputError: a key is missing, unknown or wrong.
        """
        keys = ("spacing", "origin", "coefficients")
        if not isinstance(values, Mapping) or {str(key) for key in values} != set(keys):
            raise InputError(f"a displacement is a mapping with the keys {', '.join(keys)}", parameter="displacement")
        return cls(values["coefficients"], values["spacing"], values["origin"])


def _numbers(values: Any, name: str) -> Floats:
    try:
        array = np.array(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        array = np.array(np.nan)
    if not np.isfinite(array).all() or (np.abs(array) > _LARGEST).any():
        raise InputError(
            f"the {name} of a displacement are numbers of at most {_LARGEST:g} HR pixels", parameter="displacement"
        )
    return array


def _field(along_y: sparse.csr_array, values: Floats, along_x: sparse.csr_array) -> Floats:
    """Return both components of control values (2, rows, cols) between weights along y and x."""
    return np.stack([(along_x @ (along_y @ one).T).T for one in values])


def _solved(slopes: Floats, right: Floats) -> Floats:
    """Return ``(1 + slopes)^-1 right`` at every position, for derivatives (2, 2, ...) of y and x, along y and x."""
    (yy, yx), (xy, xx) = slopes
    yy, xx = 1 + yy, 1 + xx
    return np.asarray(np.stack([xx * right[0] - yx * right[1], yy * right[1] - xy * right[0]]) / (yy * xx - xy * yx))


def _spline(offset: Floats) -> Floats:
    """Return the cubic B-spline of unit knots."""
    distance = np.abs(offset)
    near, far = 2 / 3 - distance**2 * (1 - distance / 2), np.clip(2 - distance, 0, None) ** 3 / 6
    return np.where(distance < 1, near, far)


def _slope(offset: Floats) -> Floats:
    """Return its derivative."""
    distance = np.abs(offset)
    near, far = distance * (1.5 * distance - 2), -(np.clip(2 - distance, 0, None) ** 2) / 2
    return np.sign(offset) * np.where(distance < 1, near, far)
