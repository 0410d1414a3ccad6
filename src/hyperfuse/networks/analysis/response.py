"""Frequency responses of decoder features."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hyperfuse.networks.feinfn import FeINFN


@dataclass(frozen=True)
class FrequencyResponse:
    """Power of features by distance from DC.

    Attributes:
        cycles_per_pixel: (bins,), the centre of each ring, 0 to 0.5.
        power: (maps, bins), mean power of a ring, averaged over channels; the sum over all frequencies of the plane is
            the mean square of the feature.
    """

    cycles_per_pixel: torch.Tensor
    power: torch.Tensor


def radial_power(features: list[torch.Tensor], bins: int = 32) -> FrequencyResponse:
    """Return the power spectrum of each (C, H, W) feature map over rings of equal width.

    Args:
        features: maps of one size.
        bins: rings between DC and 0.5 cycles per pixel; corners beyond 0.5 are excluded.

    Returns:
        The response.

    Example:
        >>> radial_power([torch.rand(3, 16, 16)], bins=4).power.shape
        torch.Size([1, 4])
    """
    height, width = features[0].shape[-2:]
    fy = torch.fft.fftfreq(height, dtype=torch.float64)[:, None]
    fx = torch.fft.fftfreq(width, dtype=torch.float64)[None, :]
    radius = torch.sqrt(fy**2 + fx**2)
    ring = (radius * 2 * bins).long()
    inside = ring < bins
    count = torch.bincount(ring[inside], minlength=bins).clamp_min(1)
    powers = []
    for feature in features:
        plane = torch.fft.fft2(feature.detach().double(), norm="forward").abs().square().mean(dim=0)
        powers.append(torch.bincount(ring[inside], weights=plane[inside], minlength=bins) / count)
    centre = (torch.arange(bins, dtype=torch.float64) + 0.5) / (2 * bins)
    return FrequencyResponse(centre, torch.stack(powers))


def decoder_response(network: FeINFN, hsi: torch.Tensor, msi: torch.Tensor, bins: int = 32) -> FrequencyResponse:
    """Return the frequency response of the decoder's layers on a pair, averaged over the batch.

    Compare networks built with each ``activation``: this is the paper's comparison of Gabor and ReLU decoders.

    Args:
        network: in any state.
        hsi: (B, hsi_bands, h, w).
        msi: (B, msi_bands, H, W).
        bins: rings.

    Returns:
        One row of power per decoder layer.
    """
    with torch.no_grad():
        layers = network.features(hsi, msi).decoder
    return radial_power([layer.flatten(0, 1) for layer in layers], bins)
