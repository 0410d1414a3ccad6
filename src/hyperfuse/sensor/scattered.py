"""Linear operators between images whose samples lie anywhere: sampling through a PSF, interpolation, and adjoints."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from hyperfuse.errors import InputError
from hyperfuse.sensor.axis import TOO_NARROW, AxisProfile, Boundary, Floats, cubic, fold

Shape = tuple[int, int]
Block = Callable[[slice], sparse.csr_matrix]

# Weights of a matrix that is kept, those that are made at a time, and values of the images that are multiplied at once.
_KEPT, _AT_ONCE, _VALUES = 2**27, 2**23, 2**25
_BLOCK = 1024  # samples that are given the reach of the most stretched one


class ScatteredOperator:
    """A sparse matrix from the pixels of an image to those of another.

    It is exact, differentiable, and its transpose is the adjoint to rounding. A matrix of more weights than memory
    should hold is made again, a part at a time, whenever it is applied.

    Args:
        block: makes rows of the matrix, one for each output pixel of a slice.
        taps: weights per row.
        fine: (rows, cols) of the images that it reads.
        made: (rows, cols) of those that it makes.
    """

    def __init__(self, block: Block, taps: int, fine: Shape, made: Shape) -> None:
        self._block, self._read, self._made = block, fine, made
        size = made[0] * made[1]
        self._kept = size * taps <= _KEPT
        step = max(1, _AT_ONCE // taps)
        self._parts = [slice(start, min(start + step, size)) for start in range(0, size, step)]
        self._matrices: dict[tuple[int, bool, torch.dtype, torch.device], torch.Tensor] = {}

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Apply to images (..., rows, cols)."""
        return self._applied(image, False)

    def adjoint(self, image: torch.Tensor) -> torch.Tensor:
        """Apply the transpose."""
        return self._applied(image, True)

    def _applied(self, image: torch.Tensor, transposed: bool) -> torch.Tensor:
        read, made = (self._made, self._read) if transposed else (self._read, self._made)
        if tuple(image.shape[-2:]) != read:
            raise InputError(f"the operator reads images of {read[0]}x{read[1]} pixels, got {tuple(image.shape[-2:])}")
        # Sparse products know these two types.
        computed = image if image.dtype in (torch.float32, torch.float64) else image.float()
        flat = computed.reshape(-1, read[0] * read[1])
        step = max(1, _VALUES // max(1, flat.shape[1], made[0] * made[1]))
        parts = [_product(part, self, transposed) for part in torch.split(flat, step)]
        result = parts[0] if len(parts) == 1 else torch.cat(parts)
        return result.reshape(*image.shape[:-2], *made).to(image.dtype)

    def multiply(self, flat: torch.Tensor, transposed: bool) -> torch.Tensor:
        """Apply to images (n, pixels), without gradients."""
        columns = flat.T.contiguous()
        made = self._read if transposed else self._made
        if len(self._parts) == 1:
            return (self._matrix(0, transposed, columns) @ columns).T.contiguous()
        total = columns.new_zeros(made[0] * made[1], columns.shape[1])
        for number, part in enumerate(self._parts):
            matrix = self._matrix(number, transposed, columns)
            if transposed:
                total += matrix @ columns[part]
            else:
                total[part] = matrix @ columns
        return total.T.contiguous()

    def _matrix(self, number: int, transposed: bool, like: torch.Tensor) -> torch.Tensor:
        key = (number, transposed, like.dtype, like.device)
        if key in self._matrices:
            return self._matrices[key]
        rows = self._block(self._parts[number])
        rows = rows.T.tocsr() if transposed else rows
        # Cached for later calls: created in inference mode, these tensors could not be used in training.
        with torch.inference_mode(False), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR", category=UserWarning)
            matrix = torch.sparse_csr_tensor(
                torch.as_tensor(rows.indptr, device=like.device),
                torch.as_tensor(rows.indices, device=like.device),
                torch.as_tensor(rows.data, dtype=like.dtype, device=like.device),
                rows.shape,
                check_invariants=False,
            )
        if self._kept:
            self._matrices[key] = matrix
        return matrix


class _Product(torch.autograd.Function):
    """The product with the matrix; its gradient is the product with the transpose."""

    @staticmethod
    def forward(ctx: Any, flat: torch.Tensor, operator: ScatteredOperator, transposed: bool) -> torch.Tensor:
        ctx.operator, ctx.transposed = operator, transposed
        return operator.multiply(flat, transposed)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return _product(gradients[0], ctx.operator, not ctx.transposed), None, None


def _product(flat: torch.Tensor, operator: ScatteredOperator, transposed: bool) -> torch.Tensor:
    result: torch.Tensor = _Product.apply(flat, operator, transposed)  # type: ignore[no-untyped-call]
    return result


def scattered_sampling(
    fine: Shape,
    positions: Floats,
    stretch: Floats,
    factors: Sequence[tuple[AxisProfile, AxisProfile]],
    boundary: Boundary,
) -> ScatteredOperator:
    """Return the operator that weights an image by a PSF around positions, as ``sampling_operator`` does along an axis.

    Weights sum to 1 around each position.

    Args:
        fine: (H, W) of the image.
        positions: of the samples, (2, h, w), in its pixels from the centre of pixel (0, 0).
        stretch: of the PSF around each position, (2, 2, h, w): this matrix times an offset of it is that in the image.
        factors: profiles along y and x of the separable terms of the PSF.
        boundary: how the image continues beyond its border.
    """
    radius = np.array([max(factor[axis].radius for factor in factors) for axis in (0, 1)])
    flat, matrices = positions.reshape(2, -1), stretch.reshape(2, 2, -1)
    # Offsets in the image within which a stretched PSF lies.
    reach = np.einsum("abn,b->an", np.abs(matrices), radius)
    (yy, yx), (xy, xx) = matrices
    inverse = np.stack([np.stack([xx, -yx]), np.stack([-xy, yy])]) / (yy * xx - yx * xy)

    def some(rows: slice) -> sparse.csr_matrix:
        centres, back, widest = flat[:, rows], inverse[:, :, rows, None, None], reach[:, rows].max(axis=1)
        index, offset = [], []
        for axis in (0, 1):
            first = np.ceil(centres[axis] - widest[axis] - 1e-9).astype(np.int64)
            index.append(first[:, None] + np.arange(int(np.floor(2 * widest[axis] + 1e-9)) + 1))
            offset.append(index[axis] - centres[axis][:, None])
        along = [back[axis, 0] * offset[0][:, :, None] + back[axis, 1] * offset[1][:, None, :] for axis in (0, 1)]
        weights = np.zeros(along[0].shape)
        for factor in factors:
            weights += factor[0].at(along[0]) * factor[1].at(along[1])
        total = weights.sum(axis=(1, 2), keepdims=True)
        if not (np.abs(total) > 1e-12).all():
            raise InputError(TOO_NARROW)
        folded = [fold(index[axis], fine[axis], boundary) for axis in (0, 1)]
        return _csr(folded[0], folded[1], weights / total, fine)

    def block(rows: slice) -> sparse.csr_matrix:
        starts = range(rows.start, rows.stop, _BLOCK)
        return sparse.vstack([some(slice(start, min(start + _BLOCK, rows.stop))) for start in starts], format="csr")

    taps = int(np.prod(2 * radius + 1))
    return ScatteredOperator(block, taps, fine, (positions.shape[1], positions.shape[2]))


def scattered_interpolation(coarse: Shape, positions: Floats, kernel: Literal["linear", "cubic"]) -> ScatteredOperator:
    """Return the operator that interpolates an image at positions, as ``interpolation_operator`` does along an axis.

    Args:
        coarse: (h, w) of the image.
        positions: where it is interpolated, (2, H, W), in its pixels; beyond its border the outer pixels are repeated.
        kernel: ``linear``, or ``cubic`` (Keys, 1981, with a = -1/2).
    """
    reach = 1 if kernel == "linear" else 2
    flat = positions.reshape(2, -1)

    def block(rows: slice) -> sparse.csr_matrix:
        index, weights = [], []
        for axis in (0, 1):
            at = flat[axis, rows, None]
            near = np.floor(at).astype(np.int64) + np.arange(1 - reach, reach + 1)
            distance = np.abs(near - at)
            weights.append(np.clip(1.0 - distance, 0.0, None) if kernel == "linear" else cubic(distance))
            index.append(np.clip(near, 0, coarse[axis] - 1))
        return _csr(index[0], index[1], weights[0][:, :, None] * weights[1][:, None, :], coarse)

    return ScatteredOperator(block, (2 * reach) ** 2, coarse, (positions.shape[1], positions.shape[2]))


def _csr(rows: NDArray[np.int64], cols: NDArray[np.int64], weights: Floats, shape: Shape) -> sparse.csr_matrix:
    """Return the matrix whose row i weights pixels (rows[i], cols[i]), a product of lines, by ``weights[i]``."""
    index = (rows * shape[1])[:, :, None] + cols[:, None, :]
    taps = index.shape[1] * index.shape[2]
    starts = np.arange(0, len(index) * taps + 1, taps)
    matrix = sparse.csr_matrix((weights.ravel(), index.ravel(), starts), shape=(len(index), shape[0] * shape[1]))
    matrix.sum_duplicates()  # of pixels that the border repeats
    matrix.eliminate_zeros()
    return matrix
