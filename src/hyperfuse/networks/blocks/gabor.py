"""The real Gabor activation and the ones it is compared with."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import nn

from hyperfuse.networks.kernels.precision import own_gradient

Activation = Literal["gabor", "relu", "gelu", "leaky-relu"]

# Numbers that are worked off at a time: half a dozen arrays of them stay in a core's own cache. Without a gradient
# there are half as many arrays, of twice as many.
CHUNK = 65536


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

    def gated(self, gate: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return ``relu(gate)`` times the activation of ``x``.

        Args:
            gate: of any shape and type.
            x: of the same shape, float32 or float64.

        Returns:
            The product, of the type of ``x``.
        """
        if torch.compiler.is_compiling():
            gated: torch.Tensor = gate.relu() * self(x)
            return gated
        product: torch.Tensor = _GatedGabor.apply(gate, x, self.frequency, self.scale)  # type: ignore[no-untyped-call]
        return product


class _GatedGabor(torch.autograd.Function):
    """``relu(gate) cos(w x) exp(-(s x)^2)`` chunk by chunk, so that its many passes over the data stay in cache."""

    @staticmethod
    def forward(
        ctx: Any, gate: torch.Tensor, x: torch.Tensor, frequency: torch.Tensor, scale: torch.Tensor
    ) -> torch.Tensor:
        w, s = frequency.reshape(()), scale.reshape(())
        wanted = any(ctx.needs_input_grad)
        result = torch.empty_like(x, memory_format=torch.contiguous_format)
        # Kept for the gradient; without one a chunk's space is used again.
        wave, envelope = (torch.empty_like(result) if wanted else result.new_empty(2 * CHUNK) for _ in range(2))
        opened = gate.relu()
        exponent = -s * s / math.log(2)
        for part, opened_, x_, result_ in _chunks(opened, x, result, size=CHUNK if wanted else 2 * CHUNK):
            window = part if wanted else slice(0, x_.shape[0])
            wave_, envelope_ = wave.view(-1)[window], envelope.view(-1)[window]
            torch.mul(x_, x_, out=envelope_).mul_(exponent).exp2_()  # a third of the time of exp
            torch.mul(x_, w, out=wave_).cos_().mul_(envelope_)
            torch.mul(wave_, opened_.to(x.dtype), out=result_)
        if wanted:
            ctx.save_for_backward(opened, x, wave, envelope, result, frequency, scale)
        return result

    @staticmethod
    @own_gradient
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor, ...]:
        opened, x, wave, envelope, result, frequency, scale = ctx.saved_tensors
        w, s = frequency.reshape(()), scale.reshape(())
        in_gate, in_x = torch.empty_like(opened), torch.empty_like(x)
        in_w, in_s = torch.zeros_like(w), torch.zeros_like(s)
        for _, slope_, opened_, x_, wave_, envelope_, result_, in_gate_, in_x_ in _chunks(
            slope, opened, x, wave, envelope, result, in_gate, in_x, size=CHUNK
        ):
            in_gate_.copy_(slope_ * wave_)
            torch.ops.aten.threshold_backward.grad_input(in_gate_, opened_, 0, grad_input=in_gate_)
            turned = torch.mul(x_, w, out=in_x_).sin_().mul_(envelope_).mul_(slope_)
            turned.mul_(opened_.to(x.dtype))  # the derivative of cos, over -w
            damped = (slope_ * result_).mul_(x_)  # that of exp, over -2 s^2
            in_w -= torch.dot(turned, x_)
            in_s -= torch.dot(damped, x_)
            turned.mul_(-w).addcmul_(damped, -2 * s * s)
        return in_gate, in_x, in_w.reshape(frequency.shape), (2 * s * in_s).reshape(scale.shape)


def _chunks(*arrays: torch.Tensor, size: int) -> Iterator[tuple[Any, ...]]:
    """Yield (slice, part of each array) of the flattened arrays."""
    flat = [array.reshape(-1) for array in arrays]
    for start in range(0, flat[0].shape[0], size):
        part = slice(start, start + size)
        yield part, *(array[part] for array in flat)


def activation_layer(name: Activation, frequency: float = 30.0, scale: float = 10.0) -> nn.Module:
    """Make the activation ``name``; ``frequency`` and ``scale`` are where ``"gabor"`` starts."""
    if name == "gabor":
        return RealGabor(frequency, scale)
    if name == "relu":
        return nn.ReLU()
    if name == "gelu":
        return nn.GELU()
    return nn.LeakyReLU(0.01)
