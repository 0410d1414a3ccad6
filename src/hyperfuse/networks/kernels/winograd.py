"""3x3 convolutions with a quarter of the multiplications, where direct ones already run at the processor's peak.

Winograd's F(4x4, 3x3) takes 36 products for 16 outputs in place of 144 (Lavin, Gray: Fast Algorithms for Convolutional
Neural Networks, CVPR 2016). Between the transforms, themselves small matrix products, a convolution is 36 matrix
products over channels, and so are both of its gradients. Tiles are processed in blocks that stay in cache.

The transforms are bound by memory. One thread gains everywhere; several, which share the memory bandwidth, gain in the
gradient of the weights, where direct convolutions are slowest (:func:`~.dispatch.select_winograd`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

import torch
from torch.nn import functional as F

from hyperfuse.networks.kernels.dispatch import Winograd
from hyperfuse.networks.kernels.precision import own_gradient

TILE, TAPS = 4, 3  # outputs and taps of one tile, on each axis
VALUES = TILE + TAPS - 1  # inputs of a tile on each axis, and products
UNIT = 1  # which of the values belongs to the point 1

# Tiles of a block: at 128 channels in float32 each of its three arrays is about 1 MiB.
BLOCK_TILES = 64


def winograd_conv2d(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    padding: tuple[int, int],
    products: Winograd = Winograd.ALL,
) -> torch.Tensor:
    """Compute ``F.conv2d(x, weight, bias, padding=padding)`` with a quarter of its multiplications.

    In float32 its rounding error is about 2e-6 of the standard deviation of the output, that of the direct convolution
    3e-7. Differentiable once.

    Args:
        x: (B, C, H, W), float32 or float64, best in channels-last memory.
        weight: (K, C, 3, 3).
        bias: (K,) or None.
        padding: rows and columns of zeros on each side, 0 to 2.
        products: which products are computed so, the others by direct convolution; not ``Winograd.NONE``.

    Returns:
        (B, K, H + 2 padding[0] - 2, W + 2 padding[1] - 2), channels last.

    Example:
        >>> x, weight = torch.rand(1, 8, 7, 6), torch.rand(4, 8, 3, 3)
        >>> plain = F.conv2d(x, weight, padding=1)
        >>> torch.allclose(winograd_conv2d(x, weight, None, (1, 1)), plain, atol=1e-4)
        True
    """
    result: torch.Tensor = _Convolution.apply(x, weight, bias, padding, products is Winograd.ALL)  # type: ignore[no-untyped-call]
    return result


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        padding: tuple[int, int],
        everywhere: bool,
    ) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding = padding
        ctx.convolve = _correlate if everywhere else _direct
        result: torch.Tensor = ctx.convolve(x, weight, bias, padding)
        return result

    @staticmethod
    @own_gradient
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        in_x = in_weight = in_bias = None
        if ctx.needs_input_grad[0]:
            rotated = weight.flip(2, 3).transpose(0, 1)
            in_x = ctx.convolve(slope, rotated, None, (TAPS - 1 - ctx.padding[0], TAPS - 1 - ctx.padding[1]))
        if ctx.needs_input_grad[1]:
            in_weight = _slope_in_weight(x, slope, ctx.padding)
        if ctx.needs_input_grad[2]:
            in_bias = slope.sum((0, 2, 3))
        return in_x, in_weight, in_bias, None, None


@lru_cache(maxsize=4)
def transforms(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the transforms of outputs (16, 36), kernel (36, 9) and inputs (36, 36), over flattened squares.

    On one axis, ``y = outputs @ ((kernel @ g) * (inputs @ d))`` is the valid correlation of six inputs ``d`` with three
    taps ``g``: polynomials multiplied through their values at 0, 1, -1, 1/2, -2 and infinity. These points, unlike the
    customary 0, 1, -1, 2, -2, keep rounding low (Barabasz, Anderson, Soodhalter, Gregg:
    Error Analysis and Improving the Accuracy of Winograd Convolution, ACM TOMS 46, 2020). Both axes: Kronecker squares.

    Example:
        >>> outputs, kernel, inputs = transforms(torch.float64)
        >>> d, g = torch.rand(6, 6, dtype=torch.float64), torch.rand(3, 3, dtype=torch.float64)
        >>> y = (outputs @ ((kernel @ g.flatten()) * (inputs @ d.flatten()))).reshape(4, 4)
        >>> torch.allclose(y, F.conv2d(d[None, None], g[None, None])[0, 0])
        True
    """
    points = [Fraction(0), Fraction(1), Fraction(-1), Fraction(1, 2), Fraction(-2)]
    others = [[q for q in points if q != p] for p in points]
    scales = [math.prod((p - q for q in rest), start=Fraction(1)) for p, rest in zip(points, others, strict=True)]
    outputs = [[*(p**j for p in points), Fraction(j == TILE - 1)] for j in range(TILE)]
    kernel = [[p**j / scale for j in range(TAPS)] for p, scale in zip(points, scales, strict=True)]
    kernel.append([Fraction(j == TAPS - 1) for j in range(TAPS)])
    inputs = [[*_coefficients(rest), Fraction(0)] for rest in others] + [_coefficients(points)]

    def square(matrix: list[list[Fraction]]) -> torch.Tensor:
        on_axis = torch.tensor([[float(v) for v in row] for row in matrix], dtype=torch.float64)
        return torch.kron(on_axis, on_axis).to(dtype)

    return square(outputs), square(kernel), square(inputs)


