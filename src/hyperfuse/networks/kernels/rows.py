"""Whole images computed in blocks of rows, so that what a block needs in between stays in cache."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as F

from hyperfuse.networks.kernels.dispatch import rows_per_block

# Rows times columns of one strip of a convolution: at 128 channels in float32 a strip's activation is 8 MiB, so that
# the two convolutions of a residual block pass it on in the last-level cache.
STRIP_PIXELS = 16384

# Applies a 3x3 convolution to a window with the given padding of rows and columns.
Convolution = Callable[[torch.Tensor, tuple[int, int]], torch.Tensor]


def evaluate_rows(
    block: Callable[[int, int], torch.Tensor], x: torch.Tensor, rows: int, columns: int, bytes_per_pixel: int
) -> torch.Tensor:
    """Join ``block(start, stop)`` over all rows along dimension 1.

    Args:
        block: maps a range of rows to (B, stop - start, ...).
        x: a tensor on the device of the computation.
        rows: number of rows.
        columns: pixels per row, times the batch.
        bytes_per_pixel: memory that ``block`` needs at its peak.

    Returns:
        (B, rows, ...).
    """
    step = rows_per_block(x, rows, columns, bytes_per_pixel)
    if step is rows or step >= rows:
        return block(0, rows)
    first = block(0, step)
    result = first.new_empty((first.shape[0], rows, *first.shape[2:]))
    result[:, :step] = first
    for start in range(step, rows, step):
        stop = min(start + step, rows)
        result[:, start:stop] = block(start, stop)
    return result


def pad_rows(x: torch.Tensor, top: bool, bottom: bool) -> torch.Tensor:
    """Add a row of zeros at the top and at the bottom of (B, C, H, W), where requested."""
    return F.pad(x, (0, 0, int(top), int(bottom))) if top or bottom else x


def add_convolved(result: torch.Tensor, x: torch.Tensor, convolve: Convolution, strip: int) -> None:
    """Add the convolution of ``x`` to ``result`` in place, ``strip`` rows at a time."""
    rows = x.shape[2]
    for start in range(0, rows, strip):
        stop = min(start + strip, rows)
        window = x[:, :, max(start - 1, 0) : min(stop + 1, rows)]
        result[:, :, start:stop] += convolve(pad_rows(window, start == 0, stop == rows), (0, 1))


def add_residual(x: torch.Tensor, first: Convolution, second: Convolution, strip: int) -> None:
    """Add ``second(relu(first(x)))`` to ``x`` in place, ``strip`` rows at a time: nothing of its size is allocated."""
    rows = x.shape[2]
    hidden = x[:, :, :0]
    computed = 0  # rows of the hidden layer
    for start in range(0, rows, strip):
        stop = min(start + strip, rows)
        # The second convolution reads hidden rows start-1 to stop, of which the first two come from the strip above.
        # Beyond the image it reads zeros, not what the first convolution would give there.
        reach = min(stop + 1, rows)
        if computed < reach:
            window = x[:, :, max(computed - 1, 0) : min(reach + 1, rows)]
            below = first(pad_rows(window, computed == 0, reach == rows), (0, 1)).relu_()
            hidden = torch.cat([hidden[:, :, -2:], below], dim=2) if computed else below
        else:
            hidden = hidden[:, :, -2:]
        computed = reach
        x[:, :, start:stop] += second(pad_rows(hidden, start == 0, stop == rows), (0, 1))
