"""Regression of held-out residuals on patches of the MSI: what no model of single spectra can predict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from hyperfuse.methods.feinfn.patch_features import RADIUS, Description, GuidedImage, PatchEncoding, leading_components
from hyperfuse.methods.local_linear.predictors import pooled
from hyperfuse.statistics.folds import FOLDS, block_folds
from hyperfuse.statistics.shrinkage import RadianceShrinkage
from hyperfuse.statistics.subspace import Subspace, model_subspace

_RIDGES = (1e-3, 1e-2, 1e-1, 0.3, 1.0, 3.0, 10.0)  # relative to the features' correlation matrix
_MIN_PIXELS = 256  # LR pixels of all samples; below, there is nothing to learn from
# The held-out mean squared error must fall to this fraction: smaller gains at LR, under noise, were none at HR.
_MIN_GAIN = 0.98
# Variance of the HSI's noise relative to that of the residual, beyond which components of the image are no features.
_MAX_NOISE = 0.5
_STRIP_PIXELS = 2**14  # of an image at a time: what is made of them stays in cache
_TINY = 1e-12
_ROUNDING = 1e-6


@dataclass(frozen=True)
class ResidualRegression:
    """Ridge regression of the residuals of held-out predictions on patches of the MSI, solved for the scene.

    Attributes:
        encoding: of the features.
        offset: mean of every feature at LR, (features,).
        weights: of the residual's components on the features, (components, features); 0 for components of which
            the validation error does not fall.
        subspace: the components; None for the bands themselves.
        shrinkage: of the correction, at low radiance.
        gain_db: fall of the validation error, mean over bands.
        rmse: root mean squared validation error of each band, (bands,).
        inflation: that, relative to the same of pixels that the weights were fitted to, (bands,).
    """

    encoding: PatchEncoding
    offset: torch.Tensor
    weights: torch.Tensor
    subspace: Subspace | None
    shrinkage: RadianceShrinkage
    gain_db: float
    rmse: torch.Tensor
    inflation: torch.Tensor

    @classmethod
    def fit(
        cls,
        samples: Iterable[tuple[GuidedImage, torch.Tensor]],
        hsis: Sequence[torch.Tensor],
        noise: torch.Tensor,
        noisy: tuple[GuidedImage, GuidedImage] | None = None,
    ) -> ResidualRegression | None:
        """Solve for the weights, with the ridge of each component that predicts blocks of LR pixels best from others.

        Noise of the MSI averages out in an LR pixel, not in an HR pixel: the error that it would cause there is added
        to what the weights minimise, and to the validation error.

        Args:
            samples: of a scene, used one after the other: the image, and the residual: the HSI minus its held-out
                prediction, (bands, h, w).
            hsis: of each sample the LR-HSI, (bands, h, w).
            noise: standard deviation of the HSI's noise, (bands,).
            noisy: a part of the scene as it is, and with as much noise again as it holds; None where it holds none.

        Returns:
            The regression; None where it predicts nothing.
        """
        if sum(one[0].numel() for one in hsis) < _MIN_PIXELS:
            return None
        components = leading_components(hsis)
        windows, residuals = [], []
        for window, one in samples:  # of the images only the components are kept
            windows.append(Description(components.project(window.image), window.msi, window.predictors))
            residuals.append(one)
        residual = pooled(residuals)
        variance = residual.flatten(1).double().square().mean(1).clamp_min(_TINY**2)
        if float((noise.double().square() / variance).mean()) > _MAX_NOISE:
            # The image around a pixel holds a little of that pixel's own noise, which would be taken for knowledge.
            components = leading_components(hsis, 0)
            windows = [one._replace(components=one.components[:0]) for one in windows]
        encoding = PatchEncoding.fit(components, windows)
        features = torch.cat([_at_lr(encoding, one) for one in windows], dim=1)
        folds = torch.cat([block_folds(one.predictors.shape, features.device).flatten() for one in windows])
        if float(residual.norm()) <= _ROUNDING * float(pooled(hsis).norm()):
            return None
        subspace = model_subspace(residual)
        targets = (residual if subspace is None else subspace.project(residual)).flatten(1)
        change = features.new_zeros(len(features), 1)
        if noisy is not None:
            change = torch.sub(*(_at_hr(encoding, one) for one in reversed(noisy)))
        solved = _solve(features, targets, folds, change)
        if not bool(solved.accepted.any()):
            return None
        estimate = pooled(hsis) - residual
        fitted = solved.weights @ (features - solved.offset[:, None])
        fitted, predicted = (
            one if subspace is None else subspace.expand_change(one)
            for one in (fitted[:, None], solved.held_out[:, None])
        )
        shrinkage = RadianceShrinkage.fit(estimate, predicted, estimate + residual)
        factor = shrinkage.of(estimate)
        before, inside, after = (
            one.flatten(1).double().square().mean(1).clamp_min(_TINY**2)
            for one in (residual, residual - factor * fitted, residual - factor * predicted)
        )
        gain = float(10 * (before / after).log10().mean())
        if gain <= 0:
            return None
        rmse, inflation = after.sqrt().to(residual.dtype), (after / inside).sqrt().to(residual.dtype)
        return cls(encoding, solved.offset, solved.weights, subspace, shrinkage, gain, rmse, inflation)

    def predict(self, window: GuidedImage) -> torch.Tensor:
        """Return the residual that is expected at every HR pixel of a window, (bands, H, W)."""
        rows, cols = window.image.shape[1:]
        step = max(4 * RADIUS, _STRIP_PIXELS // cols)
        result = torch.empty_like(window.image)
        for start in range(0, rows, step):
            first, stop = max(0, start - RADIUS), min(rows, start + step + RADIUS)
            residual = self._predict(window.rows(slice(first, stop)))
            result[:, start : start + step] = residual[:, start - first : start - first + step]
        return result.mul_(self.shrinkage.of(window.image))

    def _predict(self, window: GuidedImage) -> torch.Tensor:
        weights = self.weights.to(window.image)
        constant = -(weights @ self.offset.to(weights))
        total = constant[:, None].expand(-1, window.image[0].numel()).contiguous()
        for part, maps in self.encoding.maps(self.encoding.describe(window)):
            total.addmm_(weights[:, part], maps.flatten(1))
        residual = total.reshape(-1, *window.image.shape[1:])
        return residual if self.subspace is None else self.subspace.expand_change(residual)


@dataclass(frozen=True)
class _Solved:
    """Weights (components, features) for features of which ``offset`` is subtracted; held-out predictions."""

    weights: torch.Tensor
    offset: torch.Tensor
    held_out: torch.Tensor
    accepted: torch.Tensor


def _solve(features: torch.Tensor, targets: torch.Tensor, folds: torch.Tensor, change: torch.Tensor) -> _Solved:
    """Regress targets (components, n) on features (k, n), and predict each fold by weights fitted to the others.

    ``change`` (k, m) is what noise does to the features of m HR pixels.
    """
    offset = features.mean(1, keepdim=True)
    deviation = features.std(1, correction=0, keepdim=True)
    # What varies by rounding alone is constant.
    varies = deviation > _ROUNDING * offset.abs().amax().clamp_min(_TINY)
    deviation = torch.where(varies, deviation, torch.inf)
    centred, change = (features - offset) / deviation, change / deviation
    noise = (change @ change.T).double() / change.shape[1]
    targets = targets.to(features.dtype)
    count, masks = len(folds), [folds == fold for fold in range(FOLDS)]
    normal, right = [], []
    for mask in masks:
        some = centred[:, mask]
        normal.append((some @ some.T).double() + some.shape[1] * noise)
        right.append((some @ targets[:, mask].T).double())
    all_normal, all_right = torch.stack(normal).sum(0), torch.stack(right).sum(0)
    errors = targets.double().square().mean(1).repeat(len(_RIDGES), 1)
    by_fold = []
    for own, product, mask in zip(normal, right, masks, strict=True):
        others = [ridge * int((~mask).sum()) for ridge in _RIDGES]
        by_fold.append(torch.stack([_ridge(all_normal - own, all_right - product, ridge) for ridge in others]))
        # Of the fold's squared error, what depends on the weights.
        errors += ((own @ by_fold[-1] - 2 * product) * by_fold[-1]).sum(1) / count
    least, best = errors.min(0)
    accepted = least < _MIN_GAIN * targets.double().square().mean(1)
    held_out, chosen = torch.zeros_like(targets), torch.arange(len(targets), device=targets.device)
    for solved, mask in zip(by_fold, masks, strict=True):
        held_out[:, mask] = solved[best, :, chosen].to(targets.dtype) @ centred[:, mask]
    weights = torch.zeros_like(all_right.T)
    for index in sorted(set(best[accepted].tolist())):
        weights[best == index] = _ridge(all_normal, all_right[:, best == index], _RIDGES[index] * count).T
    weights = torch.where(accepted[:, None], weights, 0.0).to(features.dtype) / deviation.T
    return _Solved(weights, offset[:, 0], torch.where(accepted[:, None], held_out, 0.0), accepted)


def _ridge(normal: torch.Tensor, right: torch.Tensor, ridge: float) -> torch.Tensor:
    regular = normal.clone()
    regular.diagonal().add_(ridge)
    return torch.cholesky_solve(right, torch.linalg.cholesky(regular))


def _at_lr(encoding: PatchEncoding, window: Description) -> torch.Tensor:
    """Return the features of a window as the HSI's sensor would record them, (features, h w)."""
    rows, cols = window.predictors.shape
    result = window.msi.new_empty(encoding.count, rows * cols)
    for part, maps in encoding.maps(window):
        result[part] = window.predictors.degrade(maps).flatten(1)
    return result


def _at_hr(encoding: PatchEncoding, window: GuidedImage) -> torch.Tensor:
    """Return the features of a window, (features, H W)."""
    result = window.msi.new_empty(encoding.count, window.msi[0].numel())
    for part, maps in encoding.maps(encoding.describe(window)):
        result[part] = maps.flatten(1)
    return result
