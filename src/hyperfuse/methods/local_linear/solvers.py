"""Iterative solvers of linear systems of images, band by band."""

from __future__ import annotations

from collections.abc import Callable

import torch

Operator = Callable[[torch.Tensor], torch.Tensor]

_GRADIENTS_STEPS, _GRADIENTS_TOLERANCE = 100, 1e-6
_RESIDUALS_STEPS, _RESIDUALS_TOLERANCE = 16, 1e-3


def conjugate_residuals(system: Operator, approximate_inverse: Operator, right: torch.Tensor) -> torch.Tensor:
    """Return ``w`` with ``system(w) = right`` for every band of (bands, h, w), by generalised conjugate residuals."""
    residual, goal = right, _RESIDUALS_TOLERANCE * right.square().sum((1, 2)).sqrt()
    solution = torch.zeros_like(right)
    steps: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    for _ in range(_RESIDUALS_STEPS):
        if not bool((residual.square().sum((1, 2)).sqrt() > goal).any()):
            break
        weights = approximate_inverse(residual)
        seen = system(weights)
        for earlier, seen_earlier, energy in steps:
            overlap = (seen * seen_earlier).sum((1, 2), keepdim=True) / energy
            weights, seen = weights - overlap * earlier, seen - overlap * seen_earlier
        energy = seen.square().sum((1, 2), keepdim=True).clamp_min(1e-300)
        steps.append((weights, seen, energy))
        length = (residual * seen).sum((1, 2), keepdim=True) / energy
        solution, residual = solution + length * weights, residual - length * seen
    return solution


def conjugate_gradients(system: Operator, preconditioner: Operator, right: torch.Tensor) -> torch.Tensor:
    """Solve ``system(w) = right`` for every band of (bands, h, w), float64, by preconditioned conjugate gradients."""

    def dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a * b).sum((1, 2), keepdim=True)

    def ratio(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.where(b > 0, a / b, 0.0)  # a solved band does not change

    solution, residual = torch.zeros_like(right), right
    goal = _GRADIENTS_TOLERANCE * right.square().sum((1, 2)).sqrt()
    direction = preconditioned = preconditioner(residual)
    product = dot(residual, preconditioned)
    for _ in range(_GRADIENTS_STEPS):
        if not bool((residual.square().sum((1, 2)).sqrt() > goal).any()):
            break
        image = system(direction)
        step = ratio(product, dot(direction, image))
        solution, residual = solution + step * direction, residual - step * image
        preconditioned = preconditioner(residual)
        before, product = product, dot(residual, preconditioned)
        direction = preconditioned + ratio(product, before) * direction
    return solution
