"""Linear operators along one image axis: sampling through a profile, interpolation, and their exact transposes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from hyperfuse.errors import InputError

Boundary = Literal["reflect", "circular"]
Profile = Callable[[NDArray[np.float64]], NDArray[np.float64]]

# Outputs computed by one dense product. Few enough that the block of the band-diagonal matrix holds few zeros.
_BLOCK = 128


class AxisOperator:
    """A sparse matrix of shape (size_out, size_in) applied along one axis of a tensor.

    The matrix is cut into blocks of rows, each a small dense product over the inputs of the block: exact, as fast as
    a convolution, differentiable, and the transpose is the adjoint to rounding.
    """

    def __init__(self, matrix: sparse.csr_matrix) -> None:
        self.matrix = sparse.csr_matrix(matrix)
        self._blocks: dict[tuple[torch.dtype, torch.device], list[tuple[slice | torch.Tensor, torch.Tensor]]] = {}

    @property
    def size_in(self) -> int:
        """Length of the input axis."""
        return int(self.matrix.shape[1])

    @property
    def size_out(self) -> int:
        """Length of the output axis."""
        return int(self.matrix.shape[0])

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
            for start in range(0, self.size_out, _BLOCK):
                rows = self.matrix[start : start + _BLOCK]
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


def fold(index: NDArray[np.int64], size: int, boundary: Boundary) -> NDArray[np.int64]:
    """Map indices beyond [0, size) back inside: ``reflect`` repeats the edge sample (half-sample symmetric)."""
    if boundary == "circular":
        return np.asarray(index % size)
    folded = index % (2 * size)
    return np.asarray(np.where(folded < size, folded, 2 * size - 1 - folded))


def _assemble(
    index: NDArray[np.int64], weight: NDArray[np.float64], size_in: int, boundary: Boundary
) -> sparse.csr_matrix:
    rows = np.repeat(np.arange(index.shape[0]), index.shape[1])
    columns = fold(index, size_in, boundary).ravel()
    matrix = sparse.coo_matrix((weight.ravel(), (rows, columns)), shape=(index.shape[0], size_in)).tocsr()
    matrix.eliminate_zeros()
    return matrix


def sampling_operator(
    size_in: int,
    size_out: int,
    *,
    ratio: float,
    phase: float,
    profile: Profile,
    radius: float,
    normalise: bool,
    boundary: Boundary,
) -> AxisOperator:
    """Return the operator ``y_i = sum_n profile(n - p_i) x_n`` with ``p_i = phase + ratio i``.

    Args:
        size_in: samples of the fine axis.
        size_out: samples of the coarse axis.
        ratio: fine samples per coarse step.
        phase: position of the first coarse sample, in fine samples, 0 at the centre of the first one.
        profile: weight as a function of the offset in fine samples.
        radius: offsets farther than this have weight 0.
        normalise: make the weights of every output sum to 1.
        boundary: how the axis continues beyond its ends.
    """
    centres = phase + ratio * np.arange(size_out)
    first = np.ceil(centres - radius - 1e-9).astype(np.int64)
    taps = int(np.floor(2 * radius + 1e-9)) + 1
    index = first[:, None] + np.arange(taps)
    offset = index - centres[:, None]
    weight = np.where(np.abs(offset) <= radius + 1e-9, profile(offset), 0.0)
    if normalise:
        total = weight.sum(axis=1, keepdims=True)
        if not (np.abs(total) > 1e-12).all():
            raise InputError("the PSF is narrower than a pixel of the MSI and falls between its centres; widen it")
        weight = weight / total
    return AxisOperator(_assemble(index, weight, size_in, boundary))


def _linear(u: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(1.0 - np.abs(u), 0.0, None)


def _cubic(u: NDArray[np.float64], a: float = -0.5) -> NDArray[np.float64]:
    u = np.abs(u)
    near = (a + 2) * u**3 - (a + 3) * u**2 + 1
    far = a * u**3 - 5 * a * u**2 + 8 * a * u - 4 * a
    return np.where(u <= 1, near, np.where(u < 2, far, 0.0))


def interpolation_operator(
    size_in: int, size_out: int, *, ratio: float, phase: float, kernel: Literal["linear", "cubic"]
) -> AxisOperator:
    """Return the operator that interpolates coarse samples at ``p_i = phase + ratio i`` on every fine index.

    ``cubic`` is the convolution kernel of Keys (1981) with a = -1/2, exact for quadratics; the ends are repeated.
    """
    position = (np.arange(size_out) - phase) / ratio
    reach = 1 if kernel == "linear" else 2
    index = np.floor(position).astype(np.int64)[:, None] + np.arange(1 - reach, reach + 1)
    offset = index - position[:, None]
    weight = _linear(offset) if kernel == "linear" else _cubic(offset)
    clamped = np.clip(index, 0, size_in - 1)
    return AxisOperator(_assemble(clamped, weight, size_in, "reflect"))
