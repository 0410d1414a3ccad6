"""The linear part of the default method: what holds for a scene, and what it makes of a window."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch

from hyperfuse.methods.contract.method import PairTensors, covered_fraction
from hyperfuse.methods.feinfn.band_psf import BandPsf, undersamples
from hyperfuse.methods.feinfn.detail_injection import DetailInjection
from hyperfuse.methods.feinfn.patch_features import GuidedImage
from hyperfuse.methods.feinfn.residual_regression import ResidualRegression
from hyperfuse.methods.feinfn.trained_features import FeatureNetwork
from hyperfuse.methods.local_linear.agreement import Agreement
from hyperfuse.methods.local_linear.consistency import enforce_consistency
from hyperfuse.methods.local_linear.denoising import denoise, remaining_error
from hyperfuse.methods.local_linear.models import LocalModels, WindowModels
from hyperfuse.methods.local_linear.msi_noise import MIN_LR_PIXELS, estimate_msi_noise
from hyperfuse.methods.local_linear.predictors import Predictors, Whitening, pooled, pooled_noise
from hyperfuse.progress import Progress, part
from hyperfuse.statistics.linear import apply_linear, fit_linear
from hyperfuse.statistics.shrinkage import RadianceShrinkage
from hyperfuse.statistics.subspace import Subspace, signal_subspace

# What follows the first models takes a few times as long as they did, and the search for similar pixels as long again.
_TIMES_AS_LONG = 6.0
# The regression takes about half as long as everything before it.
_LINEAR_FRACTION = 0.6
_NOISE_SIDE = 128  # HR pixels, on which the effect of noise on the regression is measured


@dataclass(frozen=True)
class LinearModel:
    """The HSI as local linear models of the MSI, corrected for the PSF of each band, then models of the residual.

    Noise first: the MSI is denoised, and of the HSI only the components that differ from noise are modelled. Pixels at
    which the images do not show the same decide nothing.

    Attributes:
        agreement: of both images; None where there are too few pixels.
        msi_noise: standard deviation of the MSI's noise, (msi_bands,).
        whitening: of the denoised MSI.
        signal: components of the HSI that differ from noise.
        models: of the HSI.
        band_psf: of each band.
        residual_models: of the HSI minus what both predict.
        shrinkage: of these, at low radiance.
        injection: of detail; None under a PSF that undersamples, which shows it at LR.
        regression: of what remains, on patches of the MSI; None where it was not fitted or predicts nothing.
    """

    agreement: Agreement | None
    msi_noise: torch.Tensor
    whitening: Whitening
    signal: Subspace
    models: LocalModels
    band_psf: BandPsf
    residual_models: LocalModels
    shrinkage: RadianceShrinkage
    injection: DetailInjection | None
    regression: ResidualRegression | None = None

    @classmethod
    def fit(
        cls,
        samples: Sequence[PairTensors],
        progress: Progress,
        seconds: float | None = None,
        *,
        regress: bool = False,
        trained: FeatureNetwork | None = None,
    ) -> tuple[LinearModel, LinearImage | None]:
        """Fit everything to samples of a scene.

        Slopes, PSFs and factors are fitted to the pixels of all samples, weights are means over them.

        Args:
            samples: of the scene.
            progress: called with the fraction done.
            seconds: wall time there is for this, or None. Where it is short, similar pixels are not searched.
            regress: whether the residual is regressed on patches.
            trained: features trained on other scenes, on which it is regressed too; None for none.

        Returns:
            The model; and where there is one sample, what it makes of that.
        """
        start = time.monotonic()
        progress(0.0, "estimating the noise")
        agreement = Agreement.fit(samples)
        agrees: list[torch.Tensor | None] = [None for _ in samples]
        if agreement is not None:
            agrees = [~agreement.differing(one) for one in samples]
            samples = [agreement.agreeing(one) for one in samples]
        # Each estimate may err upwards only.
        noises = [estimate_msi_noise(*one[:3], same) for one, same in zip(samples, agrees, strict=True)]
        msi_noise = torch.stack(noises).amin(0)
        clean = [denoise(one.msi, msi_noise) for one in samples]
        whitening = Whitening.fit(clean)
        windows = [Predictors.of(one, whitening, msi) for one, msi in zip(samples, clean, strict=True)]
        measured = [one.hsi for one in samples]
        hsi_noise = pooled_noise(measured)
        few = sum(one[0].numel() for one in measured) < MIN_LR_PIXELS
        signal, deviations = signal_subspace(pooled(measured), torch.zeros_like(hsi_noise) if few else hsi_noise)
        noise = signal.band_errors(deviations.square()).sqrt().to(measured[0].dtype)
        hsis = [signal.expand(signal.project(hsi)) for hsi in measured]
        models = LocalModels.fit(hsis, windows, noise, progress=part(progress, 0.1, 0.4))
        plain = [models.on(*one) for one in zip(hsis, windows, strict=True)]
        undersampled = undersamples(samples[0].sensor)
        taken = time.monotonic() - start
        # What one sample was fitted to is applied already; of several, everything is applied to the scene afterwards.
        times = _TIMES_AS_LONG * (1 if len(samples) == 1 else 1 + 1 / covered_fraction(samples))
        if undersampled and (seconds is None or seconds - taken >= times * taken):
            progress(0.4, "searching similar pixels")
            models = models.with_similar_pixels(plain)
        images, held_out = [], []
        while plain:  # freed one by one
            fitted = replace(plain.pop(0), models=models)
            images.append(fitted.apply())
            held_out.append(fitted.held_out())
        progress(0.5, "correcting the PSF of each band")
        band_psf = BandPsf.fit(images, hsis, held_out, windows)
        residuals = []
        for hsi, one in zip(hsis, windows, strict=True):
            image = band_psf.correct(images.pop(0), one.extent)  # freed one by one
            residuals.append(hsi - one.degrade(image))
        residual_models = LocalModels.fit(residuals, windows, noise, progress=part(progress, 0.7, 0.9))
        on_residuals = [residual_models.on(*one) for one in zip(residuals, windows, strict=True)]
        shrinkage = RadianceShrinkage.fit(
            pooled([hsi - residual for hsi, residual in zip(hsis, residuals, strict=True)]),
            pooled([one.held_out() for one in on_residuals]),
            pooled(hsis),
        )
        injection = None if undersampled else DetailInjection.fit(held_out, hsis, windows)
        model = cls(agreement, msi_noise, whitening, signal, models, band_psf, residual_models, shrinkage, injection)
        single = None
        if len(samples) == 1:
            image = model._add_residual(image, on_residuals[0].apply(), windows[0])
            single = LinearImage(model, samples[0].msi, hsis[0], fitted, on_residuals[0], image)
        if regress and (seconds is None or time.monotonic() - start < _LINEAR_FRACTION * seconds):
            progress(0.9, "regressing the residual on patches")
            again = (
                model._finish(one.msi, hsi, model.models.on(hsi, denoised), None)
                for one, hsi, denoised in zip(samples, hsis, windows, strict=True)
            )
            applied: Iterable[LinearImage] = again if single is None else (single,)
            noisy = model.with_noise(samples[0], windows[0], hsis[0])
            found = ResidualRegression.fit((one.held_out() for one in applied), hsis, hsi_noise, noisy, trained)
            if found is not None:
                model = replace(model, regression=found)
                single = None if single is None else single.corrected(model)
        return model, single

    def apply(self, pair: PairTensors) -> LinearImage:
        """Return what the model makes of a window of the scene."""
        pair = self.agreeing(pair)
        predictors = Predictors.of(pair, self.whitening, denoise(pair.msi, self.msi_noise))
        hsi = self.without_noise(pair.hsi)
        linear = self._finish(pair.msi, hsi, self.models.on(hsi, predictors), None)
        return linear if self.regression is None else linear.corrected(self)

    def enforce_consistency(self, image: torch.Tensor, pair: PairTensors) -> torch.Tensor:
        """Return an image (bands, H, W) consistent with the HSI of a window; where the MSI differs, there alone."""
        agreeing = self.agreeing(pair).hsi
        result = enforce_consistency(image, agreeing, pair.sensor)
        if agreeing is pair.hsi:
            return result
        coarse, fine = (pair.hsi.shape[1], pair.hsi.shape[2]), (image.shape[1], image.shape[2])
        missing = torch.where((agreeing != pair.hsi).any(0), pair.hsi - pair.sensor.degrade(result, coarse), 0.0)
        return result + pair.sensor.upsample(missing, fine, "linear")

    def agreeing(self, pair: PairTensors) -> PairTensors:
        """Return a window without those pixels of the HSI that are unlike the MSI."""
        return pair if self.agreement is None else self.agreement.agreeing(pair)

    def without_noise(self, hsi: torch.Tensor) -> torch.Tensor:
        """Return an HSI (bands, h, w) without the components that are noise."""
        return self.signal.expand(self.signal.project(hsi))

    def with_noise(
        self, sample: PairTensors, predictors: Predictors, hsi: torch.Tensor
    ) -> tuple[GuidedImage, GuidedImage] | None:
        """Return a part of a sample, and the same with as much noise again as denoising has left in the MSI."""
        if not bool((self.msi_noise > 0).any()):
            return None
        starts = [max(0, (size - _NOISE_SIDE) // 2) for size in predictors.fine_shape]
        part = (slice(None), *(slice(start, start + _NOISE_SIDE) for start in starts))
        fine, deviation = predictors.fine[part], remaining_error(sample.msi[part], self.msi_noise).sqrt()
        generator = torch.Generator().manual_seed(0)
        noise = deviation[:, None, None] * torch.randn(len(deviation), *fine.shape[1:], generator=generator).to(fine)
        change = (self.whitening.matrix @ noise.flatten(1)).reshape(fine.shape)
        slopes = fit_linear(predictors.coarse, hsi)
        return (
            GuidedImage(apply_linear(slopes, fine), self.whitening.restore(fine), replace(predictors, fine=fine)),
            GuidedImage(
                apply_linear(slopes, fine + change),
                self.whitening.restore(fine + change),
                replace(predictors, fine=fine + change),
            ),
        )

    def _finish(
        self, msi: torch.Tensor, hsi: torch.Tensor, fitted: WindowModels, known: torch.Tensor | None
    ) -> LinearImage:
        """Return the image of models fitted to a window by its ``known`` LR pixels (h, w), without the regression."""
        predictors = fitted.predictors
        image = self.band_psf.correct(fitted.apply(known), predictors.extent)
        residual = self.residual_models.on(hsi - predictors.degrade(image), predictors)
        image = self._add_residual(image, residual.apply(known), predictors)
        return LinearImage(self, msi, hsi, fitted, residual, image)

    def _add_residual(self, image: torch.Tensor, residual: torch.Tensor, predictors: Predictors) -> torch.Tensor:
        image = residual.mul_(self.shrinkage.of(image)).add_(image)
        return image if self.injection is None else self.injection.correct(image, predictors)


@dataclass(frozen=True)
class LinearImage:
    """What the linear part makes of a window, and the means to repeat it with some LR pixels held out.

    Attributes:
        model: of the scene.
        msi: HR-MSI as it was measured, (msi_bands, H, W).
        hsi: LR-HSI without the components that are noise, (bands, h, w).
        fitted: models of the HSI on this window.
        fitted_residual: those of the residual.
        image: the result, (bands, H, W).
    """

    model: LinearModel
    msi: torch.Tensor
    hsi: torch.Tensor
    fitted: WindowModels
    fitted_residual: WindowModels
    image: torch.Tensor

    @property
    def predictors(self) -> Predictors:
        """The denoised MSI."""
        return self.fitted.predictors

    def guided(self) -> GuidedImage:
        """Return the image with what its residual is predicted from."""
        return GuidedImage(self.image, self.model.whitening.restore(self.predictors.fine), self.predictors)

    def corrected(self, model: LinearModel) -> LinearImage:
        """Return the image corrected by a model's regression of the residual."""
        assert model.regression is not None
        return replace(self, model=model, image=model.regression.predict(self.guided()).add_(self.image))

    def held_out(self) -> tuple[GuidedImage, torch.Tensor]:
        """Return the image, and the HSI minus it at LR (bands, h, w), as they were without each LR pixel.

        In closed form: the image itself, minus what each LR pixel has added to its own prediction. Without the
        regression.
        """
        own = self._own_influence()
        own_fine = self.predictors.sensor.upsample(own, self.predictors.fine_shape, "linear")
        image = torch.sub(self.image, own_fine, out=own_fine)
        return self.guided()._replace(image=image), self._residual(own)

    def _own_influence(self) -> torch.Tensor:
        shrinkage = self.predictors.degrade(self.model.shrinkage.of(self.image)[None])[0]
        return self.fitted.own_influence() + shrinkage * self.fitted_residual.own_influence()

    def _residual(self, own: torch.Tensor) -> torch.Tensor:
        return self.hsi - self.predictors.degrade(self.image) + own

    def error(self) -> torch.Tensor:
        """Return the measured HSI minus its held-out prediction, the regression's among it, (bands, h, w)."""
        residual = self._residual(self._own_influence())
        regression = self.model.regression
        return residual if regression is None else regression.inflation[:, None, None] * residual

    def without(self, held_out: torch.Tensor) -> torch.Tensor:
        """Return the image as it would be had the held-out LR pixels, bool (h, w), not been measured."""
        linear = self.model._finish(self.msi, self.hsi, self.fitted, ~held_out)
        return (linear if self.model.regression is None else linear.corrected(self.model)).image
