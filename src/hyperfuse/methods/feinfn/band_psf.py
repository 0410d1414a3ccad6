"""PSF and registration of single bands: one small kernel per band for those that differ from the MSI's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch.nn import functional as F

from hyperfuse.methods.contract.method import WHOLE, Extent
from hyperfuse.methods.local_linear.predictors import Predictors
from hyperfuse.runtime.parallel import in_threads, strips
from hyperfuse.sensor.axis import AxisOperator
from hyperfuse.sensor.model import Sensor
from hyperfuse.statistics.folds import FOLDS, block_folds
from hyperfuse.statistics.shrinkage import RadianceShrinkage


class _Term(NamedTuple):
    """A derivative of a Gaussian: its scale in HR pixels, its orders along (y, x), and the axis of its position."""

    sigma: float
    orders: tuple[int, int]
    position: int | None = None  # weighted by the position along y (0) or x (1), which is -1 to 1 over the scene


_SCALES = (0.7, 1.5)
_RADIUS = 4  # of the kernels of the largest scale
_ORDERS = ((0, 1), (1, 0), (0, 2), (2, 0), (1, 1))
# The first derivatives are also weighted by position, because shifts may grow with it (lateral chromatic aberration).
_TERMS = (
    *(_Term(sigma, orders) for sigma in _SCALES for orders in _ORDERS),
    *(_Term(sigma, orders, axis) for sigma in _SCALES for orders in _ORDERS[:2] for axis in (0, 1)),
)
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
_BANDS = 16  # that are corrected at a time: vectors of the convolution hold as many


def undersamples(sensor: Sensor) -> bool:
    """Return whether the PSF is narrow for its sampling: the MTF at the Nyquist frequency of the LR grid, 0.5 or more.

    The HSI then shows detail of the MSI's scale, aliased; under a wider blur it says little about it.
    """
    responses = []
    for axis in (0, 1):
        size = max(64, int(16 * sensor.ratio[axis]))
        size -= size % 2
        centred = sensor.replace(phase=(size / 2, size / 2), boundary="circular", displacement=None)
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
        parts = [pixels for pixels in (torch.nonzero(folds == fold)[:, 0] for fold in range(FOLDS)) if len(pixels)]
        measured, predicted = (torch.cat([one.flatten(1) for one in sample], dim=1) for sample in (hsis, held_out))
        # Under a wide blur the HSI says little about detail of the MSI's scale, and a rich kernel would invent it.
        wide = not undersamples(windows[0].sensor)
        tried = _KERNELS[:2] if wide else _KERNELS
        changes = torch.zeros_like(measured)
        degraded = [_DegradedTerms.of(one, tried[-1]) for one in windows]

        def fit_band(band: int) -> tuple[int, torch.Tensor]:
            residual = (measured[band] - predicted[band]).double()
            best, chosen, selected = float(residual.square().mean()), 0, torch.zeros(0)
            every = torch.cat([one(image[band]) for image, one in zip(images, degraded, strict=True)], dim=1)
            by_fold = [_Moments.of(every[:, pixels], residual[pixels]) for pixels in parts]
            for index, kernel in enumerate(tried):
                if index == 0 or best == 0.0:
                    continue
                moments = [one.of_terms(kernel) for one in by_fold]
                error = _cross_validated(moments)
                chance = math.exp(-2 * len(kernel) * _PIXELS_PER_SAMPLE / residual.numel())
                if error < min(_GAIN_WIDE if wide else _GAIN, chance) * best:
                    weight = _fit(_Moments.total(moments))
                    if float(weight.abs().max()) <= _MAX_PIXELS:
                        best, chosen, selected = error, index, weight
            if chosen:
                changes[band] = torch.tensordot(selected, every[list(_KERNELS[chosen])], dims=1)
            return chosen, selected

        choices, weights = zip(*in_threads(fit_band, range(len(measured)), measured.device), strict=True)
        return cls(list(choices), list(weights), RadianceShrinkage.fit(predicted, changes, measured))

    def correct(self, image: torch.Tensor, extent: Extent = WHOLE) -> torch.Tensor:
        """Return the corrected image (bands, H, W) of a window."""
        result, factor = image.clone(), self.shrinkage.of(image)
        positions = [one.to(image) for one in _positions(image.shape[-2:], extent)]
        for axis in (None, 0, 1):
            # All terms of one position make one kernel per band.
            kernels = {}
            for band, (choice, weight) in enumerate(zip(self.choices, self.weights, strict=True)):
                pairs = [
                    (_TERMS[number], float(one)) for number, one in zip(_KERNELS[choice], weight.tolist(), strict=True)
                ]
                if any(term.position == axis for term, _ in pairs):
                    kernels[band] = torch.stack(
                        [one * _kernel(term, image) for term, one in pairs if term.position == axis]
                    ).sum(0)
            along = factor if axis is None else factor * (positions[0][:, None] if axis == 0 else positions[1])

            def add(bands: list[int], along: torch.Tensor, kernels: dict[int, torch.Tensor]) -> None:
                padded = F.pad(image[bands][None], (_RADIUS,) * 4, mode="replicate")
                weight = torch.stack([kernels[band] for band in bands])[:, None]
                result[bands] += along * F.conv2d(padded, weight, groups=len(bands))[0]

            some = [list(kernels)[part] for part in strips(len(kernels), _BANDS)]
            in_threads(partial(add, along=along, kernels=kernels), some, image.device)
        return result


class _DegradedTerms:
    """The terms of a kernel as the HSI's sensor records them, by one operator along each axis from HR to LR.

    Where its samples are displaced, the operators make the terms at HR, and the sensor degrades them.
    """

    def __init__(self, pairs: list[list[tuple[AxisOperator, AxisOperator]]], window: Predictors | None) -> None:
        self._pairs = pairs  # for each term those of every factor of the PSF
        self._window = window

    @classmethod
    def of(cls, window: Predictors, kernel: tuple[int, ...]) -> _DegradedTerms:
        """Combine the sensor's operators with those of the derivatives; operators along y are shared."""
        positions = [one.numpy() for one in _positions(window.fine_shape, window.extent)]
        displaced = window.sensor.displacement is not None
        factors = [] if displaced else window.sensor.sampling(window.fine_shape, window.shape)
        known: dict[tuple[int, int, float, int, bool], AxisOperator] = {}

        def along(factor: int, axis: int, term: _Term) -> AxisOperator:
            key = (factor, axis, term.sigma, term.orders[axis], term.position == axis)
            if key not in known:
                matrix = _derivative_matrix(window.fine_shape[axis], term.sigma, term.orders[axis])
                if term.position == axis:
                    matrix = sparse.diags_array(positions[axis]) @ matrix
                known[key] = AxisOperator(matrix if displaced else factors[factor][axis].matrix @ matrix)
            return known[key]

        numbers = range(1 if displaced else len(factors))
        pairs = [[(along(n, 0, _TERMS[index]), along(n, 1, _TERMS[index])) for n in numbers] for index in kernel]
        return cls(pairs, window if displaced else None)

    def __call__(self, band: torch.Tensor) -> torch.Tensor:
        """Return the terms of one band (H, W) at LR, float64 (terms, h w)."""
        by_rows: dict[AxisOperator, torch.Tensor] = {}
        terms = []
        for pairs in self._pairs:
            for along_y, _ in pairs:
                if along_y not in by_rows:
                    by_rows[along_y] = along_y(band, -2)
            parts = [along_x(by_rows[along_y], -1) for along_y, along_x in pairs]
            terms.append(torch.stack(parts).sum(0))
        made = torch.stack(terms)
        return (made if self._window is None else self._window.degrade(made)).double().flatten(1)


