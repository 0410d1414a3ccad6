"""Where HSI and MSI do not show the same: outliers, clouds, changes, saturated pixels. They must decide no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from hyperfuse.methods.contract.method import PairTensors
from hyperfuse.methods.local_linear.predictors import pooled
from hyperfuse.statistics.linear import apply_linear, fit_linear
from hyperfuse.statistics.subspace import Subspace, fit_subspace

_COMPONENTS = 8  # of the HSI, from which the MSI is predicted
_PIXELS_PER_COMPONENT = 10
_FIT_PIXELS = 4096  # LR pixels of all samples: a regular part of them stands for all
_ITERATIONS = 12
_CAUCHY = 3.0  # squared deviations at which a pixel has half its weight
# A pixel does not agree where its residual is both large for the scene and beyond what other pixels have: noise of
# 20 dB, materials with equal MSI spectra and pairs of two real sensors stay below.
_MSI_CONTRAST, _MSI_DEVIATIONS = 0.4, 9.0  # in any band of the MSI, predicted from the HSI
_HSI_CONTRAST, _HSI_DEVIATIONS = 1.0, 10.0  # median over the bands of the HSI, predicted from the MSI
# Few bright objects before a dark ground have large residuals too, though not for their brightness: minimum of a
# residual relative to the sum of measured and predicted value.
_MSI_RELATIVE, _HSI_RELATIVE = 0.04, 0.5
_MIN_DEVIATION = 0.005  # of a band's contrast: smaller residuals do no harm
_TINY = 1e-12


@dataclass(frozen=True)
class MsiByHsi:
    """The degraded MSI as a linear function of the HSI, fitted robustly.

    Attributes:
        components: of the HSI.
        coefficients: (msi_bands, components + 1).
        deviation: of usual residuals of every MSI band, (msi_bands,).
        contrast: mean deviation of every degraded MSI band from its median, (msi_bands,).
    """

    components: Subspace
    coefficients: torch.Tensor
    deviation: torch.Tensor
    contrast: torch.Tensor

    @classmethod
    def fit(cls, samples: Sequence[PairTensors], most: int = _COMPONENTS) -> MsiByHsi | None:
        """Fit by iterated weights of Cauchy's distribution; None where there are too few LR pixels.

        Args:
            samples: of a scene.
            most: maximum number of components: with many, spectra of single objects are among them.
        """
        hsi, msi = _some_pixels(samples)
        components = fit_subspace(hsi, min(most, len(hsi), hsi.shape[2] // _PIXELS_PER_COMPONENT))
        if components.basis.shape[1] <= 1 or hsi.shape[2] < _PIXELS_PER_COMPONENT * (len(msi) + 1):
            return None
        return cls(components, *_robust(components.project(hsi), msi), _contrast(msi))

    @property
    def unit(self) -> torch.Tensor:
        """What a residual of every MSI band is measured in, (msi_bands,)."""
        return torch.maximum(self.deviation, _MIN_DEVIATION * self.contrast)

    def predict(self, hsi: torch.Tensor) -> torch.Tensor:
        """Return the MSI that an HSI (bands, h, w) shows, float64 (msi_bands, h, w)."""
        return apply_linear(self.coefficients, self.components.project(hsi.double()))


@dataclass(frozen=True)
class Agreement:
    """Linear maps between HSI and degraded MSI, fitted robustly, and the residuals of usual pixels.

    Attributes:
        to_msi: the MSI by the HSI.
        to_hsi: coefficients (bands, msi_bands + 1).
        msi_limit: residual of each MSI band beyond which a pixel does not agree, (msi_bands,).
        hsi_limit: the same of each band of the HSI, (bands,).
        fraction: of the samples' LR pixels that do not agree.
    """

    to_msi: MsiByHsi
    to_hsi: torch.Tensor
    msi_limit: torch.Tensor
    hsi_limit: torch.Tensor
    fraction: float = 0.0

    @classmethod
    def fit(cls, samples: Sequence[PairTensors]) -> Agreement | None:
        """Fit both maps by iterated weights of Cauchy's distribution; None where there are too few LR pixels."""
        to_msi = MsiByHsi.fit(samples)
        if to_msi is None:
            return None
        hsi, msi = _some_pixels(samples)
        msi_limit = torch.maximum(_MSI_CONTRAST * to_msi.contrast, _MSI_DEVIATIONS * to_msi.deviation)
        # Without the pixels that this map already finds: a cloud in the MSI has leverage on a map from it.
        usual = ~_excess(msi, to_msi.predict(hsi), msi_limit, _MSI_RELATIVE).any(0)[0]
        if 2 * int(usual.sum()) >= len(usual):
            hsi, msi = hsi[:, :, usual], msi[:, :, usual]
        to_hsi, hsi_scale = _robust(msi, hsi)
        hsi_limit = torch.maximum(_HSI_CONTRAST * _contrast(hsi), _HSI_DEVIATIONS * hsi_scale)
        if len(msi) == 1:  # one value says too little about a spectrum
            hsi_limit = torch.full_like(hsi_limit, torch.inf)
        found = cls(to_msi, to_hsi, msi_limit, hsi_limit)
        differing = torch.cat([found.differing(one).flatten() for one in samples])
        return replace(found, fraction=float(differing.double().mean()))

    def differing(self, pair: PairTensors) -> torch.Tensor:
        """Return the LR pixels of a window at which the images do not agree, bool (h, w)."""
        hsi, msi = pair.hsi.double(), _degraded(pair).double()
        of_msi = _excess(msi, self.to_msi.predict(hsi), self.msi_limit, _MSI_RELATIVE)
        of_hsi = _excess(hsi, apply_linear(self.to_hsi, msi), self.hsi_limit, _HSI_RELATIVE)
        found: torch.Tensor = of_msi.any(0) | (of_hsi.double().mean(0) > 0.5)
        return found

    def agreeing(self, pair: PairTensors) -> PairTensors:
        """Return a window of which the HSI is predicted from the MSI where the two do not agree."""
        differing = self.differing(pair)
        if not bool(differing.any()):
            return pair
        predicted = apply_linear(self.to_hsi, _degraded(pair).double())
        return pair._replace(hsi=torch.where(differing, predicted.to(pair.hsi), pair.hsi))


