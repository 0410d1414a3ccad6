"""The four nearest LR pixels of an HR pixel and its offsets from them, in exact integer arithmetic.

This is the local ensemble of LIIF (Chen, Liu, Wang: Learning Continuous Image Representation with Local Implicit Image
Function, CVPR 2021), one axis at a time: the four are the two nearest rows crossed with the two nearest columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import torch

from hyperfuse.networks.kernels.dispatch import Path, select_path


@dataclass(frozen=True)
class AxisNeighbours:
    """The two nearest LR pixels of each HR pixel along one axis.

    Attributes:
        index: int64 (2, n), the LR pixel at or before the HR pixel's centre (lower) and the next one (upper), clamped.
        offset: (2, n), HR minus LR centre in halves of an LR pixel (adjacent LR pixels are 2 apart).
        size_in: LR pixels of the axis.
        size_out: HR pixels of the axis (``n`` may be smaller: a half spectrum has only the first columns).
        first_pixel: the HR pixel that entry 0 describes.
        first_neighbour: the LR pixel that index 0 refers to.
        picked: whether the HR pixels are not consecutive (:meth:`pick`).
    """

    index: torch.Tensor
    offset: torch.Tensor
    size_in: int
    size_out: int
    first_pixel: int = 0
    first_neighbour: int = 0
    picked: bool = False

    def pairs(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield (index, offset) of the lower and then of the upper neighbours, (n,) each."""
        yield from zip(self.index, self.offset, strict=True)

    def part(self, start: int, stop: int) -> AxisNeighbours:
        """Return the neighbours of HR pixels ``start`` to ``stop - 1``."""
        index, offset = self.index[:, start:stop], self.offset[:, start:stop]
        return replace(self, index=index, offset=offset, first_pixel=self.first_pixel + start)

    def pick(self, pixels: torch.Tensor) -> AxisNeighbours:
        """Return the neighbours of the given HR pixels, int64 (m,), in their order."""
        return replace(self, index=self.index[:, pixels], offset=self.offset[:, pixels], picked=True)

    def restrict(self, table: torch.Tensor, start: int, stop: int) -> tuple[torch.Tensor, AxisNeighbours]:
        """Return the neighbours of some HR rows, and the rows of ``table``, (B, size_in, ...), that they refer to."""
        if is_whole(start, stop, self.size_out):
            return table, self
        first, last = self.span(start, stop)
        part = self.part(start, stop)
        part = replace(part, index=part.index - first, first_neighbour=self.first_neighbour + first)
        return table[:, first:last], part

    def runs(self, side: int) -> list[tuple[int, int, int]]:
        """Return (start, stop, index) for runs of HR pixels with the same lower (``side`` 0) or upper (1) neighbour.

        In plain integers, as :meth:`span`, and counted as the tensors are.
        """
        if self.picked:
            return runs_of(self.index[side].tolist())
        pixels = range(self.first_pixel, self.first_pixel + self.index.shape[1])
        nearest = (lower_neighbour(pixel, self.size_in, self.size_out) + side for pixel in pixels)
        return runs_of([min(max(index, 0), self.size_in - 1) - self.first_neighbour for index in nearest])

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """Return the first neighbour and one past the last of HR pixels ``start`` to ``stop - 1``."""
        first = lower_neighbour(start, self.size_in, self.size_out)
        last = lower_neighbour(stop - 1, self.size_in, self.size_out) + 1
        return max(first, 0), min(last, self.size_in - 1) + 1


def is_whole(start: int, stop: int, rows: int) -> bool:
    """Return whether rows ``start`` to ``stop - 1`` are all; a compiled graph computes nothing else."""
    return torch.compiler.is_compiling() or (start == 0 and stop == rows)


def rows_of(x: torch.Tensor, start: int, stop: int) -> torch.Tensor:
    """Return these rows of (B, rows, ...)."""
    return x if is_whole(start, stop, x.shape[1]) else x[:, start:stop]


