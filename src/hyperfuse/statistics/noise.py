"""Standard deviation of the noise of each band of an image, from the image alone."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import nnls

# Root of the sum of squared weights of Immerkaer's mask (1996), the difference of two Laplacians: 0 on any image that
# is locally a quadratic surface, and the product of second differences along both axes.
_LAPLACIAN_NORM = 6.0

# Minimum fraction of the residual variance of a band that is its own noise.
_MIN_OWN_FRACTION = 0.1
_MIN_PIXELS_PER_BAND = 4  # where there are fewer, bands are predicted in groups

_BLOCK = 8
_QUIET_QUANTILE = 0.1
# What :func:`quiet_energy` returns for white noise of unit variance on an image of any large size.
QUIET_ENERGY_OF_UNIT_NOISE = 0.6289628928826033


def estimate_noise(hsi: torch.Tensor) -> torch.Tensor:
    """Return the standard deviation of the noise of each band of an image (bands, rows, cols), (bands,), in its units.

    Every band is predicted from all others by least squares (Roger & Arnold 1996; the noise step of HySime,
    Bioucas-Dias & Nascimento 2008). The residual holds the noise and the signal that is peculiar to the band; the
    latter is spatially smooth, so only the response to a difference of Laplacians is counted (Immerkaer 1996). The
    residual also holds the noise of the bands that predict it, which with few bands per material is as large as the
    band's own: with ``P`` the inverse covariance, the variances ``N_j`` of all bands solve ``sum_j (P_bj / P_bb)^2
    N_j`` = residual variance of band b (non-negative least squares). A pattern in one band only adds about its
    deviation times sqrt(bands / pixels).

    With fewer than four pixels per band, every g-th band makes a separate group. With one band, or fewer than 3 x 3
    pixels, noise cannot be distinguished from signal: zeros are returned.
    """
    noise = torch.zeros(len(hsi), dtype=hsi.dtype, device=hsi.device)
    for group in _groups(hsi):
        noise[group] = _noise_of_group(hsi[group])[0].sqrt().to(hsi.dtype)
    return noise


def noise_residual(hsi: torch.Tensor) -> torch.Tensor:
    """Return what :func:`estimate_noise` measures, float64 (bands, rows - 2, cols - 2): where the noise is.

    The response of each band's residual to a difference of Laplacians, scaled to the noise: its mean square is the
    estimated variance.

    Args:
        hsi: image (bands, rows, cols) of at least 3 x 3 pixels.
    """
    bands, rows, cols = hsi.shape
    residual = torch.zeros(bands, rows - 2, cols - 2, dtype=torch.float64, device=hsi.device)
    for group in _groups(hsi):
        variance, response = _noise_of_group(hsi[group])
        energy = response.square().mean((1, 2)).clamp_min(torch.finfo(response.dtype).tiny)
        residual[group] = response * (variance / energy).sqrt()[:, None, None]
    return residual


def _groups(hsi: torch.Tensor) -> list[slice]:
    """Return the groups of bands that are predicted from each other; none where an image is too small."""
    bands, rows, cols = hsi.shape
    if min(rows, cols) < 3:
        return []
    count = -(-bands * _MIN_PIXELS_PER_BAND // (rows * cols))
    return [slice(first, None, count) for first in range(count)]


def laplacian_difference(image: torch.Tensor) -> torch.Tensor:
    """Apply the difference of Laplacians, scaled so that unit noise keeps its variance: (bands, rows - 2, cols - 2)."""
    tall = (image[:, :-2] + image[:, 2:]).sub_(image[:, 1:-1], alpha=2)
    return (tall[..., :-2] + tall[..., 2:]).sub_(tall[..., 1:-1], alpha=2).div_(_LAPLACIAN_NORM)


def quiet_energy(image: torch.Tensor) -> torch.Tensor:
    """Return the energy of the difference of Laplacians in the quietest blocks of each band, (bands,).

    Of the means over blocks of 8 x 8 pixels of an image of at least 10 x 10 the tenth percentile: those blocks hold
    noise and little texture. Divided by ``QUIET_ENERGY_OF_UNIT_NOISE`` it is the variance of white noise.
    """
    means = torch.nn.functional.avg_pool2d(laplacian_difference(image).square()[:, None], _BLOCK).flatten(1)
    return means.quantile(_QUIET_QUANTILE, dim=1)


def _noise_of_group(hsi: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the variance of the noise of each band, and the response that it is measured by, both float64."""
    bands, rows, cols = hsi.shape
    pixels = hsi.flatten(1).double()
    pixels = pixels - pixels.mean(1, keepdim=True)
    scale = pixels.square().mean(1)
    if bands < 2 or not bool((scale > 0).any()):
        return torch.zeros_like(scale), torch.zeros(bands, rows - 2, cols - 2).to(scale)
    gram = pixels @ pixels.T / pixels.shape[1]
    gram = gram + 1e-10 * scale.max() * torch.eye(bands, dtype=gram.dtype, device=gram.device)
    inverse = torch.linalg.inv(gram)
    # With P the inverse covariance, the residual of band b regressed on the others is (P x)_b / P_bb.
    residual = (inverse @ pixels / inverse.diagonal()[:, None]).unflatten(1, (rows, cols))
    response = laplacian_difference(residual)
    residual_variance = response.square().mean((1, 2))
    # Residual variance and weights of the other bands both depend on the degrees of freedom of the regression.
    inflation = (pixels.shape[1] / (pixels.shape[1] - bands)) ** 2
    mixing = (inverse / inverse.diagonal()[:, None]).square()
    variance = inflation * _unmix(mixing, residual_variance, bands / pixels.shape[1])
    return torch.minimum(variance, scale), response


def _unmix(mixing: torch.Tensor, residual: torch.Tensor, uncertainty: float) -> torch.Tensor:
    """Solve ``mixing @ variances = residual`` for variances of 0 or more, with a ridge towards ``residual``.

    With few pixels per band the mixing is itself an estimate, and no band must come out as clean by chance.
    """
    unit = residual.clamp_min(1e-12 * float(residual.max())).clamp_min(torch.finfo(residual.dtype).tiny)
    equations = (mixing * unit / unit[:, None]).cpu().numpy()
    relative = (residual / unit).cpu().numpy()
    ridge = np.sqrt(uncertainty)
    solution, _ = nnls(
        np.vstack([equations, ridge * np.eye(len(relative))]), np.concatenate([relative, ridge * relative])
    )
    return torch.as_tensor(np.maximum(solution, _MIN_OWN_FRACTION * relative), device=residual.device) * unit
