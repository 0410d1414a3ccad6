"""Feature maps of the MSI around each pixel: patches, and random features of them."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from hyperfuse.methods.feinfn.differences import differences
from hyperfuse.methods.feinfn.trained_features import IMAGE_RUNS, FeatureNetwork, TrainedFeatures, band_runs
from hyperfuse.methods.local_linear.predictors import Predictors, pooled
from hyperfuse.runtime.parallel import strips
from hyperfuse.statistics.subspace import Subspace, fit_subspace

RADIUS = 2  # of a patch, HR pixels
_MSI_COMPONENTS = 4  # of which patches are taken: with more, few LR pixels would decide many weights
_IMAGE_COMPONENTS = 6  # more serve some scenes and harm others
_RANDOM = 800  # random features
# They are made in groups, each of another half of what describes a pixel: half the products, and no worse.
_GROUPS = 8
_SEED = 1
_COMPRESSED = 4.0  # times its mean absolute value: the limit of a difference that random features are made of
_MIN_CHUNK, _CHUNK_BYTES = 64, 4 * 2**20  # feature maps at a time: with small windows they stay in cache
_UNIT_PIXELS = 2**14  # of a window, from which the units of features are taken
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

    def rows(self, rows: slice) -> GuidedImage:
        """Return some rows of HR pixels; the LR pixels remain those of the window."""
        predictors = replace(self.predictors, fine=self.predictors.fine[:, rows])
        return GuidedImage(self.image[:, rows], self.msi[:, rows], predictors)


class Description(NamedTuple):
    """What features are made of: leading components of the image, runs of its bands, the MSI and its whitened form.

    Of an image of a noisy HSI there are no components, and without trained features there are no runs.
    """

    components: torch.Tensor
    runs: torch.Tensor
    msi: torch.Tensor
    predictors: Predictors

    @classmethod
    def of(cls, window: GuidedImage, components: Subspace, *, runs: bool) -> Description:
        """Describe a window by components of its image and, where features are made of them, runs of its bands."""
        image = window.image
        # No part of the image itself, which would keep all of it.
        means = band_runs(image, IMAGE_RUNS) if runs else image.new_empty(0, *image.shape[1:])
        return cls(components.project(image), means, window.msi, window.predictors)

    def seen_by(self, rows: slice, cols: slice) -> Description:
        """Return the part that some LR pixels see of the window, with the patches around it."""
        predictors, (y, x) = self.predictors.seen_by(rows, cols, RADIUS)
        return Description(self.components[:, y, x], self.runs[:, y, x], self.msi[:, y, x], predictors)


@dataclass(frozen=True)
class PatchEncoding:
    """Feature maps of the MSI around each pixel: differences to the centre of a patch, and random features.

    A random feature is ``relu(w . z + b)`` with fixed random ``w`` and ``b`` (Rahimi and Recht, Random features for
    large-scale kernel machines, NeurIPS 2007) of a random half of a pixel's standardised description ``z``: the
    whitened MSI, the differences with large ones compressed, the logarithm of the mean radiance and each band's
    fraction of it, and leading components of the image that is to be corrected with their differences to the eight
    neighbours, unless the HSI is noisy.

    Attributes:
        components: of the image.
        unit: deviation of the first of them.
        radiance: mean of the MSI over the scene.
        contrast: mean absolute value of every difference, (differences,).
        mean: of ``z`` over the scene, (d,).
        deviation: of ``z``, (d,).
        trained: features that were trained on other scenes; None for none.
    """

    components: Subspace
    unit: float
    radiance: float
    contrast: torch.Tensor
    mean: torch.Tensor
    deviation: torch.Tensor
    trained: TrainedFeatures | None = None

    @classmethod
    def fit(
        cls, components: Subspace, windows: Sequence[Description], network: FeatureNetwork | None = None
    ) -> PatchEncoding:
        """Take the units of all features from samples of a scene; components from :func:`leading_components`.

        ``network`` makes trained features, which need runs of the image's bands.
        """
        pixels = sum(one.msi[0].numel() for one in windows)
        radiance = sum(float(one.msi.mean()) * one.msi[0].numel() for one in windows) / pixels
        steps = [max(1, math.isqrt(one.msi[0].numel() // _UNIT_PIXELS)) for one in windows]
        contrast = _weighted_mean(
            [_msi_differences(one.predictors, step).abs() for one, step in zip(windows, steps, strict=True)]
        ).clamp_min(_TINY)
        unit = max(max(float(one.components[:1].std()) for one in windows), _TINY) if components.basis.shape[1] else 1.0
        plain = cls(components, unit, radiance, contrast, contrast.new_zeros(1), contrast.new_ones(1))
        described = [plain._describe(one, step) for one, step in zip(windows, steps, strict=True)]
        mean = _weighted_mean(described)
        deviation = _weighted_mean([(one - mean[:, None, None]).square() for one in described]).sqrt()
        deviation = torch.where(deviation > _ROUNDING, deviation, torch.inf)
        trained = None
        if network is not None:
            trained = TrainedFeatures.fit(network, [(one.runs, one.msi) for one in windows])
        return cls(components, unit, radiance, contrast, mean, deviation, trained)

    def limited(self, features: torch.Tensor) -> PatchEncoding:
        """Return the encoding for weights fitted to features (count, n): trained ones stay in their range there."""
        if self.trained is None:
            return self
        return replace(self, trained=self.trained.limited(features[-self.trained.count :]))

    def describe(self, window: GuidedImage) -> Description:
        """Return what the features of a window are made of."""
        return Description.of(window, self.components, runs=self.trained is not None)

    @property
    def count(self) -> int:
        """Number of features."""
        return len(self.contrast) + _RANDOM + (0 if self.trained is None else self.trained.count)

    def maps(
        self, window: Description, step: int = 1, rows: slice = slice(None)
    ) -> Iterator[tuple[slice, torch.Tensor]]:
        """Yield all features of every ``step``-th pixel, a few at a time: their numbers, and maps (n, H, W).

        Maps are overwritten by the next. ``rows`` are those of the maps that are made.
        """
        described = self._describe(window, step)[:, rows].contiguous()
        differences = _msi_differences(window.predictors, step)[:, rows]
        first = len(differences)
        yield slice(0, first), differences
        del differences
        shape, flat, size = described.shape[1:], described.flatten(1), _RANDOM // _GROUPS
        chunk = min(size, max(_MIN_CHUNK, _CHUNK_BYTES // flat[0].nbytes))
        values = flat.new_empty(chunk, flat.shape[1])
        for inputs, plain, biases in _random_groups(len(flat)):
            weights = plain.to(flat) / self.deviation[inputs]
            constant = biases.to(flat) - weights @ self.mean[inputs]
            for some in strips(size, chunk):
                maps = values[: some.stop - some.start]
                torch.addmm(constant[some, None], weights[some], flat[inputs], out=maps).relu_()
                yield slice(first + some.start, first + some.stop), maps.reshape(-1, *shape)
            first += size
        if self.trained is not None:
            del values, flat
            for some, maps in self.trained.maps(window.runs, window.msi, step, rows):
                yield slice(first + some.start, first + some.stop), maps

    def _describe(self, window: Description, step: int = 1) -> torch.Tensor:
        """Return what random features are made of, not standardised, at every ``step``-th pixel: (d, H, W).

        In a random order, and half of it twice, so that the halves that features look at are consecutive.
        """
        ratio = _msi_differences(window.predictors, step) / self.contrast[:, None, None]
        compressed = ratio / (ratio.abs() / _COMPRESSED).add_(1)
        floor = max(_FLOOR * abs(self.radiance), _TINY)
        msi = window.msi[:, ::step, ::step]
        mean = msi.mean(0, keepdim=True).clamp_min(floor)
        fractions = (msi / mean).clamp(-1.0, 1.0 + len(msi))
        components = window.components / self.unit
        pixels = window.predictors.fine[:, ::step, ::step], components[:, ::step, ::step]
        parts = [pixels[0], compressed, mean.log(), fractions, pixels[1], differences(components, 1, step)]
        return torch.cat(parts)[_order(sum(map(len, parts))).to(msi.device)]


def leading_components(hsis: Sequence[torch.Tensor], count: int = _IMAGE_COMPONENTS) -> Subspace:
    """Return the components of an image that features are made of, by the LR-HSI (bands, h, w) of each sample."""
    return fit_subspace(pooled(hsis), _IMAGE_COMPONENTS).part(slice(count))


def _msi_differences(predictors: Predictors, step: int = 1) -> torch.Tensor:
    # Components are in ascending order of their variance.
    return differences(predictors.fine[-_MSI_COMPONENTS:], RADIUS, step)


def _weighted_mean(images: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the mean of each channel over the pixels of several images (channels, H, W), (channels,)."""
    pixels = sum(one[0].numel() for one in images)
    return torch.stack([one.mean((1, 2)) * (one[0].numel() / pixels) for one in images]).sum(0)


@functools.cache
def _order(inputs: int) -> torch.Tensor:
    """Return a fixed random order of what describes a pixel, its first half repeated at the end."""
    order = torch.randperm(inputs, generator=torch.Generator().manual_seed(_SEED))
    return torch.cat([order, order[: _looked_at(inputs)]])


def _looked_at(inputs: int) -> int:
    return (inputs + 1) // 2


@functools.cache
def _random_groups(ordered: int) -> list[tuple[slice, torch.Tensor, torch.Tensor]]:
    """Return for each group of features the standardised inputs that it looks at, and its weights and biases.

    Inputs are those of :func:`_order`; weights (features, inputs) and biases (features,) are random and fixed.
    """
    generator = torch.Generator().manual_seed(_SEED)
    inputs = 2 * ordered // 3
    size, groups = _RANDOM // _GROUPS, []
    for group in range(_GROUPS):
        start = group * inputs // _GROUPS
        some = slice(start, start + _looked_at(inputs))
        weights = torch.randn(size, some.stop - start, generator=generator) / math.sqrt(some.stop - start)
        groups.append((some, weights, 2 * torch.rand(size, generator=generator) - 1))
    return groups
