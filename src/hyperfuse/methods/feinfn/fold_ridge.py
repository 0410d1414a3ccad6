"""Ridge regression whose strength is chosen by folds, and which may draw its weights to known ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from hyperfuse.runtime.parallel import in_threads, strips
from hyperfuse.statistics.folds import FOLDS

_RIDGES = (1e-3, 1e-2, 1e-1, 0.3, 1.0, 3.0, 10.0)  # relative to the features' correlation matrix
_USUAL = slice(2, 5)  # of them: weaker and stronger ones are tried where they promise to be better
# They do where the last step to the end of those tried lowered the error by more than this, over the components that
# prefer it: the next step brings less than the last.
_STEP = 0.02
_BLOCK = 256  # features at a time; of a symmetric product, what lies below its diagonal blocks is mirrored
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


@dataclass(frozen=True)
class FoldRidge:
    """Normal equations of targets (components, n) on features (k, n), by folds.

    Attributes:
        pixels: fold and weight of each.
        targets: of each component, (components, n).
        offset: weighted mean of every feature, (k, 1).
        deviation: weighted standard deviation of every feature, infinite where it is constant, (k, 1).
        parts: what each fold adds.
        members: the pixels of each fold.
    """

    pixels: RidgePixels
    targets: torch.Tensor
    offset: torch.Tensor
    deviation: torch.Tensor
    parts: Sequence[_Fold]
    members: Sequence[torch.Tensor]

    @classmethod
    def of(cls, features: torch.Tensor, targets: torch.Tensor, pixels: RidgePixels, change: torch.Tensor) -> FoldRidge:
        """Gather the equations.

        Args:
            features: at LR, (k, n).
            targets: at LR, (components, n).
            pixels: fold and weight of each.
            change: what noise does to the features of m HR pixels, (k, m).
        """
        fractions = (pixels.weight / pixels.weight.sum()).to(features.dtype)
        offset = (features @ fractions)[:, None]
        variance = [(features[some] - offset[some]).square() @ fractions for some in strips(len(features), _BLOCK)]
        deviation = torch.cat(variance).sqrt()[:, None]
        # What varies by rounding alone is constant.
        varies = deviation > _ROUNDING * offset.abs().amax().clamp_min(_TINY)
        deviation = torch.where(varies, deviation, torch.inf)
        change = change / deviation
        noise = (change @ change.T).double() / change.shape[1]
        targets = targets.to(features.dtype)
        folds = [torch.nonzero(pixels.fold == fold)[:, 0] for fold in range(FOLDS)]
        parts = in_threads(
            lambda fold: _Fold.of(
                features[:, fold].sub_(offset).div_(deviation), targets[:, fold], pixels.weight[fold], noise
            ),
            folds,
            features.device,
        )
        return cls(pixels, targets, offset, deviation, parts, folds)

    def first(self, count: int) -> FoldRidge:
        """Return the equations of the first features alone."""
        return replace(
            self,
            offset=self.offset[:count],
            deviation=self.deviation[:count],
            parts=[one.first(count) for one in self.parts],
        )

    def solve(self, known: torch.Tensor | None = None) -> RidgeFit:
        """Solve for the weights, and predict each fold by weights fitted to the others.

        Args:
            known: weights (components, k) of which each component uses the fraction, from 0 to 1, that predicts best:
                the ridge draws its weights there; None for 0.
        """
        pixels, targets, deviation = self.pixels, self.targets, self.deviation
        drawn_to = torch.zeros_like(targets[:, :1]).expand(-1, len(deviation)) if known is None else known
        drawn_to = torch.where(deviation.isfinite().T, drawn_to * deviation.T, 0.0).double().T
        total, device = float(pixels.weight.sum()), targets.device
        normal = torch.stack([one.normal for one in self.parts]).sum(0)
        right = torch.stack([one.right for one in self.parts]).sum(0)

        def without(one: _Fold, ridge: float) -> _Candidate:
            rest, given = normal - one.normal, right - one.right
            return _Candidate.of(one, *_drawn(rest, given, drawn_to, ridge * (total - one.mass)))

        energy = targets.double().square() @ pixels.weight
        tried: dict[int, list[_Candidate]] = {}
        missing = list(range(len(_RIDGES)))[_USUAL] or list(range(len(_RIDGES)))
        while missing:
            jobs = [(one, _RIDGES[index]) for index in missing for one in self.parts]
            found = iter(in_threads(lambda job: without(*job), jobs, device))
            tried |= {index: [next(found) for _ in self.parts] for index in missing}
            numbers = sorted(tried)
            curvature, slope, changes = (
                torch.stack([torch.stack([getattr(one, name) for one in tried[index]]).sum(0) for index in numbers])
                for name in ("curvature", "slope", "change")
            )
            fraction = torch.where(curvature > 0, slope / curvature, 0.0).clamp(0.0, 1.0)
            # Of a fold's squared error, what depends on the weights.
            errors = energy + changes + (fraction * curvature - 2 * slope) * fraction
            least, best = errors.min(0)
            ends = (numbers[0] - 1, errors[0], errors[:2][-1]), (numbers[-1] + 1, errors[-1], errors[-2:][0])
            missing = [
                index
                for index, end, inner in ends
                if 0 <= index < len(_RIDGES) and bool((inner - end).clamp_min(0).sum() > _STEP * inner.sum())
            ]
        accepted = least < _MIN_GAIN * energy
        held_out, chosen = torch.zeros_like(targets), torch.arange(len(targets), device=device)
        fraction = fraction[best, chosen]
        for number, (fold, one) in enumerate(zip(self.members, self.parts, strict=True)):
            free = torch.stack([tried[index][number].free for index in numbers])[best, :, chosen]
            drawn = torch.stack([tried[index][number].drawn for index in numbers])[best, :, chosen]
            held_out[:, fold] = (free + fraction[:, None] * drawn).to(targets.dtype) @ one.features
        weights = torch.zeros_like(right.T)
        for at in sorted(set(best[accepted].tolist())):
            some = best == at
            free, drawn = _drawn(normal.clone(), right[:, some], drawn_to[:, some], _RIDGES[numbers[at]] * total)
            weights[some] = (free + fraction[some] * drawn).T
        weights = torch.where(accepted[:, None], weights, 0.0).to(targets.dtype) / deviation.T
        held_out = torch.where(accepted[:, None], held_out, 0.0)
        return RidgeFit(weights, self.offset[:, 0], held_out, accepted)


class _Fold(NamedTuple):
    """Standardised features (k, n) of the pixels of a fold, and what they add to the normal equations."""

    features: torch.Tensor
    normal: torch.Tensor
    right: torch.Tensor
    mass: float

    @classmethod
    def of(cls, features: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor, noise: torch.Tensor) -> _Fold:
        weighted, mass = features * weight.to(features.dtype), float(weight.sum())
        normal = _symmetric_product(weighted, features).double().add_(noise, alpha=mass)
        return cls(features, normal, (weighted @ targets.T).double(), mass)

    def first(self, count: int) -> _Fold:
        return _Fold(self.features[:count], self.normal[:count, :count], self.right[:count], self.mass)


class _Candidate(NamedTuple):
    """Weights of a ridge for one fold, fitted to the others: ``free + fraction * drawn``, (k, components).

    The fold's squared error is ``change - 2 slope fraction + curvature fraction^2`` beyond that without weights, each
    (components,).
    """

    free: torch.Tensor
    drawn: torch.Tensor
    curvature: torch.Tensor
    slope: torch.Tensor
    change: torch.Tensor

    @classmethod
    def of(cls, fold: _Fold, free: torch.Tensor, drawn: torch.Tensor) -> _Candidate:
        towards = fold.normal @ drawn
        slope = ((fold.right * drawn) - towards * free).sum(0)
        change = ((fold.normal @ free - 2 * fold.right) * free).sum(0)
        return cls(free, drawn, (towards * drawn).sum(0), slope, change)


def _drawn(
    normal: torch.Tensor, right: torch.Tensor, drawn_to: torch.Tensor, ridge: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Solve ridge regression that draws weights to 0, and return what drawing them to ``drawn_to`` adds.

    The ridge is added to ``normal`` in place.
    """
    normal.diagonal().add_(ridge)
    solved = torch.cholesky_solve(torch.cat([right, ridge * drawn_to], 1), torch.linalg.cholesky(normal))
    return solved[:, : right.shape[1]], solved[:, right.shape[1] :]


def _symmetric_product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return ``left @ right.T`` (k, k) of which it is known that it is symmetric."""
    result = left.new_empty(len(left), len(left))
    for some in strips(len(left), _BLOCK):
        torch.mm(left[some], right[some.start :].T, out=result[some, some.start :])
        result[some.stop :, some] = result[some, some.stop :].T
    return result
