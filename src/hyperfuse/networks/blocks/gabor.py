"""The real Gabor activation and the ones it is compared with."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

Activation = Literal["gabor", "relu", "gelu", "leaky-relu"]


class RealGabor(nn.Module):
    r"""``cos(w x) exp(-(s x)^2)``, with ``w`` and ``s`` one learnable scalar each.

    It is the real part of the complex Gabor wavelet ``exp(j w x - (s x)^2)`` (Saragadam et al., WIRE, CVPR 2023).
    FeINFN multiplies the wavelet by a real factor and keeps the real part, so on real input nothing else is needed.

    Args:
        frequency: ``w`` at the start, radians per unit of the input.
        scale: ``s`` at the start, one over units of the input.

    Example:
        >>> RealGabor()(torch.zeros(1)).item()
        1.0
    """

    def __init__(self, frequency: float = 30.0, scale: float = 10.0) -> None:
        super().__init__()
        self.frequency = nn.Parameter(torch.full((1,), float(frequency)))
        self.scale = nn.Parameter(torch.full((1,), float(scale)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply it to each element; the argument should be float32 or float64: ``w`` magnifies its rounding."""
        envelope = x * self.scale
        return torch.cos(x * self.frequency) * torch.exp(-(envelope * envelope))


def activation_layer(name: Activation, frequency: float = 30.0, scale: float = 10.0) -> nn.Module:
    """Make the activation ``name``; ``frequency`` and ``scale`` are where ``"gabor"`` starts."""
    if name == "gabor":
        return RealGabor(frequency, scale)
    if name == "relu":
        return nn.ReLU()
    if name == "gelu":
        return nn.GELU()
    return nn.LeakyReLU(0.01)
