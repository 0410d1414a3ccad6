"""Bands of twice the pixel size, interpolated onto the finer grid of others."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def double(data: NDArray[Any], valid: NDArray[np.bool_] | None) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Interpolate bilinearly between pixel centres onto pixels of half the size.

    The centre of a fine pixel lies a quarter of a coarse one off the centre of the coarse pixel around it, so its
    weights are 3/4 and 1/4 along each axis. At the border and next to gaps the weights of valid pixels are normalised.

    Args:
        data: shape (bands, rows, cols), NaN in gaps.
        valid: bool, the same shape, False in gaps; None where there is none.

    Returns:
        The same of shape (bands, 2 rows, 2 cols); the fine pixels within a coarse gap are gaps.

    Example:
        >>> double(np.array([[[0.0, 4.0]]]), None)[0][0, 0].tolist()
        [0.0, 1.0, 3.0, 4.0]
    """
    if valid is None:
        return _along(_along(data, 1), 2), None
    weights = _along(_along(valid.astype(data.dtype), 1), 2)
    sums = _along(_along(np.where(valid, data, data.dtype.type(0)), 1), 2)
    fine = valid.repeat(2, axis=1).repeat(2, axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        np.divide(sums, weights, out=sums)
    sums[~fine] = np.nan
    return sums, fine


def _along(data: NDArray[Any], axis: int) -> NDArray[Any]:
    moved = np.moveaxis(data, axis, 0)
    before, after = np.concatenate([moved[:1], moved[:-1]]), np.concatenate([moved[1:], moved[-1:]])
    fine = np.empty((2 * moved.shape[0], *moved.shape[1:]), data.dtype)
    near, far = data.dtype.type(0.75), data.dtype.type(0.25)
    fine[0::2] = near * moved + far * before
    fine[1::2] = near * moved + far * after
    return np.moveaxis(fine, 0, axis)
