"""Expected error of a fused image, pixel by pixel and band by band, from the pair alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch.nn import functional as F

from hyperfuse.methods.contract.method import PairTensors
from hyperfuse.methods.feinfn.linear_part import LinearImage, LinearModel
from hyperfuse.methods.feinfn.scene_noise import averaging, is_in_scene
from hyperfuse.methods.feinfn.variance_fit import fit_variance
from hyperfuse.methods.local_linear.consistency import correlation_length, model_error
from hyperfuse.methods.local_linear.denoising import denoise
from hyperfuse.methods.local_linear.predictors import pooled, pooled_noise
from hyperfuse.methods.local_linear.windowed_ridge import window_sums
from hyperfuse.statistics.linear import fit_linear
from hyperfuse.statistics.noise import noise_residual

_WINDOW = 1.5  # LR pixels over which neighbours' errors are averaged
_MAX_RELATIVE = 20.0  # of a squared error to the band's mean, beyond which it says no more about its neighbours
_MIN_NEARBY = 0.02  # of a band's mean squared error: what neighbours' errors are at least
_MIN_FRACTION = 0.02  # of a band's mean variance: no pixel is more certain than this
_MAX_KNOWN = 0.95  # of the held-out variance that noise may explain
_MIN_DENOISING = 0.1  # of the mean variance of noise in the MSI, which no pixel is below
_PROBE = 0.1  # of the MSI's noise: the change from which the divergence of denoising is estimated
_SMOOTH = 9  # HR pixels
# Variance of the error of an image that was fitted to all pixels, relative to held-out predictions: between the medians
# of what 68 and 95 % of the errors need, over the scenes that benchmarks/calibration.py names for development.
_OF_HELD_OUT = 0.6
_TINY = 1e-30
_ROUNDING = 1e-9

# What varies with an error: functions of the MSI's activity a, the squared gradient of its whitened components, and of
# its mean s over 9 x 9 pixels. Every part of the error depends on some of them.
_MAPS = ("one", "a^1/4", "a^1/2", "a", "a^2", "s^1/4", "s^1/2", "s", "brightness", "saturated")
_SIGNAL = tuple(_MAPS.index(name) for name in ("one", "a^1/2", "a", "a^2", "s^1/2", "s", "saturated"))
_DETAIL = tuple(_MAPS.index(name) for name in ("one", "a^1/2", "a"))
_DENOISING = tuple(_MAPS.index(name) for name in ("one", "a^1/4", "a^1/2", "s^1/4", "s^1/2", "brightness"))


class FusedSample(NamedTuple):
    """A sample of a scene, the image that was made of it (bands, H, W), and held-out residuals at LR (bands, h, w)."""

    pair: PairTensors
    linear: LinearImage
    image: torch.Tensor
    error: torch.Tensor


@dataclass(frozen=True)
class VarianceModel:
    """The variance of errors as a sum of what is known about them, fitted to a scene.

    First, the squared residuals of held-out LR pixels, without the noise of the HSI in them, are explained by what is
    also known at HR: activity, brightness and saturation of the MSI, and the residuals of the neighbourhood. A Gaussian
    model of the data consistency gives how much larger an error is at HR, where no PSF has averaged it, and how much
    remains once the measured HSI is enforced. Second, the error that denoising has left in the MSI (Stein's estimate at
    every pixel, explained by the same) is added as the models propagate it. Third, fine detail of single bands that the
    HSI shows as noise, if the MSI has seen it as well: it is part of the scene, and not of the image.

    Attributes:
        length: of the errors' correlation, in LR pixels.
        scale: mean squared held-out residual of each band, (bands,).
        noise: variance of the HSI's noise in that, (bands,).
        known: factor on it and on the MSI's noise, with which they explain no more than there is, (bands,).
        top: values at which the bands of the MSI are saturated, (msi_bands,); infinite where they are not.
        level: mean value of each band, (bands,), the unit of brightness.
        nearby: variance at HR per squared residual of the neighbourhood, both relative to ``scale``, (bands,).
        signal: variance at HR per map, relative to ``scale``, (bands, maps).
        bright: the same per squared level, (bands,).
        msi_noise: variance at HR per map of the noise in the MSI, (bands, maps).
        transmitted: fraction of it that LR pixels show.
        detail: variance at HR per map of fine detail, (bands, maps).
        bright_detail: the same per level and per squared level, (bands, 2).
    """

    length: float
    scale: torch.Tensor
    noise: torch.Tensor
    known: torch.Tensor
    top: torch.Tensor
    level: torch.Tensor
    nearby: torch.Tensor
    signal: torch.Tensor
    bright: torch.Tensor
    msi_noise: torch.Tensor
    transmitted: float
    detail: torch.Tensor
    bright_detail: torch.Tensor

    @classmethod
    def fit(cls, samples: Sequence[FusedSample], top: torch.Tensor) -> VarianceModel:
        """Explain the held-out residuals of samples of a scene; everything is fitted to the pixels of all.

        Args:
            samples: of the scene.
            top: values at which the bands of the MSI are saturated, (msi_bands,); infinite where they are not.
        """
        linear = samples[0].linear.model
        errors = [one.error for one in samples]
        level = pooled([one.linear.hsi for one in samples]).clamp_min(0).mean((1, 2)).clamp_min(_TINY)
        scale = pooled(errors).double().square().mean((1, 2)).clamp_min(_TINY)
        hsi_noise = pooled_noise([one.pair.hsi for one in samples])
        maps = [_maps(one.linear, one.image, level, top) for one in samples]
        coarse = [one.linear.predictors.degrade(its).clamp_min(0) for one, its in zip(samples, maps, strict=True)]
        msi_noise, transmitted = _msi_noise(samples, maps)
        detail, bright_detail = _detail(samples, coarse, level, hsi_noise)
        maps.clear()
        noise = _noise_of_components(linear, hsi_noise)
        largest = max(samples, key=lambda one: one.error[0].numel())
        predictors = largest.linear.predictors
        length = correlation_length(largest.error, noise, predictors.sensor, predictors.fine_shape)
        device = scale.device
        at_lr = model_error(length, predictors.sensor, predictors.fine_shape, predictors.shape, device).at_lr
        dtype = level.dtype
        model = cls(
            length=length,
            scale=scale.to(dtype),
            noise=noise.to(dtype),
            known=torch.ones_like(level),
            top=top,
            level=level,
            nearby=torch.zeros_like(level),
            signal=torch.zeros_like(msi_noise),
            bright=torch.zeros_like(level),
            msi_noise=msi_noise,
            transmitted=transmitted,
            detail=detail,
            bright_detail=bright_detail,
        )
        return model._explain(samples, coarse, _OF_HELD_OUT / at_lr)

    def predict(self, linear: LinearImage, image: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
        """Return the expected standard deviation of the error of a window's image, (bands, H, W).

        Args:
            linear: what the image was made from.
            image: the result, (bands, H, W).
            error: measured HSI minus its held-out prediction, (bands, h, w).
        """
        predictors = linear.predictors
        fine, coarse = predictors.fine_shape, predictors.shape
        maps = _maps(linear, image, self.level, self.top)
        nearby = self._nearby(error, predictors.degrade(maps))
        flat = maps.flatten(1)
        result = predictors.sensor.upsample(nearby, fine, "linear").mul_((self.nearby * self.scale)[:, None, None])
        result.flatten(1).addmm_((self.signal * self.scale[:, None]).to(flat), flat)
        level = (image / self.level[:, None, None]).clamp_min_(0)
        result.addcmul_(level.square(), (self.bright * self.scale)[:, None, None])
        result *= model_error(self.length, predictors.sensor, fine, coarse, image.device).remaining.to(result)
        if bool((self.msi_noise != 0).any()):
            result += self._of_msi_noise(maps)
        result.flatten(1).addmm_(self.detail.to(flat), flat)
        if bool((self.bright_detail > 0).any()):
            own, squared = self.bright_detail[:, :1, None], self.bright_detail[:, 1:, None]
            result.addcmul_(level, own).addcmul_(level.square(), squared)
        least = _MIN_FRACTION * result.mean((1, 2), keepdim=True)
        return torch.maximum(result, least, out=result).clamp_min_(_TINY).sqrt_()

    def _explain(self, samples: Sequence[FusedSample], coarse: Sequence[torch.Tensor], factor: float) -> VarianceModel:
        """Fit what depends on the held-out residuals; ``factor`` is the variance at HR relative to LR."""
        known = pooled([self._known(one) for one in coarse])[:, 0]
        held = torch.clamp(_MAX_KNOWN / known.mean(1).clamp_min(_TINY), max=1.0)
        model = replace(self, known=held)
        relative = pooled([one.error for one in samples])[:, 0].square() / self.scale[:, None]
        nearby = pooled([model._nearby(one.error, its) for one, its in zip(samples, coarse, strict=True)])
        level = pooled([one.linear.hsi for one in samples]).clamp_min(0) / self.level[:, None, None]
        shared = pooled(coarse)[list(_SIGNAL), 0].expand(len(level), -1, -1)
        features = torch.cat([shared, level.square(), nearby], dim=1)
        weights = factor * fit_variance(relative, features, known * held[:, None])
        signal = torch.zeros_like(self.signal)
        signal[:, list(_SIGNAL)] = weights[:, : len(_SIGNAL)]
        return replace(model, signal=signal, bright=weights[:, -2], nearby=weights[:, -1])

    def _of_msi_noise(self, maps: torch.Tensor) -> torch.Tensor:
        """Return the variance that noise of the MSI has at maps (maps, rows, cols) at HR or LR, (bands, rows, cols)."""
        variance = (self.msi_noise.to(maps) @ maps.flatten(1)).reshape(-1, *maps.shape[1:])
        return torch.maximum(variance, _MIN_DENOISING * variance.mean((1, 2), keepdim=True)).clamp_min_(0)

    def _known(self, coarse: torch.Tensor) -> torch.Tensor:
        """Return the part of squared residuals that is noise, relative to ``scale``, (bands, h, w)."""
        seen = self.transmitted * self._of_msi_noise(coarse).flatten(1)
        relative = (seen + self.noise[:, None]) * (self.known / self.scale)[:, None]
        return relative.reshape(-1, *coarse.shape[1:])

    def _nearby(self, error: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
        """Return the mean squared residual around each LR pixel, without itself and noise, (bands, h, w)."""
        relative = (error.square() / self.scale[:, None, None]).clamp_max_(_MAX_RELATIVE).double()
        total, mass = window_sums(relative, _WINDOW), window_sums(torch.ones_like(relative[:1]), _WINDOW)
        around = ((total - relative) / (mass - 1).clamp_min(1e-6)).to(error.dtype)
        return (around - self._known(coarse)).clamp_min_(_MIN_NEARBY)


def _maps(linear: LinearImage, image: torch.Tensor, level: torch.Tensor, top: torch.Tensor) -> torch.Tensor:
    """Return what errors vary with at HR, (maps, H, W)."""
    activity = _activity(linear.predictors.fine)
    smooth = F.avg_pool2d(activity, _SMOOTH, 1, _SMOOTH // 2, count_include_pad=False)
    root, smooth_root = activity.sqrt(), smooth.sqrt()
    brightness = image.mean(0, keepdim=True).clamp_min(0) / level.mean()
    parts = torch.ones_like(activity), root.sqrt(), root, activity, activity.square(), smooth_root.sqrt(), smooth_root
    saturated = (linear.msi >= top[:, None, None]).any(0, keepdim=True).to(activity)
    return torch.cat([*parts, smooth, brightness, saturated])


def _activity(fine: torch.Tensor) -> torch.Tensor:
    """Return the squared gradient of an MSI (k, H, W), summed over its components: (1, H, W)."""
    padded = F.pad(fine[None], (1, 1, 1, 1), mode="replicate")[0]
    along_x = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    along_y = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    return (along_x.square() + along_y.square()).sum(0, keepdim=True) / 4


def _noise_of_components(linear: LinearModel, noise: torch.Tensor) -> torch.Tensor:
    """Return the variance in each band of noise, (bands,), within the components that differ from noise."""
    signal = linear.signal
    return signal.band_errors(signal.basis.square().T @ (noise / signal.scale).square())


def _msi_noise(samples: Sequence[FusedSample], maps: Sequence[torch.Tensor]) -> tuple[torch.Tensor, float]:
    """Return the variance of each band per map, (bands, maps), of noise in the denoised MSI, and what LR shows of it.

    Stein's estimate is unbiased at every pixel, so that a regression on maps finds where denoising errs more.
    """
    bands, like = len(samples[0].image), samples[0].image
    noise = samples[0].linear.model.msi_noise
    if not bool((noise > 0).any()):
        return like.new_zeros(bands, len(_MAPS)), 0.0
    own, used = noise[:, None, None], list(_DENOISING)
    products = torch.zeros(len(used), len(used), dtype=torch.float64, device=like.device)
    # Errors of bands are correlated, and slopes have signs: every pair of bands counts.
    first, second = torch.triu_indices(len(noise), len(noise)).tolist()
    right = torch.zeros(len(used), len(first), dtype=torch.float64, device=like.device)
    passed = energy = 0.0
    for seed, (one, its) in enumerate(zip(samples, maps, strict=True)):
        msi, predictors = one.pair.msi, one.linear.predictors
        generator = torch.Generator().manual_seed(seed)
        direction = own * torch.randn(msi.shape, generator=generator, dtype=torch.float32).to(msi)
        clean = one.linear.model.whitening.restore(predictors.fine)
        change = (denoise(msi + _PROBE * direction, noise) - clean) / _PROBE
        removed = clean - msi
        features = its[used].flatten(1)
        products += (features @ features.T).double()
        for pair, (i, j) in enumerate(zip(first, second, strict=True)):
            error = removed[i] * removed[j] + direction[i] * change[j] + direction[j] * change[i]
            if i == j:
                error -= own[i].square()
            right[:, pair] += (features @ error.flatten()).double()
        passed += float(predictors.degrade(change).square().mean()) * msi[0].numel()
        energy += float(change.square().mean()) * msi[0].numel()
    products.diagonal().mul_(1 + _ROUNDING)
    weights = torch.linalg.lstsq(products, right).solution.T  # (pairs of bands, maps)
    # Noise in the predictors damps the slopes, as ridges damp those of the models.
    degraded = pooled([one.linear.predictors.degrade(one.pair.msi) for one in samples])
    slopes = fit_linear(degraded, pooled([one.linear.hsi for one in samples]))[:, 1:]
    result = like.new_zeros(bands, len(_MAPS))
    twice = torch.tensor([1.0 if i == j else 2.0 for i, j in zip(first, second, strict=True)]).to(slopes)
    result[:, used] = ((slopes[:, first] * slopes[:, second] * twice) @ weights).to(like.dtype)
    return result, passed / max(energy, _TINY)


def _detail(
    samples: Sequence[FusedSample], coarse: Sequence[torch.Tensor], level: torch.Tensor, noise: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the variance of fine detail per map, (bands, maps), and per level and its square, (bands, 2)."""
    detail, bright = level.new_zeros(len(level), len(_MAPS)), level.new_zeros(len(level), 2)
    if not bool((noise > 0).any()) or not all(is_in_scene(one.pair) for one in samples):
        return detail, bright
    inner = (..., slice(1, -1), slice(1, -1))
    variance = noise.square().clamp_min(_TINY)
    squared = pooled([noise_residual(one.pair.hsi) for one in samples])[:, 0].square() / variance[:, None]
    own = pooled([one.linear.hsi[inner] for one in samples]).clamp_min(0) / level[:, None, None]
    shared = pooled([its[inner] for its in coarse])[list(_DETAIL), 0].expand(len(level), -1, -1)
    features = torch.cat([shared, own, own.square()], dim=1)
    squared = squared.to(features.dtype)
    weights = fit_variance(squared, features, torch.zeros_like(squared))
    weights = weights * (variance / averaging(samples[0].pair)).to(weights)[:, None]
    detail[:, list(_DETAIL)] = weights[:, : len(_DETAIL)]
    return detail, weights[:, len(_DETAIL) :]
