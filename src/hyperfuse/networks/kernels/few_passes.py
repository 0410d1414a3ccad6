"""Gradients of layers on an accelerator in fewer passes over memory than automatic differentiation takes.

What bounds these layers is memory: each operation reads and writes arrays of a GiB. :func:`fewer_passes` says whether
to use them; the plain form stands where they are called, and is their oracle.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch

from hyperfuse.networks.kernels.dispatch import Path, select_path
from hyperfuse.networks.kernels.four_neighbours import softmax_weights
from hyperfuse.networks.kernels.precision import own_gradient

_automatic: ContextVar[bool] = ContextVar("automatic_differentiation", default=False)
# Rows of ones by which a matrix is multiplied to sum its rows: as many as a tensor core takes at once.
_ONES = 8


def fewer_passes(x: torch.Tensor) -> bool:
    """Return whether to compute on ``x`` by the functions below: on an accelerator, for training, not compiled."""
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        return False
    return not _automatic.get() and select_path(x) is Path.WHOLE


@contextmanager
def differentiate_automatically() -> Iterator[None]:
    """Use none of the functions below while the context lasts (in this thread or task); for tests and comparisons."""
    token = _automatic.set(True)
    try:
        yield
    finally:
        _automatic.reset(token)


def linear_with_bias(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Return ``F.linear(x, weight, bias)`` of (N, C)."""
    return _Linear.apply(x, weight, bias)  # type: ignore[no-untyped-call, no-any-return]


def with_slope_in_layout(x: torch.Tensor) -> torch.Tensor:
    """Return (B, C, H, W) itself; its gradient is put into its memory layout, for all layers before it to share."""
    return _SlopeInLayout.apply(x)  # type: ignore[no-untyped-call, no-any-return]


def blend_by_softmax(outputs: torch.Tensor) -> torch.Tensor:
    """Return the outputs of the four neighbours, weighted by the softmax of the last channel.

    Args:
        outputs: (B, 2, R, 2, W, d + 1).

    Returns:
        (B, R, W, d), float32 or float64.
    """
    return _Blend.apply(outputs)  # type: ignore[no-untyped-call, no-any-return]


def whole_gated_gabor(
    gate: torch.Tensor, x: torch.Tensor, frequency: torch.Tensor, scale: torch.Tensor
) -> torch.Tensor:
    """As :func:`~hyperfuse.networks.kernels.gated_gabor.gated_gabor`, all numbers at once."""
    return _GatedGabor.apply(gate, x, frequency, scale)  # type: ignore[no-untyped-call, no-any-return]


def sum_rows(x: torch.Tensor) -> torch.Tensor:
    """Return ``x.sum(0)`` of (N, C) by a matrix product, which splits long sums over the device."""
    return (x.new_ones(_ONES, x.shape[0]) @ x)[0]


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return torch.addmm(bias, x, weight.t())

    @staticmethod
    @own_gradient
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x, weight = ctx.saved_tensors
        return slope @ weight, slope.t() @ x, sum_rows(slope)


class _SlopeInLayout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.channels_last = x.is_contiguous(memory_format=torch.channels_last)
        return x.view_as(x)

    @staticmethod
    @own_gradient
    def backward(ctx: Any, slope: torch.Tensor) -> torch.Tensor:
        return slope.contiguous(memory_format=torch.channels_last if ctx.channels_last else torch.contiguous_format)


class _Blend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, outputs: torch.Tensor) -> torch.Tensor:
        weights = softmax_weights(outputs, (1, 3))
        ctx.save_for_backward(outputs, weights)
        return (outputs[..., :-1] * weights[..., None]).sum((1, 3))

    @staticmethod
    @own_gradient
    def backward(ctx: Any, slope: torch.Tensor) -> torch.Tensor:
        outputs, weights = ctx.saved_tensors
        slope = slope[:, None, :, None]
        effect = (outputs[..., :-1] * slope).sum(-1)
        result = torch.empty_like(outputs)
        torch.mul(slope, weights[..., None], out=result[..., :-1])
        mean = (weights * effect).sum((1, 3), keepdim=True)
        torch.mul(weights, effect - mean, out=result[..., -1])
        return result


class _GatedGabor(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, gate: torch.Tensor, x: torch.Tensor, frequency: torch.Tensor, scale: torch.Tensor
    ) -> torch.Tensor:
        opened = gate.relu()
        envelope = (x * x).mul_(-scale * scale).exp_()
        wave = (x * frequency).cos_().mul_(envelope)
        ctx.save_for_backward(opened, x, wave, envelope, frequency, scale)
        return wave * opened

    @staticmethod
    @own_gradient
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor, ...]:
        opened, x, wave, envelope, frequency, scale = ctx.saved_tensors
        damped = slope * wave
        in_gate = torch.ops.aten.threshold_backward(damped.to(opened.dtype), opened, 0)
        damped.mul_(opened).mul_(x)  # the derivative of the envelope, over -2 scale^2
        sine = (x * frequency).sin_().mul_(envelope).mul_(slope).mul_(opened)  # that of the wave, over -frequency
        flat = x.flatten()
        in_frequency = -torch.dot(sine.flatten(), flat).view(1)
        in_scale = (-2 * scale) * torch.dot(damped.flatten(), flat)
        in_x = sine.mul_(-frequency).addcmul_(damped, -2 * scale * scale)
        return in_gate, in_x, in_frequency, in_scale
