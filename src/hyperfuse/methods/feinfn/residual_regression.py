"""Regression of held-out residuals on patches of the MSI: what no model of single spectra can predict."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch.nn import functional as F

from hyperfuse.methods.local_linear.predictors import Predictors, pooled
from hyperfuse.statistics.folds import FOLDS, block_folds
from hyperfuse.statistics.shrinkage import RadianceShrinkage
from hyperfuse.statistics.subspace import Subspace, fit_subspace, model_subspace

_RADIUS = 2  # of a patch, HR pixels
_MAX_COMPONENTS = 4  # of the MSI and of the image, of which patches are taken: more inputs dilute each random feature
_IMAGE_COMPONENTS = 6
_RANDOM = 800  # random features
_SEED = 1
_RIDGES = (1e-3, 1e-2, 1e-1, 0.3, 1.0, 3.0, 10.0)  # relative to the features' correlation matrix
_MIN_PIXELS = 256  # LR pixels of all samples; below, there is nothing to learn from
# The held-out mean squared error must fall to this fraction: smaller gains at LR, under noise, were none at HR.
_MIN_GAIN = 0.98
_CHUNK = 64  # feature maps at a time
_FLOOR = 1e-3  # of the mean radiance: the smallest of which a logarithm is taken
_TINY = 1e-12
_ROUNDING = 1e-6


class GuidedImage(NamedTuple):
    """A window of which the residual is predicted.

    Attributes:
        image: to be corrected, (bands, H, W).
        msi: denoised, (msi_bands, H, W).
        predictors: the same, whitened.
    """

    image: torch.Tensor
    msi: torch.Tensor
    predictors: Predictors


class _Description(NamedTuple):
    """What features are made of: leading components of the image, the MSI and its whitened form."""

    components: torch.Tensor
    msi: torch.Tensor
    predictors: Predictors


@dataclass(frozen=True)
class PatchEncoding:
    """Feature maps of the MSI around each pixel: differences to the centre of a patch, and random features.

    A random feature is ``relu(w . z + b)`` with fixed random ``w`` and ``b`` (Rahimi and Recht, Random features for
    large-scale kernel machines, NeurIPS 2007) of a pixel's standardised description ``z``: the whitened MSI, the
    differences with large ones compressed, the logarithm of the mean radiance and each band's fraction of it, and
    leading components of the image that is to be corrected, with their differences to the eight neighbours.

    Attributes:
        components: of the image.
        unit: deviation of the first of them.
        radiance: mean of the MSI over the scene.
        contrast: mean absolute value of every difference, (differences,).
        mean: of ``z`` over the scene, (d,).
        deviation: of ``z``, (d,).
    """

    components: Subspace
    unit: float
    radiance: float
    contrast: torch.Tensor
    mean: torch.Tensor
    deviation: torch.Tensor

    @classmethod
    def fit(cls, components: Subspace, windows: Sequence[_Description]) -> PatchEncoding:
        """Take the units of all features from samples of a scene."""
        pixels = sum(one.msi[0].numel() for one in windows)
        radiance = sum(float(one.msi.mean()) * one.msi[0].numel() for one in windows) / pixels
        contrast = _weighted_mean([_msi_differences(one.predictors).abs() for one in windows]).clamp_min(_TINY)
        unit = max(max(float(one.components[0].std()) for one in windows), _TINY)
        plain = cls(components, unit, radiance, contrast, contrast.new_zeros(1), contrast.new_ones(1))
        described = [plain._describe(one) for one in windows]
        mean = _weighted_mean(described)
        deviation = _weighted_mean([(one - mean[:, None, None]).square() for one in described]).sqrt()
        return cls(components, unit, radiance, contrast, mean, torch.where(deviation > _ROUNDING, deviation, torch.inf))

    @property
    def count(self) -> int:
        """Number of features."""
        return len(self.contrast) + _RANDOM

    def describe(self, window: GuidedImage) -> _Description:
        """Return what the features of a window are made of."""
        return _Description(self.components.project(window.image), window.msi, window.predictors)

    def maps(self, window: _Description) -> Iterator[tuple[slice, torch.Tensor]]:
        """Yield all features of a window a few at a time: their numbers, and their maps (n, H, W)."""
        differences = _msi_differences(window.predictors)
        for start in range(0, len(differences), _CHUNK):
            part = slice(start, min(start + _CHUNK, len(differences)))
            yield part, differences[part]
        del differences
        described = self._describe(window)
        shape = described.shape[1:]
        flat = described.flatten(1)
        weights, biases = _random_weights(len(flat))
        weights = (weights.to(flat) / self.deviation).contiguous()
        biases = biases.to(flat) - weights @ self.mean
        first = len(self.contrast)
        for start in range(0, _RANDOM, _CHUNK):
            some = slice(start, min(start + _CHUNK, _RANDOM))
            values = torch.addmm(biases[some, None], weights[some], flat).relu_()
            yield slice(first + some.start, first + some.stop), values.reshape(-1, *shape)

    def _describe(self, window: _Description) -> torch.Tensor:
        """Return what random features are made of, not standardised: (d, H, W)."""
        differences = _msi_differences(window.predictors)
        compressed = differences.sign() * (differences.abs() / self.contrast[:, None, None]).log1p()
        floor = max(_FLOOR * abs(self.radiance), _TINY)
        mean = window.msi.mean(0, keepdim=True).clamp_min(floor)
        fractions = (window.msi / mean).clamp(-1.0, 1.0 + len(window.msi))
        components = window.components / self.unit
        nearby = _differences(components[:_MAX_COMPONENTS], 1)
        return torch.cat([window.predictors.fine, compressed, mean.log(), fractions, components, nearby])


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
        noisy: tuple[GuidedImage, GuidedImage] | None = None,
    ) -> ResidualRegression | None:
        """Solve for the weights, with the ridge of each component that predicts blocks of LR pixels best from others.

        Noise of the MSI averages out in an LR pixel, not in an HR pixel: the error that it would cause there is added
        to what the weights minimise, and to the validation error.

        Args:
            samples: of a scene, used one after the other: the image, and the residual: the HSI minus its held-out
                prediction, (bands, h, w).
            hsis: of each sample the LR-HSI, (bands, h, w).
            noisy: a part of the scene as it is, and with as much noise again as it holds; None where it holds none.

        Returns:
            The regression; None where it predicts nothing.
        """
        if sum(one[0].numel() for one in hsis) < _MIN_PIXELS:
            return None
        components = fit_subspace(pooled(hsis), _IMAGE_COMPONENTS)
        windows, residuals = [], []
        for window, one in samples:  # of the images only the components are kept
            windows.append(_Description(components.project(window.image), window.msi, window.predictors))
            residuals.append(one)
        encoding = PatchEncoding.fit(components, windows)
        features = torch.cat([_at_lr(encoding, one) for one in windows], dim=1)
        folds = torch.cat([block_folds(one.predictors.shape, features.device).flatten() for one in windows])
        residual = pooled(residuals)
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
            one if subspace is None else subspace.part(slice(None)).expand(one)
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
        weights = self.weights.to(window.image)
        constant = -(weights @ self.offset.to(weights))
        total = constant[:, None].expand(-1, window.image[0].numel()).contiguous()
        for part, maps in self.encoding.maps(self.encoding.describe(window)):
            total.addmm_(weights[:, part], maps.flatten(1))
        residual = total.reshape(-1, *window.image.shape[1:])
        residual = residual if self.subspace is None else self.subspace.part(slice(None)).expand(residual)
        return self.shrinkage.of(window.image) * residual


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
    normal, right, out = [], [], []
    for fold in range(FOLDS):
        out.append(folds == fold)
        some = centred[:, out[-1]]
        normal.append((some @ some.T).double() + some.shape[1] * noise)
        right.append((some @ targets[:, out[-1]].T).double())
    all_normal, all_right = torch.stack(normal).sum(0), torch.stack(right).sum(0)
    held_out = torch.zeros(len(_RIDGES), *targets.shape, dtype=targets.dtype, device=targets.device)
    errors = torch.zeros(held_out.shape[:2], dtype=noise.dtype, device=targets.device)
    for number, mask in enumerate(out):
        fraction = float(mask.double().mean())
        for index, ridge in enumerate(_RIDGES):
            weights = _ridge(all_normal - normal[number], all_right - right[number], ridge * int((~mask).sum()))
            held_out[index][:, mask] = weights.to(targets.dtype).T @ centred[:, mask]
            errors[index] += fraction * (weights * (noise @ weights)).sum(0)
    errors += (targets - held_out).double().square().mean(-1)
    least, best = errors.min(0)
    accepted = least < _MIN_GAIN * targets.double().square().mean(1)
    chosen = torch.arange(len(targets), device=targets.device)
    by_ridge = torch.stack([_ridge(all_normal, all_right, ridge * len(folds)).T for ridge in _RIDGES])
    weights = torch.where(accepted[:, None], by_ridge[best, chosen], 0.0).to(features.dtype) / deviation.T
    return _Solved(weights, offset[:, 0], torch.where(accepted[:, None], held_out[best, chosen], 0.0), accepted)


def _ridge(normal: torch.Tensor, right: torch.Tensor, ridge: float) -> torch.Tensor:
    regular = normal.clone()
    regular.diagonal().add_(ridge)
    return torch.cholesky_solve(right, torch.linalg.cholesky(regular))


def _at_lr(encoding: PatchEncoding, window: _Description) -> torch.Tensor:
    """Return the features of a window as the HSI's sensor would record them, (features, h w)."""
    return torch.cat([window.predictors.degrade(maps).flatten(1) for _, maps in encoding.maps(window)])


