"""Linear operators along one image axis: sampling through a profile, interpolation, and their exact transposes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from hyperfuse.errors import InputError

Boundary = Literal["reflect", "circular"]
Floats = NDArray[np.float64]

# Outputs computed by one dense product: at most, and at least. Few enough that the block of the band-diagonal matrix
# holds about as many zeros as weights, many enough for a product to be worth its call.
_MAX_BLOCK, _MIN_BLOCK = 128, 32
# A PSF may reach as many samples beyond an image as it has, and this many.
_WIDEST = 64
TOO_NARROW = "the PSF is narrower than a pixel of the MSI and falls between its centres; widen it"


class AxisOperator:
    """A sparse matrix of shape (size_out, size_in) applied along one axis of a tensor.

    The matrix is cut into blocks of rows, each a small dense product over the inputs of the block: exact, as fast as
    a convolution, differentiable, and the transpose is the adjoint to rounding.
    """

    def __init__(self, matrix: sparse.csr_matrix) -> None:
        self.matrix = sparse.csr_matrix(matrix)
        self.size_out, self.size_in = (int(size) for size in self.matrix.shape)
        self._blocks: dict[tuple[torch.dtype, torch.device], list[tuple[slice | torch.Tensor, torch.Tensor]]] = {}

    @cached_property
    def transposed(self) -> AxisOperator:
        """The adjoint operator."""
        return AxisOperator(self.matrix.T.tocsr())

    def __call__(self, x: torch.Tensor, axis: int) -> torch.Tensor:
        """Apply along ``axis`` (-1 or -2) of ``x`` (..., rows, cols), of any floating dtype, on its device."""
        if x.shape[axis] != self.size_in:
            raise InputError(f"the operator reads {self.size_in} samples along axis {axis}, got {x.shape[axis]}")
        parts = []
        for window, block in self._dense(x.dtype, x.device):
            if isinstance(window, slice):
                part = x[..., window, :] if axis == -2 else x[..., window]
            else:
                part = x.index_select(axis, window)
            parts.append(block @ part if axis == -2 else part @ block.T)
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=axis)

    def _dense(self, dtype: torch.dtype, device: torch.device) -> list[tuple[slice | torch.Tensor, torch.Tensor]]:
        key = (dtype, device)
        if key not in self._blocks:
            blocks: list[tuple[slice | torch.Tensor, torch.Tensor]] = []
            size = self._block_size()
            for start in range(0, self.size_out, size):
                rows = self.matrix[start : start + size]
                read = np.unique(rows.indices) if rows.nnz else np.zeros(1, np.intp)
                window: slice | torch.Tensor = slice(int(read[0]), int(read[-1]) + 1)
                # Cached for later calls: created in inference mode, these tensors could not be used in training.
                with torch.inference_mode(False):
                    dense = torch.as_tensor(rows[:, read].toarray(), dtype=dtype, device=device)
                    if read[-1] - read[0] + 1 != read.size:
                        window = torch.as_tensor(read.astype(np.int64), device=device)
                blocks.append((window, dense))
            self._blocks[key] = blocks
        return self._blocks[key]

    def _block_size(self) -> int:
        taps = self.matrix.nnz / max(1, self.size_out)
        stride = self.size_in / max(1, self.size_out)
        return int(min(_MAX_BLOCK, max(_MIN_BLOCK, taps / stride)))


def fold(index: NDArray[np.int64], size: int, boundary: Boundary) -> NDArray[np.int64]:
    """Map indices beyond [0, size) back inside: ``reflect`` repeats the edge sample (half-sample symmetric)."""
    if boundary == "circular":
        return np.asarray(index % size)
    folded = index % (2 * size)
    return np.asarray(np.where(folded < size, folded, 2 * size - 1 - folded))


class AxisProfile(NamedTuple):
    """Weights along one axis: a function of the offset in samples, 0 beyond a radius, scaled to sum 1 or not."""

    weight: Callable[[Floats], Floats]
    radius: float
    normalise: bool = True

    def at(self, offset: Floats) -> Floats:
        """Return the profile at any offsets, not scaled."""
        return np.where(np.abs(offset) <= self.radius + 1e-9, self.weight(offset), 0.0)

    def weights(self, offset: Floats) -> Floats:
        """Return the weights of samples at ``offset`` (n, taps) from n positions, of which each must reach one."""
        weight = self.at(offset)
        if not self.normalise:
            return weight
        total = weight.sum(axis=1, keepdims=True)
        if not (np.abs(total) > 1e-12).all():
            raise InputError(TOO_NARROW)
        return np.asarray(weight / total)


def check_reach(radius: float, size: int) -> None:
    """Refuse a PSF that reaches far beyond an image of ``size`` samples along an axis."""
    if radius > size + _WIDEST:
        raise InputError(
            f"the PSF reaches {radius:g} MSI pixels, beyond an image of {size}; it is stated in MSI pixels",
            parameter="psf",
        )


def sampling_operator(
    size_in: int, size_out: int, profile: AxisProfile, *, ratio: float, phase: float, boundary: Boundary
) -> AxisOperator:
    """Return the operator ``y_i = sum_n profile(n - p_i) x_n`` with ``p_i = phase + ratio i``, in fine samples."""
    check_reach(profile.radius, size_in)
    centres = phase + ratio * np.arange(size_out)
    first = np.ceil(centres - profile.radius - 1e-9).astype(np.int64)
    index = first[:, None] + np.arange(int(np.floor(2 * profile.radius + 1e-9)) + 1)
    return _operator(fold(index, size_in, boundary), profile.weights(index - centres[:, None]), size_in)


def interpolation_operator(
    size_in: int, size_out: int, *, ratio: float, phase: float, kernel: Literal["linear", "cubic"]
) -> AxisOperator:
    """Return the operator that interpolates coarse samples at ``p_i = phase + ratio i`` on every fine index.

    ``cubic`` is the convolution kernel of Keys (1981) with a = -1/2, exact for quadratics; the ends are repeated.
    """
    position = (np.arange(size_out) - phase) / ratio
    reach = 1 if kernel == "linear" else 2
    index = np.floor(position).astype(np.int64)[:, None] + np.arange(1 - reach, reach + 1)
    distance = np.abs(index - position[:, None])
    weight = np.clip(1.0 - distance, 0.0, None) if kernel == "linear" else cubic(distance)
    return _operator(np.clip(index, 0, size_in - 1), weight, size_in)


def cubic(distance: Floats, a: float = -0.5) -> Floats:
    """Return the kernel of Keys (1981) at absolute distances."""
    near = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    far = a * distance**3 - 5 * a * distance**2 + 8 * a * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


def _operator(index: NDArray[np.int64], weight: Floats, size_in: int) -> AxisOperator:
    """Return the operator whose output i weights the inputs ``index[i]`` by ``weight[i]``, both (size_out, taps)."""
    rows = np.repeat(np.arange(index.shape[0]), index.shape[1])
    matrix = sparse.coo_matrix((weight.ravel(), (rows, index.ravel())), shape=(index.shape[0], size_in)).tocsr()
    matrix.eliminate_zeros()
    return AxisOperator(matrix)
