"""PSF and registration of single bands: one small kernel per band for those that differ from the MSI's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from hyperfuse.methods.contract.method import WHOLE, Extent
from hyperfuse.methods.local_linear.predictors import Predictors
from hyperfuse.sensor.model import Sensor
from hyperfuse.statistics.folds import FOLDS, block_folds
from hyperfuse.statistics.shrinkage import RadianceShrinkage

# Derivatives are of Gaussians of these scales, in HR pixels; the first ones are also weighted by position, because
# shifts may grow with it (lateral chromatic aberration).
_SCALES = (0.7, 1.5)
_ORDERS = ((0, 1), (1, 0), (0, 2), (2, 0), (1, 1))  # derivatives along (y, x)
# Kernels to choose from, as the derivatives they are made of: none, those of the first scale, the same with shifts
# that grow with position, and all. The later ones pay only where the HSI resolves fine detail.
_FIRST, _POSITIONAL = tuple(range(5)), tuple(range(10, 14))
_KERNELS: tuple[tuple[int, ...], ...] = ((), _FIRST, _FIRST + _POSITIONAL, tuple(range(18)))
# Bands differ by fractions of a pixel: the prior deviation of a weight, and the size beyond which a fit has learned
# something else (under a wide blur, detail that the HSI does not resolve).
_PRIOR_PIXELS = 0.3
_MAX_PIXELS = 0.9
_CORRELATION = 10.0  # LR pixels that count as one independent error in the fit of weights
# A kernel must reduce the held-out error to this fraction of the simpler one's: by more than chance would, and by more
# still where the blur conceals what it does at HR.
_GAIN = 0.98
_GAIN_WIDE = 0.85
_PIXELS_PER_SAMPLE = 4.0  # LR pixels that count as one independent error in Akaike's criterion
_MTF_AT_NYQUIST = 0.5


def undersamples(sensor: Sensor) -> bool:
    """Return whether the PSF is narrow for its sampling: the MTF at the Nyquist frequency of the LR grid, 0.5 or more.

    The HSI then shows detail of the MSI's scale, aliased; under a wider blur it says little about it.
    """
    responses = []
    for axis in (0, 1):
        size = max(64, int(16 * sensor.ratio[axis]))
        size -= size % 2
        centred = sensor.replace(phase=(size / 2, size / 2), boundary="circular")
        along = centred.sampling((size, size), (1, 1))
        row = sum(factor[axis].matrix.toarray()[0] * factor[1 - axis].matrix.sum() for factor in along)
        wave = torch.cos(torch.pi * (torch.arange(size) - size / 2) / sensor.ratio[axis]).double()
        responses.append(abs(float(torch.as_tensor(row) @ wave)))
    return min(responses) >= _MTF_AT_NYQUIST


@dataclass(frozen=True)
class BandPsf:
    """For every band the weights of the derivatives of its own image that correct its PSF and registration.

    A band recorded with a slightly different PSF is ``X_b = (1 + d . grad + second derivatives) X^_b`` to second order:
    a shift ``d`` (that may grow with position, as lateral chromatic aberration does) and a change of focus. These few
    numbers per band are fitted to the residual of held-out predictions.

    Attributes:
        choices: index into the kernels tried, one per band; 0 is none.
        weights: one tensor of weights per band.
        shrinkage: of the correction, at low radiance.
    """

    choices: list[int]
    weights: list[torch.Tensor]
    shrinkage: RadianceShrinkage

    @classmethod
    def fit(
        cls,
        images: Sequence[torch.Tensor],
        hsis: Sequence[torch.Tensor],
        held_out: Sequence[torch.Tensor],
        windows: Sequence[Predictors],
    ) -> BandPsf:
        """Fit the kernels and choose among them by cross-validation over blocks of LR pixels, band by band.

        Args:
            images: of each sample the estimate at HR, (bands, H, W).
            hsis: of each sample the LR-HSI, (bands, h, w).
            held_out: of each sample the predictions of models fitted without each pixel, (bands, h, w).
            windows: of each sample its geometry; positions count over the scene.
        """
        folds = torch.cat([block_folds(one.shape, one.fine.device).flatten() for one in windows])
        measured, predicted = (torch.cat([one.flatten(1) for one in sample], dim=1) for sample in (hsis, held_out))
        # Under a wide blur the HSI says little about detail of the MSI's scale, and a rich kernel would invent it.
        wide = not undersamples(windows[0].sensor)
        tried = _KERNELS[:2] if wide else _KERNELS
        choices, weights = [], []
        changes = torch.zeros_like(measured)
        for band in range(len(measured)):
            residual = (measured[band] - predicted[band]).double()
            best, chosen, selected = float(residual.square().mean()), 0, torch.zeros(0)
            every = torch.cat(
                [
                    one.degrade(_derivatives(image[band], tried[-1], one.extent)).double().flatten(1)
                    for image, one in zip(images, windows, strict=True)
                ],
                dim=1,
            )
            for index, kernel in enumerate(tried):
                if index == 0 or best == 0.0:
                    continue
                features = every[list(kernel)]
                error = _cross_validated(features, residual, folds)
                chance = math.exp(-2 * features.shape[0] * _PIXELS_PER_SAMPLE / residual.numel())
                if error < min(_GAIN_WIDE if wide else _GAIN, chance) * best:
                    weight = _fit(features, residual)
                    if float(weight.abs().max()) <= _MAX_PIXELS:
                        best, chosen, selected = error, index, weight
            choices.append(chosen)
            weights.append(selected)
            if chosen:
                changes[band] = torch.tensordot(selected, every[list(_KERNELS[chosen])], dims=1)
        return cls(choices, weights, RadianceShrinkage.fit(predicted, changes, measured))

    def correct(self, image: torch.Tensor, extent: Extent = WHOLE) -> torch.Tensor:
        """Return the corrected image (bands, H, W) of a window."""
        result, factor = image.clone(), self.shrinkage.of(image)
        for band, (choice, weight) in enumerate(zip(self.choices, self.weights, strict=True)):
            if choice:
                features = _derivatives(image[band], _KERNELS[choice], extent)
                result[band] += factor * torch.tensordot(weight.to(image.dtype), features, dims=1)
        return result


def _derivatives(band: torch.Tensor, kernel: tuple[int, ...], extent: Extent = WHOLE) -> torch.Tensor:
    """Return the derivatives of one band (H, W) that a kernel is made of, (n, H, W), in units of one HR pixel.

    Their order: the five of the first scale, those of the second, then the first derivatives of the first scale, then
    of the second, each times y and times x, which go from -1 to 1 over the scene.
    """
    rows, cols = band.shape
    y = torch.linspace(extent[0], extent[1], rows, dtype=band.dtype, device=band.device)[:, None]
    x = torch.linspace(extent[2], extent[3], cols, dtype=band.dtype, device=band.device)[None, :]
    plain = len(_SCALES) * len(_ORDERS)
    maps = []
    for index in kernel:
        if index < plain:
            maps.append(_gaussian_derivative(band, _SCALES[index // len(_ORDERS)], *_ORDERS[index % len(_ORDERS)]))
        else:
            scale, order, along_x = (index - plain) // 4, (index - plain) // 2 % 2, (index - plain) % 2
            maps.append(maps[kernel.index(scale * len(_ORDERS) + order)] * (x if along_x else y))
    return torch.stack(maps)


def _gaussian_derivative(band: torch.Tensor, sigma: float, order_y: int, order_x: int) -> torch.Tensor:
    radius = max(1, int(3 * sigma))
    padded = torch.nn.functional.pad(band[None, None], (radius,) * 4, mode="replicate")
    along_y = _profile(sigma, order_y, band)[None, None, :, None]
    along_x = _profile(sigma, order_x, band)[None, None, None, :]
    return torch.nn.functional.conv2d(torch.nn.functional.conv2d(padded, along_y), along_x)[0, 0]


def _profile(sigma: float, order: int, like: torch.Tensor) -> torch.Tensor:
    """Sample a Gaussian or its derivative, scaled to give 1 for ``1``, ``t`` or ``t^2 / 2`` and 0 for lower powers."""
    radius = max(1, int(3 * sigma))
    t = torch.arange(-radius, radius + 1, dtype=like.dtype, device=like.device)
    gaussian = torch.exp(-0.5 * (t / sigma) ** 2)
    gaussian = gaussian / gaussian.sum()
    if order == 0:
        return gaussian
    if order == 1:
        profile = t * gaussian
        return profile / (profile * t).sum()
    profile = (t**2 - (t**2 * gaussian).sum()) * gaussian
    return 2 * profile / (profile * t**2).sum()


def _fit(features: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
    """Return the weights of highest posterior probability, (n,), for features (n, pixels) and residual (pixels,)."""
    ridge = _CORRELATION * residual.square().mean() / _PRIOR_PIXELS**2
    normal = features @ features.T
    normal.diagonal().add_(ridge + 1e-12 * normal.diagonal().max())
    weights: torch.Tensor = torch.linalg.solve(normal, features @ residual)
    return weights


def _cross_validated(features: torch.Tensor, residual: torch.Tensor, folds: torch.Tensor) -> float:
    """Return the mean squared error of each fold, predicted by weights fitted to the others."""
    total = torch.zeros((), dtype=residual.dtype, device=residual.device)
    for fold in range(FOLDS):
        out = folds == fold
        if not bool(out.any()) or bool(out.all()):
            continue
        weight = _fit(features[:, ~out], residual[~out])
        total = total + (residual[out] - weight @ features[:, out]).square().sum()
    return float(total) / residual.numel()
