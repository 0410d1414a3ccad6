"""Tensor subspaces: an image as the t-product of an orthogonal basis and coefficients (Kilmer et al., 2013).

The t-product of two tensors is the product of the frontal slices of their transforms along one axis, here along the
columns of an image: the image (bands, H, W), transformed, has a matrix (H, bands) at each of ``W // 2 + 1``
frequencies, which is the product of a basis (H, k) and coefficients (k, bands).
"""

from __future__ import annotations

import torch


def slices_of(image: torch.Tensor) -> torch.Tensor:
    """Return the matrices (frequencies, H, bands) of an image (bands, H, W)."""
    slices: torch.Tensor = torch.fft.rfft(image, dim=-1)
    return slices.permute(2, 1, 0)


def image_of(slices: torch.Tensor, cols: int) -> torch.Tensor:
    """Return the image (bands, H, W) of matrices (frequencies, H, bands); ``cols`` is W."""
    image: torch.Tensor = torch.fft.irfft(slices.permute(2, 1, 0), n=cols, dim=-1)
    return image


def leading_basis(slices: torch.Tensor, count: int) -> torch.Tensor:
    """Return the leading ``count`` lateral slices of the t-SVD's left factor, (frequencies, H, count).

    Args:
        slices: (frequencies, H, bands).
        count: at most the smaller of H and bands.
    """
    left: torch.Tensor = torch.linalg.svd(slices, full_matrices=False)[0]
    return left[..., :count]


def nearest_orthogonal(slices: torch.Tensor) -> torch.Tensor:
    """Return the matrices with orthonormal columns that are nearest to matrices (..., m, n), m >= n.

    They are the polar factors: of the singular value decomposition ``P S Q^H``, ``P Q^H``.
    """
    # The triangular factor has the same right side, and is small.
    orthogonal, triangular = torch.linalg.qr(slices)
    left, _, right = torch.linalg.svd(triangular)
    nearest: torch.Tensor = orthogonal @ (left @ right)
    return nearest
