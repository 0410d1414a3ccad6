"""Regression of held-out residuals on patches of the MSI: what no model of single spectra can predict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch.nn import functional as F

from hyperfuse.methods.feinfn.fold_ridge import FoldRidge, RidgePixels
from hyperfuse.methods.feinfn.patch_features import RADIUS, Description, GuidedImage, PatchEncoding, leading_components
from hyperfuse.methods.feinfn.trained_features import FeatureNetwork
from hyperfuse.methods.local_linear.predictors import pooled
from hyperfuse.runtime.parallel import in_threads, strips
from hyperfuse.statistics.folds import block_folds
from hyperfuse.statistics.shrinkage import RadianceShrinkage
from hyperfuse.statistics.subspace import Subspace, leading_subspace

_MIN_PIXELS = 256  # LR pixels of all samples; below, there is nothing to learn from
# Variance of the HSI's noise relative to that of the residual, beyond which components of the image are no features.
_MAX_NOISE = 0.5
# The same of trained features, which receive means of an eighth of the bands, with less noise than components. Up to
# here they gained on every scene, at 2.4 they cost 0.2 dB on one.
_MAX_TRAINED_NOISE = 2.0
# Trained features must lower the validation error by more than this, in dB: where they raised it, they did at HR.
_MIN_TRAINED_DB = 0.0
# HR pixels of an image, and HR pixels along a side of a part of it, that are computed at a time: what is made of them
# stays in cache.
_STRIP_PIXELS, _PART_SIDE = 2**13, 64
_NOISE_STEP = 2  # HR pixels between those at which the effect of noise is measured
_TINY = 1e-12
_ROUNDING = 1e-6


@dataclass(frozen=True)
class ResidualRegression:
    """Ridge regression of the residuals of held-out predictions on patches of the MSI, solved for the scene.

    Attributes:
        encoding: of the features.
        offset: weighted mean of every feature at LR, (features,).
        weights: of the residual's components on the features, (components, features); 0 for components of which
            the validation error does not fall.
        subspace: the components; of few bands too, so that what they have in common has one ridge and one fraction of
            known weights.
        shrinkage: of the correction, at low radiance.
        gain_db: fall of the validation error, mean over bands, of reliable pixels more than of others.
        rmse: root mean squared validation error of each band, (bands,).
        inflation: that, relative to the same of pixels that the weights were fitted to, (bands,).
    """

    encoding: PatchEncoding
    offset: torch.Tensor
    weights: torch.Tensor
    subspace: Subspace
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
        trained: FeatureNetwork | None = None,
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
            trained: features that were trained on other scenes, next to the others where held-out pixels are
                predicted better with them, unless the HSI is noisy; None for none.

        Returns:
            The regression; None where it predicts nothing.
        """
        if sum(one[0].numel() for one in hsis) < _MIN_PIXELS:
            return None
        components = leading_components(hsis)
        windows, residuals = [], []
        for window, one in samples:  # of the images only the components are kept
            windows.append(Description.of(window, components, runs=trained is not None))
            residuals.append(one)
        residual = pooled(residuals)
        variance = residual.flatten(1).double().square().mean(1).clamp_min(_TINY**2)
        # The image around a pixel holds a little of that pixel's own noise, which would be taken for knowledge.
        share = float((noise.double().square() / variance).mean())
        if share > _MAX_NOISE:
            components = leading_components(hsis, 0)
            windows = [one._replace(components=one.components[:0].clone()) for one in windows]
        if share > _MAX_TRAINED_NOISE:
            trained = None
            windows = [one._replace(runs=one.runs[:0].clone()) for one in windows]
        encoding = PatchEncoding.fit(components, windows, trained)
        features = torch.cat([_at_lr(encoding, one) for one in windows], dim=1)
        encoding = encoding.limited(features)
        folds = torch.cat([block_folds(one.predictors.shape, features.device).flatten() for one in windows])
        if float(residual.norm()) <= _ROUNDING * float(pooled(hsis).norm()):
            return None
        change = features.new_zeros(len(features), 1)
        if noisy is not None:
            change = torch.sub(*(_at_hr(encoding, one) for one in reversed(noisy)))
        subspace, reliability = leading_subspace(residual), _reliability(residual)
        targets = subspace.project(residual).flatten(1)
        equations = FoldRidge.of(features, targets, RidgePixels(folds, reliability), change)
        held_out = _HeldOut(pooled(hsis), residual, reliability, subspace)
        found = cls._solve(encoding, features, equations, held_out)
        if trained is None or found is None:
            return found
        count = encoding.count - trained.count
        without = cls._solve(replace(encoding, trained=None), features[:count], equations.first(count), held_out)
        gained = found.gain_db - (0.0 if without is None else without.gain_db)
        return found if gained > _MIN_TRAINED_DB else without

    @classmethod
    def _solve(
        cls, encoding: PatchEncoding, features: torch.Tensor, equations: FoldRidge, held_out: _HeldOut
    ) -> ResidualRegression | None:
        """Regress on features (count, n)."""
        hsi, residual, reliability, subspace = held_out
        solved = equations.solve(_known(encoding, residual.flatten(1).square().mean(1).sqrt(), subspace))
        if not bool(solved.accepted.any()):
            return None
        estimate = hsi - residual
        fitted = torch.addmm(-(solved.weights @ solved.offset)[:, None], solved.weights, features)
        fitted, predicted = (subspace.expand_change(one[:, None]) for one in (fitted, solved.held_out))
        # The factor of a class is decided by few pixels: with weights closer to equal ones.
        shrinkage = RadianceShrinkage.fit(estimate, predicted, hsi, reliability.sqrt())
        factor = shrinkage.of(estimate)
        before, inside, after = (
            one.flatten(1).double().square() + _TINY**2
            for one in (residual, residual - factor * fitted, residual - factor * predicted)
        )
        gain = float(10 * ((before @ reliability) / (after @ reliability)).log10().mean())
        if gain <= 0:
            return None
        inside, after = inside.mean(1), after.mean(1)
        rmse, inflation = after.sqrt().to(residual.dtype), (after / inside).sqrt().to(residual.dtype)
        return cls(encoding, solved.offset, solved.weights, subspace, shrinkage, gain, rmse, inflation)

    def predict(self, window: GuidedImage) -> torch.Tensor:
        """Return the residual that is expected at every HR pixel of a window, (bands, H, W)."""
        rows, cols = window.image.shape[1:]
        result = torch.empty_like(window.image)

        def fill(strip: slice) -> None:
            first, stop = max(0, strip.start - RADIUS), min(rows, strip.stop + RADIUS)
            inside = slice(strip.start - first, strip.stop - first)
            residual = self._predict(window.rows(slice(first, stop)), inside)
            torch.mul(residual, self.shrinkage.of(window.image[:, strip]), out=result[:, strip])

        in_threads(fill, strips(rows, max(4 * RADIUS, _STRIP_PIXELS // cols)), result.device)
        return result

    def _predict(self, window: GuidedImage, rows: slice) -> torch.Tensor:
        """Return the same of some rows of a window, not shrunk."""
        weights = self.weights.to(window.image)
        constant, shape = -(weights @ self.offset.to(weights)), window.image[:, rows].shape[1:]
        total = constant[:, None].expand(-1, shape[0] * shape[1]).contiguous()
        for part, maps in self.encoding.maps(self.encoding.describe(window), rows=rows):
            total.addmm_(weights[:, part], maps.flatten(1))
        return self.subspace.expand_change(total.reshape(-1, *shape))


class _HeldOut(NamedTuple):
    """LR pixels of all samples.

    Attributes:
        hsi: (bands, 1, n).
        residual: that minus its held-out prediction, (bands, 1, n).
        reliability: weight of each pixel, (n,).
        subspace: components of the residual.
    """

    hsi: torch.Tensor
    residual: torch.Tensor
    reliability: torch.Tensor
    subspace: Subspace


def _reliability(residual: torch.Tensor) -> torch.Tensor:
    """Return the weight of every pixel of a residual (bands, 1, n), in (0, 1].

    Residuals have long tails: at highlights, at the border of the image, where the HSI also holds light from beyond it,
    and where the images do not show the same, one pixel would count as much as a hundred others. These weights lie half
    way between least squares and those of Cauchy's distribution, and count a large residual about as its absolute value
    (Holland, Welsch, Communications in Statistics 6(9), 1977).
    """
    squared = residual.flatten(1).double().square()
    relative = (squared / squared.mean(1, keepdim=True).clamp_min(_TINY**2)).mean(0)
    weight: torch.Tensor = (1 + relative / relative.median().clamp_min(_TINY)).rsqrt()
    return weight


def _known(encoding: PatchEncoding, unit: torch.Tensor, subspace: Subspace) -> torch.Tensor | None:
    """Return the weights (components, features) that trained features have in most scenes; None without any.

    Args:
        encoding: of the features.
        unit: RMS residual of each band, (bands,).
        subspace: the components of residuals.
    """
    if encoding.trained is None:
        return None
    network = encoding.trained.network
    of_bands = unit[:, None] * network.prediction(len(unit)).to(unit)
    weights = subspace.part(slice(None)).project(of_bands[..., None])[..., 0]
    return F.pad(weights, (encoding.count - network.count, 0))


def _at_lr(encoding: PatchEncoding, window: Description) -> torch.Tensor:
    """Return the features of a window as the HSI's sensor would record them, (features, h w)."""
    predictors = window.predictors
    result = window.msi.new_empty(encoding.count, *predictors.shape)

    def fill(part: tuple[slice, slice], seen: Description) -> None:
        for some, maps in encoding.maps(seen):
            result[some, *part] = seen.predictors.degrade(maps)

    if result.device.type != "cpu" or predictors.sensor.displacement is not None:
        fill((slice(None), slice(None)), window)
    else:
        rows, cols = (
            strips(size, max(1, round(_PART_SIDE / ratio)))
            for size, ratio in zip(predictors.shape, predictors.sensor.ratio, strict=True)
        )
        parts = [(row, col) for row in rows for col in cols]
        in_threads(lambda part: fill(part, window.seen_by(*part)), parts)
    return result.flatten(1)


def _at_hr(encoding: PatchEncoding, window: GuidedImage) -> torch.Tensor:
    """Return the features of some pixels of a window, (features, n)."""
    maps = encoding.maps(encoding.describe(window), _NOISE_STEP)
    return torch.cat([some.flatten(1).clone() for _, some in maps])
