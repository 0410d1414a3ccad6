"""Data consistency: back-projection of the residual of the measured HSI, as a conditional mean in closed form."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch

from hyperfuse.methods.local_linear.solvers import Operator, conjugate_gradients, conjugate_residuals
from hyperfuse.sensor.axis import AxisOperator
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import KernelPsf
from hyperfuse.sensor.scattered import ScatteredOperator, scattered_interpolation
from hyperfuse.statistics.noise import estimate_noise
from hyperfuse.statistics.subspace import signal_subspace

_LENGTHS = (0.25, 0.5, 1.0, 2.0, 4.0)  # in LR pixels
_FLOOR = 1e-5  # of the prior variance: keeps the system well conditioned
_CHUNK = 32  # components
_SOLVER_CHUNK = 8  # float64 images at HR


def enforce_consistency(fused: torch.Tensor, hsi: torch.Tensor, sensor: Sensor) -> torch.Tensor:
    """Return ``fused`` plus the most probable correction given the residual ``hsi - degrade(fused)``.

    The error of ``fused`` is modelled as a Gaussian field of covariance ``C = exp(-(|dy| + |dx|) / l)``, the
    measurement as ``hsi = A X + noise``: the correction is ``C A' (A C A' + N)^-1 (hsi - A fused)`` (kriging, Cressie
    1993; for white ``C`` and no noise, the back-projection of Irani and Peleg, 1991). The length ``l`` is that of
    highest likelihood and ``N`` the noise as estimated from the HSI, so that a clean HSI is met to rounding and the
    noise of another is not fitted. Only components of the residual that differ from noise are corrected
    (:func:`~hyperfuse.statistics.subspace.signal_subspace`): errors of bands are correlated, their noise is not. They
    are determined away from the border, where the HSI also holds light from beyond the image. With a separable PSF and
    samples at regular positions the system is a Kronecker product and is solved by two eigendecompositions; with any
    other by conjugate gradients, preconditioned by the system of the PSF's marginals, whose likelihood also chooses
    ``l`` and the ratio of noise to prior. Where samples are displaced, ``C`` is that of regular ones, displaced as
    they are, and the system is solved by generalised conjugate residuals (Eisenstat, Elman, Schultz, SIAM J. Numer.
    Anal. 20(2), 1983), preconditioned by that of regular ones; samples beyond the image are left out.

    Args:
        fused: image (bands, H, W).
        hsi: LR-HSI (bands, h, w).
        sensor: its forward model.
    """
    fine, coarse = (fused.shape[-2], fused.shape[-1]), (hsi.shape[-2], hsi.shape[-1])
    measured = (hsi - sensor.degrade(fused, coarse)).double()
    subspace, deviations = signal_subspace(_inner(measured, sensor), estimate_noise(hsi), centre=False)
    if len(deviations) == 0:
        return fused
    residual, noise = subspace.project(measured), deviations.square()
    kriging = _Kriging(separable(sensor.regular(coarse)), fine, coarse, fused.device)
    kriging.choose_length(residual, noise)
    result = fused.clone()
    is_displaced, is_separable = sensor.displacement is not None, len(sensor.psf.factors()) == 1
    chunk = _CHUNK if is_separable or is_displaced else _SOLVER_CHUNK
    moved = _Moved.of(sensor, fine, coarse, fused) if is_displaced else None
    for start in range(0, len(residual), chunk):
        part = slice(start, start + chunk)
        if moved is not None:
            change = kriging.displaced_correction(residual[part], noise[part], moved, fused.dtype)
        elif is_separable:
            change = kriging.correction(residual[part], noise[part], fused.dtype)
        else:
            change = kriging.exact_correction(residual[part], noise[part], sensor, fused)
        result += subspace.part(part).expand(change)
    return result


def _inner(residual: torch.Tensor, sensor: Sensor) -> torch.Tensor:
    """Return a residual (bands, h, w) without pixels whose PSF reaches beyond the image; all where few remain."""
    moved = 0.0 if sensor.displacement is None else sensor.displacement.largest((residual.shape[1], residual.shape[2]))
    y, x = (math.ceil((reach + moved) / ratio) for reach, ratio in zip(sensor.reach, sensor.ratio, strict=True))
    inner = residual[:, y : residual.shape[1] - y, x : residual.shape[2] - x]
    return inner if 2 * inner[0].numel() >= residual[0].numel() else residual


@dataclass(frozen=True)
class ErrorModel:
    """The Gaussian model of :func:`enforce_consistency` of an error at HR.

    Attributes:
        at_lr: variance of the error at LR, as a fraction of that at HR.
        remaining: variance of the error after consistency is enforced, as a fraction of that before, (H, W).
    """

    at_lr: float
    remaining: torch.Tensor


def correlation_length(error: torch.Tensor, noise: torch.Tensor, sensor: Sensor, fine: tuple[int, int]) -> float:
    """Return the length ``l`` of :func:`enforce_consistency` of highest likelihood, in LR pixels.

    Args:
        error: at LR, before consistency is enforced, (bands, h, w).
        noise: variance of each band's noise in it, (bands,).
        sensor: the forward model; a PSF that is not separable is replaced by its marginals.
        fine: (H, W).
    """
    coarse = (error.shape[-2], error.shape[-1])
    kriging = _Kriging(separable(sensor.regular(coarse)), fine, coarse, error.device)
    some = error.flatten(1).square().sum(1) > 0
    return kriging.choose_length(error.double()[some], noise.double()[some])


def model_error(
    length: float, sensor: Sensor, fine: tuple[int, int], coarse: tuple[int, int], device: torch.device
) -> ErrorModel:
    """Return the model of errors of one correlation length.

    Args:
        length: in LR pixels.
        sensor: the forward model; a PSF that is not separable is replaced by its marginals, and around every sample
            the error remains as around a regular one.
        fine: (H, W).
        coarse: (h, w).
        device: of the result.
    """
    kriging = _Kriging(separable(sensor.regular(coarse)), fine, coarse, device)
    kriging.set_length(length)
    model = kriging.error_model()
    if sensor.displacement is None:
        return model
    return ErrorModel(model.at_lr, _from_regular(sensor, fine, coarse, "linear")(model.remaining))


def separable(sensor: Sensor) -> Sensor:
    """Return the sensor with the product of the PSF's marginals, which keeps its sum and its low frequencies."""
    if len(sensor.psf.factors()) == 1 or not isinstance(sensor.psf, KernelPsf):
        return sensor
    kernel = np.asarray(sensor.psf.weights)
    product = np.outer(kernel.sum(axis=1), kernel.sum(axis=0))
    return sensor.replace(psf=sensor.psf.model_copy(update={"weights": tuple(map(tuple, product.tolist()))}))


