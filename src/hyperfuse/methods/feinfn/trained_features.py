"""Feature maps that were trained on other scenes, for residuals to be regressed on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch.nn import functional as F

from hyperfuse.methods.feinfn.differences import differences

IMAGE_RUNS, MSI_RUNS = 8, 3  # contiguous runs of bands, whose means stand for any number of bands
MSI_RADIUS, IMAGE_RADIUS = 2, 1  # of patches, HR pixels
_PAIRS = IMAGE_RUNS // 2  # of the image's runs, of which differences are taken
_COMPRESSED = 4.0  # times its mean absolute value: the limit of a difference
_BRIGHTEST = 8.0  # times the mean radiance
_FLOOR, _DARK = 0.05, 0.02  # of the mean radiance: added before a ratio, or a logarithm, is taken
_HALF = 0.5
_UNIT_STEP = 4  # HR pixels between those from which units are taken
_RESIDUAL_GAIN = 0.35  # of the layers that end a block, before training
_TINY = 1e-12

_MSI_DIFFERENCES = MSI_RUNS * ((2 * MSI_RADIUS + 1) ** 2 - 1)
_DIFFERENCES = _MSI_DIFFERENCES + _PAIRS * ((2 * IMAGE_RADIUS + 1) ** 2 - 1)
RAW_CHANNELS = _DIFFERENCES + IMAGE_RUNS + MSI_RUNS
CHANNELS = _DIFFERENCES + 2 * IMAGE_RUNS + MSI_RUNS + 2


@dataclass(frozen=True)
class FeatureNetwork:
    """Feature maps of descriptions of pixels, and what they are worth in other scenes.

    A layer for each pixel, residual blocks of a 3x3 convolution, ReLU and a layer for each pixel, and a last layer for
    each pixel with ReLU.

    Attributes:
        first: (hidden, CHANNELS).
        first_bias: (hidden,).
        spatial: of the convolutions, (blocks, hidden, hidden, 3, 3).
        spatial_bias: (blocks, hidden).
        mixing: (blocks, hidden, hidden).
        mixing_bias: (blocks, hidden).
        last: (features, hidden).
        last_bias: (features,).
        output: what predicts the residual of runs of bands from the features in most scenes, in units of the RMS
            residual of each band, (IMAGE_RUNS, features).
    """

    first: torch.Tensor
    first_bias: torch.Tensor
    spatial: torch.Tensor
    spatial_bias: torch.Tensor
    mixing: torch.Tensor
    mixing_bias: torch.Tensor
    last: torch.Tensor
    last_bias: torch.Tensor
    output: torch.Tensor

    @classmethod
    def untrained(cls, hidden: int, features: int, blocks: int) -> FeatureNetwork:
        """Return a network with random weights by torch's seed, and an output of 0."""

        def random(*shape: int, gain: float = 1.0) -> torch.Tensor:
            inputs = math.prod(shape[1:] if len(shape) == 2 else shape[2:])
            return gain * math.sqrt(2 / inputs) * torch.randn(shape)

        return cls(
            random(hidden, CHANNELS),
            torch.zeros(hidden),
            random(blocks, hidden, hidden, 3, 3),
            torch.zeros(blocks, hidden),
            random(blocks, hidden, hidden, gain=_RESIDUAL_GAIN),
            torch.zeros(blocks, hidden),
            random(features, hidden),
            torch.zeros(features),
            torch.zeros(IMAGE_RUNS, features),
        )

    @property
    def count(self) -> int:
        """Number of features."""
        return len(self.last)

    @property
    def margin(self) -> int:
        """Pixels around one whose descriptions decide its features."""
        return len(self.spatial)

    def __call__(self, described: torch.Tensor) -> torch.Tensor:
        """Return the features (B, features, H, W) of descriptions (B, CHANNELS, H, W)."""
        hidden = _per_pixel(described, self.first, self.first_bias).relu()
        for block in range(self.margin):
            around = F.conv2d(hidden, self.spatial[block], self.spatial_bias[block], padding=1).relu()
            hidden = hidden + _per_pixel(around, self.mixing[block], self.mixing_bias[block])
        return _per_pixel(hidden, self.last, self.last_bias).relu()

    def prediction(self, bands: int) -> torch.Tensor:
        """Return the weights of the features that predict each band in most scenes, (bands, features)."""
        at = ((torch.arange(bands) + _HALF) * (IMAGE_RUNS / bands) - _HALF).clamp(0, IMAGE_RUNS - 1)
        below = at.floor().clamp_max(IMAGE_RUNS - 2).long()
        above = (at - below)[:, None].to(self.output)
        return torch.lerp(self.output[below], self.output[below + 1], above)


