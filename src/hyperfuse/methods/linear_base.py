"""What linear models make of a pair, and the means to make it again with some LR pixels hidden."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from hyperfuse.methods.band_optics import NARROW, BandOptics, nyquist_response
from hyperfuse.methods.brightness_trust import BrightnessTrust
from hyperfuse.methods.denoising import denoise
from hyperfuse.methods.local_models import LocalModels, Predictors
from hyperfuse.methods.neighbours import NeighbourModels
from hyperfuse.methods.noise import estimate_noise
from hyperfuse.methods.pair_noise import estimate_msi_noise
from hyperfuse.methods.registry import Progress
from hyperfuse.methods.subspace import Subspace, fit_subspace, signal_subspace
from hyperfuse.sensor.model import Sensor

# Spectra of more bands are modelled in this many principal components; what they miss comes back with the residual.
_COMPONENTS = 32


@dataclass(frozen=True)
class LinearBase:
    """The HSI as local linear models of the MSI, corrected for each band's optics, then models of what is left.

    Noise first: the MSI is denoised, and of the HSI only the components that differ from noise are modelled.

    Attributes:
        hsi: LR-HSI without the components that are noise, (bands, h, w).
        msi: HR-MSI as it was given, (msi_bands, H, W).
        msi_noise: standard deviation of its noise, (msi_bands,).
        predictors: the denoised MSI.
        models: of the HSI.
        optics: of each band.
        leftover: models of what is left of the HSI after both.
        trust: how the leftover is trusted in the dark.
        image: the result, (bands, H, W).
    """

    hsi: torch.Tensor
    msi: torch.Tensor
    msi_noise: torch.Tensor
    predictors: Predictors
    models: _Linear
    optics: BandOptics
    leftover: _Linear
    trust: BrightnessTrust
    image: torch.Tensor

    @classmethod
    def fit(cls, hsi: torch.Tensor, msi: torch.Tensor, sensor: Sensor, progress: Progress) -> LinearBase:
        """Fit everything to an LR-HSI (bands, h, w) and an HR-MSI (msi_bands, H, W)."""
        shape = (hsi.shape[-2], hsi.shape[-1])
        progress(0.0, "estimating the noise")
        msi_noise = estimate_msi_noise(hsi, msi, sensor)
        hsi, noise = _without_noise(hsi)
        predictors = Predictors.whiten(denoise(msi, msi_noise), sensor, shape)
        models = _Linear.choose(hsi, predictors, noise, lambda share, words="": progress(0.1 + 0.3 * share, words))
        if nyquist_response(sensor) >= NARROW:
            progress(0.4, "looking for alike pixels")
            models = models.with_neighbours(hsi)
        raw = models.apply(hsi)
        progress(0.5, "correcting the bands' optics")
        optics = BandOptics.fit(raw, hsi, models.held_out(hsi), sensor)
        corrected = optics.correct(raw)
        left = hsi - sensor.degrade(corrected, shape)
        leftover = _Linear.choose(left, predictors, noise, lambda share, words="": progress(0.7 + 0.2 * share, words))
        trust = BrightnessTrust.fit(hsi - left, leftover.held_out(left), hsi)
        image = corrected + trust.of(corrected) * leftover.apply(left)
        return cls(hsi, msi, msi_noise, predictors, models, optics, leftover, trust, image)

    @property
    def sensor(self) -> Sensor:
        """The forward model."""
        return self.predictors.sensor

    def without(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the image as it would be had the hidden LR pixels (h, w) not been measured."""
        image = self.optics.correct(self.models.apply(self.hsi, ~hidden))
        left = self.hsi - self.sensor.degrade(image, (hidden.shape[0], hidden.shape[1]))
        return image + self.trust.of(image) * self.leftover.apply(left, ~hidden)


def _without_noise(hsi: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the part of an image in its signal's components, and the noise of each band of it."""
    subspace, deviations = signal_subspace(hsi, estimate_noise(hsi))
    noise = subspace.band_errors(deviations.square()).sqrt().to(hsi.dtype)
    return subspace.expand(subspace.project(hsi)), noise


@dataclass(frozen=True)
class _Linear:
    """Local models of an image of any number of bands, fitted in its leading components."""

    models: LocalModels
    subspace: Subspace | None
    predictors: Predictors
    neighbours: NeighbourModels | None = None

    @classmethod
    def choose(cls, image: torch.Tensor, predictors: Predictors, noise: torch.Tensor, progress: Progress) -> _Linear:
        subspace = fit_subspace(image, _COMPONENTS, standardise=True) if image.shape[0] > _COMPONENTS else None
        targets = image if subspace is None else subspace.project(image)
        return cls(LocalModels.choose(targets, predictors, subspace, noise, progress=progress), subspace, predictors)

    def apply(self, image: torch.Tensor, known: torch.Tensor | None = None) -> torch.Tensor:
        targets = image if self.subspace is None else self.subspace.project(image)
        result = self.models.apply(targets, self.predictors, known)
        if self.neighbours is not None:
            result = self.neighbours.blend(result, targets, self.predictors, known)
        return result if self.subspace is None else self.subspace.expand(result)

    def with_neighbours(self, image: torch.Tensor) -> _Linear:
        """Return the models with a share of those over nearest pixels, as far as held-out pixels want it."""
        targets = image if self.subspace is None else self.subspace.project(image)
        held_out = self.models.held_out(targets, self.predictors)
        return replace(self, neighbours=NeighbourModels.choose(targets, self.predictors, held_out))

    def held_out(self, image: torch.Tensor) -> torch.Tensor:
        targets = image if self.subspace is None else self.subspace.project(image)
        result = self.models.held_out(targets, self.predictors)
        if self.neighbours is not None:
            result = self.neighbours.blend_held_out(result, targets, self.predictors)
        return result if self.subspace is None else self.subspace.expand(result)
