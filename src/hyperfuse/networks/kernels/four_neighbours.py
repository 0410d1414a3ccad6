"""The layers of an implicit function on all four cells at once, with a gradient that is worked off in cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from hyperfuse.networks.kernels.neighbours import AxisCells
from hyperfuse.networks.kernels.precision import own_gradient

# Pixels that are worked off at a time: their four hidden layers stay in the last-level cache.
CHUNK_PIXELS = 2048


def evaluate_four_cells(
    table: torch.Tensor,
    hr: torch.Tensor,
    rows: AxisCells,
    columns: AxisCells,
    areas: torch.Tensor | None,
    weights: Sequence[torch.Tensor],
) -> torch.Tensor:
    """Evaluate an implicit function for training.

    Autograd would keep, add and sum arrays of the size of every hidden layer for each cell by itself; here a few rows
    of one image go through all layers, and come back through them, before the next.

    Args:
        table: (B, h, w, hidden width), what the LR maps give to the first layer.
        hr: (B, R, W, hr_channels).
        rows: cells of the R rows, as indices into ``table``'s rows.
        columns: cells of the W columns.
        areas: (4, R, W) weights of the cells, or None where the last output is a logit to weigh them by.
        weights: of the first layer on ``hr`` (hidden width, hr_channels) and on the offsets (hidden width, 2), then
            weight and bias of each further layer; all of the type of ``hr``.

    Returns:
        (B, R, W, outputs), float32 or float64.
    """
    return _FourCells.apply(rows, columns, areas, table, hr, *weights)  # type: ignore[no-untyped-call, no-any-return]


class _FourCells(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        rows: AxisCells,
        columns: AxisCells,
        areas: torch.Tensor | None,
        table: torch.Tensor,
        hr: torch.Tensor,
        of_hr: torch.Tensor,
        of_offset: torch.Tensor,
        *layers: torch.Tensor,
    ) -> torch.Tensor:
        batch, height, width, _ = hr.shape
        kept: list[torch.Tensor] = []
        blended: list[torch.Tensor] = []
        for image in range(batch):
            by_column = [
                table[image].index_select(1, index) + offset[:, None].to(hr.dtype) * of_offset[:, 1]
                for index, offset in columns.pairs()
            ]
            for start, stop in _chunks(height, width):
                here = rows.part(start, stop)
                base = torch.mm(hr[image, start:stop].flatten(0, 1), of_hr.t()).view(stop - start, width, -1)
                first = base.new_empty((2, 2, *base.shape))
                for side, (_, offset) in enumerate(here.pairs()):
                    in_row = base + offset[:, None, None].to(hr.dtype) * of_offset[:, 0]
                    for top, bottom, cell in here.runs(side):
                        for other in range(2):
                            torch.add(in_row[top:bottom], by_column[other][cell], out=first[side, other, top:bottom])
                x = first.flatten(0, 3)
                for weight, bias in _pairs(layers):
                    kept.append(x.relu_())
                    x = torch.addmm(bias, x, weight.t())
                answers = x.view(4, stop - start, width, -1)
                kept.append(answers)
                blended.append(_blend(answers, None if areas is None else areas[:, start:stop]))
        ctx.rows, ctx.columns, ctx.areas = rows, columns, areas
        ctx.save_for_backward(table, hr, of_hr, of_offset, *layers, *kept)
        return torch.cat(blended).view(batch, height, width, -1)

    @staticmethod
    @own_gradient
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        count = len(ctx.needs_input_grad) - 7
        table, hr, of_hr, of_offset = ctx.saved_tensors[:4]
        layers, kept = ctx.saved_tensors[4 : 4 + count], iter(ctx.saved_tensors[4 + count :])
        rows, columns, real = ctx.rows, ctx.columns, slope.dtype
        (batch, height, width, _), (_, cells, _, hidden) = hr.shape, table.shape
        in_hr, in_table = torch.empty_like(hr), torch.zeros_like(table, dtype=real)
        in_of_hr, in_of_offset = (torch.zeros_like(w, dtype=real) for w in (of_hr, of_offset))
        in_layers = [torch.zeros_like(layer, dtype=real) for layer in layers]
        for image in range(batch):
            # What each row of the table gives to each column of pixels, for the left and the right cell of a pixel.
            in_column = torch.zeros((2, cells, width, hidden), dtype=real, device=hr.device)
            for start, stop in _chunks(height, width):
                hidden_layers = [next(kept) for _ in range(count // 2)]
                areas = None if ctx.areas is None else ctx.areas[:, start:stop]
                x = _blend_gradient(next(kept), areas, slope[image, start:stop])
                for i in range(len(hidden_layers) - 1, -1, -1):
                    in_layers[2 * i] += torch.mm(x.t(), hidden_layers[i])
                    in_layers[2 * i + 1] += x.sum(0)
                    x = torch.mm(x, layers[2 * i])
                    torch.ops.aten.threshold_backward.grad_input(x, hidden_layers[i], 0, grad_input=x)
                x = x.view(2, 2, stop - start, width, hidden)
                base = ((x[0, 0] + x[0, 1]) + (x[1, 0] + x[1, 1])).flatten(0, 1)
                in_of_hr += torch.mm(base.t(), hr[image, start:stop].flatten(0, 1))
                torch.mm(base, of_hr, out=in_hr[image, start:stop].view(base.shape[0], -1))
                here = rows.part(start, stop)
                for side, (index, offset) in enumerate(here.pairs()):
                    # One product sums rows by their cell, and, weighed by their offsets, all of them.
                    runs = here.runs(side)
                    first, last = runs[0][2], runs[-1][2] + 1
                    picks = torch.arange(first, last, device=hr.device)[:, None] == index
                    sums = torch.cat([picks.to(x.dtype), offset[None].to(x.dtype)]) @ x[side].flatten(2)
                    sums = sums.view(2, -1, width, hidden)
                    in_column[:, first:last] += sums[:, :-1]
                    in_of_offset[:, 0] += sums[:, -1].sum((0, 1), dtype=real)
            for side, (index, offset) in enumerate(columns.pairs()):
                in_table[image].index_add_(1, index, in_column[side])
                in_of_offset[:, 1] += offset.to(real) @ in_column[side].sum(0)
        slopes = (in_table, in_hr, in_of_hr, in_of_offset, *in_layers)
        return None, None, None, *(s.to(hr.dtype) for s in slopes)


def _chunks(height: int, width: int) -> Iterator[tuple[int, int]]:
    step = max(1, CHUNK_PIXELS // width)
    for start in range(0, height, step):
        yield start, min(start + step, height)


def _pairs(layers: Sequence[torch.Tensor]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    return zip(layers[::2], layers[1::2], strict=True)


def _blend(answers: torch.Tensor, areas: torch.Tensor | None) -> torch.Tensor:
    if areas is not None:
        return (answers * areas[..., None]).sum(0)
    return (answers[..., :-1] * shares(answers)[..., None]).sum(0)


def _blend_gradient(answers: torch.Tensor, areas: torch.Tensor | None, slope: torch.Tensor) -> torch.Tensor:
    """Return the gradient in the answers, (4 pixels, outputs), given that in the blended ones."""
    if areas is not None:
        return (slope * areas[..., None]).to(answers.dtype).flatten(0, 2)
    result = torch.empty_like(answers)
    share = shares(answers)
    worth = (answers[..., :-1] * slope).sum(-1)
    torch.mul(slope, share[..., None], out=result[..., :-1])
    torch.mul(share, worth - (share * worth).sum(0), out=result[..., -1])
    return result.flatten(0, 2)


def shares(answers: torch.Tensor) -> torch.Tensor:
    """Return the softmax over cells of the last channel of (4, ..., d + 1), (4, ...), in float32 at least."""
    logits = answers[..., -1].to(torch.promote_types(answers.dtype, torch.float32))
    # torch's softmax over the first dimension goes number by number.
    powers = (logits - logits.amax(0)).exp_()
    return powers / powers.sum(0)
