"""Losses between fused images and references, by name; a training loss is a weighted sum of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from hyperfuse.errors import InputError, nearest_name
from hyperfuse.networks.base import FusionNetwork

LossTerm = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

SSIM_WINDOW = 11
_SSIM_SIGMA = 1.5
_CHARBONNIER_EPSILON = 1e-3


def l1(fused: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference."""
    return (fused - reference).abs().mean()


def mse(fused: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Mean squared difference."""
    return (fused - reference).square().mean()


def charbonnier(fused: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Mean of ``sqrt(d^2 + 1e-6)``: an absolute difference that is smooth at 0 (Charbonnier et al., 1994)."""
    return ((fused - reference).square() + _CHARBONNIER_EPSILON**2).sqrt().mean()


def ssim_loss(fused: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """One less the mean SSIM of all bands (Wang, Bovik, Sheikh and Simoncelli, 2004, eq. 13).

    Windows of 11x11 with Gaussian weights of sigma 1.5 that do not leave the image, population moments, range 1; the
    same index as :func:`hyperfuse.metrics.ssim`, with gradients. Nothing is clipped. Both images are (B, bands, H, W),
    H and W at least 11.

    Example:
        >>> x = torch.rand(1, 2, 12, 12)
        >>> float(ssim_loss(x, x))
        0.0
    """
    along_y = _window_means(fused.shape[-2], fused)
    along_x = _window_means(fused.shape[-1], fused).T
    moments = torch.stack([fused, reference, fused * fused + reference * reference, fused * reference])
    mean_x, mean_y, mean_squares, mean_product = (along_y @ moments @ along_x).unbind()
    products, squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    covariances, variances = mean_product - products, mean_squares - squares
    similar = (2 * products + 0.01**2) * (2 * covariances + 0.03**2)
    return 1 - (similar / ((squares + 0.01**2) * (variances + 0.03**2))).mean()


def fourier_loss(fused: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Mean modulus of the difference of the bands' two-dimensional Fourier transforms, which are not normalised."""
    modulus: torch.Tensor = torch.fft.fft2(fused - reference).abs()
    return modulus.mean()


LOSS_TERMS: Mapping[str, LossTerm] = {
    "l1": l1,
    "mse": mse,
    "charbonnier": charbonnier,
    "ssim": ssim_loss,
    "fourier": fourier_loss,
}


def weighted_loss(weights: Mapping[str, float]) -> LossTerm:
    """Return the sum of the terms of ``LOSS_TERMS`` that are named, each times its weight; of weight 0: not computed.

    Raises:
        InputError: for a name that is not known.

    Example:
        >>> loss = weighted_loss({"l1": 1.0, "ssim": 0.1})
        >>> round(float(loss(torch.zeros(1, 1, 16, 16), torch.ones(1, 1, 16, 16))), 4)
        1.1
    """
    for name in weights:
        if name not in LOSS_TERMS:
            raise InputError(f"no loss is called {name!r}{nearest_name(name, LOSS_TERMS)}")
    terms = [(LOSS_TERMS[name], weight) for name, weight in weights.items() if weight]
    if not terms:
        raise InputError("a loss needs at least one term with a weight other than 0")

    def loss(fused: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        # Summed from tensors of the loss's own type: half precision is not enough for means over many pixels.
        fused, reference = _at_least_float32(fused), _at_least_float32(reference)
        return torch.stack([weight * term(fused, reference) for term, weight in terms]).sum()

    return loss


def _at_least_float32(x: torch.Tensor) -> torch.Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _window_means(size: int, like: torch.Tensor) -> torch.Tensor:
    """Return the matrix (size - 10, size) of Gaussian means: a dense product is faster than so narrow a convolution."""
    if size < SSIM_WINDOW:
        raise InputError(f"SSIM needs images of {SSIM_WINDOW}x{SSIM_WINDOW} pixels or more, got a side of {size}")
    # On the device of the images: a copy to it at every step would wait for it.
    pixel = torch.arange(size, dtype=like.dtype, device=like.device)
    offset = pixel - pixel[: size - SSIM_WINDOW + 1, None]
    centre = SSIM_WINDOW // 2
    weight = torch.exp(-(((offset - centre) / _SSIM_SIGMA) ** 2) / 2) * ((offset - centre).abs() <= centre)
    return weight / weight.sum(1, keepdim=True)


class IntermediateOutputs(torch.nn.Module):
    """A network whose call gives its intermediate outputs, as the wrapper of several processes needs it."""

    def __init__(self, network: FusionNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, hsi: torch.Tensor, msi: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the outputs of which losses are taken."""
        return self.network.intermediate(hsi, msi)
