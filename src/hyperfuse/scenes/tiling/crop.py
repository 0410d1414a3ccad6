"""The part of a tile that holds data: what lies in a gap need not be filled, fused and thrown away."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyperfuse.scenes.tiling.plan import SEEN
from hyperfuse.sensor.model import Sensor

# LR pixels around the data that are kept, for the PSF; below this share of its pixels a tile is cut.
_AROUND = 2
_CUT_SHARE = 0.8


@dataclass(frozen=True)
class Part:
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
    def with_data(cls, valid: NDArray[np.bool_], coarse: tuple[int, int], sensor: Sensor) -> Part:
        """Return the part around all data; the whole where that is about as large.

        Args:
            valid: bool (H, W), which HR pixels hold data in both images; some do.
            coarse: (h, w).
            sensor: of the tile.
        """
        lr, hr, phase = [], [], []
        for axis in (0, 1):
            ratio, offset, fine = sensor.ratio[axis], sensor.offset[axis], valid.shape[axis]
            filled = np.flatnonzero(valid.any(axis=1 - axis))
            cells = np.floor((filled[[0, -1]] - offset) / ratio + 0.5).astype(int)
            low, high = max(0, cells[0] - _AROUND), min(coarse[axis], cells[1] + 1 + _AROUND)
            # As for tiles: of the HR pixels, what the PSF of the outermost LR pixels sees.
            start = 0 if low == 0 else max(0, math.floor(offset + ratio * low - SEEN * ratio) + 1)
            last = offset + ratio * (high - 1) + SEEN * ratio
            end = fine if high == coarse[axis] else min(fine, math.ceil(last))
            lr.append(slice(int(low), int(high)))
            hr.append(slice(start, end))
            phase.append(offset + ratio * low - start)
        size = (hr[0].stop - hr[0].start) * (hr[1].stop - hr[1].start)
        if size > _CUT_SHARE * valid.size:
            whole = (slice(0, coarse[0]), slice(0, coarse[1]))
            return cls(whole, (slice(0, valid.shape[0]), slice(0, valid.shape[1])), sensor)
        return cls((lr[0], lr[1]), (hr[0], hr[1]), sensor.replace(phase=(phase[0], phase[1])))
