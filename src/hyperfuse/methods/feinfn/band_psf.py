"""Correct bands that are focused or placed a little differently from the MSI: one small kernel a band."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from hyperfuse.methods.contract.method import WHOLE, Extent
from hyperfuse.sensor.model import Sensor
from hyperfuse.statistics.folds import FOLDS, block_folds
from hyperfuse.statistics.shrinkage import RadianceShrinkage

# Derivatives are of Gaussians of these scales, in HR pixels; the first ones are also weighted by position, because
# shifts may grow with it (lateral colour).
_SCALES = (0.7, 1.5)
_ORDERS = ((0, 1), (1, 0), (0, 2), (2, 0), (1, 1))  # derivatives along (y, x)
# Kernels to choose from, as the derivatives they are made of: none, those of the first scale, the same with shifts
# that grow with position, and all. The later ones pay only where the HSI resolves fine detail.
_FIRST, _PLACED = tuple(range(5)), tuple(range(10, 14))
_KERNELS: tuple[tuple[int, ...], ...] = ((), _FIRST, _FIRST + _PLACED, tuple(range(18)))
# Optics differ by fractions of a pixel: the prior deviation of a weight, and the size beyond which a fit has learned
# something else (under a wide blur, detail that the HSI cannot show).
_PRIOR_PIXELS = 0.3
_LARGEST_PIXELS = 0.9
_CORRELATION = 10.0  # LR pixels that share one error, so that so many count as one
# A kernel must reduce the held-out error to this share of the simpler one's: by more than chance would, and by more
# still where the blur hides what it does at HR.
_GAIN = 0.98
_GAIN_WIDE = 0.85
_PIXELS_A_SAMPLE = 4.0  # LR pixels that count as one when chance is reckoned (Akaike's criterion)
NARROW = 0.5


@dataclass(frozen=True)
class BandOptics:
    """For every band the weights of the derivatives of its own image that make up for its optics.

    A band seen through slightly other optics is ``X_b = (1 + d . grad + second derivatives) X^_b`` to second order:
    a shift ``d`` (that may grow with position, as lateral colour of a lens does) and a change of focus. These are
    few numbers a band, fitted to what a model that has not seen the pixels leaves of them.

    Attributes:
        choices: index into the kernels tried, one a band; 0 is none.
        weights: one tensor of weights a band.
        trust: how the correction is trusted in the dark.
        extent: what part of the scene an image is.
    """

    choices: list[int]
    weights: list[torch.Tensor]
    trust: RadianceShrinkage
    extent: Extent = WHOLE

    @classmethod
    def fit(cls, image: torch.Tensor, hsi: torch.Tensor, held_out: torch.Tensor, sensor: Sensor) -> BandOptics:
        """Fit the kernels and choose among them by cross-validation over blocks of LR pixels, band by band.

        Args:
            image: estimate at HR (bands, H, W).
            hsi: LR-HSI (bands, h, w).
            held_out: what models that have not seen a pixel predict for it, (bands, h, w).
            sensor: the forward model.
        """
        return cls.fit_parts([image], [hsi], [held_out], [sensor], [WHOLE])

    @classmethod
    def fit_parts(
        cls,
        images: Sequence[torch.Tensor],
        hsis: Sequence[torch.Tensor],
        held_out: Sequence[torch.Tensor],
        sensors: Sequence[Sensor],
        extents: Sequence[Extent],
    ) -> BandOptics:
        """Fit one kernel a band to several parts of a scene; arguments as in :meth:`fit`, one a part.

        Positions count over the whole scene, of which ``extents`` tell each part.
        """
        shapes = [(hsi.shape[-2], hsi.shape[-1]) for hsi in hsis]
        folds = torch.cat([block_folds(shape, hsis[0].device).flatten() for shape in shapes])
        truth, known = (torch.cat([part.flatten(1) for part in parts], dim=1) for parts in (hsis, held_out))
        # Under a wide blur the HSI says little about detail of the MSI's scale, and a rich kernel would invent it.
        wide = nyquist_response(sensors[0]) < NARROW
        tried = _KERNELS[:2] if wide else _KERNELS
        choices, weights = [], []
        changes = torch.zeros_like(truth)
        for band in range(len(truth)):
            residual = (truth[band] - known[band]).double()
            best, chosen, kept = float(residual.square().mean()), 0, torch.zeros(0)
            every = torch.cat(
                [
                    sensor.degrade(_derivatives(image[band], tried[-1], extent), shape).double().flatten(1)
                    for image, sensor, shape, extent in zip(images, sensors, shapes, extents, strict=True)
                ],
                dim=1,
            )
            for index, kernel in enumerate(tried):
                if index == 0 or best == 0.0:
                    continue
                features = every[list(kernel)]
                error = _cross_validated(features, residual, folds)
                chance = math.exp(-2 * features.shape[0] * _PIXELS_A_SAMPLE / residual.numel())
                if error < min(_GAIN_WIDE if wide else _GAIN, chance) * best:
                    weight = _fit(features, residual)
                    if float(weight.abs().max()) <= _LARGEST_PIXELS:
                        best, chosen, kept = error, index, weight
            choices.append(chosen)
            weights.append(kept)
            if chosen:
                changes[band] = torch.tensordot(kept, every[list(_KERNELS[chosen])], dims=1)
        return cls(choices, weights, RadianceShrinkage.fit(known, changes, truth))

    def at(self, extent: Extent) -> BandOptics:
        """Return the same optics for a part of the scene."""
        return replace(self, extent=extent)

    def correct(self, image: torch.Tensor) -> torch.Tensor:
        """Return the corrected image (bands, H, W)."""
        result, trust = image.clone(), self.trust.of(image)
        for band, (choice, weight) in enumerate(zip(self.choices, self.weights, strict=True)):
            if choice:
                features = _derivatives(image[band], _KERNELS[choice], self.extent)
                result[band] += trust * torch.tensordot(weight.to(image.dtype), features, dims=1)
        return result


def _derivatives(band: torch.Tensor, kernel: tuple[int, ...], extent: Extent = WHOLE) -> torch.Tensor:
    """Return the derivatives of one band (H, W) that a kernel is made of, (n, H, W), in units of one HR pixel.

    They are counted so: the five orders of the first scale, those of the second, then the first derivatives of the
    first scale, then of the second, each times y and times x, which go from -1 to 1 over the scene.
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
            scale, order, place = (index - plain) // 4, (index - plain) // 2 % 2, (index - plain) % 2
            maps.append(maps[kernel.index(scale * len(_ORDERS) + order)] * (x if place else y))
    return torch.stack(maps)


