"""Evaluate something on blocks of image rows, so that what it needs in between stays in cache."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch

# Pixels of a block. An implicit function holds about 2 KiB a pixel at its widest (256 float32, two buffers), so that a
# block stays in the last-level cache of a desktop processor and a large image needs no more than a small one.
BLOCK_PIXELS = 4096


def rows_at_once(columns: int, pixels: int | None = None) -> int:
    """Return how many rows of ``columns`` pixels make about ``pixels`` (``BLOCK_PIXELS`` unless told); at least one."""
    return max(1, (BLOCK_PIXELS if pixels is None else pixels) // max(columns, 1))


def evaluate_rows(
    block: Callable[[int, int], torch.Tensor], rows: int, columns: int, *, whole: bool = False
) -> torch.Tensor:
    """Join ``block(start, stop)`` over all rows along dimension 1.

    Args:
        block: maps a range of rows to (B, stop - start, ...).
        rows: number of rows.
        columns: pixels of a row, times the batch.
        whole: evaluate all rows at once. A graph that is compiled or exported does so too: there the compiler tiles.

    Returns:
        (B, rows, ...).
    """
    step = rows_at_once(columns)
    if whole or torch.is_grad_enabled() or torch.compiler.is_compiling() or step >= rows:
        return block(0, rows)
    starts = range(0, rows, step)
    first = block(0, step)
    if torch.is_grad_enabled() and first.requires_grad:
        return torch.cat([first, *(block(start, min(start + step, rows)) for start in starts[1:])], dim=1)
    result = first.new_empty((first.shape[0], rows, *first.shape[2:]))
    result[:, :step] = first
    for start in starts[1:]:
        stop = min(start + step, rows)
        result[:, start:stop] = block(start, stop)
    return result


def add_rows(
    rows: torch.Tensor, cells: torch.Tensor, index: torch.Tensor, runs: list[tuple[int, int, int]]
) -> torch.Tensor:
    """Return ``rows + cells[:, index]`` without forming ``cells[:, index]`` where no gradient is wanted.

    Args:
        rows: (B, R, W, K).
        cells: (B, r, W, K).
        index: (R,) int64, the row of ``cells`` that goes to each row.
        runs: the same index as runs (start, stop, cell) of equal cells.

    Returns:
        (B, R, W, K).
    """
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return cells.index_select(1, index).add_(rows)
    result = torch.empty_like(rows, memory_format=torch.contiguous_format)
    for start, stop, cell in runs:
        torch.add(rows[:, start:stop], cells[:, cell : cell + 1], out=result[:, start:stop])
    return result


def runs_of(cells: list[int]) -> list[tuple[int, int, int]]:
    """Return (start, stop, cell) for each run of equal numbers."""
    edges = [0, *(i for i in range(1, len(cells)) if cells[i] != cells[i - 1]), len(cells)]
    return [(start, stop, cells[start]) for start, stop in pairwise(edges)]
