"""The layers of an implicit function for all four neighbours of a pixel, in blocks that stay in cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from hyperfuse.networks.kernels.neighbours import AxisNeighbours
from hyperfuse.networks.kernels.precision import own_gradient, transform_dtype

# Pixels in a block: their four hidden layers stay in the last-level cache.
CHUNK_PIXELS = 2048


def first_layers(
    table: torch.Tensor, base: torch.Tensor, rows: AxisNeighbours, columns: AxisNeighbours, offset_weight: torch.Tensor
) -> Iterator[torch.Tensor]:
    """Yield the first layer of an implicit function for each of the four neighbours, without gradients.

    No array of LR features on the HR grid is formed: rows that share a neighbour are added at once.

    Args:
        table: (B, h, w, K), the contribution of the LR maps.
        base: (B, R, W, K), that of the HR map; overwritten.
        rows: neighbours of the R rows, as indices into ``table``'s rows.
        columns: neighbours of the W columns.
        offset_weight: (K, 2), of the layer on the offsets, y before x.

    Yields:
        (B, R, W, K) each: lower row and lower column, lower and upper, upper and lower, upper and upper.
    """
    by_column = [
        table.index_select(2, index) + offset[:, None].to(base.dtype) * offset_weight[:, 1]
        for index, offset in columns.pairs()
    ]
    for side, (_, offset) in enumerate(rows.pairs()):
        step = offset if side == 0 else offset - rows.offset[0]
        base.add_(step[:, None, None].to(base.dtype) * offset_weight[:, 0])
        for column in by_column:
            yield add_rows(base, column, rows.runs(side))


def add_rows(rows: torch.Tensor, table: torch.Tensor, runs: list[tuple[int, int, int]]) -> torch.Tensor:
    """Return ``rows + table[:, index]``; without gradients ``table[:, index]`` is not formed.

    Args:
        rows: (B, R, W, K).
        table: (B, r, W, K).
        runs: the index of each row into ``table``, as runs (start, stop, index) of equal ones.

    Returns:
        (B, R, W, K).
    """
    if torch.is_grad_enabled():
        of_rows = [index for start, stop, index in runs for _ in range(start, stop)]
        return table.index_select(1, torch.tensor(of_rows, device=table.device)).add_(rows)
    result = torch.empty_like(rows, memory_format=torch.contiguous_format)
    for start, stop, index in runs:
        torch.add(rows[:, start:stop], table[:, index : index + 1], out=result[:, start:stop])
    return result


def evaluate_with_gradient(
    table: torch.Tensor,
    hr: torch.Tensor,
    rows: AxisNeighbours,
    columns: AxisNeighbours,
    areas: torch.Tensor | None,
    weights: Sequence[torch.Tensor],
) -> torch.Tensor:
    """Evaluate an implicit function for training.

    Autograd would store, add and sum arrays of the size of every hidden layer for each neighbour; here a few rows of
    one image go through all layers, and back through them, before the next.

    Args:
        table: (B, h, w, K), the contribution of the LR maps to the first layer.
        hr: (B, R, W, hr_channels).
        rows: neighbours of the R rows, as indices into ``table``'s rows.
        columns: neighbours of the W columns.
        areas: (4, R, W) weights of the neighbours, or None where the last output is their logit.
        weights: of the first layer on ``hr`` (K, hr_channels) and on the offsets (K, 2), then weight and bias of each
            further layer; all of the type of ``hr``.

    Returns:
        (B, R, W, outputs), float32 or float64.
    """
    return _FourNeighbours.apply(rows, columns, areas, table, hr, *weights)  # type: ignore[no-untyped-call, no-any-return]


class _FourNeighbours(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        rows: AxisNeighbours,
        columns: AxisNeighbours,
        areas: torch.Tensor | None,
        table: torch.Tensor,
        hr: torch.Tensor,
        of_hr: torch.Tensor,
        of_offset: torch.Tensor,
        *layers: torch.Tensor,
    ) -> torch.Tensor:
        batch, height, width, _ = hr.shape
        stored: list[torch.Tensor] = []
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
                    for top, bottom, nearest in here.runs(side):
                        for other in range(2):
                            torch.add(in_row[top:bottom], by_column[other][nearest], out=first[side, other, top:bottom])
                x = first.flatten(0, 3)
                for weight, bias in _pairs(layers):
                    stored.append(x.relu_())
                    x = torch.addmm(bias, x, weight.t())
                outputs = x.view(4, stop - start, width, -1)
                stored.append(outputs)
                blended.append(_blend(outputs, None if areas is None else areas[:, start:stop]))
        ctx.rows, ctx.columns, ctx.areas = rows, columns, areas
        ctx.save_for_backward(table, hr, of_hr, of_offset, *layers, *stored)
        return torch.cat(blended).view(batch, height, width, -1)

    @staticmethod
    @own_gradient
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        count = len(ctx.needs_input_grad) - 7
        table, hr, of_hr, of_offset = ctx.saved_tensors[:4]
        layers, stored = ctx.saved_tensors[4 : 4 + count], iter(ctx.saved_tensors[4 + count :])
        rows, columns, real = ctx.rows, ctx.columns, slope.dtype
        (batch, height, width, _), (_, lr_rows, _, hidden) = hr.shape, table.shape
        in_hr, in_table = torch.empty_like(hr), torch.zeros_like(table, dtype=real)
        in_of_hr, in_of_offset = (torch.zeros_like(w, dtype=real) for w in (of_hr, of_offset))
        in_layers = [torch.zeros_like(layer, dtype=real) for layer in layers]
        for image in range(batch):
            # Gradient in each row of the table at each column of pixels, for the left and the right neighbours.
            in_column = torch.zeros((2, lr_rows, width, hidden), dtype=real, device=hr.device)
            for start, stop in _chunks(height, width):
                hidden_layers = [next(stored) for _ in range(count // 2)]
                areas = None if ctx.areas is None else ctx.areas[:, start:stop]
                x = _blend_gradient(next(stored), areas, slope[image, start:stop])
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
                    # One product sums rows by their neighbour, and, weighted by their offsets, all of them.
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


def _blend(outputs: torch.Tensor, areas: torch.Tensor | None) -> torch.Tensor:
    if areas is not None:
        return (outputs * areas[..., None]).sum(0)
    return (outputs[..., :-1] * softmax_weights(outputs)[..., None]).sum(0)


def _blend_gradient(outputs: torch.Tensor, areas: torch.Tensor | None, slope: torch.Tensor) -> torch.Tensor:
    """Return the gradient in the outputs, (4 pixels, outputs), from that in the blended ones."""
    if areas is not None:
        return (slope * areas[..., None]).to(outputs.dtype).flatten(0, 2)
    result = torch.empty_like(outputs)
    weight = softmax_weights(outputs)
    effect = (outputs[..., :-1] * slope).sum(-1)
    torch.mul(slope, weight[..., None], out=result[..., :-1])
    torch.mul(weight, effect - (weight * effect).sum(0), out=result[..., -1])
    return result.flatten(0, 2)


def softmax_weights(outputs: torch.Tensor, dims: tuple[int, ...] = (0,)) -> torch.Tensor:
    """Return the softmax over the neighbours of the last channel, float32 or float64.

    Args:
        outputs: (..., d + 1), of all four neighbours.
        dims: the dimensions that count the neighbours.

    Returns:
        As ``outputs``, without its last dimension.
    """
    logits = outputs[..., -1].to(transform_dtype(outputs))
    # torch's softmax over a leading dimension is not vectorised. The maximum has no effect on the result.
    powers = (logits - logits.detach().amax(dims, keepdim=True)).exp()
    return powers / powers.sum(dims, keepdim=True)
