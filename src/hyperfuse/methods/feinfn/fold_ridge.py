"""Ridge regression whose strength is chosen by folds, and which may draw its weights to known ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from hyperfuse.runtime.parallel import in_threads
from hyperfuse.statistics.folds import FOLDS

_RIDGES = (1e-3, 1e-2, 1e-1, 0.3, 1.0, 3.0, 10.0)  # relative to the features' correlation matrix
# The held-out mean squared error must fall to this fraction: smaller gains at LR, under noise, were none at HR.
_MIN_GAIN = 0.98
_TINY = 1e-12
_ROUNDING = 1e-6


@dataclass(frozen=True)
class RidgeFit:
    """Weights (components, features) for features of which ``offset`` is subtracted; held-out predictions."""

    weights: torch.Tensor
    offset: torch.Tensor
    held_out: torch.Tensor
    accepted: torch.Tensor


class RidgePixels(NamedTuple):
    """Fold and weight of every LR pixel, (n,) each."""

    fold: torch.Tensor
    weight: torch.Tensor


def fit_ridge(
    features: torch.Tensor, targets: torch.Tensor, pixels: RidgePixels, change: torch.Tensor, known: torch.Tensor | None
) -> RidgeFit:
    """Regress targets (components, n) on features (k, n), and predict each fold by weights fitted to the others.

    Args:
        features: at LR.
        targets: at LR.
        pixels: fold and weight of each.
        change: what noise does to the features of m HR pixels, (k, m).
        known: weights (components, k) of which each component uses the fraction, from 0 to 1, that predicts best: the
            ridge draws its weights there; None for 0.
    """
    fractions = (pixels.weight / pixels.weight.sum()).to(features.dtype)
    offset = (features @ fractions)[:, None]
    deviation = ((features - offset).square() @ fractions).sqrt()[:, None]
    # What varies by rounding alone is constant.
    varies = deviation > _ROUNDING * offset.abs().amax().clamp_min(_TINY)
    deviation = torch.where(varies, deviation, torch.inf)
    change = change / deviation
    noise = (change @ change.T).double() / change.shape[1]
    targets = targets.to(features.dtype)
    drawn_to = torch.zeros_like(targets[:, :1]).expand(-1, len(features)) if known is None else known
    drawn_to = torch.where(varies.T, drawn_to * deviation.T, 0.0).double().T
    total, device = float(pixels.weight.sum()), features.device
    folds = [torch.nonzero(pixels.fold == fold)[:, 0] for fold in range(FOLDS)]
    parts = in_threads(
        lambda fold: _Fold.of((features[:, fold] - offset) / deviation, targets[:, fold], pixels.weight[fold], noise),
        folds,
        device,
    )
    normal, right = (torch.stack(some).sum(0) for some in zip(*((one.normal, one.right) for one in parts), strict=True))

    def without(one: _Fold) -> _Candidates:
        rest, given = normal - one.normal, right - one.right
        ridges = [ridge * (total - one.mass) for ridge in _RIDGES]
        return _Candidates.of(one, [_drawn(rest, given, drawn_to, ridge) for ridge in ridges])

    by_fold = in_threads(without, parts, device)
    curvature, slope = (torch.stack(some).sum(0) for some in zip(*(one[2:4] for one in by_fold), strict=True))
    fraction = torch.where(curvature > 0, slope / curvature, 0.0).clamp(0.0, 1.0)
    energy = targets.double().square() @ pixels.weight
    # Of a fold's squared error, what depends on the weights.
    changes = torch.stack([one.change for one in by_fold]).sum(0)
    errors = energy + changes + (fraction * curvature - 2 * slope) * fraction
    least, best = errors.min(0)
    accepted = least < _MIN_GAIN * energy
    held_out, chosen = torch.zeros_like(targets), torch.arange(len(targets), device=device)
    fraction = fraction[best, chosen]
    for fold, one, solved in zip(folds, parts, by_fold, strict=True):
        fitted = solved.free[best, :, chosen] + fraction[:, None] * solved.drawn[best, :, chosen]
        held_out[:, fold] = fitted.to(targets.dtype) @ one.features
    weights = torch.zeros_like(right.T)
    for index in sorted(set(best[accepted].tolist())):
        some = best == index
        free, drawn = _drawn(normal, right[:, some], drawn_to[:, some], _RIDGES[index] * total)
        weights[some] = (free + fraction[some] * drawn).T
    weights = torch.where(accepted[:, None], weights, 0.0).to(features.dtype) / deviation.T
    return RidgeFit(weights, offset[:, 0], torch.where(accepted[:, None], held_out, 0.0), accepted)


class _Fold(NamedTuple):
    """Standardised features (k, n) of the pixels of a fold, and what they add to the normal equations."""

    features: torch.Tensor
    normal: torch.Tensor
    right: torch.Tensor
    mass: float

    @classmethod
    def of(cls, features: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor, noise: torch.Tensor) -> _Fold:
        weighted, mass = features * weight.to(features.dtype), float(weight.sum())
        normal = (weighted @ features.T).double().add_(noise, alpha=mass)
        return cls(features, normal, (weighted @ targets.T).double(), mass)


class _Candidates(NamedTuple):
    """Weights of every ridge for one fold, fitted to the others: ``free + fraction * drawn``, (ridges, k, components).

    The fold's squared error is ``change - 2 slope fraction + curvature fraction^2`` beyond that without weights, each
    (ridges, components).
    """

    free: torch.Tensor
    drawn: torch.Tensor
    curvature: torch.Tensor
    slope: torch.Tensor
    change: torch.Tensor

    @classmethod
    def of(cls, fold: _Fold, weights: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> _Candidates:
        free, drawn = (torch.stack(some) for some in zip(*weights, strict=True))
        towards = fold.normal @ drawn
        slope = ((fold.right * drawn) - towards * free).sum(1)
        change = ((fold.normal @ free - 2 * fold.right) * free).sum(1)
        return cls(free, drawn, (towards * drawn).sum(1), slope, change)


def _drawn(
    normal: torch.Tensor, right: torch.Tensor, drawn_to: torch.Tensor, ridge: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Solve ridge regression that draws weights to 0, and return what drawing them to ``drawn_to`` adds."""
    regular = normal.clone()
    regular.diagonal().add_(ridge)
    solved = torch.cholesky_solve(torch.cat([right, ridge * drawn_to], 1), torch.linalg.cholesky(regular))
    return solved[:, : right.shape[1]], solved[:, right.shape[1] :]
