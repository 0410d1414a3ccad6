"""What the images of products have in common: sizes, overviews, bands of other pixels, the record of their reading."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.version import __version__

# Beyond the rows of the longest strip of any product (WorldView, PAN), for both axes.
_MAX_SIDE = 250_000
MAX_BANDS = 2_000


def reading_step(
    product: str, scene: str, options: ReadOptions, gaps: Sequence[str], steps: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the step of the history that records the reading of a product; see :class:`~.image.About`."""
    step = {"step": "read", "product": product, "scene": scene, "quality": options.quality or "standard"}
    return {**step, "gaps": list(gaps), **(steps or {}), "version": __version__}


def decimation(options: ReadOptions, rows: int, cols: int) -> int:
    """Return which pixels of a scene are read along an axis, every n-th, n a power of 2."""
    step = 1
    while options.overview is not None and max(rows, cols) > step * options.overview:
        step *= 2
    return step


def decimated_size(size: tuple[int, int], step: int) -> tuple[int, int]:
    """Return the size (rows, cols) of an image of which every ``step``-th pixel is read."""
    return -(-size[0] // step), -(-size[1] // step)


def decimated_index(full: int, low: int) -> NDArray[np.intp]:
    """Return the pixels that are read along an axis, ``low`` of ``full``."""
    return ((np.arange(low) + 0.5) * full / low).astype(np.intp)


def check_size(rows: int, cols: int) -> None:
    """Refuse a scene that is empty or larger than any product has, before memory is taken for it."""
    if not (0 < rows <= _MAX_SIDE and 0 < cols <= _MAX_SIDE):
        raise InputError(f"has {rows} x {cols} pixels; no scene of a product has")


def selected_bands(options: ReadOptions, count: int) -> list[int]:
    """Return the indices of the bands to read among those of a product."""
    index = options.band_index(count)
    return list(range(count)) if index is None else index


def warn(message: str) -> None:
    """Report something about a product that the user should know."""
    warnings.warn(message, HyperfuseWarning, stacklevel=3)


def double(data: NDArray[Any], valid: NDArray[np.bool_] | None) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Interpolate bilinearly between pixel centres onto pixels of half the size.

    The centre of a fine pixel lies a quarter of a coarse one off the centre of the coarse pixel around it, so its
    weights are 3/4 and 1/4 along each axis. At the border and next to gaps the weights of valid pixels are normalised.

    From (bands, rows, cols), NaN in gaps, and where they are no gaps (None: everywhere), it makes both of shape
    (bands, 2 rows, 2 cols); the fine pixels within a coarse gap are gaps.

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
