"""The real Gabor activation and the ones it is compared with."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from hyperfuse.networks.kernels.dispatch import Path, select_path
from hyperfuse.networks.kernels.few_passes import fewer_passes, whole_gated_gabor
from hyperfuse.networks.kernels.gated_gabor import gated_gabor

Activation = Literal["gabor", "relu", "gelu", "leaky-relu"]


class RealGabor(nn.Module):
    r"""``cos(w x) exp(-(s x)^2)``, with ``w`` and ``s`` one learnable scalar each.

    It is the real part of the complex Gabor wavelet ``exp(j w x - (s x)^2)`` (Saragadam et al., WIRE, CVPR 2023).
    FeINFN multiplies the wavelet by a real factor and uses the real part alone, so that real input needs nothing else.

    Args:
        frequency: initial ``w``, radians per unit of the input.
        scale: initial ``s``, one over units of the input.

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
        scaled = x * self.scale
        # A product, not square(): on a GPU a power takes seven times as long.
        return torch.cos(x * self.frequency) * torch.exp(-(scaled * scaled))

    def gated(self, gate: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return ``relu(gate)`` times the activation of ``x``.

        Args:
            gate: of any shape and type; overwritten.
            x: of the same shape, float32 or float64.

        Returns:
            The product, of the type of ``x``.
        """
        if select_path(x) is not Path.WHOLE:
            return gated_gabor(gate, x, self.frequency, self.scale)
        if fewer_passes(x):
            return whole_gated_gabor(gate, x, self.frequency, self.scale)
        gated: torch.Tensor = gate.relu_() * self(x)
        return gated


def activation_layer(name: Activation, frequency: float = 30.0, scale: float = 10.0) -> nn.Module:
    """Make the activation ``name``; ``frequency`` and ``scale`` are the initial ones of ``"gabor"``."""
    if name == "gabor":
        return RealGabor(frequency, scale)
    if name == "relu":
        return nn.ReLU()
    if name == "gelu":
        return nn.GELU()
    return nn.LeakyReLU(0.01)
