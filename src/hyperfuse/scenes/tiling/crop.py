"""The part of a tile that holds data: pixels in gaps need not be filled and fused."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyperfuse.scenes.tiling.plan import displacements, hr_span
from hyperfuse.sensor.model import Sensor

# LR pixels read around the data, for the PSF; a tile of which less than this fraction holds data is cut.
_MARGIN = 2
_CUT_FRACTION = 0.8


@dataclass(frozen=True)
class DataPart:
    """A rectangle of a tile.

    Attributes:
        lr: rows and columns of LR pixels.
        hr: rows and columns of HR pixels.
        sensor: relates the two.
    """

    lr: tuple[slice, slice]
    hr: tuple[slice, slice]
    sensor: Sensor

    @classmethod
    def around(cls, valid: NDArray[np.bool_], coarse: tuple[int, int], sensor: Sensor) -> DataPart:
        """Return the part around all data; the whole tile where that is about as large.

        Args:
            valid: bool (H, W), True for HR pixels that hold data in both images; some do.
            coarse: (h, w).
            sensor: of the tile.
        """
        lr, hr, phase, moved = [], [], [], displacements(sensor, coarse)
        for axis in (0, 1):
            ratio, offset, fine = sensor.ratio[axis], sensor.offset[axis], valid.shape[axis]
            filled = np.flatnonzero(valid.any(axis=1 - axis))
            nearest = np.floor((filled[[0, -1]] - offset) / ratio + 0.5).astype(int)
            # Of displaced LR pixels those count that may lie among the data.
            first = math.floor(int(nearest[0]) - _MARGIN - moved[axis][1] / ratio)
            last = math.ceil(int(nearest[1]) + 1 + _MARGIN - moved[axis][0] / ratio)
            low = min(max(0, first), coarse[axis] - 1)
            high = max(min(coarse[axis], last), low + 1)
            start, end = hr_span(low, high, coarse[axis], fine, ratio, offset, moved[axis])
            start, end = min(start, int(filled[0])), max(end, int(filled[-1]) + 1)
            lr.append(slice(low, high))
            hr.append(slice(start, end))
            phase.append(offset + ratio * low - start)
        size = (hr[0].stop - hr[0].start) * (hr[1].stop - hr[1].start)
        if size > _CUT_FRACTION * valid.size:
            return cls.whole(coarse, (valid.shape[0], valid.shape[1]), sensor)
        window = sensor.window((lr[0].start, lr[1].start), (phase[0], phase[1]))
        return cls((lr[0], lr[1]), (hr[0], hr[1]), window)

    @classmethod
    def whole(cls, coarse: tuple[int, int], fine: tuple[int, int], sensor: Sensor) -> DataPart:
        """Return the part that is the tile."""
        lr, hr = ((slice(0, rows), slice(0, cols)) for rows, cols in (coarse, fine))
        return cls(lr, hr, sensor)
