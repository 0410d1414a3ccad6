"""Folds of spatial blocks: neighbouring pixels share errors, so a fit is tested on pixels away from those it used."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

BLOCK = 4  # pixels along a side of a block
FOLDS = 4


def block_folds(shape: tuple[int, int], device: torch.device | str = "cpu") -> torch.Tensor:
    """Return the fold, 0 to 3, of every pixel of an image, (h, w).

    Spatially blocked cross-validation (Roberts et al., Ecography 40(8), 2017): blocks of four by four pixels, in a
    pattern of two by two blocks that puts neighbouring blocks into different folds.
    """
    rows = torch.arange(shape[0], device=device)[:, None] // BLOCK
    cols = torch.arange(shape[1], device=device)[None, :] // BLOCK
    return 2 * (rows % 2) + cols % 2


def position_folds(positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the same folds for pixels at (row, col), (n, 2): (n,)."""
    blocks = positions // BLOCK
    return np.asarray(2 * (blocks[:, 0] % 2) + blocks[:, 1] % 2)


def block_labels(positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the label, from 0, of the block that each pixel at (row, col), (n, 2), lies in: (n,)."""
    return np.asarray(np.unique(positions // BLOCK, axis=0, return_inverse=True)[1]).ravel()


def validation_blocks(
    shape: tuple[int, int], fraction: float, seed: int, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Return a mask (h, w) of random blocks of four by four pixels that make up about ``fraction`` of an image."""
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.rand(-(-shape[0] // BLOCK), -(-shape[1] // BLOCK), generator=generator) < fraction
    mask = blocks.repeat_interleave(BLOCK, 0).repeat_interleave(BLOCK, 1)[: shape[0], : shape[1]]
    return mask.to(device)


def held_out_patterns(shape: tuple[int, int], device: torch.device | str = "cpu") -> list[torch.Tensor]:
    """Return four masks (h, w), each of every second pixel of every second row: together they hold every pixel once.

    The eight neighbours of a held-out pixel are never held out with it.
    """
    rows = torch.arange(shape[0], device=device)[:, None] % 2
    cols = torch.arange(shape[1], device=device)[None, :] % 2
    return [(rows == y) & (cols == x) for y in (0, 1) for x in (0, 1)]