def fit_hsi_by_msi(samples: Sequence[PairTensors]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return coefficients (bands, msi_bands + 1) of the HSI on the degraded MSI, fitted robustly.

    And the deviation of usual residuals, (bands,).
    """
    hsi, msi = _some_pixels(samples)
    return _robust(msi, hsi)


def _some_pixels(samples: Sequence[PairTensors]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return HSI and degraded MSI of LR pixels that stand for all, float64 (bands, 1, n) each."""
    hsi = pooled([one.hsi for one in samples])
    msi = pooled([_degraded(one) for one in samples])
    step = -(-hsi.shape[2] // _FIT_PIXELS)
    return hsi[..., ::step].double(), msi[..., ::step].double()


def _degraded(pair: PairTensors) -> torch.Tensor:
    return pair.sensor.degrade(pair.msi, (pair.hsi.shape[-2], pair.hsi.shape[-1]))


def _excess(measured: torch.Tensor, predicted: torch.Tensor, limit: torch.Tensor, relative: float) -> torch.Tensor:
    """Return where a residual is beyond its limit and large for the values themselves, bool (bands, h, w)."""
    residual, size = (measured - predicted).abs(), measured.abs() + predicted.abs()
    return (residual > limit[:, None, None]) & (residual > relative * size)


def _contrast(image: torch.Tensor) -> torch.Tensor:
    """Return the mean deviation of every band (bands, 1, n) from its median, (bands,)."""
    flat = image.flatten(1)
    return (flat - flat.median(1, keepdim=True).values).abs().mean(1).clamp_min(_TINY)


def _robust(predictors: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return coefficients as of :func:`fit_linear`, and the deviation of usual residuals of each target."""
    weight = torch.ones_like(targets[0])
    for _ in range(_ITERATIONS):
        coefficients = fit_linear(predictors, targets, weight)
        residual = (apply_linear(coefficients, predictors) - targets).abs()
        # Of normally distributed values the median is 0.6745 deviations.
        deviation = (residual.flatten(1).median(1).values / 0.6745).clamp_min(_TINY)
        weight = 1 / (1 + (residual / deviation[:, None, None]).square().mean(0) / _CAUCHY)
    return coefficients, deviation