def _positions(shape: tuple[int, ...], extent: Extent) -> list[torch.Tensor]:
    """Return the positions of rows and of columns of a window, float64; from -1 to 1 over the scene."""
    return [
        torch.linspace(*ends, size, dtype=torch.float64)
        for size, ends in zip(shape, (extent[:2], extent[2:]), strict=True)
    ]


def _kernel(term: _Term, like: torch.Tensor) -> torch.Tensor:
    """Return the derivative as a convolution kernel, in units of one HR pixel."""
    along_y, along_x = (_profile(term.sigma, order) for order in term.orders)
    margin = _RADIUS - len(along_y) // 2
    return F.pad(along_y[:, None] * along_x, (margin,) * 4).to(like)


def _derivative_matrix(size: int, sigma: float, order: int) -> sparse.csr_matrix:
    """Return the same along one axis as a matrix, the border sample repeated."""
    profile = _profile(sigma, order).numpy()
    offsets = np.arange(len(profile)) - len(profile) // 2
    rows = np.repeat(np.arange(size), len(profile))
    columns = np.clip(np.arange(size)[:, None] + offsets, 0, size - 1).ravel()
    return sparse.coo_matrix((np.tile(profile, size), (rows, columns)), shape=(size, size)).tocsr()


def _profile(sigma: float, order: int) -> torch.Tensor:
    """Sample a Gaussian or its derivative, scaled to give 1 for ``1``, ``t`` or ``t^2 / 2`` and 0 for lower powers."""
    radius = max(1, int(3 * sigma))
    t = torch.arange(-radius, radius + 1, dtype=torch.float64)
    gaussian = torch.exp(-0.5 * (t / sigma) ** 2)
    gaussian = gaussian / gaussian.sum()
    if order == 0:
        return gaussian
    if order == 1:
        profile = t * gaussian
        return profile / (profile * t).sum()
    profile = (t**2 - (t**2 * gaussian).sum()) * gaussian
    return 2 * profile / (profile * t**2).sum()


