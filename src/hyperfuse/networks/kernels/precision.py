"""Which floating-point type the heavy products of a network run in."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any, Literal

import torch
from torch import nn
from torch.autograd.function import once_differentiable

Precision = Literal["float32", "bfloat16"]


def compute_dtype(x: torch.Tensor, precision: Precision) -> torch.dtype:
    """Return the type for convolutions and matrix products on ``x``.

    Under ``torch.autocast`` for the device of ``x`` it is autocast's type; else bfloat16 where ``precision`` asks for
    it; else the type of ``x``. Float64 input stays float64 (gradient checks).

    Args:
        x: the input of the network.
        precision: what the network was built with.

    Returns:
        The type that weights and activations of the products are cast to.

    Example:
        >>> compute_dtype(torch.zeros(1), "bfloat16")
        torch.bfloat16
    """
    if x.dtype == torch.float64:
        return torch.float64
    if torch.amp.is_autocast_available(x.device.type) and torch.is_autocast_enabled(x.device.type):
        return torch.get_autocast_dtype(x.device.type)
    return torch.bfloat16 if precision == "bfloat16" else x.dtype


def transform_dtype(x: torch.Tensor) -> torch.dtype:
    """Return the type for Fourier transforms, amplitudes and Gabor arguments: float32, or float64 for float64."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def without_autocast(x: torch.Tensor) -> AbstractContextManager[object]:
    """Return a context in which operations on the device of ``x`` keep the types that they are given."""
    if torch.amp.is_autocast_available(x.device.type):
        return torch.autocast(x.device.type, enabled=False)
    return nullcontext()


def weights_as(layer: nn.Module, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return weight and bias (None without one) of a Linear or Conv2d layer, cast to ``dtype``."""
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    return layer.weight.to(dtype), None if layer.bias is None else layer.bias.to(dtype)


def own_gradient(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Mark the ``backward`` of an autograd function: it can itself not be differentiated, and autocast leaves it alone.

    Autocast would otherwise change the types of its products where ``loss.backward()`` is called inside of it.
    """

    @wraps(backward)
    def alone(ctx: Any, *slopes: torch.Tensor) -> Any:
        with without_autocast(slopes[0]):
            return backward(ctx, *slopes)

    marked: Callable[..., Any] = once_differentiable(alone)
    return marked
