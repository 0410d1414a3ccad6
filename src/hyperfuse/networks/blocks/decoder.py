"""The spatial-frequency interactive decoder (SFID)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from hyperfuse.networks.blocks.gabor import Activation, RealGabor, activation_layer
from hyperfuse.networks.kernels.precision import weights_as


class SFID(nn.Module):
    """``q_0 = ReLU(K_0 E_s) G_0(Q_0 E_f)``, ``q_i = ReLU(K_i [q_(i-1), E_s]) G_i(Q_i q_(i-1))``, then a linear output.

    All layers act on each pixel alone. Liang et al., FeINFN, NeurIPS 2024, spatial-frequency interactive decoder.

    Args:
        latent: channels of ``E_s`` and of ``E_f``.
        width: channels of each layer.
        depth: number of layers, at least 1.
        out_channels: bands of the output.
        activation: what ``G`` is.
        gabor_frequency: initial ``w`` of each Gabor layer.
        gabor_scale: initial ``s`` of each Gabor layer.

    Example:
        >>> decoder = SFID(32, width=128, depth=3, out_channels=31)
        >>> sum(p.numel() for p in decoder.parameters())
        86693
    """

    def __init__(
        self,
        latent: int,
        width: int = 128,
        depth: int = 3,
        out_channels: int = 31,
        activation: Activation = "gabor",
        gabor_frequency: float = 30.0,
        gabor_scale: float = 10.0,
    ) -> None:
        super().__init__()
        self.keys = nn.ModuleList(nn.Linear(latent if i == 0 else width + latent, width) for i in range(depth))
        self.queries = nn.ModuleList(nn.Linear(latent if i == 0 else width, width) for i in range(depth))
        self.activations = nn.ModuleList(
            activation_layer(activation, gabor_frequency, gabor_scale) for _ in range(depth)
        )
        self.output = nn.Linear(width, out_channels)

    def forward(self, spatial: torch.Tensor, frequency: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Decode pixels.

        Args:
            spatial: ``E_s``, (..., latent), float32 or float64.
            frequency: ``E_f``, (..., latent), of the same type.
            dtype: type of the key branch's products. The query branch feeds the Gabor wavelets, whose ``w`` of about 30
                magnifies rounding, and stays in the type of ``frequency``; so does the sum that is returned.

        Returns:
            (..., out_channels).
        """
        flat = spatial.flatten(0, -2), frequency.flatten(0, -2)
        state = self.hidden_layers(*flat, dtype)[-1]
        decoded = F.linear(state.to(dtype), *weights_as(self.output, dtype))
        return decoded.view(*spatial.shape[:-1], -1)

    def hidden_layers(self, spatial: torch.Tensor, frequency: torch.Tensor, dtype: torch.dtype) -> list[torch.Tensor]:
        """Return ``q_0, q_1, ...``, (..., width) each; arguments as of :meth:`forward`."""
        spatial, state = spatial.to(dtype), frequency
        states = []
        for i, (key, query, activation) in enumerate(zip(self.keys, self.queries, self.activations, strict=True)):
            inputs = spatial if i == 0 else torch.cat([state.to(dtype), spatial], dim=-1)
            gate = F.linear(inputs, *weights_as(key, dtype))
            precise = frequency.dtype if isinstance(activation, RealGabor) else dtype
            argument = F.linear(state.to(precise), *weights_as(query, precise))
            gated = activation.gated(gate, argument) if isinstance(activation, RealGabor) else None
            state = gate.relu_() * activation(argument) if gated is None else gated
            states.append(state)
        return states
