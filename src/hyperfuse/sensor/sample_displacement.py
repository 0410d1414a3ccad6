"""Displacement of LR samples that were put on a grid: each lies where it was measured, not where its pixel does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperfuse.calls import checked_fields
from hyperfuse.errors import InputError
from hyperfuse.sensor.displacement import Displacement, Floats, Pair
from hyperfuse.sensor.model import Sensor


@checked_fields("coefficients", "spacing", "origin", "offsets")
@dataclass(frozen=True, eq=False)
class SampleDisplacement(Displacement):
    """A smooth displacement, and in addition the known offset of each LR sample, in HR pixels.

    The offsets need not be smooth: of a swath that was put on a grid, neighbouring pixels may show the same sample.
    What interpolates between samples (:meth:`invert`) uses the smooth part alone. They are no part of :meth:`to_dict`:
    the image that they belong to states them.

    Attributes:
        offsets: (2, rows, cols) along y, then x; 0 where nothing was measured.
        first: LR pixel of the image that is pixel (0, 0) of these offsets.

    Example:
        >>> placed = with_offsets(None, np.full((2, 3, 4), 0.25))
        >>> placed.at([1], [2]).ravel().tolist(), placed.moved((1, 1)).at([0], [1]).ravel().tolist()
        ([0.25, 0.25], [0.25, 0.25])
    """

    offsets: NDArray[np.float32]
    first: tuple[int, int] = (0, 0)

    def at(self, rows: ArrayLike, cols: ArrayLike) -> Floats:
        """Return the displacement (2, n, m) of the LR samples of whole rows and columns, in HR pixels."""
        index = [_whole(line) - start for line, start in zip((rows, cols), self.first, strict=True)]
        y, x = (np.clip(line, 0, size - 1) for line, size in zip(index, self.offsets.shape[1:], strict=True))
        return super().at(rows, cols) + self.offsets[:, y[:, None], x]

    def at_samples(self, pixels: ArrayLike) -> Floats:
        """Return the displacement of LR samples (row, col), (n, 2)."""
        index = _whole(pixels)
        size = np.array(self.offsets.shape[1:]) - 1
        y, x = np.clip(index - np.array(self.first), 0, size).T
        return super().at_samples(pixels) + self.offsets[:, y, x].T

    def invert(self, rows: ArrayLike, cols: ArrayLike, ratio: Pair) -> Floats:
        """Return where LR positions lie that the smooth part displaces to a regular grid."""
        if not self.coefficients.any():
            return np.stack(np.meshgrid(*(np.asarray(line, np.float64) for line in (rows, cols)), indexing="ij"))
        return super().invert(rows, cols, ratio)

    def moved(self, first: tuple[float, float]) -> SampleDisplacement:
        """Return the field as it is seen from a window whose LR pixel (0, 0) is the LR pixel ``first``."""
        row, col = _whole(first).tolist()
        smooth = super().moved(first)
        start = (self.first[0] - row, self.first[1] - col)
        return SampleDisplacement(smooth.coefficients, smooth.spacing, smooth.origin, self.offsets, start)

    @property
    def limits(self) -> Pair:
        """What no displacement along y, and along x, exceeds anywhere, in HR pixels."""
        y, x = np.abs(self.offsets).max(axis=(1, 2)).tolist()
        return y + super().limits[0], x + super().limits[1]

    @property
    def smooth(self) -> Displacement | None:
        """The smooth part, None where there is none."""
        plain = Displacement(self.coefficients, self.spacing, self.origin)
        return plain if self.coefficients.any() else None

    def to_record(self) -> dict[str, Any]:
        """Return plain values of bounded size for a history, in HR pixels."""
        size = np.hypot(*self.offsets.astype(np.float64))
        known = size[size > 0]
        samples = {
            "rms": round(float(np.sqrt(np.mean(known**2))) if known.size else 0.0, 4),
            "largest": round(float(known.max(initial=0.0)), 4),
        }
        smooth = self.smooth
        return {**({} if smooth is None else smooth.to_record()), "offsets_of_samples": samples}


def with_offsets(
    smooth: Displacement | None, offsets: ArrayLike, first: tuple[int, int] = (0, 0)
) -> SampleDisplacement:
    """Return a displacement, or none, with the offsets of samples in addition; those it has are replaced.

    Args:
        smooth: of the LR samples.
        offsets: (2, rows, cols) in HR pixels.
        first: LR pixel of the image that is pixel (0, 0) of the offsets.

    Raises:
        InputError: offsets of another shape, or not finite.
    """
    values = np.asarray(offsets, np.float32)
    if values.ndim != 3 or len(values) != 2 or not np.isfinite(values).all():
        raise InputError(f"offsets of samples are finite numbers (2, rows, cols), got {values.shape}")
    if smooth is None:
        return SampleDisplacement(np.zeros((2, 1, 1)), (1.0, 1.0), (0.0, 0.0), values, first)
    return SampleDisplacement(smooth.coefficients, smooth.spacing, smooth.origin, values, first)


def sample_offsets(sensor: Sensor, lr_shape: tuple[int, int]) -> NDArray[np.float32] | None:
    """Return the known offsets of the samples of an LR image of ``lr_shape``, (2, h, w) in LR pixels, else None."""
    displacement = sensor.displacement
    if not isinstance(displacement, SampleDisplacement):
        return None
    only = with_offsets(None, displacement.offsets, displacement.first).at(*map(np.arange, lr_shape))
    return np.asarray(only / np.reshape(sensor.ratio, (2, 1, 1)), np.float32)


def _whole(positions: ArrayLike) -> NDArray[np.intp]:
    """Return positions as whole numbers; others have no sample."""
    values = np.asarray(positions, np.float64)
    whole = np.rint(values)
    if not np.array_equal(values, whole):
        raise InputError("offsets are those of samples, at whole rows and columns")
    return whole.astype(np.intp)
