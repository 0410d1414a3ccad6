"""The one switch between the ways in which a network can be computed.

A layer reads as its equation on whole images, in as few operations as possible (``Path.WHOLE``). That is the fastest
form on an accelerator, the only one that a compiler or exporter sees, and the oracle of the others. On a CPU memory is
the limit: without gradients rows go through all layers in blocks that stay in cache (``Path.BLOCKS``); with gradients
some layers have a hand-written gradient that does the same (``Path.OWN_GRADIENT``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum

import torch

from hyperfuse.runtime.devices import free_bytes

# Pixels in a block on a CPU. An implicit function holds about 2 KiB per pixel at its widest (256 float32, two buffers),
# so that a block stays in the last-level cache of a desktop processor.
BLOCK_PIXELS = 4096
# Pixels in a block on an accelerator: with four neighbours of 256 channels each, indices still fit in 32 bits.
LARGEST_BLOCK_PIXELS = 2**21
# Below this an accelerator is not asked for its free memory, which takes longer than a small image.
_SMALL_BYTES = 2**30
_MEMORY_FRACTION = 0.5  # of the free memory of an accelerator, for one block
# With fewer channels Winograd's transforms cost more than its products save.
_FEWEST_WINOGRAD_CHANNELS = 64


class Path(Enum):
    """How to compute; see the module's text."""

    WHOLE = "whole"
    BLOCKS = "blocks"
    OWN_GRADIENT = "own gradient"


class Winograd(Enum):
    """Which of a convolution's products are computed by Winograd's algorithm."""

    NONE = "none"
    WEIGHT_GRADIENT = "weight gradient"
    ALL = "all"


_forced: ContextVar[Path | None] = ContextVar("forced_path", default=None)


def select_path(x: torch.Tensor) -> Path:
    """Return how to compute on ``x``: by its device, whether gradients are recorded, and whether a compiler traces."""
    if torch.compiler.is_compiling():
        return Path.WHOLE
    forced = _forced.get()
    if forced is not None:
        return forced
    if x.device.type != "cpu":
        return Path.WHOLE
    return Path.OWN_GRADIENT if torch.is_grad_enabled() else Path.BLOCKS


@contextmanager
def force_path(path: Path) -> Iterator[None]:
    """Compute by ``path`` on every device while the context lasts (in this thread or task); for tests and comparisons.

    Args:
        path: ``Path.BLOCKS`` only without gradients.
    """
    token = _forced.set(path)
    try:
        yield
    finally:
        _forced.reset(token)


def select_winograd(x: torch.Tensor, weight: torch.Tensor) -> Winograd:
    """Return what :func:`~hyperfuse.networks.kernels.winograd.winograd_conv2d` should compute of a convolution.

    Only on the CPU, for 3x3 kernels of many channels, in channels-last memory (a caller that keeps the default layout
    needs the rounding of the library's convolution), and not in bfloat16, where it would be ten times less exact. Of
    several threads, which share the memory bandwidth, only the gradient of the weights gains.
    """
    if select_path(x) is Path.WHOLE or x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64):
        return Winograd.NONE
    fits = tuple(weight.shape[2:]) == (3, 3) and min(weight.shape[:2]) >= _FEWEST_WINOGRAD_CHANNELS
    if not fits or x.stride(1) != 1:
        return Winograd.NONE
    if torch.get_num_threads() == 1:
        return Winograd.ALL
    return Winograd.WEIGHT_GRADIENT if torch.is_grad_enabled() else Winograd.NONE


def select_layout(x: torch.Tensor) -> torch.memory_format:
    """Return the memory layout in which the convolutions of ``x`` should run.

    Channels last, but for convolutions in float32 proper on CUDA: those without TF32 have kernels for channels first
    alone, and each would convert its input and its output.
    """
    if torch.compiler.is_compiling() or x.device.type != "cuda" or x.dtype != torch.float32 or _convolves_in_tf32():
        return torch.channels_last
    return torch.contiguous_format


def _convolves_in_tf32() -> bool:
    conv = getattr(torch.backends.cudnn, "conv", None)  # not in older releases of torch
    return torch.backends.cudnn.allow_tf32 if conv is None else bool(conv.fp32_precision == "tf32")


def rows_per_block(x: torch.Tensor, rows: int, columns: int, bytes_per_pixel: int, pixels: int | None = None) -> int:
    """Return how many rows to compute at a time.

    Args:
        x: a tensor on the device of the computation.
        rows: rows of the image.
        columns: pixels per row, times the batch.
        bytes_per_pixel: memory that the computation needs at its peak.
        pixels: pixels of a block on a CPU; default: ``BLOCK_PIXELS``.

    Returns:
        At least 1, at most ``rows``.
    """
    if torch.compiler.is_compiling():
        return rows
    path = select_path(x)
    if path is Path.BLOCKS:
        limit = BLOCK_PIXELS if pixels is None else pixels
    elif path is Path.OWN_GRADIENT or torch.is_grad_enabled():
        return rows
    else:
        limit = LARGEST_BLOCK_PIXELS
        if rows * columns * bytes_per_pixel > _SMALL_BYTES:
            free = free_bytes(x.device)
            if free is not None:
                limit = min(limit, int(_MEMORY_FRACTION * free / bytes_per_pixel))
    return min(rows, max(1, limit // max(columns, 1)))