def _per_pixel(image: torch.Tensor, weights: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return F.conv2d(image, weights[:, :, None, None], bias)


@dataclass(frozen=True)
class TrainedFeatures:
    """Features of a scene: the network, which is the same for all scenes, and the scene's units.

    What describes a pixel means the same for any sensor: the means of eight contiguous runs of the image's bands and of
    three of the MSI's, in units of the mean radiance; and their differences to the pixels around, in units of their
    mean absolute value.

    Attributes:
        network: of all scenes.
        units: mean of the image and of the MSI, (2,).
        contrast: mean absolute difference of the MSI and of the image, relative to these, (2,).
        limits: least and greatest value of each feature, (2, features): a feature that is all but absent at the LR
            pixels that weights are fitted to may be hundreds of times larger at HR.
    """

    network: FeatureNetwork
    units: torch.Tensor
    contrast: torch.Tensor
    limits: torch.Tensor

    @classmethod
    def fit(cls, network: FeatureNetwork, windows: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> TrainedFeatures:
        """Take the units from the image's runs, (IMAGE_RUNS, H, W), and the MSI, (msi_bands, H, W), of windows."""
        pixels = torch.tensor([float(image[0].numel()) for image, _ in windows])
        fractions = pixels / pixels.sum()
        means = torch.stack([torch.stack([image.mean(), msi.mean()]) for image, msi in windows])
        units = (fractions.to(means) @ means).clamp_min(_TINY)
        found = torch.stack([contrast(raw_description(*one, units, _UNIT_STEP)) for one in windows])
        unlimited = torch.tensor([-torch.inf, torch.inf]).to(found)
        limits = unlimited[:, None].expand(-1, network.count)
        return cls(network, units, fractions.to(found) @ found, limits)

    def limited(self, fitted: torch.Tensor) -> TrainedFeatures:
        """Return features that stay in the range of those, (features, n), to which weights are fitted."""
        return replace(self, limits=torch.stack(fitted.aminmax(dim=1)))

    @property
    def count(self) -> int:
        """Number of features."""
        return self.network.count

    def maps(self, image: torch.Tensor, msi: torch.Tensor, step: int, rows: slice) -> torch.Tensor:
        """Return the features of rows of every ``step``-th pixel: (features, H, W).

        Args:
            image: its runs of bands, (IMAGE_RUNS, H, W).
            msi: (msi_bands, H, W).
            step: pixels between those described.
            rows: of those.
        """
        margin, height = self.network.margin, msi.shape[1]
        first, stop, _ = rows.indices(-(-height // step))
        start = max(0, first * step - margin)
        part = slice(start, min(height, (stop - 1) * step + 1 + margin))
        raw = raw_description(image, msi, self.units)[:, part]
        features = self.network(description(raw, self.contrast)[None])[0]
        low, high = self.limits[:, :, None, None]
        inside = slice(first * step - start, (stop - 1) * step + 1 - start, step)
        return features[:, inside, ::step].clamp(low, high)


def band_runs(image: torch.Tensor, count: int) -> torch.Tensor:
    """Return the means of contiguous runs of the bands of an image (..., bands, H, W): (..., count, H, W)."""
    bands = image.shape[-3]
    starts = [index * bands // count for index in range(count)]
    stops = [-(-(index + 1) * bands // count) for index in range(count)]
    return torch.stack([image[..., start:stop, :, :].mean(-3) for start, stop in zip(starts, stops, strict=True)], -3)


def raw_description(image: torch.Tensor, msi: torch.Tensor, units: torch.Tensor, step: int = 1) -> torch.Tensor:
    """Return differences and values in units of the mean radiance, (..., RAW_CHANNELS, H, W).

    Args:
        image: its runs of bands, (..., IMAGE_RUNS, H, W).
        msi: (..., msi_bands, H, W).
        units: mean of both, (2,).
        step: pixels between those described.
    """
    runs, guide = image / units[0], band_runs(msi, MSI_RUNS) / units[1]
    parts = [differences(guide, MSI_RADIUS, step), differences(band_runs(runs, _PAIRS), IMAGE_RADIUS, step)]
    return torch.cat([*parts, runs[..., ::step, ::step], guide[..., ::step, ::step]], -3)


def contrast(raw: torch.Tensor) -> torch.Tensor:
    """Return the mean absolute difference of the MSI and of the image in raw descriptions, (2,)."""
    parts = raw[:_MSI_DIFFERENCES], raw[_MSI_DIFFERENCES:_DIFFERENCES]
    return torch.stack([part.abs().mean() for part in parts]).clamp_min(_TINY)


def description(raw: torch.Tensor, contrast: torch.Tensor) -> torch.Tensor:
    """Return what the network receives of raw descriptions (..., RAW_CHANNELS, H, W): (..., CHANNELS, H, W).

    Args:
        raw: of images.
        contrast: of each image, (..., 2).
    """
    msi_around, image_around, image, msi = torch.split(
        raw, [_MSI_DIFFERENCES, _DIFFERENCES - _MSI_DIFFERENCES, IMAGE_RUNS, MSI_RUNS], -3
    )
    of_msi, of_image = contrast[..., None, None, None].unbind(-4)
    around = torch.cat([msi_around / of_msi, image_around / of_image], -3)
    around = around / (around.abs() / _COMPRESSED + 1)
    image, msi = image.clamp(-1.0, _BRIGHTEST), msi.clamp(-1.0, _BRIGHTEST)
    radiance, guide = (one.mean(-3, keepdim=True).clamp_min(0.0) for one in (image, msi))
    spectra = [(image / (radiance + _FLOOR)).clamp(-1.0, 4.0) - 1, _HALF * image]
    msi_spectrum = (msi / (guide + _FLOOR)).clamp(-1.0, 4.0) - 1
    levels = [_HALF * (radiance + _DARK).log(), radiance.sqrt()]
    return torch.cat([_HALF * around, *spectra, msi_spectrum, *levels], -3)
