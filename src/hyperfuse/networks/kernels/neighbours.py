"""Which four LR cells surround a pixel, and how far away they are, in exact integer arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from hyperfuse.networks.kernels.rows import runs_of


@dataclass(frozen=True)
class AxisCells:
    """The two LR cells around each HR pixel along one axis.

    Attributes:
        lower: index of the cell at or before the pixel's centre, clamped to the axis, int64, shape (n,).
        upper: index of the next cell, clamped to the axis, int64, shape (n,).
        lower_offset: pixel minus cell centre in half cells (a neighbour's centre lies 2 away), shape (n,).
        upper_offset: the same for ``upper``.
        size_in: cells on the LR axis.
        size_out: pixels on the HR axis (``n`` may be fewer: a half spectrum evaluates only the first columns).
        first_pixel: the pixel that entry 0 describes.
        first_cell: the cell that index 0 means.
        picked: whether the pixels are not a run of neighbours (:meth:`pick`).
    """

    lower: torch.Tensor
    upper: torch.Tensor
    lower_offset: torch.Tensor
    upper_offset: torch.Tensor
    size_in: int
    size_out: int
    first_pixel: int = 0
    first_cell: int = 0
    picked: bool = False

    def pairs(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield (index, offset) of the lower and then of the upper cell."""
        yield self.lower, self.lower_offset
        yield self.upper, self.upper_offset

    def part(self, start: int, stop: int) -> AxisCells:
        """Return the cells of pixels ``start`` to ``stop - 1``."""
        window = slice(start, stop)
        return replace(
            self,
            lower=self.lower[window],
            upper=self.upper[window],
            lower_offset=self.lower_offset[window],
            upper_offset=self.upper_offset[window],
            first_pixel=self.first_pixel + start,
        )

    def pick(self, pixels: torch.Tensor) -> AxisCells:
        """Return the cells of the given pixels, int64 (m,), in their order."""
        return replace(
            self,
            lower=self.lower[pixels],
            upper=self.upper[pixels],
            lower_offset=self.lower_offset[pixels],
            upper_offset=self.upper_offset[pixels],
            picked=True,
        )

    def counted_from(self, first: int) -> AxisCells:
        """Return the same cells with indices counted from cell ``first``."""
        return replace(self, lower=self.lower - first, upper=self.upper - first, first_cell=self.first_cell + first)

    def runs(self, side: int) -> list[tuple[int, int, int]]:
        """Return (start, stop, cell) for runs of pixels with the same lower (``side`` 0) or upper (1) cell.

        In plain integers, as :meth:`span`, and counted as the tensors are.
        """
        if self.picked:
            return runs_of([self.lower, self.upper][side].tolist())
        pixels = range(self.first_pixel, self.first_pixel + self.lower.shape[0])
        below = (lower_cell(pixel, self.size_in, self.size_out) + side for pixel in pixels)
        return runs_of([min(max(cell, 0), self.size_in - 1) - self.first_cell for cell in below])

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """Return the first cell and one past the last that pixels ``start`` to ``stop - 1`` touch, as plain integers.

        Plain integers, not a tensor's ``item()``: reading a tensor would break a compiled graph.
        """
        first = lower_cell(start, self.size_in, self.size_out)
        last = lower_cell(stop - 1, self.size_in, self.size_out) + 1
        return max(first, 0), min(last, self.size_in - 1) + 1


def lower_cell(pixel: int, size_in: int, size_out: int) -> int:
    """Return ``floor((pixel + 1/2) size_in / size_out - 1/2)``; -1 for pixels before the first centre."""
    return ((2 * pixel + 1) * size_in - size_out) // (2 * size_out)


def axis_cells(
    size_in: int,
    size_out: int,
    *,
    count: int | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
) -> AxisCells:
    """Find the two LR cells around each HR pixel of one axis.

    With pixel centres ``x_i = (2i + 1)/n - 1`` on both grids, pixel ``i`` sits in cells at
    ``u = (i + 1/2) size_in/size_out - 1/2``; its neighbours are ``floor(u)`` and ``floor(u) + 1``, clamped at the
    border, and the offset that FeINFN feeds to its implicit functions, ``(x_i - x_k) size_in``, equals ``2 (u - k)``.
    Everything but the final division is done in integers, so no ratio suffers from rounding (Liang et al., FeINFN,
    NeurIPS 2024, implicit fusion).

    Args:
        size_in: cells on the LR axis.
        size_out: pixels on the HR axis.
        count: evaluate only the first ``count`` pixels (default: all).
        dtype: type of the offsets.
        device: where the result lives.

    Returns:
        The cells of each pixel.

    Example:
        >>> cells = axis_cells(2, 4)
        >>> cells.lower.tolist(), cells.upper.tolist(), cells.lower_offset.tolist()
        ([0, 0, 0, 1], [0, 1, 1, 1], [-0.5, 0.5, 1.5, 0.5])
    """
    pixel = torch.arange(size_out if count is None else count, device=device)
    position = (2 * pixel + 1) * size_in - size_out  # 2 u size_out, exactly
    below = torch.div(position, 2 * size_out, rounding_mode="floor")
    lower = below.clamp(0, size_in - 1)
    upper = (below + 1).clamp(0, size_in - 1)
    # Exact numerators below 2^53, so float64 division rounds once; then the wanted type.
    lower_offset = ((position - 2 * size_out * lower).double() / size_out).to(dtype)
    upper_offset = ((position - 2 * size_out * upper).double() / size_out).to(dtype)
    return AxisCells(lower, upper, lower_offset, upper_offset, size_in, size_out)
