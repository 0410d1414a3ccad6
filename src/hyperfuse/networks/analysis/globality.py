"""The effect of a local change of a spectrum on the whole image."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hyperfuse.errors import InputError
from hyperfuse.networks.feinfn import FeINFN


@dataclass(frozen=True)
class GlobalEffect:
    """Effect of a change of one frequency on the image.

    Attributes:
        change: (..., H, W), changed minus original.
        fraction_of_pixels: fraction of pixels that change by more than a hundredth of the largest change.
    """

    change: torch.Tensor
    fraction_of_pixels: float


def change_one_frequency(image: torch.Tensor, bin_at: tuple[int, int], factor: complex) -> GlobalEffect:
    """Multiply one frequency of a real image (and its conjugate) by ``factor`` and report which pixels change.

    A local change of the spectrum acts on the whole image: the global receptive field of FeINFN's frequency branch
    (NeurIPS 2024).

    Args:
        image: (..., H, W), for instance ``E_f`` of :meth:`FeINFN.features`.
        bin_at: (row, column) of ``rfft2``.
        factor: of that frequency.

    Returns:
        The effect.

    Example:
        >>> change_one_frequency(torch.rand(16, 16), (2, 3), 2.0).fraction_of_pixels > 0.9
        True
    """
    image = image.detach().double()
    height, width = image.shape[-2:]
    half = torch.fft.rfft2(image)
    row, column = bin_at[0] % height, bin_at[1]
    if not 0 <= column <= width // 2:
        raise InputError(f"column {column} is not in the half spectrum, 0 to {width // 2}")
    half[..., row, column] *= factor
    mirrored = -row % height
    if column in (0, width / 2) and mirrored != row:
        half[..., mirrored, column] = half[..., row, column].conj()
    change = torch.fft.irfft2(half, s=(height, width)) - image
    largest = change.abs().amax()
    return GlobalEffect(change, float((change.abs() > 0.01 * largest).double().mean()) if largest > 0 else 0.0)


def effect_on_fusion(
    network: FeINFN, hsi: torch.Tensor, msi: torch.Tensor, bin_at: tuple[int, int], factor: complex
) -> GlobalEffect:
    """Change one frequency of ``E_f`` in a network and report which pixels of its output change.

    Args:
        network: with a frequency branch and a spatial one.
        hsi: (B, hsi_bands, h, w).
        msi: (B, msi_bands, H, W).
        bin_at: (row, column) of ``rfft2``.
        factor: of that frequency.

    Returns:
        The effect on the fused image.

    Raises:
        InputError: the network lacks one of the branches.
    """
    with torch.no_grad():
        features = network.features(hsi, msi)
        if features.frequency is None or features.spatial is None:
            raise InputError("the network has only one branch; build it with domains='both'")
        change = change_one_frequency(features.frequency, bin_at, factor).change.to(features.frequency.dtype)
        pixels = [x.permute(0, 2, 3, 1) for x in (features.spatial, features.frequency, features.frequency + change)]
        dtype = features.spatial.dtype
        before, after = (network.decoder(pixels[0], x, dtype).permute(0, 3, 1, 2) for x in pixels[1:])
    difference = (after - before).double()
    largest = difference.abs().amax()
    fraction = float((difference.abs().amax(dim=1) > 0.01 * largest).double().mean()) if largest > 0 else 0.0
    return GlobalEffect(difference, fraction)
