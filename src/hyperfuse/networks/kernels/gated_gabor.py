"""``relu(gate) cos(w x) exp(-(s x)^2)`` in chunks, so that its many passes over the data stay in cache."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch

from hyperfuse.networks.kernels.precision import own_gradient

# Numbers in a chunk: half a dozen arrays of them stay in a core's own cache. Without a gradient there are half as many
# arrays, of twice as many numbers.
CHUNK = 65536


def gated_gabor(gate: torch.Tensor, x: torch.Tensor, frequency: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Return ``relu(gate) cos(frequency x) exp(-(scale x)^2)``.

    Args:
        gate: of any shape and type.
        x: of the same shape, float32 or float64.
        frequency: (1,).
        scale: (1,).

    Returns:
        Of the shape and type of ``x``. Differentiable once.
    """
    return _GatedGabor.apply(gate, x, frequency, scale)  # type: ignore[no-untyped-call, no-any-return]


class _GatedGabor(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, gate: torch.Tensor, x: torch.Tensor, frequency: torch.Tensor, scale: torch.Tensor
    ) -> torch.Tensor:
        w, s = frequency.reshape(()), scale.reshape(())
        differentiated = any(ctx.needs_input_grad)
        result = torch.empty_like(x, memory_format=torch.contiguous_format)
        # Stored for the gradient; without one the memory of a chunk is reused.
        wave, envelope = (torch.empty_like(result) if differentiated else result.new_empty(2 * CHUNK) for _ in range(2))
        opened = gate.relu()
        exponent = -s * s / math.log(2)
        for part, opened_, x_, result_ in _chunks(opened, x, result, size=CHUNK if differentiated else 2 * CHUNK):
            window = part if differentiated else slice(0, x_.shape[0])
            wave_, envelope_ = wave.view(-1)[window], envelope.view(-1)[window]
            torch.mul(x_, x_, out=envelope_).mul_(exponent).exp2_()  # a third of the time of exp
            torch.mul(x_, w, out=wave_).cos_().mul_(envelope_)
            torch.mul(wave_, opened_.to(x.dtype), out=result_)
        if differentiated:
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
            sine = torch.mul(x_, w, out=in_x_).sin_().mul_(envelope_).mul_(slope_)
            sine.mul_(opened_.to(x.dtype))  # the derivative of cos, over -w
            damped = (slope_ * result_).mul_(x_)  # that of exp, over -2 s^2
            in_w -= torch.dot(sine, x_)
            in_s -= torch.dot(damped, x_)
            sine.mul_(-w).addcmul_(damped, -2 * s * s)
        return in_gate, in_x, in_w.reshape(frequency.shape), (2 * s * in_s).reshape(scale.shape)


def _chunks(*arrays: torch.Tensor, size: int) -> Iterator[tuple[Any, ...]]:
    """Yield (slice, part of each array) of the flattened arrays."""
    flat = [array.reshape(-1) for array in arrays]
    for start in range(0, flat[0].shape[0], size):
        part = slice(start, start + size)
        yield part, *(array[part] for array in flat)
