"""Least squares with non-negative unknowns by matrix products alone: the inner step of matrix factorisation."""

from __future__ import annotations

from typing import Literal

import torch

Updates = Literal["accelerated", "multiplicative"]

# Columns that are updated together on a CPU: few enough that all iterations on them run in its cache.
_BLOCK_COLUMNS = 8192

# Multiplicative updates never leave zero; entries start no lower than this fraction of the largest one.
_LOWEST_START = 1e-4


def lower_nonnegative(
    factor: torch.Tensor,
    target: torch.Tensor,
    start: torch.Tensor,
    iterations: int,
    *,
    total_weight: float = 0.0,
    updates: Updates = "accelerated",
) -> torch.Tensor:
    """Lower ``|target - factor X|^2 + total_weight |1 - 1' X|^2`` over ``X >= 0``, from ``start``.

    One iteration costs a product of (unknowns, unknowns) with (unknowns, columns), whatever the rows of ``factor``.
    Where ``factor`` has fewer independent rows than ``X`` has, the minimum is not unique; the iterations go to one
    near ``start``.

    Args:
        factor: (rows, unknowns).
        target: (rows, columns), same dtype and device.
        start: (unknowns, columns), non-negative.
        iterations: number of updates.
        total_weight: of the penalty on column sums other than 1: the row of ones, times ``sqrt(total_weight)``, that
            Heinz and Chang (IEEE TGRS 39(3), 2001) append to ``factor`` and ``target``.
        updates: ``accelerated``, projected gradient with Nesterov's momentum (Beck and Teboulle, SIAM J. Imaging
            Sciences 2(1), 2009); or ``multiplicative`` (Lee and Seung, NIPS 2000), slower to converge, which needs
            non-negative ``factor`` and ``target``.

    Returns:
        X, (unknowns, columns).

    Example:
        >>> lower_nonnegative(torch.eye(2), torch.tensor([[1.0], [-1.0]]), torch.ones(2, 1), 50).tolist()
        [[1.0], [0.0]]
    """
    gram = factor.T @ factor + total_weight
    solve = _accelerate
    if updates == "multiplicative":
        solve, start = _multiply, start.clamp_min(_LOWEST_START * float(start.max()))
    width = _BLOCK_COLUMNS if factor.device.type == "cpu" else start.shape[1]
    result = torch.empty_like(start)
    for first in range(0, start.shape[1], width):
        part = slice(first, first + width)
        cross = factor.T @ target[:, part] + total_weight
        result[:, part] = solve(gram, cross, start[:, part], iterations)
    return result


def _accelerate(gram: torch.Tensor, cross: torch.Tensor, start: torch.Tensor, iterations: int) -> torch.Tensor:
    steepness = torch.linalg.eigvalsh(gram.cpu())[-1].to(gram)
    if not float(steepness) > 0:
        return start
    # A gradient step is affine: current - (gram current - cross) / steepness.
    keep = torch.eye(gram.shape[0], dtype=gram.dtype, device=gram.device) - gram / steepness
    gain = cross / steepness
    current, ahead, momentum = start, start, 1.0
    for _ in range(iterations):
        new = torch.addmm(gain, keep, ahead).clamp_(min=0)
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = torch.lerp(current, new, 1 + (momentum - 1) / following)
        current, momentum = new, following
    return current


def _multiply(gram: torch.Tensor, cross: torch.Tensor, start: torch.Tensor, iterations: int) -> torch.Tensor:
    tiny = torch.finfo(gram.dtype).tiny
    current = start.clone()
    for _ in range(iterations):
        current *= cross / (gram @ current).clamp_min_(tiny)
    return current
