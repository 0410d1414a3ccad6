"""Ground that is scored at both resolutions: blocks of the LR-HSI and of the HR images, without gaps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.errors import InputError
from hyperfuse.metrics.arrays import as_bands, as_mask, check_finite
from hyperfuse.metrics.block_quality import Block, block_edges, blocks

Degrade = Callable[[NDArray[Any]], Any]

BLOCK = 8  # LR pixels
_GAP_WEIGHT = 1e-3  # LR pixels with a larger weight of gaps in their blur are left out


@dataclass(frozen=True)
class Ground:
    """An LR and an HR image of the same bands, the blocks over each, and their masks (None = all pixels).

    Block n of ``low_blocks`` and of ``high_blocks`` is the same ground, and both masks exclude the same ground.
    """

    low: NDArray[Any]
    high: NDArray[Any]
    low_blocks: list[Block]
    high_blocks: list[Block]
    low_mask: NDArray[np.bool_] | None
    high_mask: NDArray[np.bool_] | None


def common_ground(hsi: Any, fused: Any, mask: Any, hsi_mask: Any) -> Ground:
    """Check an LR-HSI and the fused image over it, and find the blocks and pixels that are scored at both resolutions.

    Raises:
        InputError: other numbers of bands, a fused image smaller than the LR-HSI, non-finite values in scored pixels,
            or masks that leave no block.
    """
    low, high = as_bands(hsi, "the HSI"), as_bands(fused, "the fused image")
    if len(low) != len(high):
        raise InputError(f"the HSI has {len(low)} bands and the fused image {len(high)}; they must be the same bands")
    if high.shape[1] < low.shape[1] or high.shape[2] < low.shape[2]:
        raise InputError(f"the fused image {high.shape} is smaller than the HSI {low.shape}; are they swapped?")
    high_mask, low_mask = as_mask(mask, high.shape[1:]), as_mask(hsi_mask, low.shape[1:], "hsi_mask")
    if high_mask is not None or low_mask is not None:
        high_mask, low_mask = _common_masks(high_mask, low_mask, high.shape[1:], low.shape[1:])
    check_finite(low, low_mask, "the HSI")
    check_finite(high, high_mask, "the fused image")
    low_edges = [block_edges(length, BLOCK) for length in low.shape[1:]]
    high_edges = [
        np.rint(edges * (fine / coarse)).astype(np.intp)
        for edges, fine, coarse in zip(low_edges, high.shape[1:], low.shape[1:], strict=True)
    ]
    low_blocks, high_blocks = blocks(*low_edges), blocks(*high_edges)
    index = scored_blocks(low_blocks, low_mask)
    return Ground(low, high, [low_blocks[i] for i in index], [high_blocks[i] for i in index], low_mask, high_mask)


def _common_masks(
    high_mask: NDArray[np.bool_] | None,
    low_mask: NDArray[np.bool_] | None,
    high_shape: tuple[int, ...],
    low_shape: tuple[int, ...],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Leave out at both resolutions the LR pixels that either mask leaves out, wholly or in part."""
    row, col = (
        ((np.arange(fine) + 0.5) * coarse / fine).astype(np.intp)
        for fine, coarse in zip(high_shape, low_shape, strict=True)
    )
    low = np.ones(low_shape, np.bool_) if low_mask is None else low_mask.copy()
    if high_mask is not None:
        missing = np.argwhere(~high_mask)
        low[row[missing[:, 0]], col[missing[:, 1]]] = False
    return low[np.ix_(row, col)], low


def scored_blocks(grid: list[Block], mask: NDArray[np.bool_] | None) -> list[int]:
    """Return the indices of the blocks of which at least half is scored.

    Raises:
        InputError: there is none.
    """
    found = [index for index, block in enumerate(grid) if mask is None or 2 * mask[block].sum() >= mask[block].size]
    if not found:
        raise InputError("the masks and gaps leave no block half of which is scored; there is nothing to assess")
    return found


def checked_msi(msi: Any, ground: Ground) -> NDArray[Any]:
    """Return the MSI as an array on the grid of the fused image, finite where scored."""
    array = as_bands(msi, "the MSI")
    if array.shape[1:] != ground.high.shape[1:]:
        raise InputError(
            f"the MSI has the shape {array.shape}, the fused image {ground.high.shape}; rows and cols must agree"
        )
    check_finite(array, ground.high_mask, "the MSI")
    return array


def degraded(image: NDArray[Any], degrade: Degrade, ground: Ground) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Degrade an HR image, gaps filled with the bands' means; return it and the LR pixels that no gap affects.

    Raises:
        InputError: ``degrade`` gives another shape than the LR-HSI's, or non-finite values.
    """
    mask, scored = ground.high_mask, ground.low_mask
    image = image.astype(np.promote_types(image.dtype, np.float32), copy=False)  # blurring in integers would truncate
    if mask is not None:
        means = np.array([band[mask].mean(dtype=np.float64) for band in image])
        image = np.where(mask, image, means.astype(image.dtype)[:, None, None])
    if not callable(degrade):
        raise InputError("degrade is a function such as sensor.degrade of a Sensor", "degrade")
    result = as_bands(degrade(image), "degrade's output")
    expected = (len(image), *ground.low.shape[1:])
    if result.shape != expected:
        raise InputError(f"degrade gave the shape {result.shape}, the grid of the HSI needs {expected}")
    if mask is not None and scored is not None:
        weight = as_bands(degrade(mask[None].astype(np.float32)), "degrade's output")[0]
        scored = scored & (weight > 1 - _GAP_WEIGHT)
    check_finite(result, scored, "degrade's output")
    return result, scored