def lower_neighbour(pixel: int, size_in: int, size_out: int) -> int:
    """Return ``floor((pixel + 1/2) size_in / size_out - 1/2)``; -1 for pixels before the first centre."""
    return ((2 * pixel + 1) * size_in - size_out) // (2 * size_out)


def axis_neighbours(
    size_in: int,
    size_out: int,
    *,
    count: int | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
) -> AxisNeighbours:
    """Find the two nearest LR pixels of each HR pixel of one axis.

    With pixel centres ``x_i = (2i + 1)/n - 1`` on both grids, HR pixel ``i`` lies at
    ``u = (i + 1/2) size_in/size_out - 1/2`` LR pixels; its neighbours are ``floor(u)`` and ``floor(u) + 1``, clamped at
    the border, and the offset that FeINFN's implicit functions take, ``(x_i - x_k) size_in``, equals ``2 (u - k)``.
    All but the final division is integer arithmetic, so that no ratio suffers from rounding (Liang et al., FeINFN,
    NeurIPS 2024, implicit fusion).

    Args:
        size_in: LR pixels of the axis.
        size_out: HR pixels of the axis.
        count: only the first ``count`` HR pixels (default: all).
        dtype: type of the offsets.
        device: of the result.

    Returns:
        The neighbours of each HR pixel.

    Example:
        >>> found = axis_neighbours(2, 4)
        >>> found.index.tolist(), found.offset[0].tolist()
        ([[0, 0, 0, 1], [0, 1, 1, 1]], [-0.5, 0.5, 1.5, 0.5])
    """
    position, index = nearest_two(size_in, size_out, size_out if count is None else count, device)
    index = index.clamp_(0, size_in - 1)
    return AxisNeighbours(index, offsets_from(position, index, size_out, dtype), size_in, size_out)


def nearest_two(
    size_in: int, size_out: int, count: int, device: torch.device | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``2 u size_out``, (count,), and ``floor(u)`` and ``floor(u) + 1``, (2, count), not clamped, all int64."""
    position = torch.arange(count, device=device) * (2 * size_in) + (size_in - size_out)
    lower = torch.div(position, 2 * size_out, rounding_mode="floor")
    return position, torch.stack([lower, lower + 1])


def offsets_from(position: torch.Tensor, index: torch.Tensor, size_out: int, dtype: torch.dtype) -> torch.Tensor:
    """Return the offsets ``2 (u - index)``, for positions and indices as of :func:`nearest_two`."""
    # The numerators are integers of a few times size_out: exact in float32 too, so that only the division rounds.
    return torch.sub(position, index, alpha=2 * size_out).to(dtype).div_(size_out)


def runs_of(numbers: list[int]) -> list[tuple[int, int, int]]:
    """Return (start, stop, number) for each run of equal numbers."""
    edges = [0, *(i for i in range(1, len(numbers)) if numbers[i] != numbers[i - 1]), len(numbers)]
    return [(start, stop, numbers[start]) for start, stop in pairwise(edges)]


def take(x: torch.Tensor, dim: int, index: torch.Tensor) -> torch.Tensor:
    """Return ``x.index_select(dim, index)`` of (B, h, w, K) along ``dim`` 1 or 2.

    On an accelerator, while gradients are recorded, it is a product with a matrix of zeros and ones: the gradient of
    that is a product too, where that of ``index_select`` adds numbers one by one, in no fixed order.
    """
    if not torch.is_grad_enabled() or select_path(x) is not Path.WHOLE:
        return x.index_select(dim, index)
    matrix = (index[:, None] == torch.arange(x.shape[dim], device=x.device)).to(x.dtype)
    batch, rows, columns, channels = x.shape
    flat = x.flatten(2) if dim == 1 else x.flatten(0, 1)
    taken = torch.bmm(matrix.expand(flat.shape[0], -1, -1), flat)
    size = (batch, index.shape[0], columns, channels) if dim == 1 else (batch, rows, index.shape[0], channels)
    return taken.view(size)