def _gaussian_derivative(band: torch.Tensor, sigma: float, order_y: int, order_x: int) -> torch.Tensor:
    radius = max(1, int(3 * sigma))
    padded = torch.nn.functional.pad(band[None, None], (radius,) * 4, mode="replicate")
    along_y = _profile(sigma, order_y, band)[None, None, :, None]
    along_x = _profile(sigma, order_x, band)[None, None, None, :]
    return torch.nn.functional.conv2d(torch.nn.functional.conv2d(padded, along_y), along_x)[0, 0]


def _profile(sigma: float, order: int, like: torch.Tensor) -> torch.Tensor:
    """Sample a Gaussian or its derivative, made to answer 1 to ``1``, ``t`` or ``t^2 / 2`` and 0 to lower powers."""
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
    total = torch.zeros((), dtype=residual.dtype, device=residual.device)
    for fold in range(FOLDS):
        unseen = folds == fold
        if not bool(unseen.any()) or bool(unseen.all()):
            continue
        weight = _fit(features[:, ~unseen], residual[~unseen])
        left = residual[unseen] - weight @ features[:, unseen]
        total = total + left.square().sum()
    return float(total) / residual.numel()


def nyquist_response(sensor: Sensor) -> float:
    """Return what the PSF lets through at the Nyquist frequency of the LR grid, the smaller of y and x."""
    responses = []
    for axis in (0, 1):
        size = max(64, int(16 * sensor.ratio[axis]))
        size -= size % 2
        centred = sensor.replace(phase=(size / 2, size / 2), boundary="circular")
        along = centred.sampling((size, size), (1, 1))
        row = sum(factor[axis].matrix.toarray()[0] * factor[1 - axis].matrix.sum() for factor in along)
        wave = torch.cos(torch.pi * (torch.arange(size) - size / 2) / sensor.ratio[axis]).double()
        responses.append(abs(float(torch.as_tensor(row) @ wave)))
    return min(responses)
