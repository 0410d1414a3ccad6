"""Images (bands, rows, cols) given as arrays, torch tensors or cubes, and the pixels that are scored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.metrics.alignment import refuse_unaligned

Ratio = float | Sequence[float]


def as_image(image: Any, name: str) -> Any:
    """Return a file or a ``DataArray`` as a Cube, which states what it is; arrays and cubes as they are.

    Raises:
        InputError: a file that cannot be read, with ``name`` as its parameter.
    """
    if isinstance(image, str | Path) or hasattr(image, "dims"):
        from hyperfuse.io.files import as_cube

        return as_cube(image, name)
    return image


def as_bands(image: Any, name: str) -> NDArray[Any]:
    """Return an array, torch tensor on any device, or Cube as an array (bands, rows, cols), where possible not a copy.

    A 2-D image is a single band; ``name`` is that of the image, for errors.

    Raises:
        InputError: another number of dimensions, an empty image, or values that are no real numbers.
    """
    if isinstance(image, Cube):
        return image.data
    if hasattr(image, "detach"):
        image = image.detach().cpu()
        if str(image.dtype) == "torch.bfloat16":  # numpy has no such type
            image = image.float()
    array = np.asarray(image)
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or 0 in array.shape:
        raise InputError(f"{name} needs (bands, rows, cols), none of them 0; got the shape {array.shape}")
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} needs real numbers, got {array.dtype}")
    return array


def as_mask(mask: Any, shape: tuple[int, ...], name: str = "mask") -> NDArray[np.bool_] | None:
    """Return ``mask`` as booleans (rows, cols), True where a pixel is scored; None where every pixel is.

    Raises:
        InputError: another shape than ``shape``, another type than bool, or no True at all.
    """
    if mask is None:
        return None
    array = np.asarray(mask.detach().cpu() if hasattr(mask, "detach") else mask)
    if array.dtype != np.bool_:
        raise InputError(f"{name} needs booleans (True = scored), got {array.dtype}; pass for example {name} != 0")
    if array.shape != tuple(shape):
        raise InputError(f"{name} has the shape {array.shape}, the image {tuple(shape)} (rows, cols)")
    if not array.any():
        raise InputError(f"{name} selects no pixel (True = scored)")
    return None if array.all() else array


def check_finite(array: NDArray[Any], mask: NDArray[np.bool_] | None, name: str) -> None:
    """Refuse NaN and infinity in the scored pixels of ``array`` (bands, rows, cols)."""
    if array.dtype.kind != "f":
        return
    for band in array:
        finite = np.isfinite(band)
        if mask is not None:
            finite |= ~mask
        if not finite.all():
            row, col = np.argwhere(~finite)[0]
            raise InputError(
                f"{name} holds NaN or infinite values, the first at row {row}, column {col} (from 0); "
                "declare them as gaps or leave them out by a mask"
            )


def as_pair(reference: Any, fused: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return both images as arrays (bands, rows, cols) of one shape; cubes whose metadata differ are refused."""
    a, b = as_bands(reference, "the reference"), as_bands(fused, "the fused image")
    if a.shape != b.shape:
        raise InputError(
            f"the reference has the shape {a.shape}, the fused image {b.shape} (bands, rows, cols); they must be equal"
        )
    if isinstance(reference, Cube) and isinstance(fused, Cube):
        refuse_unaligned(reference, fused)
    return a, b


def checked_pair(reference: Any, fused: Any, mask: Any) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_] | None]:
    """Return both images as arrays of one shape, finite where scored, and the mask (None = all pixels).

    Raises:
        InputError: shapes that differ, non-finite values in scored pixels, or a mask that does not fit.
    """
    a, b = as_pair(reference, fused)
    scored = as_mask(mask, a.shape[1:])
    check_finite(a, scored, "the reference")
    check_finite(b, scored, "the fused image")
    return a, b, scored


def usable_bands(images: Sequence[Any], bands: int) -> NDArray[np.bool_]:
    """Return, as booleans (bands,), the bands that no cube among ``images`` marks as bad or has wholly empty."""
    used = np.ones(bands, np.bool_)
    for image in images:
        if isinstance(image, Cube):
            used &= image.usable_bands
    if not used.any():
        raise InputError("no band can be scored: all are marked bad or empty")
    return used


def scored_pixels(
    images: Sequence[tuple[Any, NDArray[np.bool_]]], mask: Any, shape: tuple[int, ...], name: str = "mask"
) -> NDArray[np.bool_] | None:
    """Return the pixels (rows, cols) in ``mask`` without a gap in the used bands of any cube; None for all pixels.

    ``images`` are pairs of an image and its used bands, as :func:`usable_bands` gives them.
    """
    chosen = as_mask(mask, shape, name)
    scored = np.ones(shape, np.bool_) if chosen is None else chosen.copy()
    for image, used in images:
        if isinstance(image, Cube) and image.valid is not None:
            for band in np.flatnonzero(used):
                scored &= image.valid[band]
    if not scored.any():
        raise InputError("no pixel can be scored: gaps and mask cover the whole image")
    return None if scored.all() else scored


def varying_bands(image: NDArray[Any], mask: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Return, as booleans (bands,), the bands of ``image`` that are not constant over the scored pixels."""
    values = (band if mask is None else band[mask] for band in image)
    return np.array([v.min() != v.max() for v in values], np.bool_)


def scored_values(band: NDArray[Any], mask: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    """Return the scored values of one band as a float64 vector."""
    values = band.ravel() if mask is None else band[mask]
    return values.astype(np.float64, copy=False)


def zero_filled(part: NDArray[Any], mask: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    """Return ``part`` (..., rows, cols) in float64, 0 where it is not scored, whatever the values there."""
    if mask is None:
        return part.astype(np.float64)
    return np.where(mask, part, 0).astype(np.float64, copy=False)


def linear_ratio(ratio: Ratio) -> float:
    """Return the resolution ratio as one number: the geometric mean where it is given per axis (y, x).

    Raises:
        InputError: not one or two finite numbers of at least 1.
    """
    values = np.atleast_1d(np.asarray(ratio, dtype=np.float64))
    if values.ndim != 1 or values.size not in (1, 2) or not np.isfinite(values).all() or values.min() < 1:
        raise InputError(f"ratio needs one number of at least 1, or two for (y, x); got {ratio!r}", parameter="ratio")
    return math.exp(float(np.log(values).mean())) if values.size == 2 else float(values[0])


def positive_peak(peak: float) -> float:
    """Return ``peak`` as a float, or refuse one that is not positive and finite."""
    value = float(peak)
    if not 0 < value < math.inf:
        raise InputError(f"peak needs a positive number, got {peak!r}; it is the largest value of an image", "peak")
    return value
