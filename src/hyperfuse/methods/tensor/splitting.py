"""Alternating direction method of multipliers for an exact data step and priors that are given by their steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from hyperfuse.methods.tensor.iterations import Iterations, relative_norm
from hyperfuse.methods.tensor.sylvester import SylvesterSolver

Prior = Callable[[torch.Tensor], torch.Tensor]


def alternate(
    solver: SylvesterSolver,
    data: torch.Tensor,
    start: torch.Tensor,
    priors: Sequence[Prior],
    penalty: float,
    steps: Iterations,
) -> torch.Tensor:
    """Return the image that data and priors agree on, as far as the iterations reach.

    Of ``|Y - X BS|^2 + |Z - M X|^2 + sum_t p_t(V_t)`` with ``V_t = X``, the multipliers are in units of the image
    (``U_t``: multiplier over twice the penalty ``mu``). Each iteration first maps ``V_t = prior_t(X - U_t)`` and
    ``U_t += V_t - X``, from the second on, then solves the data step for ``X``.

    Each records ``change``, the relative change of ``X``, and ``split``, the distance of ``V_t`` from ``X`` relative to
    ``X``, the largest over ``t``.

    Args:
        solver: of ``M^T M + n mu I`` with ``n`` priors.
        data: ``M^T Z + Y (BS)^T``, (channels, H, W).
        start: all ``V_t`` at first, (channels, H, W).
        priors: each maps an image to the minimum of its penalty plus ``mu`` times the squared distance from the image.
        penalty: ``mu``.
        steps: how long to iterate.
    """
    multipliers = [torch.zeros_like(start) for _ in priors]
    image, target = start, len(priors) * start
    for number in steps:
        apart = 0.0
        if number > 0:
            target = torch.zeros_like(image)
            for prior, multiplier in zip(priors, multipliers, strict=True):
                if steps.late():
                    return image
                moved = prior(image - multiplier).sub_(image)
                multiplier += moved
                apart = max(apart, relative_norm(moved, image))
                target.add_(image).add_(moved).add_(multiplier)
                del moved
        solved = solver.solve(target.mul_(penalty).add_(data))
        change, image = relative_norm(solved - image, solved), solved
        steps.record(change=change, split=apart)
    return image
