"""Noise of an HSI that is in its MSI too: it is in the scene, and stronger at HR, where no PSF has averaged it."""

from __future__ import annotations

import math

import torch

from hyperfuse.methods.contract.method import PairTensors
from hyperfuse.methods.local_linear.consistency import separable
from hyperfuse.methods.local_linear.msi_noise import passed_variance
from hyperfuse.statistics.noise import estimate_noise, laplacian_difference

_MAX_UNEXPLAINED = 0.3  # of what the HSI's noise would leave of the MSI, were it not in the scene
_COMPONENTS_PER_PIXEL = 2 / 3
_NOISELESS = 1e-6  # of a band's deviation: the minimum noise of its unit
_TINY = 1e-30


def is_in_scene(pair: PairTensors) -> bool:
    """Return whether the noise of the HSI is in the scene: whether the MSI at LR holds it as well.

    Detail of single bands looks like noise, and so does the noise of an image from which both were simulated. An MSI
    that saw the same is a combination of the HSI's bands, noise included; noise of the HSI's own sensor remains when
    the MSI is regressed on the HSI, with the square of each band's weight.
    """
    hsi, coarse = pair.hsi, (pair.hsi.shape[-2], pair.hsi.shape[-1])
    pixels = coarse[0] * coarse[1]
    components = min(len(hsi), int(_COMPONENTS_PER_PIXEL * pixels))
    if min(coarse) < 3 or components < len(pair.msi):
        return False
    spectra = hsi.flatten(1).double()
    spectra = spectra - spectra.mean(1, keepdim=True)
    degraded = pair.sensor.degrade(pair.msi, coarse).flatten(1).double()
    degraded = degraded - degraded.mean(1, keepdim=True)
    noise = estimate_noise(hsi).double()
    unit = torch.maximum(noise, _NOISELESS * spectra.square().mean(1).sqrt()).clamp_min(_TINY)
    relative = spectra / unit[:, None]
    basis = torch.linalg.eigh(relative @ relative.T)[1][:, -components:]
    scores = basis.T @ relative
    weights = torch.linalg.lstsq(scores.T, degraded.T).solution.T
    residual = laplacian_difference((degraded - weights @ scores).unflatten(1, coarse)).square().mean((1, 2))
    residual = residual * pixels / max(1, pixels - components - 1)
    from_hsi = (weights @ basis.T).square() @ (noise / unit).square()
    return bool((residual / from_hsi.clamp_min(_TINY)).median() < _MAX_UNEXPLAINED)


def averaging(pair: PairTensors) -> float:
    """Return the variance at LR of scene noise of unit variance at HR, as the estimate of the noise measures it.

    A wide PSF correlates the noise of neighbouring LR pixels, and :func:`estimate_noise` counts the part that looks
    white, next to other fine detail: between the two fractions that would be passed lies their geometric mean.
    """
    fine, coarse = (pair.msi.shape[-2], pair.msi.shape[-1]), (pair.hsi.shape[-2], pair.hsi.shape[-1])
    passed = 1.0
    for operator in separable(pair.sensor.regular(coarse)).sampling(fine, coarse)[0]:
        passed *= float(operator.matrix.multiply(operator.matrix).sum()) / operator.matrix.shape[0]
    return math.sqrt(passed * passed_variance(pair.sensor, fine, coarse))