class _Moved(NamedTuple):
    """What displaces an image on the HR grid of regular samples, the sensor, and 1 for samples (h, w) on the image."""

    displace: Operator
    degrade: Operator
    known: torch.Tensor

    @classmethod
    def of(cls, sensor: Sensor, fine: tuple[int, int], coarse: tuple[int, int], like: torch.Tensor) -> _Moved:
        """Samples beyond the image repeat what others see mirrored, and are not known."""
        positions, end = sensor.positions(coarse), np.reshape(fine, (2, 1, 1)) - 0.5
        known = torch.from_numpy(((positions >= -0.5) & (positions <= end)).all(axis=0))
        degrade = functools.partial(sensor.degrade, shape=coarse)
        return cls(_from_regular(sensor, fine, coarse, "cubic"), degrade, known.to(like.device, torch.float64))


def _from_regular(
    sensor: Sensor, fine: tuple[int, int], coarse: tuple[int, int], kernel: Literal["linear", "cubic"]
) -> ScatteredOperator:
    """Return the operator that displaces images (H, W) of regular samples as the sensor displaces its samples."""
    positions = sensor.inverse_positions(fine) * np.reshape(sensor.ratio, (2, 1, 1))
    positions += np.reshape(sensor.regular(coarse).offset, (2, 1, 1))
    return scattered_interpolation(fine, positions, kernel)


