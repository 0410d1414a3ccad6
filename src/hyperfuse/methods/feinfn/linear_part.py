"""What linear models make of a pair, and the means to make it again with some LR pixels hidden."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass, replace

import torch

from hyperfuse.methods.contract.method import Extent
from hyperfuse.methods.feinfn.band_psf import NARROW, BandOptics, nyquist_response
from hyperfuse.methods.feinfn.detail_injection import Details
from hyperfuse.methods.local_linear.denoising import denoise
from hyperfuse.methods.local_linear.models import LocalModels, Predictors, Whitening
from hyperfuse.methods.local_linear.msi_noise import estimate_msi_noise
from hyperfuse.methods.local_linear.neighbours import NeighbourModels
from hyperfuse.methods.local_linear.scene_models import SceneModels
from hyperfuse.progress import Progress, part
from hyperfuse.sensor.model import Sensor
from hyperfuse.statistics.noise import estimate_noise
from hyperfuse.statistics.shrinkage import RadianceShrinkage
from hyperfuse.statistics.subspace import Subspace, model_subspace, signal_subspace

_TIMES_AS_LONG = 6.0


@dataclass(frozen=True)
class SharedBase:
    """What the linear models of all parts of a large scene share.

    Attributes:
        msi_noise: standard deviation of the MSI's noise, (msi_bands,).
        whitening: of the denoised MSI.
        models: of the HSI.
        optics: of each band.
        leftover: models of what both leave.
        trust: how the leftover is trusted in the dark.
        details: see :class:`LinearBase`.
    """

    msi_noise: torch.Tensor
    whitening: Whitening
    models: SceneModels
    optics: BandOptics
    leftover: SceneModels
    trust: RadianceShrinkage
    details: Details | None

    def at(self, extent: Extent) -> SharedBase:
        """Return what a part of the scene takes."""
        return replace(self, optics=self.optics.at(extent))


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
        details: how far the details of each band are trusted; None under a PSF too narrow to hold them back.
        image: the result, (bands, H, W).
    """

    hsi: torch.Tensor
    msi: torch.Tensor
    msi_noise: torch.Tensor
    predictors: Predictors
    models: Linear
    optics: BandOptics
    leftover: Linear
    trust: RadianceShrinkage
    details: Details | None
    image: torch.Tensor

    @classmethod
    def fit(
        cls,
        hsi: torch.Tensor,
        msi: torch.Tensor,
        sensor: Sensor,
        progress: Progress,
        shared: SharedBase | None = None,
        deadline: float | None = None,
    ) -> LinearBase:
        """Fit everything to an LR-HSI (bands, h, w) and an HR-MSI (msi_bands, H, W).

        What ``shared`` holds is taken from there: it was learnt on samples of the scene that this pair is a part of.
        Where the ``deadline`` (of ``time.monotonic``) comes near, alike pixels, which can be done without, are not
        looked for.
        """
        start = time.monotonic()
        shape = (hsi.shape[-2], hsi.shape[-1])
        progress(0.0, "estimating the noise")
        msi_noise = estimate_msi_noise(hsi, msi, sensor) if shared is None else shared.msi_noise
        hsi, noise = without_noise(hsi)
        whitening = None if shared is None else shared.whitening
        predictors = Predictors.whiten(denoise(msi, msi_noise), sensor, shape, whitening)
        if shared is None:
            models = Linear.choose(hsi, predictors, noise, part(progress, 0.1, 0.4))
        else:
            models = Linear.of(shared.models, hsi, predictors)
        narrow = nyquist_response(sensor) >= NARROW
        # What follows takes a few times as long as what was done so far, and looking for alike pixels as long again.
        hurried = deadline is not None and deadline - time.monotonic() < _TIMES_AS_LONG * (time.monotonic() - start)
        if narrow and not hurried:
            progress(0.4, "looking for alike pixels")
            models = models.with_neighbours(hsi)
        raw = models.apply(hsi)
        progress(0.5, "correcting the bands' optics")
        held_out = functools.cache(lambda: models.held_out(hsi))
        optics = BandOptics.fit(raw, hsi, held_out(), sensor) if shared is None else shared.optics
        corrected = optics.correct(raw)
        left = hsi - sensor.degrade(corrected, shape)
        if shared is None:
            leftover = Linear.choose(left, predictors, noise, part(progress, 0.7, 0.9))
            trust = RadianceShrinkage.fit(hsi - left, leftover.held_out(left), hsi)
        else:
            leftover, trust = Linear.of(shared.leftover, left, predictors), shared.trust
        image = corrected + trust.of(corrected) * leftover.apply(left)
        details = None
        if not narrow:
            details = None if shared is None else shared.details
            if details is None:
                details = Details.fit(held_out(), hsi, predictors)
            image = details.correct(image, predictors)
        return cls(hsi, msi, msi_noise, predictors, models, optics, leftover, trust, details, image)

    @property
    def sensor(self) -> Sensor:
        """The forward model."""
        return self.predictors.sensor

    def without(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the image as it would be had the hidden LR pixels (h, w) not been measured."""
        image = self.optics.correct(self.models.apply(self.hsi, ~hidden))
        left = self.hsi - self.sensor.degrade(image, (hidden.shape[0], hidden.shape[1]))
        image = image + self.trust.of(image) * self.leftover.apply(left, ~hidden)
        return image if self.details is None else self.details.correct(image, self.predictors)


def without_noise(hsi: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the part of an image in its signal's components, and the noise of each band of it."""
    subspace, deviations = signal_subspace(hsi, estimate_noise(hsi))
    noise = subspace.band_errors(deviations.square()).sqrt().to(hsi.dtype)
    return subspace.expand(subspace.project(hsi)), noise


@dataclass(frozen=True)
class Linear:
    """Local models of an image of any number of bands, fitted in its leading components."""

    models: LocalModels
    subspace: Subspace | None
    predictors: Predictors
    neighbours: NeighbourModels | None = None

    @classmethod
    def choose(
        cls,
        image: torch.Tensor,
        predictors: Predictors,
        noise: torch.Tensor,
        progress: Progress,
    ) -> Linear:
        """Weigh windows and ridges by held-out pixels of an image (bands, h, w)."""
        subspace = model_subspace(image)
        targets = image if subspace is None else subspace.project(image)
        return cls(LocalModels.choose(targets, predictors, subspace, noise, progress=progress), subspace, predictors)

    @classmethod
    def of(cls, models: SceneModels, image: torch.Tensor, predictors: Predictors) -> Linear:
        """Return the models of a scene for a part of it, an image (bands, h, w)."""
        subspace = model_subspace(image)
        return cls(models.within(subspace), subspace, predictors)

    def apply(self, image: torch.Tensor, known: torch.Tensor | None = None) -> torch.Tensor:
        """Return the image at HR, (bands, H, W), by models fitted to the ``known`` pixels of it at LR."""
        targets = self._targets(image)
        result = self.models.apply(targets, self.predictors, known)
        if self.neighbours is not None:
            result = self.neighbours.blend(result, targets, self.predictors, known)
        return self._bands(result)

    def with_neighbours(self, image: torch.Tensor) -> Linear:
        """Return the models with a share of those over nearest pixels, as far as held-out pixels want it."""
        targets = self._targets(image)
        held_out = self.models.held_out(targets, self.predictors)
        return replace(self, neighbours=NeighbourModels.choose(targets, self.predictors, held_out))

    def held_out(self, image: torch.Tensor) -> torch.Tensor:
        """Return every pixel of an image (bands, h, w) as models predict it that have not seen it."""
        targets = self._targets(image)
        result = self.models.held_out(targets, self.predictors)
        if self.neighbours is not None:
            result = self.neighbours.blend_held_out(result, targets, self.predictors)
        return self._bands(result)

    def _targets(self, image: torch.Tensor) -> torch.Tensor:
        return image if self.subspace is None else self.subspace.project(image)

    def _bands(self, modelled: torch.Tensor) -> torch.Tensor:
        return modelled if self.subspace is None else self.subspace.expand(modelled)
