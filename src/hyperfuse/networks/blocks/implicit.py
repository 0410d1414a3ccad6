"""Implicit fusion: an MLP evaluated on the four nearest LR pixels of each HR pixel, its outputs blended."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from hyperfuse.networks.kernels.dispatch import Path, select_path
from hyperfuse.networks.kernels.few_passes import blend_by_softmax, fewer_passes, linear_with_bias
from hyperfuse.networks.kernels.four_neighbours import evaluate_with_gradient, first_layers, softmax_weights
from hyperfuse.networks.kernels.neighbours import AxisNeighbours, take
from hyperfuse.networks.kernels.precision import linear, transform_dtype, weights_as

# A GPU multiplies bfloat16 several times as fast where rows and columns of a product are multiples of this.
ALIGNMENT = 8


def mlp_layers(in_features: int, hidden: Sequence[int], out_features: int) -> nn.ModuleList:
    """Make the Linear layers ``in_features -> hidden... -> out_features``; the caller puts ReLU between them."""
    widths = [in_features, *hidden, out_features]
    return nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))


def run_mlp(layers: nn.ModuleList, first: torch.Tensor) -> torch.Tensor:
    """Finish an MLP whose first Linear has been applied; ``first``, (..., K), may be overwritten by its ReLU."""
    x = first.flatten(0, -2)
    width = x.shape[1]
    for layer in list(layers)[1:]:
        weight, bias = weights_as(layer, x.dtype)
        width = weight.shape[0]
        padding = -width % ALIGNMENT if x.dtype is torch.bfloat16 and select_path(x) is Path.WHOLE else 0
        if padding and bias is not None:
            weight, bias = F.pad(weight, (0, 0, 0, padding)), F.pad(bias, (0, padding))
        x = F.relu(x, inplace=not torch.is_grad_enabled())
        x = linear_with_bias(x, weight, bias) if bias is not None and fewer_passes(x) else F.linear(x, weight, bias)
    return x[:, :width].view(*first.shape[:-1], width)


class FirstLayer(NamedTuple):
    """The first layer of an implicit function, after its part on the LR maps.

    Attributes:
        table: (B, h, w, hidden width), the part of the LR maps and the bias.
        on_hr: (hidden width, hr_channels), the weight on the HR map.
        on_offset: (hidden width, 2), that on the offsets, y before x.
    """

    table: torch.Tensor
    on_hr: torch.Tensor
    on_offset: torch.Tensor

    def near(self, rows: AxisNeighbours, start: int, stop: int) -> tuple[FirstLayer, AxisNeighbours]:
        """Return the LR rows around some HR rows, and the neighbours of these."""
        table, neighbours = rows.restrict(self.table, start, stop)
        return self._replace(table=table), neighbours


class ImplicitFunction(nn.Module):
    """``sum_k softmax(a)_k e_k`` with ``(e_k, a_k) = phi([F_k, S(x), HP_k, delta_k])`` over four LR pixels ``k``.

    The first Linear of ``phi`` is linear in its concatenated input, so its part on the LR features is computed once at
    LR (:meth:`first_layer`), its part on ``S`` once per pixel instead of four times, and its part on ``delta`` once per
    row and once per column; only the sum is formed per pixel and neighbour. The values are equal up to rounding.
    Liang et al., FeINFN, NeurIPS 2024, spatial and frequency implicit fusion.

    Args:
        lr_channels: channels of ``F``.
        hr_channels: channels of ``S``.
        extra_channels: channels of a second LR map (the high-pass of ``F``), 0 for none.
        hidden: widths of the hidden layers.
        out_channels: features of the output; the weight logit is one more output of the MLP.
        ensemble: ``"softmax"`` blends with the learned logit, ``"area"`` by the area of the opposite corner (LIIF, Chen
            et al., CVPR 2021), in which case the MLP has no logit.
    """

    def __init__(
        self,
        lr_channels: int,
        hr_channels: int,
        extra_channels: int,
        hidden: Sequence[int],
        out_channels: int,
        ensemble: str = "softmax",
    ) -> None:
        super().__init__()
        self.lr_channels, self.hr_channels, self.extra_channels = lr_channels, hr_channels, extra_channels
        self.offset_channels = 2
        self.ensemble = ensemble
        outputs = out_channels + (1 if ensemble == "softmax" else 0)
        self.layers = mlp_layers(lr_channels + hr_channels + extra_channels + 2, hidden, outputs)

    def first_layer(self, lr: torch.Tensor) -> FirstLayer:
        """Apply the first Linear's LR part, with its bias.

        Args:
            lr: (B, h, w, lr_channels + extra_channels), of the type of the computation.
        """
        weight, bias = weights_as(self.layers[0], lr.dtype)
        sizes = [self.lr_channels, self.hr_channels, self.extra_channels, self.offset_channels]
        on_lr, on_hr, on_extra, on_offset = torch.split(weight, sizes, dim=1)
        if self.extra_channels:
            on_lr = torch.cat([on_lr, on_extra], dim=1)
        return FirstLayer(linear(lr, on_lr, bias), on_hr, on_offset)

    def forward(
        self, first: FirstLayer, hr: torch.Tensor, rows: AxisNeighbours, columns: AxisNeighbours
    ) -> torch.Tensor:
        """Evaluate the function on the pixels of some rows.

        Args:
            first: of :meth:`first_layer`, with the LR rows that ``rows`` refers to.
            hr: (B, R, W, hr_channels), the HR features of these rows.
            rows: neighbours of the R rows, as indices into the rows of ``first``.
            columns: neighbours of the W columns.

        Returns:
            (B, R, W, out_channels), float32 or float64.
        """
        path = select_path(hr)
        areas = opposite_areas(rows, columns) if self.ensemble == "area" else None
        if path is Path.OWN_GRADIENT:
            flat_areas = None if areas is None else areas.transpose(1, 2).flatten(0, 1)
            weights = [first.on_hr, first.on_offset, *self.later_weights(hr.dtype)]
            return evaluate_with_gradient(first.table, hr, rows, columns, flat_areas, weights)
        base = linear(hr, first.on_hr)
        if path is Path.BLOCKS:
            each = [run_mlp(self.layers, x) for x in first_layers(first.table, base, rows, columns, first.on_offset)]
            outputs = stack_neighbours(each)
        else:
            outputs = run_mlp(self.layers, add_neighbours(first.table, base, rows, columns, first.on_offset))
        return blend(outputs, areas)

    def later_weights(self, dtype: torch.dtype) -> list[torch.Tensor]:
        """Return weight and bias of each layer after the first, cast to ``dtype``."""
        return [one for layer in list(self.layers)[1:] for one in weights_as(layer, dtype) if one is not None]

    def bytes_per_pixel(self, dtype: torch.dtype) -> int:
        """Return the memory that :meth:`forward` needs per HR pixel on whole images."""
        widths = [layer.out_features for layer in self.layers if isinstance(layer, nn.Linear)]
        return 4 * 2 * max(widths) * dtype.itemsize + 4 * 3 * widths[-1] * 4


def add(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return ``x + y``; without gradients in the memory of ``x`` (with them, changing a view costs copies)."""
    return x + y if torch.is_grad_enabled() else x.add_(y)