class _Kriging:
    """The Kronecker-structured Gaussian model of the residual, for one geometry."""

    def __init__(self, sensor: Sensor, fine: tuple[int, int], coarse: tuple[int, int], device: torch.device) -> None:
        along_y, along_x = sensor.sampling(fine, coarse)[0]
        self._axes = [
            _Axis(along_y, sensor.ratio[0], device),
            _Axis(along_x, sensor.ratio[1], device),
        ]

    def choose_length(self, residual: torch.Tensor, noise: torch.Tensor) -> float:
        best = float("inf")
        chosen = _LENGTHS[0]
        for length in _LENGTHS:
            self.set_length(length)
            score = self._negative_log_likelihood(residual, noise)
            if score < best:
                best, chosen = score, length
        self.set_length(chosen)
        return chosen

    def set_length(self, length: float) -> None:
        for axis in self._axes:
            axis.set_length(length)

    def correction(self, residual: torch.Tensor, noise: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Return ``C A' (A C A' + N)^-1 residual`` at HR, (components, H, W), computed in ``dtype``."""
        y, x = self._axes
        weights = y.vectors.T @ residual @ x.vectors / self._spectrum(self._noise_ratio(residual, noise))
        return y.spread.to(dtype) @ weights.to(dtype) @ x.spread.to(dtype).T

    def exact_correction(
        self, residual: torch.Tensor, noise: torch.Tensor, sensor: Sensor, like: torch.Tensor
    ) -> torch.Tensor:
        """Return the same for a PSF that this model's axes only approximate, of the size and type of ``like``."""
        y, x = self._axes
        ratios = self._noise_ratio(residual, noise)
        ratio, spectrum = ratios[:, None, None], self._spectrum(ratios)
        fine = (like.shape[-2], like.shape[-1])

        def spread(weights: torch.Tensor) -> torch.Tensor:
            return y.covariance @ sensor.degrade_adjoint(weights, fine) @ x.covariance

        def system(weights: torch.Tensor) -> torch.Tensor:
            return sensor.degrade(spread(weights), (weights.shape[-2], weights.shape[-1])) + ratio * weights

        def approximate_inverse(weights: torch.Tensor) -> torch.Tensor:
            return y.vectors @ (y.vectors.T @ weights @ x.vectors / spectrum) @ x.vectors.T

        return spread(conjugate_gradients(system, approximate_inverse, residual)).to(like.dtype)

    def displaced_correction(
        self, residual: torch.Tensor, noise: torch.Tensor, moved: _Moved, dtype: torch.dtype
    ) -> torch.Tensor:
        """Return the same for samples that are displaced from those of this model, computed in ``dtype`` at HR."""
        y, x = self._axes
        ratios = self._noise_ratio(residual * moved.known, noise)
        ratio, spectrum = ratios[:, None, None], self._spectrum(ratios)

        def spread(weights: torch.Tensor) -> torch.Tensor:
            fields = y.spread.to(dtype) @ weights.to(dtype) @ x.spread.to(dtype).T
            return moved.displace(fields)

        # Weights are those of the eigenvectors of regular samples.
        def system(weights: torch.Tensor) -> torch.Tensor:
            own = y.vectors @ weights @ x.vectors.T
            return (moved.degrade(spread(weights)).double() + ratio * own) * moved.known

        def approximate_inverse(seen: torch.Tensor) -> torch.Tensor:
            return y.vectors.T @ seen @ x.vectors / spectrum

        return spread(conjugate_residuals(system, approximate_inverse, residual * moved.known))

    def error_model(self) -> ErrorModel:
        y, x = self._axes
        spectrum = y.values[:, None] * x.values[None, :] + _FLOOR
        # The diagonal of C A' (A C A')^-1 A C; that of C itself is 1.
        explained = y.spread.square() @ (1.0 / spectrum) @ x.spread.square().T
        return ErrorModel(float(y.at_lr * x.at_lr), (1.0 - explained).clamp(0.0, 1.0))

    def _spectrum(self, ratios: torch.Tensor) -> torch.Tensor:
        y, x = self._axes
        return y.values[:, None] * x.values[None, :] + ratios[:, None, None]

    def _noise_ratio(self, residual: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
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
        ratios = self._noise_ratio(residual, noise)
        for energy, ratio in zip(energies, ratios, strict=True):
            if float(energy.sum()) == 0.0:
                continue
            spectrum = self._spectrum(ratio[None])[0]
            total += float((energy / spectrum).mean().log() + spectrum.log().mean())
        return total


class _Axis:
    """One axis: eigenvectors of ``A C A'`` and the matrix that spreads weights back over the HR samples."""

    def __init__(self, operator: AxisOperator, ratio: float, device: torch.device) -> None:
        self._matrix = torch.as_tensor(operator.matrix.toarray(), dtype=torch.float64, device=device)
        distance = torch.arange(operator.size_in, dtype=torch.float64, device=device) / ratio
        self._distance = (distance[:, None] - distance[None, :]).abs()
        self.values = self.vectors = self.spread = self._matrix
        self._length = 1.0
        self._known: dict[float, tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = {}

    @property
    def at_lr(self) -> float:
        """Mean variance of a sample of ``A``, of a field of unit variance."""
        return float((self._matrix @ self.covariance * self._matrix).sum(1).mean())

    @property
    def covariance(self) -> torch.Tensor:
        """``C`` along this axis, at the current length."""
        return torch.exp(-self._distance / self._length)

    def set_length(self, length: float) -> None:
        self._length = length
        if length not in self._known:
            cross = self.covariance @ self._matrix.T
            values, vectors = torch.linalg.eigh(self._matrix @ cross)
            self._known[length] = values.clamp_min(0.0), vectors, cross @ vectors
        self.values, self.vectors, self.spread = self._known[length]
