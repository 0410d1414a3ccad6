"""Feature maps that were trained on other scenes, for residuals to be regressed on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
_TINY = 1e-12

_MSI_DIFFERENCES = MSI_RUNS * ((2 * MSI_RADIUS + 1) ** 2 - 1)
_DIFFERENCES = _MSI_DIFFERENCES + _PAIRS * ((2 * IMAGE_RADIUS + 1) ** 2 - 1)
RAW_CHANNELS = _DIFFERENCES + IMAGE_RUNS + MSI_RUNS
CHANNELS = _DIFFERENCES + 2 * IMAGE_RUNS + MSI_RUNS + 2


@dataclass(frozen=True)
class FeatureNetwork:
    """Members of two layers with ReLU each, of which all units are features, and what these predict in most scenes.

    Members are trained apart, from other weights: their units differ, and the mean of their predictions is better than
    each of them.

    Attributes:
        first: (members, width, CHANNELS).
        first_bias: (members, width).
        second: (members, outputs, width).
        second_bias: (members, outputs).
        output: what predicts the residual of runs of bands from each second layer in most scenes, in units of the RMS
            residual of each band, (members, IMAGE_RUNS, outputs).
    """

    first: torch.Tensor
    first_bias: torch.Tensor
    second: torch.Tensor
    second_bias: torch.Tensor
    output: torch.Tensor

    @classmethod
    def joined(cls, networks: Sequence[FeatureNetwork]) -> FeatureNetwork:
        """Return all members of some networks."""
        return cls(*(torch.cat(some) for some in zip(*(vars(one).values() for one in networks), strict=True)))

    def like(self, image: torch.Tensor) -> FeatureNetwork:
        """Return the network in the type and on the device of an image."""
        return FeatureNetwork(*(one.to(image) for one in vars(self).values()))

    @property
    def count(self) -> int:
        """Number of features."""
        return self.first_bias.numel() + self.second_bias.numel()

    def layers(self, member: int, described: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return both layers (width, n), (outputs, n) of a member, from descriptions (CHANNELS, n)."""
        first = torch.addmm(self.first_bias[member, :, None], self.first[member], described).relu_()
        return first, torch.addmm(self.second_bias[member, :, None], self.second[member], first).relu_()

    def parts(self, described: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
        """Yield all features of descriptions (CHANNELS, n), a layer at a time: their numbers, and they, (some, n).

        Both layers of a member are made before the first is yielded: each may be changed in place.
        """
        start = 0
        for member in range(len(self.first)):
            for layer in self.layers(member, described):
                yield slice(start, start + len(layer)), layer
                start += len(layer)

    def prediction(self, bands: int) -> torch.Tensor:
        """Return the weights of the features that predict each band in most scenes, (bands, count)."""
        members, width = self.first_bias.shape
        of_runs = F.pad(self.output / members, (width, 0))  # that of a second layer, none of a first
        return between_runs(bands).to(self.output) @ of_runs.transpose(0, 1).flatten(1)


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
        return cls(network.like(found), units, fractions.to(found) @ found, limits)

    def limited(self, fitted: torch.Tensor) -> TrainedFeatures:
        """Return features that stay in the range of those, (features, n), to which weights are fitted."""
        return replace(self, limits=torch.stack(fitted.aminmax(dim=1)))

    @property
    def count(self) -> int:
        """Number of features."""
        return self.network.count

    def maps(
        self, image: torch.Tensor, msi: torch.Tensor, step: int, rows: slice
    ) -> Iterator[tuple[slice, torch.Tensor]]:
        """Yield the features of rows of every ``step``-th pixel, some at a time: their numbers, and maps (some, H, W).

        Args:
            image: its runs of bands, (IMAGE_RUNS, H, W).
            msi: (msi_bands, H, W).
            step: pixels between those described.
            rows: of those.
        """
        raw = raw_description(image, msi, self.units, step)[:, rows]
        described, shape = description(raw.flatten(1), self.contrast), raw.shape[1:]
        del raw
        for some, features in self.network.parts(described):
            low, high = self.limits[:, some, None]
            # Twenty times as fast as torch.clamp between tensors.
            torch.minimum(torch.maximum(features, low, out=features), high, out=features)
            yield some, features.reshape(-1, *shape)


def band_runs(image: torch.Tensor, count: int) -> torch.Tensor:
    """Return the means of contiguous runs of the bands of an image (bands, H, W): (count, H, W)."""
    bands = len(image)
    starts = [index * bands // count for index in range(count)]
    stops = [-(-(index + 1) * bands // count) for index in range(count)]
    return torch.stack([image[start:stop].mean(0) for start, stop in zip(starts, stops, strict=True)])


def between_runs(bands: int) -> torch.Tensor:
    """Return what interpolates between the middles of runs of bands, (bands, IMAGE_RUNS)."""
    at = ((torch.arange(bands) + _HALF) * (IMAGE_RUNS / bands) - _HALF).clamp(0, IMAGE_RUNS - 1)
    return (1 - (at[:, None] - torch.arange(IMAGE_RUNS)).abs()).clamp_min(0.0)


def raw_description(image: torch.Tensor, msi: torch.Tensor, units: torch.Tensor, step: int = 1) -> torch.Tensor:
    """Return differences and values in units of the mean radiance, (RAW_CHANNELS, H, W)."""
    runs, msi_runs = image / units[0], band_runs(msi, MSI_RUNS) / units[1]
    parts = [differences(msi_runs, MSI_RADIUS, step), differences(band_runs(runs, _PAIRS), IMAGE_RADIUS, step)]
    return torch.cat([*parts, runs[:, ::step, ::step], msi_runs[:, ::step, ::step]])


def contrast(raw: torch.Tensor) -> torch.Tensor:
    """Return the mean absolute difference of the MSI and of the image in raw descriptions, (2,)."""
    parts = raw[:_MSI_DIFFERENCES], raw[_MSI_DIFFERENCES:_DIFFERENCES]
    return torch.stack([part.abs().mean() for part in parts]).clamp_min(_TINY)


def description(raw: torch.Tensor, contrast: torch.Tensor) -> torch.Tensor:
    """Return what the network receives of raw descriptions (RAW_CHANNELS, n): (CHANNELS, n)."""
    around = torch.cat([raw[:_MSI_DIFFERENCES] / contrast[0], raw[_MSI_DIFFERENCES:_DIFFERENCES] / contrast[1]])
    around = around / (around.abs() / _COMPRESSED + 1)
    values = raw[_DIFFERENCES:].clamp(-1.0, _BRIGHTEST)
    image, msi = values[:IMAGE_RUNS], values[IMAGE_RUNS:]
    radiance, msi_radiance = (one.mean(0, keepdim=True).clamp_min(0.0) for one in (image, msi))
    spectra = [(image / (radiance + _FLOOR)).clamp(-1.0, 4.0) - 1, _HALF * image]
    msi_spectrum = (msi / (msi_radiance + _FLOOR)).clamp(-1.0, 4.0) - 1
    return torch.cat([_HALF * around, *spectra, msi_spectrum, _HALF * (radiance + _DARK).log(), radiance.sqrt()])
