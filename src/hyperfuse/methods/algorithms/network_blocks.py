"""How an image is cut into the blocks that a trained network is applied to, along an axis."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

import torch

from hyperfuse.sensor.model import Sensor

# LR pixels by which blocks overlap on each side, where their outputs are blended, for networks that state none.
OVERLAP = 6
_MIN_BLOCK = 4 * OVERLAP
# HR pixels over which blocks are blended where a network states the overlap.
_RAMP = 8
_MIN_SIDE = 4  # LR pixels


class Block(NamedTuple):
    """A block along an axis: LR and HR pixels of the padded images, and its weights, (HR pixels,)."""

    lr: slice
    hr: slice
    ramp: torch.Tensor


class BlockAxis(NamedTuple):
    """How an axis is padded so that LR pixels cover the HR pixels exactly, from a common border on.

    Attributes:
        lr: LR pixels added before and after.
        hr: HR pixels added before and after.
        size: LR pixels with them.
        ratio: HR pixels per LR pixel.
        unit: LR pixels at multiples of which blocks start, and that they have.
        inside: HR pixels of the pair in the padded image.
    """

    lr: tuple[int, int]
    hr: tuple[int, int]
    size: int
    ratio: float
    unit: int
    inside: slice

    @classmethod
    def of(cls, coarse: int, fine: int, sensor: Sensor, axis: int, multiple: int = 1) -> BlockAxis:
        """Pad ``coarse`` LR and ``fine`` HR pixels; a shift of up to half an HR pixel is that of a preset.

        There are ``multiple`` HR pixels, or several times as many, with them.
        """
        ratio = sensor.ratio[axis]
        unit = lr_unit(ratio, multiple)
        corner = sensor.offset[axis] + 0.5 - ratio / 2
        start = int(math.copysign(math.ceil(abs(corner) - 0.5), corner))
        before = math.ceil(max(start, 0) / ratio)
        first = start - round(before * ratio)
        after = max(0, math.ceil((fine - first) / ratio - 1e-6) - before - coarse)
        short = max(0, _MIN_SIDE - before - coarse - after)
        after += short + -(before + coarse + after + short) % unit
        size = before + coarse + after
        total = round(size * ratio)
        return cls((before, after), (-first, total + first - fine), size, ratio, unit, slice(-first, -first + fine))

    def blocks(self, side: int, overlap: int | None = None) -> list[Block]:
        """Return overlapping blocks of about ``side`` HR pixels, all of the same size.

        Weights are 0 in the ``overlap`` HR pixels at a border of a block within the image; where it is None they fall
        towards the border.
        """
        unit = self.unit
        if overlap is None:
            shared, ramp, least = 2 * OVERLAP, OVERLAP * self.ratio, _MIN_BLOCK
        else:
            ramp = float(_RAMP if overlap else 0)
            shared = math.ceil((2 * overlap + ramp) / self.ratio)
            least = shared + 1
        size = min(self.size, unit * max(math.ceil(least / unit), round(side / self.ratio / unit)))
        step = max(unit, (size - shared) // unit * unit)
        starts = [*range(0, self.size - size, step), self.size - size]
        found = []
        for start in starts:
            low, high = round(start * self.ratio), round((start + size) * self.ratio)
            at = torch.arange(high - low, dtype=torch.float64) + 0.5
            before = at if start > 0 else torch.full_like(at, math.inf)
            after = at.flip(0) if start + size < self.size else torch.full_like(at, math.inf)
            inward = torch.minimum(before, after) - (overlap or 0)
            weights = (inward / ramp).clamp(0.0, 1.0) if ramp else (inward > 0).double()
            found.append(Block(slice(start, start + size), slice(low, high), weights))
        return found


def lr_unit(ratio: float, multiple: int) -> int:
    """Return after how many LR pixels there is a common border that is a multiple of this many HR pixels too."""
    unit = _common_border(ratio)
    return unit * multiple // math.gcd(round(unit * ratio), multiple)


def _common_border(ratio: float) -> int:
    """Return after how many LR pixels LR and HR pixels have a common border again: 1 at a whole ratio, 2 at 2.5."""
    return Fraction(ratio).limit_denominator(10).denominator
