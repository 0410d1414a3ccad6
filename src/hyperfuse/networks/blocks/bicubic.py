"""Bicubic enlargement as MATLAB's ``imresize`` does it, which the files of several networks' authors were made with."""

from __future__ import annotations

import torch

from hyperfuse.networks.kernels.precision import without_autocast

_A = -0.5  # of Keys's kernel; torch's own bicubic interpolation has -0.75


def enlarge(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Enlarge an image by cubic convolution with a = -1/2 (Keys, 1981), half-pixel centres and a symmetric border.

    Args:
        image: (B, C, h, w).
        size: (H, W), at least (h, w).

    Returns:
        (B, C, H, W), of the type of ``image``.

    Example:
        >>> enlarge(torch.tensor([[[[0.0, 1.0]]]]), (1, 4))
        tensor([[[[-0.0938,  0.2031,  0.7969,  1.0938]]]])
    """
    rows = _matrix(image.shape[-2], size[0], image)
    columns = _matrix(image.shape[-1], size[1], image)
    with without_autocast(image):
        return rows @ image @ columns.T


def _matrix(coarse: int, fine: int, like: torch.Tensor) -> torch.Tensor:
    """Return the (fine, coarse) matrix of the enlargement along an axis."""
    pixels = torch.arange(coarse, device=like.device)
    centre = (torch.arange(fine, dtype=torch.float64, device=like.device) + 0.5) * (coarse / fine) - 0.5
    matrix = torch.zeros(fine, coarse, dtype=torch.float64, device=like.device)
    for tap in range(-1, 3):
        at = centre.floor() + tap
        mirrored = torch.where(at < 0, -1 - at, at)
        mirrored = torch.where(mirrored >= coarse, 2 * coarse - 1 - mirrored, mirrored).clamp_min(0)  # 0: of one pixel
        matrix = matrix + _keys(centre - at)[:, None] * (mirrored[:, None] == pixels)
    return matrix.to(like.dtype)


def _keys(offset: torch.Tensor) -> torch.Tensor:
    t = offset.abs()
    near = ((_A + 2) * t - (_A + 3)) * t * t + 1
    far = ((_A * t - 5 * _A) * t + 8 * _A) * t - 4 * _A
    return torch.where(t <= 1, near, torch.where(t < 2, far, torch.zeros_like(t)))