def _coefficients(roots: Sequence[Fraction]) -> list[Fraction]:
    """Return the coefficients, constant first, of the polynomial with these roots and leading coefficient 1."""
    found = [Fraction(1)]
    for root in roots:
        found = [a - root * b for a, b in zip([Fraction(0), *found], [*found, Fraction(0)], strict=True)]
    return found


def _direct(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, padding: tuple[int, int]) -> torch.Tensor:
    return F.conv2d(x, weight, bias, padding=padding)


def _correlate(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, padding: tuple[int, int]
) -> torch.Tensor:
    to_outputs, to_kernel, to_inputs = transforms(x.dtype)
    (batch, channels, height, width), found = x.shape, weight.shape[0]
    height, width = height + 2 * padding[0] - TAPS + 1, width + 2 * padding[1] - TAPS + 1
    down, across = -(-height // TILE), -(-width // TILE)
    kernel = (to_kernel @ weight.permute(2, 3, 1, 0).reshape(TAPS**2, -1)).view(VALUES**2, channels, found)
    size = (batch, found, TILE * down, TILE * across)
    result = torch.empty(size, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    tiles = _tiles(result.permute(0, 2, 3, 1))
    for images, rows, windows in _windows(x, padding, down, across):
        values = torch.mm(to_inputs, windows).view(VALUES**2, -1, channels)
        products = torch.bmm(values, kernel)
        if bias is not None:
            # What the point 1 (on both axes) holds goes to all outputs of a tile with weight 1.
            products[VALUES * UNIT + UNIT] += bias
        block = tiles[:, :, images, rows]
        block.copy_(torch.mm(to_outputs, products.view(VALUES**2, -1)).view(block.shape))
    if size[2:] == (height, width):
        return result
    # Not a view: what comes out of an autograd function as a view could not be changed in place.
    return result[:, :, :height, :width].contiguous(memory_format=torch.channels_last)


def _slope_in_weight(x: torch.Tensor, slope: torch.Tensor, padding: tuple[int, int]) -> torch.Tensor:
    to_outputs, to_kernel, to_inputs = transforms(x.dtype)
    _, found, height, width = slope.shape
    channels = x.shape[1]
    down, across = -(-height // TILE), -(-width // TILE)
    tiles = slope.permute(0, 2, 3, 1)
    if height % TILE or width % TILE:
        tiles = F.pad(tiles, (0, 0, 0, TILE * across - width, 0, TILE * down - height))
    tiles = _tiles(tiles)
    in_kernel = x.new_zeros((VALUES**2, channels, found))
    for images, rows, windows in _windows(x, padding, down, across):
        values = torch.mm(to_inputs, windows).view(VALUES**2, -1, channels)
        block = tiles[:, :, images, rows].reshape(TILE**2, -1)
        in_products = torch.mm(to_outputs.t(), block).view(VALUES**2, -1, found)
        torch.baddbmm(in_kernel, values.transpose(1, 2), in_products, out=in_kernel)
    in_weight = torch.mm(to_kernel.t(), in_kernel.view(VALUES**2, -1))
    return in_weight.view(TAPS, TAPS, channels, found).permute(3, 2, 0, 1)


def _windows(
    x: torch.Tensor, padding: tuple[int, int], down: int, across: int
) -> Iterator[tuple[slice, slice, torch.Tensor]]:
    """Yield the overlapping inputs of all tiles block by block: images, rows of tiles, (36, tiles x channels)."""
    image = x.permute(0, 2, 3, 1)
    batch, height, width, channels = image.shape
    step = max(1, BLOCK_TILES // across)
    together = max(1, step // down)
    step = min(step, down)
    # Only a block is framed with zeros, where it lies in cache.
    framed = x.new_zeros((min(together, batch), TILE * step + TAPS - 1, TILE * across + TAPS - 1, channels))
    overlapping = framed.unfold(1, VALUES, TILE).unfold(2, VALUES, TILE).permute(4, 5, 0, 1, 2, 3)
    for first in range(0, batch, together):
        count = min(together, batch - first)
        for top in range(0, down, step):
            rows = min(step, down - top)
            above = TILE * top - padding[0]  # the row of the image that the frame's first row holds
            start, stop = max(above, 0), min(above + framed.shape[1], height)
            framed[:, : start - above].zero_()
            framed[:, stop - above :].zero_()
            inside = framed[:count, start - above : stop - above, padding[1] : padding[1] + width]
            inside.copy_(image[first : first + count, start:stop])
            windows = overlapping[:, :, :count, :rows].reshape(VALUES**2, -1)
            yield slice(first, first + count), slice(top, top + rows), windows


def _tiles(image: torch.Tensor) -> torch.Tensor:
    """View (B, 4 down, 4 across, C) as (4, 4, B, down, across, C)."""
    batch, height, width, channels = image.shape
    parts = image.view(batch, height // TILE, TILE, width // TILE, TILE, channels)
    return parts.permute(2, 4, 0, 1, 3, 5)
