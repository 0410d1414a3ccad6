"""Implicit fusion: an MLP evaluated on the four LR cells around each HR pixel, its answers blended."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from hyperfuse.networks.kernels.four_neighbours import evaluate_four_cells, shares
from hyperfuse.networks.kernels.neighbours import AxisCells
from hyperfuse.networks.kernels.precision import weights_as
from hyperfuse.networks.kernels.rows import add_rows


def mlp_layers(in_features: int, hidden: Sequence[int], out_features: int) -> nn.ModuleList:
    """Make the Linear layers ``in_features -> hidden... -> out_features``; the caller puts ReLU between them."""
    widths = [in_features, *hidden, out_features]
    return nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))


def run_mlp(layers: nn.ModuleList, first: torch.Tensor) -> torch.Tensor:
    """Finish an MLP whose first Linear has been applied; ``first`` is overwritten by its ReLU."""
    x = first
    for layer in list(layers)[1:]:
        x = F.linear(x.relu_(), *weights_as(layer, x.dtype))
    return x


class ImplicitFunction(nn.Module):
    """``sum_k softmax(a)_k e_k`` with ``(e_k, a_k) = phi([F_k, S(x), HP_k, delta_k])`` over four LR cells ``k``.

    The first Linear of ``phi`` is linear in its concatenated input, so its part on the LR features is computed once at
    LR (:meth:`table`), its part on ``S`` once a pixel instead of four times, and its part on ``delta`` once a row and
    once a column; only the sum is formed per pixel and cell. The values are those of the plain form up to rounding.
    Liang et al., FeINFN, NeurIPS 2024, spatial and frequency implicit fusion.

    Args:
        lr_channels: channels of ``F``.
        hr_channels: channels of ``S``.
        extra_channels: channels of a second LR map (the high-pass of ``F``), 0 for none.
        hidden: widths of the hidden layers.
        out_channels: features that come out; the weight logit is one more output of the MLP.
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

    def split_weight(self, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the first Linear's weight on the LR maps (both, side by side), on the HR map and on the offsets."""
        weight, _ = weights_as(self.layers[0], dtype)
        sizes = [self.lr_channels, self.hr_channels, self.extra_channels, self.offset_channels]
        lr, hr, extra, delta = torch.split(weight, sizes, dim=1)
        return torch.cat([lr, extra], dim=1), hr, delta

    def table(self, lr: torch.Tensor) -> torch.Tensor:
        """Apply the first Linear's LR part, with its bias.

        Args:
            lr: (B, h, w, lr_channels + extra_channels).

        Returns:
            (B, h, w, hidden width).
        """
        return F.linear(lr, self.split_weight(lr.dtype)[0], weights_as(self.layers[0], lr.dtype)[1])

    def forward(self, table: torch.Tensor, hr: torch.Tensor, rows: AxisCells, columns: AxisCells) -> torch.Tensor:
        """Evaluate the function on the pixels of some rows.

        Args:
            table: (B, h', w, hidden width), the rows of :meth:`table` that ``rows`` points into.
            hr: (B, R, W, hr_channels), the HR features of these rows.
            rows: cells of the R rows, as indices into ``table``'s rows.
            columns: cells of the W columns.

        Returns:
            (B, R, W, out_channels).
        """
        _, hr_weight, delta_weight = self.split_weight(hr.dtype)
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            weights = [hr_weight, delta_weight]
            for layer in list(self.layers)[1:]:
                weight, bias = weights_as(layer, hr.dtype)
                assert bias is not None
                weights += [weight, bias]
            areas = opposite_areas(rows, columns) if self.ensemble == "area" else None
            return evaluate_four_cells(table, hr, rows, columns, areas, weights)
        base = F.linear(hr, hr_weight)
        by_column = [
            table.index_select(2, index) + offset[:, None].to(hr.dtype) * delta_weight[:, 1]
            for index, offset in columns.pairs()
        ]
        answers: list[torch.Tensor] = []
        for side, (index, offset) in enumerate(rows.pairs()):
            if torch.compiler.is_compiling():
                runs, in_row = [], base + offset[:, None, None].to(hr.dtype) * delta_weight[:, 0]
            else:
                step = offset if side == 0 else offset - rows.lower_offset
                runs, in_row = rows.runs(side), base.add_(step[:, None, None].to(hr.dtype) * delta_weight[:, 0])
            first_layers = (add_rows(in_row, column, index, runs) for column in by_column)
            answers.extend(run_mlp(self.layers, first_layer) for first_layer in first_layers)
        if self.ensemble == "area":
            return blend_by_area(answers, rows, columns)
        return blend_by_logit(answers)


def blend_by_logit(answers: Sequence[torch.Tensor]) -> torch.Tensor:
    """Blend cells' answers, (..., d + 1) each, by the softmax over cells of their last channel; in float32 at least."""
    stacked = torch.stack([a.to(torch.promote_types(a.dtype, torch.float32)) for a in answers])
    return (stacked[..., :-1] * shares(stacked)[..., None]).sum(dim=0)


def blend_by_area(answers: Sequence[torch.Tensor], rows: AxisCells, columns: AxisCells) -> torch.Tensor:
    """Blend cells' answers, (B, R, W, d) each, by the area of the rectangle to the opposite cell, as LIIF does."""
    blended = torch.zeros((), dtype=torch.promote_types(answers[0].dtype, torch.float32), device=answers[0].device)
    for answer, area in zip(answers, opposite_areas(rows, columns), strict=True):
        blended = blended + answer * area[..., None]
    return blended


def opposite_areas(rows: AxisCells, columns: AxisCells) -> torch.Tensor:
    """Return the area of the rectangle to the opposite cell for each of the four cells, summing to 1, (4, R, W)."""
    areas = torch.stack(
        [
            (dy.abs()[:, None] * dx.abs()[None, :]).clamp_min(1e-9)
            for dy in (rows.upper_offset, rows.lower_offset)
            for dx in (columns.upper_offset, columns.lower_offset)
        ]
    )
    return areas / areas.sum(dim=0)
