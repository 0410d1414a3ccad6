"""Leakage of a convolution kernel on a spectrum between frequencies."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from hyperfuse.errors import InputError


@dataclass(frozen=True)
class Leakage:
    """Effect of a convolution kernel on a spectrum on one frequency.

    Attributes:
        leaked: fraction of the energy that moves to other frequencies, 0 to 1.
        response: (rows, columns), energy at each frequency, summing to 1; in the order of ``fft2``.
        envelope: (rows, columns), the factor on the image that the kernel amounts to: constant for a 1x1 kernel.
    """

    leaked: float
    response: torch.Tensor
    envelope: torch.Tensor


def spectrum_leakage(kernel: torch.Tensor, rows: int, columns: int, bin_at: tuple[int, int]) -> Leakage:
    """Convolve a spectrum of one frequency with ``kernel`` and report where the energy goes.

    Convolving a spectrum is multiplying the image by the kernel's transform: a 1x1 kernel scales the image, any other
    modulates it and so spreads a frequency over its neighbours (FeINFN, NeurIPS 2024, the choice of phase kernel).

    Args:
        kernel: (k, k), k odd.
        rows: rows of the spectrum, at least k.
        columns: columns of the spectrum, at least k.
        bin_at: the frequency, as (row, column) of ``fft2``.

    Returns:
        The leakage.

    Raises:
        InputError: for a kernel that is even, not square or larger than the spectrum, or one of zeros.

    Example:
        >>> spectrum_leakage(torch.ones(1, 1), 8, 8, (2, 3)).leaked
        0.0
    """
    size = kernel.shape[0]
    if kernel.dim() != 2 or kernel.shape[1] != size or size % 2 == 0 or size > min(rows, columns):
        raise InputError(f"kernel must be (k, k) with odd k up to {min(rows, columns)}, not {tuple(kernel.shape)}")
    if not bool(kernel.any()):
        raise InputError("kernel holds only zeros")
    kernel = kernel.detach().double()
    spectrum = torch.zeros(1, 1, rows, columns, dtype=torch.float64)
    spectrum[0, 0, bin_at[0] % rows, bin_at[1] % columns] = 1.0
    half = size // 2
    padded = F.pad(spectrum, (half, half, half, half), mode="circular")
    energy = F.conv2d(padded, kernel[None, None])[0, 0].square()
    response = energy / energy.sum()
    centred = torch.zeros(rows, columns, dtype=torch.float64)
    centred[:size, :size] = kernel.flip(0, 1)
    envelope = torch.fft.ifft2(torch.roll(centred, (-half, -half), dims=(0, 1)), norm="forward").abs()
    return Leakage(float(1 - response[bin_at[0] % rows, bin_at[1] % columns]), response, envelope)
