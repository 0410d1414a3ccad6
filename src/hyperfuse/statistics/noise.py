"""How noisy each band of a hyperspectral image is, from the image alone."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import nnls

# Mask of Immerkaer: the difference of two Laplacians, blind to any image that is locally a quadratic surface.
LAPLACIAN_DIFFERENCE = ((1.0, -2.0, 1.0), (-2.0, 4.0, -2.0), (1.0, -2.0, 1.0))

# Of what is left of a band, at least this part is its own noise.
_LEAST_SHARE = 0.1
_PIXELS_A_BAND = 4  # where there are fewer, bands are predicted in groups


def estimate_noise(hsi: torch.Tensor) -> torch.Tensor:
    """Return the standard deviation of the noise of each band, shape (bands,), in the units of the image.

    Every band is predicted from all others by least squares (Roger & Arnold 1996; the noise step of HySime,
    Bioucas-Dias & Nascimento 2008). What is left holds the noise and the signal that is peculiar to the band; the
    latter is spatially smooth, so only the part that a difference of Laplacians sees is counted (Immerkaer 1996).
    What is left of a band also holds the noise of the bands that predict it, which with few bands a material is as
    much as its own: with ``P`` the inverse covariance, the variances ``N_j`` of all bands solve ``sum_j (P_bj /
    P_bb)^2 N_j`` = variance left in band b (non-negative least squares). A pattern that one band alone shows adds
    about its deviation times sqrt(bands / pixels).

    With fewer than four pixels a band, every g-th band makes a group of its own.

    Args:
        hsi: image (bands, rows, cols), finite. With one band, or fewer than 3 x 3 pixels, noise cannot be told from
            signal: zeros are returned.
    """
    bands, rows, cols = hsi.shape
    noise = torch.zeros(bands, dtype=hsi.dtype, device=hsi.device)
    if min(rows, cols) < 3:
        return noise
    groups = -(-bands * _PIXELS_A_BAND // (rows * cols))
    for first in range(groups):
        noise[first::groups] = _noise_of_group(hsi[first::groups])
    return noise


def _noise_of_group(hsi: torch.Tensor) -> torch.Tensor:
    bands, rows, cols = hsi.shape
    zeros = torch.zeros(bands, dtype=hsi.dtype, device=hsi.device)
    if bands < 2:
        return zeros
    pixels = hsi.flatten(1).double()
    pixels = pixels - pixels.mean(1, keepdim=True)
    scale = pixels.square().mean(1)
    if not bool((scale > 0).any()):
        return zeros
    gram = pixels @ pixels.T / pixels.shape[1]
    gram = gram + 1e-10 * scale.max() * torch.eye(bands, dtype=gram.dtype, device=gram.device)
    inverse = torch.linalg.inv(gram)
    # With P the inverse covariance, the residual of band b regressed on the others is (P x)_b / P_bb.
    residual = (inverse @ pixels / inverse.diagonal()[:, None]).unflatten(1, (rows, cols))
    kernel = torch.tensor(LAPLACIAN_DIFFERENCE, dtype=residual.dtype, device=residual.device)[None, None]
    response = torch.nn.functional.conv2d(residual[:, None], kernel)[:, 0]
    left = response.square().mean((1, 2)) / kernel.square().sum()
    # Both the variance left and the weights of the other bands suffer from the degrees of freedom the regression took.
    inflation = (pixels.shape[1] / (pixels.shape[1] - bands)) ** 2
    mixing = (inverse / inverse.diagonal()[:, None]).square()
    variance = inflation * _unmix(mixing, left, bands / pixels.shape[1])
    return torch.minimum(variance, scale).sqrt().to(hsi.dtype)


def _unmix(mixing: torch.Tensor, left: torch.Tensor, doubt: float) -> torch.Tensor:
    """Solve ``mixing @ variances = left`` for variances of 0 or more, pulled to ``left`` by as much as there is doubt.

    With few pixels a band the mixing is itself an estimate, and no band must come out as clean by its chance.
    """
    unit = left.clamp_min(1e-12 * float(left.max())).clamp_min(torch.finfo(left.dtype).tiny)
    equations = (mixing * unit / unit[:, None]).cpu().numpy()
    share = (left / unit).cpu().numpy()
    pull = np.sqrt(doubt)
    solution, _ = nnls(np.vstack([equations, pull * np.eye(len(share))]), np.concatenate([share, pull * share]))
    return torch.as_tensor(np.maximum(solution, _LEAST_SHARE * share), device=left.device) * unit