def _at_hr(encoding: PatchEncoding, window: GuidedImage) -> torch.Tensor:
    """Return the features of a window, (features, H W)."""
    return torch.cat([maps.flatten(1) for _, maps in encoding.maps(encoding.describe(window))])


def _msi_differences(predictors: Predictors) -> torch.Tensor:
    # Components are in ascending order of their variance.
    return _differences(predictors.fine[-_MAX_COMPONENTS:], _RADIUS)


def _differences(image: torch.Tensor, radius: int) -> torch.Tensor:
    """Return the neighbours of each pixel of (n, H, W) in a patch minus the pixel, ((patch^2 - 1) n, H, W)."""
    rows, cols = image.shape[-2:]
    padded = F.pad(image[None], (radius,) * 4, mode="replicate")[0]
    side = range(2 * radius + 1)
    shifted = [padded[:, y : y + rows, x : x + cols] - image for y in side for x in side if (y, x) != (radius, radius)]
    return torch.cat(shifted)


def _weighted_mean(images: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the mean of each channel over the pixels of several images (channels, H, W), (channels,)."""
    pixels = sum(one[0].numel() for one in images)
    return torch.stack([one.mean((1, 2)) * (one[0].numel() / pixels) for one in images]).sum(0)


def _random_weights(inputs: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return fixed random weights (features, inputs) and biases (features,) for standardised inputs."""
    generator = torch.Generator().manual_seed(_SEED)
    weights = torch.randn(_RANDOM, inputs, generator=generator) / math.sqrt(inputs)
    return weights, 2 * torch.rand(_RANDOM, generator=generator) - 1
