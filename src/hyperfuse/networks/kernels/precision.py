"""Which floating-point type the heavy products of a network run in."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache, wraps
from typing import Any, Literal

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from hyperfuse.errors import HyperfuseWarning
from hyperfuse.runtime.devices import bfloat16_is_fast

# Determined once: a compiled graph cannot ask for it.
_AUTOCAST_DEVICES = [kind for kind in ("cpu", "cuda", "mps", "xpu") if torch.amp.is_autocast_available(kind)]

Precision = Literal["float32", "bfloat16", "bfloat16-forced"]


def compute_dtype(x: torch.Tensor, precision: Precision) -> torch.dtype:
    """Return the type for convolutions and matrix products on ``x``.

    Under ``torch.autocast`` for the device of ``x`` it is autocast's type; else what ``precision`` specifies. On a
    device that only emulates bfloat16, ``"bfloat16"`` means float32 (and warns once); ``"bfloat16-forced"`` does not.
    Float64 input stays float64 (gradient checks).

    Args:
        x: the input of the network.
        precision: option of the network.

    Returns:
        The type that weights and activations of the products are cast to.

    Example:
        >>> compute_dtype(torch.zeros(1), "bfloat16-forced")
        torch.bfloat16
    """
    if x.dtype == torch.float64:
        return torch.float64
    if x.device.type in _AUTOCAST_DEVICES and torch.is_autocast_enabled(x.device.type):
        return torch.get_autocast_dtype(x.device.type)
    return torch.bfloat16 if available_precision(precision, x.device.type) != "float32" else x.dtype


def available_precision(precision: Precision, device: str) -> Precision:
    """Return ``precision``, or ``"float32"`` in place of ``"bfloat16"`` where that is slower; warn of it once.

    Args:
        precision: the requested one.
        device: type of the device, such as ``"cpu"``.
    """
    if precision != "bfloat16" or bfloat16_is_fast(device):
        return precision
    _warn_of_float32()
    return "float32"


# What torch.compiler.assume_constant_result does; that would load the compiler, which takes two seconds at every start.
available_precision._dynamo_marked_constant = True  # type: ignore[attr-defined]


@lru_cache(maxsize=1)
def _warn_of_float32() -> None:
    warnings.warn(
        "this device only emulates bfloat16, which would be several times slower than float32; float32 is used. Set "
        "precision='bfloat16-forced' to compute in bfloat16 all the same",
        HyperfuseWarning,
        stacklevel=2,
    )


def transform_dtype(x: torch.Tensor) -> torch.dtype:
    """Return the type for transforms, amplitudes, blending and Gabor arguments: float32, or float64 for float64."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def without_autocast(x: torch.Tensor) -> AbstractContextManager[object]:
    """Return a context in which operations on the device of ``x`` compute in the types of their inputs."""
    if x.device.type in _AUTOCAST_DEVICES:
        return torch.autocast(x.device.type, enabled=False)
    return nullcontext()


def autocast_to(dtype: torch.dtype, x: torch.Tensor) -> AbstractContextManager[object]:
    """Return a context in which products on the device of ``x`` are computed in ``dtype`` of :func:`compute_dtype`.

    Nothing is changed for float32 and float64, and on a device without autocast.
    """
    if dtype in (torch.bfloat16, torch.float16) and x.device.type in _AUTOCAST_DEVICES:
        return torch.autocast(x.device.type, dtype=dtype)
    return nullcontext()


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Return ``F.linear`` of (..., C) in any memory layout as one matrix product."""
    return F.linear(x.flatten(0, -2), weight, bias).view(*x.shape[:-1], weight.shape[0])


def weights_as(layer: nn.Module, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return weight and bias (None without one) of a Linear or Conv2d layer, cast to ``dtype``."""
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    return layer.weight.to(dtype), None if layer.bias is None else layer.bias.to(dtype)


def own_gradient(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate the ``backward`` of an autograd function: not differentiable itself, and not subject to autocast.

    Autocast would otherwise change the types of its products where ``loss.backward()`` is called within it.
    """

    @wraps(backward)
    def alone(ctx: Any, *slopes: torch.Tensor) -> Any:
        with without_autocast(slopes[0]):
            return backward(ctx, *slopes)

    marked: Callable[..., Any] = once_differentiable(alone)
    return marked
