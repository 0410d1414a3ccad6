"""Arrays as tensors that share their memory, where the arrays are not to be written to."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hyperfuse.errors import InputError


def tensor_of(array: NDArray[Any]) -> torch.Tensor:
    """Return an array as a tensor of the same memory; do not write to it where the array is read-only, as cubes are."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(array)


def as_tensor(image: Any) -> torch.Tensor:
    """Return a tensor as it is, an array or a cube as a tensor of floating-point values (..., rows, cols).

    Raises:
        InputError: anything else.
    """
    if isinstance(image, torch.Tensor):
        return image
    array = np.asarray(image)
    if array.ndim < 2 or array.dtype.kind not in "fiub":
        raise InputError(
            f"image is a tensor or an array (..., rows, cols) of numbers, got {type(image).__name__}", "image"
        )
    return tensor_of(array if array.dtype in (np.float32, np.float64) else array.astype(np.float32))
