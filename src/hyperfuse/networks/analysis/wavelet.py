"""The Gabor wavelet in time and frequency."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hyperfuse.errors import InputError


@dataclass(frozen=True)
class Wavelet:
    """A wavelet in time and frequency.

    Attributes:
        time: (n,).
        values: (n,) complex.
        angular_frequency: (n,), rising, radians per unit of time.
        spectrum: (n,) complex, at these frequencies.
        time_spread: standard deviation of ``|values|^2`` as a density over time.
        frequency_spread: standard deviation of ``|spectrum|^2`` over angular frequency.
        product: of the two spreads.
        bound: 1/2, below which no signal's product lies.
    """

    time: torch.Tensor
    values: torch.Tensor
    angular_frequency: torch.Tensor
    spectrum: torch.Tensor
    time_spread: float
    frequency_spread: float
    product: float
    bound: float = 0.5


def gabor_wavelet(frequency: float = 30.0, scale: float = 10.0, *, real: bool = False, samples: int = 4096) -> Wavelet:
    """Sample ``exp(j w x - (s x)^2)``, or its real part, with its transform and its time-frequency product.

    The complex wavelet reaches the uncertainty bound of 1/2 (Gabor 1946); its real part, which is what the decoder
    applies, has two lobes at ``+w`` and ``-w`` and does not, if both are counted.

    Args:
        frequency: ``w``, radians per unit.
        scale: ``s``, above 0.
        real: take the real part.
        samples: number of samples.

    Returns:
        The wavelet.

    Raises:
        InputError: for a scale that is not positive.

    Example:
        >>> round(gabor_wavelet().product, 6)
        0.5
    """
    if scale <= 0:
        raise InputError(f"scale must be above 0, not {scale}")
    # Wide enough for exp(-(s x)^2) to end below 1e-15, fine enough for the lobe around w (standard deviation s).
    extent = 12.0 / scale
    step = min(2 * extent / samples, torch.pi / (abs(frequency) + 12 * scale))
    time = (torch.arange(samples, dtype=torch.float64) - samples // 2) * step
    if float(time[-1]) < 6.0 / scale:
        raise InputError(f"{samples} samples are too few for frequency {frequency} at scale {scale}; take more")
    values = torch.polar(torch.exp(-((scale * time) ** 2)), frequency * time)
    values = values.real.to(torch.complex128) if real else values
    spectrum = torch.fft.fftshift(torch.fft.fft(torch.fft.ifftshift(values))) * step
    omega = 2 * torch.pi * torch.fft.fftshift(torch.fft.fftfreq(samples, d=step, dtype=torch.float64))
    spreads = [_spread(time, values), _spread(omega, spectrum)]
    return Wavelet(time, values, omega, spectrum, spreads[0], spreads[1], spreads[0] * spreads[1])


def _spread(axis: torch.Tensor, values: torch.Tensor) -> float:
    density = values.abs().square() / values.abs().square().sum()
    mean = (axis * density).sum()
    return float(((axis - mean).square() * density).sum().sqrt())