class _Moments(NamedTuple):
    """Sums of products of features with each other (n, n) and with the residual (n,), and its sum of squares."""

    normal: torch.Tensor
    right: torch.Tensor
    energy: torch.Tensor
    pixels: int

    @classmethod
    def of(cls, features: torch.Tensor, residual: torch.Tensor) -> _Moments:
        return cls(features @ features.T, features @ residual, residual @ residual, len(residual))

    @classmethod
    def total(cls, parts: Sequence[_Moments]) -> _Moments:
        normal, right, energy, pixels = zip(*parts, strict=True)
        return cls(torch.stack(normal).sum(0), torch.stack(right).sum(0), torch.stack(energy).sum(), sum(pixels))

    def of_terms(self, terms: tuple[int, ...]) -> _Moments:
        some = list(terms)
        return self._replace(normal=self.normal[some][:, some], right=self.right[some])

    def error(self, weights: torch.Tensor) -> torch.Tensor:
        """Return the sum of squares of what the features with these weights do not predict."""
        return self.energy + weights @ (self.normal @ weights - 2 * self.right)


def _fit(moments: _Moments) -> torch.Tensor:
    """Return the weights of highest posterior probability, (n,)."""
    ridge = _CORRELATION * moments.energy / moments.pixels / _PRIOR_PIXELS**2
    normal = moments.normal.clone()
    normal.diagonal().add_(ridge + 1e-12 * normal.diagonal().max())
    weights: torch.Tensor = torch.linalg.solve(normal, moments.right)
    return weights


def _cross_validated(folds: Sequence[_Moments]) -> float:
    """Return the mean squared error of each fold, predicted by weights fitted to the others; of one alone, 0."""
    if len(folds) == 1:
        return 0.0
    errors = [one.error(_fit(_Moments.total([*folds[:index], *folds[index + 1 :]]))) for index, one in enumerate(folds)]
    return max(0.0, float(torch.stack(errors).sum()) / sum(one.pixels for one in folds))
