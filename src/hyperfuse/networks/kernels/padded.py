"""Cells around a pixel as nearest-neighbour sampling with zero padding finds them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hyperfuse.networks.kernels.rows import runs_of


@dataclass(frozen=True)
class PaddedAxis:
    """The two LR cells around each HR pixel of one axis, where a border of zero cells surrounds the LR map.

    Attributes:
        index: two int64 tensors (n,): the lower and the upper cell, counted in the padded map (0 and size_in + 1 are
            beyond the border).
        offset: two tensors (n,): ``(x - x_k) size_in`` of each.
        inside: two boolean tensors (n,): whether the cell lies on the map.
        from_centre: (n,): ``x size_in``, the offset from a cell whose coordinates read as 0.
        first_pixel: the pixel that entry 0 describes.
        size_in: cells on the LR axis.
        size_out: pixels on the HR axis.
    """

    index: tuple[torch.Tensor, torch.Tensor]
    offset: tuple[torch.Tensor, torch.Tensor]
    inside: tuple[torch.Tensor, torch.Tensor]
    from_centre: torch.Tensor
    first_pixel: int
    size_in: int
    size_out: int

    def part(self, start: int, stop: int) -> PaddedAxis:
        """Return the cells of pixels ``start`` to ``stop - 1``."""
        window = slice(start, stop)
        return PaddedAxis(
            (self.index[0][window], self.index[1][window]),
            (self.offset[0][window], self.offset[1][window]),
            (self.inside[0][window], self.inside[1][window]),
            self.from_centre[window],
            self.first_pixel + start,
            self.size_in,
            self.size_out,
        )

    def span(self) -> tuple[int, int]:
        """Return the first padded cell and one past the last that these pixels touch, as plain integers."""
        last = self.first_pixel + self.from_centre.shape[0] - 1
        return self._lower(self.first_pixel), self._lower(last) + 2

    def runs(self, side: int) -> list[tuple[int, int, int]]:
        """Return (start, stop, padded cell) for runs of pixels with the same lower (0) or upper (1) cell."""
        pixels = range(self.first_pixel, self.first_pixel + self.from_centre.shape[0])
        return runs_of([self._lower(pixel) + side for pixel in pixels])

    def outside(self, side: int) -> slice:
        """Return which of these pixels have their lower (0) or upper (1) cell beyond the border."""
        half = self.size_out // self.size_in // 2  # pixels between the border and the outermost cell's centre
        count = self.from_centre.shape[0]
        if side == 0:
            return slice(0, min(max(half - self.first_pixel, 0), count))
        return slice(min(max(self.size_out - half - self.first_pixel, 0), count), count)

    def along_axis(self, side: int) -> torch.Tensor:
        """Return the offset from a cell if only this axis mattered: 0 coordinates for cells beyond its border, (n,)."""
        return torch.where(self.inside[side], self.offset[side], self.from_centre)

    def offsets(self, columns: PaddedAxis, side_y: int, side_x: int) -> torch.Tensor:
        """Return the offset from one of the four cells, y before x, (n, m, 2), for these rows and ``columns``.

        A cell beyond the border on either axis has both coordinates 0.
        """
        inside = self.inside[side_y][:, None] & columns.inside[side_x][None, :]
        y = torch.where(inside, self.offset[side_y][:, None], self.from_centre[:, None])
        x = torch.where(inside, columns.offset[side_x][None, :], columns.from_centre[None, :])
        return torch.stack([y, x], dim=-1)

    def _lower(self, pixel: int) -> int:
        return ((2 * pixel + 1) * self.size_in - self.size_out) // (2 * self.size_out) + 1


def padded_axis(size_in: int, size_out: int, *, dtype: torch.dtype, device: torch.device) -> PaddedAxis:
    """Find the cells nearest to ``x - 1/size_in`` and ``x + 1/size_in`` of each pixel centre ``x``.

    At even whole ratios no pixel is as near to one cell as to another, and these are ``floor(u)`` and ``floor(u) + 1``
    with ``u = (i + 1/2) size_in/size_out - 1/2``.

    Args:
        size_in: cells on the LR axis.
        size_out: pixels on the HR axis.
        dtype: type of the offsets.
        device: where the result lives.

    Returns:
        The cells of every pixel.
    """
    pixel = torch.arange(size_out, device=device)
    position = (2 * pixel + 1) * size_in - size_out
    lower = torch.div(position, 2 * size_out, rounding_mode="floor")
    upper = lower + 1

    def offset(cell: torch.Tensor) -> torch.Tensor:
        return ((position - 2 * size_out * cell).double() / size_out).to(dtype)

    from_centre = ((position - size_out * (size_in - 1)).double() / size_out).to(dtype)
    inside = ((lower >= 0), (upper < size_in))
    return PaddedAxis((lower + 1, upper + 1), (offset(lower), offset(upper)), inside, from_centre, 0, size_in, size_out)
