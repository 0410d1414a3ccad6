"""Shrinkage of singular values: by logarithms, and of the slices of a tensor's transform."""

from __future__ import annotations

from collections.abc import Callable

import torch

# That keeps the logarithm of 0 finite: the spacing of doubles at 1.
_EPSILON = torch.finfo(torch.float64).eps


def log_shrink(values: torch.Tensor, weight: float) -> torch.Tensor:
    """Shrink singular values for the penalty ``weight * log(x + eps)``.

    Where ``(x - value)^2 / 2 + weight * log(x + eps)`` has stationary points it is the larger of them, a minimum though
    not always the lowest value; else 0: values up to about ``2 sqrt(weight)`` vanish, larger ones lose about
    ``weight / value``.

    Args:
        values: at least 0, of any shape.
        weight: of the penalty, at least 0.

    Example:
        >>> log_shrink(torch.tensor([1.0, 2.5], dtype=torch.float64), 1.0).numpy().round(6).tolist()
        [0.0, 2.0]
    """
    centred = values - _EPSILON
    discriminant = centred.square() - 4 * (weight - _EPSILON * values)
    larger = (centred + discriminant.clamp_min(0).sqrt()) / 2
    return torch.where(discriminant > 0, larger.clamp_min(0), torch.zeros_like(values))


def shrink_singular_values(
    matrices: torch.Tensor, shrink: Callable[[torch.Tensor], torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Replace the singular values of matrices by a function of them.

    The decomposition is that of the Gram matrix on the shorter side; what it loses, half the digits of the smallest
    singular values, shrinkage takes anyway.

    Args:
        matrices: (..., m, n), real or complex.
        shrink: maps singular values (..., min(m, n)), real, to new ones, 0 to 0.

    Returns:
        The new matrices and their singular values, ascending.
    """
    if matrices.shape[-2] > matrices.shape[-1]:
        adjoint, values = shrink_singular_values(matrices.mH, shrink)
        return adjoint.mH, values
    squares, vectors = torch.linalg.eigh(matrices @ matrices.mH)
    values = squares.clamp_min(0).sqrt()
    shrunk = shrink(values)
    factors = torch.where(
        values > 0, shrunk / values.where(values > 0, torch.ones_like(values)), torch.zeros_like(values)
    )
    return (vectors * factors.unsqueeze(-2)) @ (vectors.mH @ matrices), shrunk


def shrink_slices(tensor: torch.Tensor, shrink: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Shrink the singular values of each frontal slice of a real tensor's transform along its last axis.

    With soft thresholding at ``rho`` it is the proximal operator of ``rho`` times the tensor nuclear norm (Lu et al.,
    IEEE TPAMI 42(4), 2020, with its factor 1/n). Slices of opposite frequencies are conjugates: half of them is enough.

    Args:
        tensor: (m, n, k), real.
        shrink: as of :func:`shrink_singular_values`.

    Returns:
        (m, n, k).
    """
    slices = torch.fft.rfft(tensor, dim=-1).permute(2, 0, 1)
    shrunk, _ = shrink_singular_values(slices, shrink)
    result: torch.Tensor = torch.fft.irfft(shrunk.permute(1, 2, 0), n=tensor.shape[-1], dim=-1)
    return result


def shrink_clusters(
    patches: torch.Tensor, labels: torch.Tensor, shrink: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Do as :func:`shrink_slices` to each cluster of patches, all at once.

    It pays where clusters are many and small: a patch has few channels, and each slice of a cluster has their Gram
    matrix.

    Args:
        patches: (patches, channels, size), real.
        labels: numbers of their clusters, (patches,).
        shrink: as of :func:`shrink_singular_values`.

    Returns:
        (patches, channels, size).
    """
    slices = torch.fft.rfft(patches, dim=-1).permute(0, 2, 1)  # (patches, frequencies, channels)
    products = slices.conj().unsqueeze(-1) * slices.unsqueeze(-2)
    gram = products.new_zeros(int(labels.max()) + 1, *products.shape[1:]).index_add_(0, labels, products)
    squares, vectors = torch.linalg.eigh(gram)
    values = squares.clamp_min(0).sqrt()
    positive = values > 0
    factors = torch.where(positive, shrink(values) / values.where(positive, torch.ones_like(values)), 0.0)
    operators = (vectors * factors.unsqueeze(-2)) @ vectors.mH
    shrunk = (slices.unsqueeze(-2) @ operators[labels]).squeeze(-2)
    result: torch.Tensor = torch.fft.irfft(shrunk.permute(0, 2, 1), n=patches.shape[-1], dim=-1)
    return result


def tensor_nuclear_norm(tensor: torch.Tensor) -> torch.Tensor:
    """Return the mean over the slices of a tensor's transform of the sums of their singular values.

    Args:
        tensor: (m, n, k), real; transformed along its last axis.
    """
    slices = torch.fft.fft(tensor, dim=-1).permute(2, 0, 1)
    total: torch.Tensor = torch.linalg.svdvals(slices).sum()
    return total / tensor.shape[-1]
