"""How noisy each band of a hyperspectral image is, from the image alone."""

from __future__ import annotations

import torch

# Mask of Immerkaer: the difference of two Laplacians, blind to any image that is locally a quadratic surface.
_LAPLACIAN_DIFFERENCE = ((1.0, -2.0, 1.0), (-2.0, 4.0, -2.0), (1.0, -2.0, 1.0))


def estimate_noise(hsi: torch.Tensor) -> torch.Tensor:
    """Return the standard deviation of the noise of each band, shape (bands,), in the units of the image.

    Every band is predicted from all others by least squares (Roger & Arnold 1996; the noise step of HySime,
    Bioucas-Dias & Nascimento 2008). What is left holds the noise and the signal that is peculiar to the band; the
    latter is spatially smooth, so only the part that a difference of Laplacians sees is counted (Immerkaer 1996).

    Args:
        hsi: image (bands, rows, cols), finite. With one band, or fewer than 3 x 3 pixels or than two pixels per
            band, noise cannot be told from signal: zeros are returned.
    """
    bands, rows, cols = hsi.shape
    zeros = torch.zeros(bands, dtype=hsi.dtype, device=hsi.device)
    if bands < 2 or rows < 3 or cols < 3 or rows * cols < 2 * bands:
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
    kernel = torch.tensor(_LAPLACIAN_DIFFERENCE, dtype=residual.dtype, device=residual.device)[None, None]
    response = torch.nn.functional.conv2d(residual[:, None], kernel)[:, 0]
    # Degrees of freedom that the regression took.
    inflation = pixels.shape[1] / (pixels.shape[1] - bands)
    variance = response.square().mean((1, 2)) / kernel.square().sum() * inflation
    return torch.minimum(variance, scale).sqrt().to(hsi.dtype)