def add_neighbours(
    table: torch.Tensor,
    base: torch.Tensor,
    rows: AxisNeighbours,
    columns: AxisNeighbours,
    offset_weight: torch.Tensor,
) -> torch.Tensor:
    """Sum the parts of the first layer: those of the LR maps at each neighbour, of the HR map and of the offsets.

    Args:
        table: (B, h, w, K), the part of the LR maps.
        base: (B, R, W, K), the part of the HR map.
        rows: neighbours of the R rows.
        columns: neighbours of the W columns.
        offset_weight: (K, 2), y before x.

    Returns:
        (B, 2, R, 2, W, K): lower and upper row, lower and upper column.
    """
    batch, height, width, channels = base.shape
    y, x = rows.offset.to(base.dtype).view(2, -1, 1, 1), columns.offset.to(base.dtype).reshape(-1, 1)
    y_weight, x_weight = offset_weight.unbind(1)
    by_column = add(take(table, 2, columns.index.flatten()), x * x_weight)
    by_row = base.unsqueeze(1) + y * y_weight
    summed = take(by_column, 1, rows.index.flatten()).view(batch, 2, height, 2, width, channels)
    return add(summed, by_row.unsqueeze(3))


def stack_neighbours(outputs: Sequence[torch.Tensor]) -> torch.Tensor:
    """Stack the four outputs, (B, R, W, d) each, in the order of :func:`first_layers`, to (B, 2, R, 2, W, d)."""
    batch, height, width, channels = outputs[0].shape
    return torch.stack(list(outputs), dim=1).view(batch, 2, 2, height, width, channels).transpose(2, 3)


def blend(outputs: torch.Tensor, areas: torch.Tensor | None = None) -> torch.Tensor:
    """Blend the outputs of the four neighbours.

    Args:
        outputs: (B, 2, R, 2, W, d + 1), or (..., d) with ``areas``.
        areas: (2, R, 2, W), weights as LIIF has them; None for the softmax of the last channel.

    Returns:
        (B, R, W, d), float32 or float64.
    """
    if areas is None and fewer_passes(outputs):
        return blend_by_softmax(outputs)
    outputs = outputs.to(transform_dtype(outputs))
    if areas is None:
        weights, outputs = softmax_weights(outputs, (1, 3)), outputs[..., :-1]
    else:
        weights = areas.expand(outputs.shape[:-1])
    return (outputs * weights[..., None]).sum((1, 3))


def opposite_areas(rows: AxisNeighbours, columns: AxisNeighbours) -> torch.Tensor:
    """Return the area of the rectangle to the opposite neighbour, for each of the four; they sum to 1, (2, R, 2, W)."""
    # The weight of the lower neighbour is the distance to the upper one.
    areas = (rows.offset.flip(0).abs()[:, :, None, None] * columns.offset.flip(0).abs()).clamp_min(1e-9)
    return areas / areas.sum((0, 2), keepdim=True)
