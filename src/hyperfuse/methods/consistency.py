"""Make a fused image agree with the measured HSI: the conditional mean of what is missing, in closed form."""

from __future__ import annotations

import torch

from hyperfuse.methods.noise import estimate_noise
from hyperfuse.sensor.axis import AxisOperator
from hyperfuse.sensor.model import Sensor

_LENGTHS = (0.25, 0.5, 1.0, 2.0, 4.0)  # in LR pixels
_FLOOR = 1e-5  # of the prior variance: keeps the system well conditioned
_BANDS_AT_ONCE = 32


def restore_consistency(fused: torch.Tensor, hsi: torch.Tensor, sensor: Sensor) -> torch.Tensor:
    """Return ``fused`` plus the most probable correction given the residual ``hsi - degrade(fused)``.

    The error of ``fused`` is modelled as a Gaussian field of covariance ``C = exp(-(|dy| + |dx|) / l)``, the
    measurement as ``hsi = A X + noise``: the correction is ``C A' (A C A' + N)^-1 (hsi - A fused)`` (kriging; for
    white ``C`` and no noise the smallest change that agrees exactly). The length ``l`` is that of highest likelihood
    and ``N`` the noise of each band as estimated from the HSI, so that a clean HSI is met to rounding and a noisy one
    is not chased. With a separable PSF the system is a Kronecker product and is solved by two eigendecompositions.

    Args:
        fused: image (bands, H, W).
        hsi: LR-HSI (bands, h, w).
        sensor: its forward model; of a PSF that is not separable, the dominant separable term shapes the correction
            and the exact residual is fed to it until it no longer shrinks.
    """
    fine, coarse = (fused.shape[-2], fused.shape[-1]), (hsi.shape[-2], hsi.shape[-1])
    noise = estimate_noise(hsi).double().square()
    kriging = _Kriging(sensor, fine, coarse, fused.device)
    residual = (hsi - sensor.degrade(fused, coarse)).double()
    kriging.choose_length(residual, noise)
    corrected = kriging.correct(fused, residual, noise)
    if len(sensor.psf.factors()) > 1:
        size = residual.square().sum()
        for _ in range(20):
            residual = (hsi - sensor.degrade(corrected, coarse)).double()
            if not residual.square().sum() < 0.98 * size:
                break
            size = residual.square().sum()
            corrected = kriging.correct(corrected, residual, noise)
    return corrected


class _Kriging:
    """The Kronecker-structured Gaussian model of the residual, for one geometry."""

    def __init__(self, sensor: Sensor, fine: tuple[int, int], coarse: tuple[int, int], device: torch.device) -> None:
        along_y, along_x = sensor.sampling(fine, coarse)[0]
        self._axes = [
            _Axis(along_y, sensor.ratio[0], device),
            _Axis(along_x, sensor.ratio[1], device),
        ]

    def choose_length(self, residual: torch.Tensor, noise: torch.Tensor) -> None:
        best = float("inf")
        chosen = _LENGTHS[0]
        for length in _LENGTHS:
            for axis in self._axes:
                axis.set_length(length)
            score = self._negative_log_likelihood(residual, noise)
            if score < best:
                best, chosen = score, length
        for axis in self._axes:
            axis.set_length(chosen)

    def correct(self, image: torch.Tensor, residual: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        y, x = self._axes
        shares = self._noise_share(residual, noise)
        result = torch.empty_like(image)
        for start in range(0, image.shape[0], _BANDS_AT_ONCE):
            part = slice(start, start + _BANDS_AT_ONCE)
            weights = y.vectors.T @ residual[part] @ x.vectors / self._spectrum(shares[part])
            change = y.spread @ weights.to(image.dtype) @ x.spread.T
            result[part] = image[part] + change
        return result

    def _spectrum(self, shares: torch.Tensor) -> torch.Tensor:
        y, x = self._axes
        return y.values[:, None] * x.values[None, :] + shares[:, None, None]

    def _noise_share(self, residual: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Noise variance over prior variance of each band, from the total variance of its residual."""
        y, x = self._axes
        gain = float(y.values.mean() * x.values.mean())
        total = residual.square().mean((1, 2))
        prior = (total - noise).clamp_min(0.05 * total).clamp_min(1e-300) / gain
        return noise / prior + _FLOOR * gain

    def _negative_log_likelihood(self, residual: torch.Tensor, noise: torch.Tensor) -> float:
        y, x = self._axes
        if not bool((residual != 0).any()):
            return 0.0
        energies = (y.vectors.T @ residual @ x.vectors).square()
        total = 0.0
        shares = self._noise_share(residual, noise)
        for energy, share in zip(energies, shares, strict=True):
            if float(energy.sum()) == 0.0:
                continue
            spectrum = self._spectrum(share[None])[0]
            total += float((energy / spectrum).mean().log() + spectrum.log().mean())
        return total


class _Axis:
    """One axis: eigenvectors of ``A C A'`` and the matrix that spreads weights back over the HR samples."""

    def __init__(self, operator: AxisOperator, ratio: float, device: torch.device) -> None:
        self._matrix = torch.as_tensor(operator.matrix.toarray(), dtype=torch.float64, device=device)
        distance = torch.arange(operator.size_in, dtype=torch.float64, device=device) / ratio
        self._distance = (distance[:, None] - distance[None, :]).abs()
        self.values = self.vectors = self.spread = self._matrix
        self._known: dict[float, tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = {}

    def set_length(self, length: float) -> None:
        if length not in self._known:
            covariance = torch.exp(-self._distance / length)
            cross = covariance @ self._matrix.T
            values, vectors = torch.linalg.eigh(self._matrix @ cross)
            self._known[length] = values.clamp_min(0.0), vectors, cross @ vectors
        values, vectors, spread = self._known[length]
        self.values, self.vectors, self.spread = values, vectors, spread.to(torch.float32)
