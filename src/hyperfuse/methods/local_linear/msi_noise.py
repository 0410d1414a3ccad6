"""Noise of an MSI, from the image itself and from the HSI of the same scene."""

from __future__ import annotations

import math

import torch

from hyperfuse.methods.local_linear.consistency import separable
from hyperfuse.sensor.model import Sensor
from hyperfuse.statistics.noise import QUIET_ENERGY_OF_UNIT_NOISE, estimate_noise, laplacian_difference, quiet_energy

_MIN_SIZE = 10  # pixels along a side, for the energy of quiet blocks
MIN_LR_PIXELS = 128  # below, noise of neither image can be distinguished from texture
_MIN_BANDS = 5  # below, bands do not predict each other well enough to distinguish signal from noise
_PIXELS_PER_COMPONENT = 6
_PIXELS_PER_SAMPLE = 4.0  # under a wide PSF the noise of neighbouring pixels is correlated
_ROUNDING = 1e-12
_QUARTILE_OF_UNIT_SQUARE = 0.10153  # the lower one, of the square of a standard normal number
_WHITE = 4  # images of noise by which the variance that displaced samples pass is measured
_HSI_NOISE_ERROR = 0.15  # relative error of the HSI's noise variance


def estimate_msi_noise(
    hsi: torch.Tensor, msi: torch.Tensor, sensor: Sensor, agrees: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the standard deviation of the noise of each MSI band, (msi_bands,).

    Fine texture is easily mistaken for noise, so the smallest of three estimates is taken, each of which may err
    upwards only: the energy of a difference of Laplacians in the quietest blocks of a band; the residual of its
    prediction from the other bands (see :func:`~hyperfuse.statistics.noise.estimate_noise`); and the upper bound of the
    part that the HSI cannot explain at LR, where a PSF transmits a known fraction of white noise. For images too small
    for any, 0 is returned.

    Args:
        hsi: LR-HSI (bands, h, w), finite.
        msi: HR-MSI (msi_bands, H, W), finite.
        sensor: the forward model; its SRF is not used.
        agrees: LR pixels at which both images show the same, bool (h, w); None for all.
    """
    if hsi[0].numel() < MIN_LR_PIXELS:
        return torch.zeros_like(msi[:, 0, 0])
    estimates = [_unexplained(hsi, msi, sensor, agrees)]
    if min(msi.shape[-2:]) >= _MIN_SIZE:
        estimates.append((quiet_energy(msi.double()) / QUIET_ENERGY_OF_UNIT_NOISE).sqrt())
    if msi.shape[0] >= _MIN_BANDS:
        estimates.append(estimate_noise(msi).double())
    smallest = torch.stack(estimates).amin(0)
    return torch.where(smallest.isfinite(), smallest, 0.0).to(msi.dtype)


def _unexplained(hsi: torch.Tensor, msi: torch.Tensor, sensor: Sensor, agrees: torch.Tensor | None) -> torch.Tensor:
    """Return an upper bound of the noise from the degraded MSI, regressed on the components of the HSI.

    The residual holds the MSI's noise, as far as the PSF transmits it, and that of the HSI, which is known.
    """
    coarse, fine = (hsi.shape[-2], hsi.shape[-1]), (msi.shape[-2], msi.shape[-1])
    known = torch.ones(coarse, dtype=torch.bool, device=hsi.device) if agrees is None else agrees
    pixels = int(known.sum())
    components = min(hsi.shape[0], pixels // _PIXELS_PER_COMPONENT)
    unknown = torch.full((msi.shape[0],), torch.inf, dtype=torch.float64, device=msi.device)
    if min(coarse) < 3 or components < msi.shape[0]:
        return unknown
    spectra = hsi.flatten(1).double()
    spectra = spectra - spectra.mean(1, keepdim=True)
    degraded = sensor.degrade(msi, coarse).flatten(1).double()
    degraded = degraded - degraded.mean(1, keepdim=True)
    values, vectors = torch.linalg.eigh(spectra @ spectra.T)
    basis = vectors[:, -components:]
    # Directions that hold nothing but rounding would explain nothing, with weights of any size.
    basis = basis[:, values[-components:] > _ROUNDING * values[-1]]
    components = basis.shape[1]
    if components == 0:
        return unknown
    scores = basis.T @ spectra
    flat = known.flatten()
    weights = torch.linalg.lstsq(scores[:, flat].T, degraded[:, flat].T).solution.T
    whole = known.unfold(0, 3, 1).unfold(1, 3, 1).all(-1).all(-1)  # all pixels under a difference of Laplacians
    if not bool(whole.any()):
        return unknown
    squared = laplacian_difference((degraded - weights @ scores).unflatten(1, coarse))[:, whole].square()
    # Of noise, mean and quartile say the same; saturated, changed or filled pixels raise the mean alone.
    residual = torch.minimum(squared.mean(1), squared.quantile(0.25, dim=1) / _QUARTILE_OF_UNIT_SQUARE)
    residual = residual * pixels / (pixels - components - 1)
    from_hsi = (weights @ basis.T).square() @ estimate_noise(hsi).double().square()
    beyond = (residual - from_hsi).clamp_min(0) + _HSI_NOISE_ERROR * torch.minimum(from_hsi, residual)
    chance = 2 * math.sqrt(2 * _PIXELS_PER_SAMPLE / pixels) * residual
    bound: torch.Tensor = (beyond + chance) / passed_variance(sensor, fine, coarse)
    return bound.sqrt()


def passed_variance(sensor: Sensor, fine: tuple[int, int], coarse: tuple[int, int]) -> float:
    """Return the variance of :func:`laplacian_difference` after the PSF, of white noise of unit variance at HR."""
    if sensor.displacement is not None:  # every sample passes another fraction
        white = torch.randn(_WHITE, *fine, generator=torch.Generator().manual_seed(0))
        return max(float(laplacian_difference(sensor.degrade(white, coarse)).square().mean()), 1e-12)
    variance = 1.0
    for operator in separable(sensor).sampling(fine, coarse)[0]:
        matrix = operator.matrix
        second = matrix[:-2] - 2 * matrix[1:-1] + matrix[2:]
        variance *= float(second.multiply(second).sum()) / second.shape[0] / 6
    return max(variance, 1e-12)
