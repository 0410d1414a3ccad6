"""Blocks of the released FeINFN program, with its departures from the paper's text."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from hyperfuse.networks.blocks.encoder import STRIP_PIXELS, pad_rows
from hyperfuse.networks.blocks.implicit import ImplicitFunction, blend_by_logit, run_mlp
from hyperfuse.networks.kernels.padded import PaddedAxis, padded_axis
from hyperfuse.networks.kernels.polar import dense_polar
from hyperfuse.networks.kernels.precision import transform_dtype, weights_as
from hyperfuse.networks.kernels.rows import add_rows, evaluate_rows, rows_at_once


class PaddedImplicitFunction(ImplicitFunction):
    """An implicit function whose cells beyond the border are zero in feature and coordinate."""

    def table(self, lr: torch.Tensor) -> torch.Tensor:
        """As :meth:`ImplicitFunction.table`, with one cell of zero features around, (B, h + 2, w + 2, hidden width)."""
        return super().table(F.pad(lr, (0, 0, 1, 1, 1, 1)))

    def evaluate(
        self, table: torch.Tensor, hr: torch.Tensor, rows: PaddedAxis, columns: PaddedAxis, code: torch.Tensor | None
    ) -> torch.Tensor:
        """Evaluate the pixels of some rows.

        Args:
            table: (B, h + 2, w + 2, hidden width).
            hr: (B, R, W, hr_channels).
            rows: cells of the R rows.
            columns: cells of the W columns.
            code: (R, W, 2), added to the offsets, or None.

        Returns:
            (B, R, W, out_channels).
        """
        _, hr_weight, delta_weight = self.split_weight(hr.dtype)
        base = F.linear(hr, hr_weight)
        if code is not None:
            base = base + F.linear(code.to(hr.dtype), delta_weight)
        first, last = rows.span()
        near = table[:, first:last]
        y_weight, x_weight = delta_weight[:, 0], delta_weight[:, 1]
        answers = []
        for side_y in range(2):
            y = rows.along_axis(side_y)
            in_row = base + y[:, None, None].to(hr.dtype) * y_weight
            runs = [] if torch.compiler.is_compiling() else [(a, b, c - first) for a, b, c in rows.runs(side_y)]
            for side_x in range(2):
                x = columns.along_axis(side_x)
                column = near.index_select(2, columns.index[side_x]) + x[:, None].to(hr.dtype) * x_weight
                layer = add_rows(in_row, column, rows.index[side_y] - first, runs)
                # A cell beyond the border on one axis has coordinate 0 on the other too.
                if torch.compiler.is_compiling():  # slices would tie the graph to the ratio
                    apart = torch.stack([y[:, None].expand(-1, x.shape[0]), x.expand(y.shape[0], -1)], dim=-1)
                    missing = rows.offsets(columns, side_y, side_x) - apart
                    layer = layer + F.linear(missing.to(hr.dtype), delta_weight)
                else:
                    beside, above = columns.outside(side_x), rows.outside(side_y)
                    layer[:, :, beside] += (rows.from_centre - y)[:, None, None].to(hr.dtype) * y_weight
                    layer[:, above] += (columns.from_centre - x)[:, None].to(hr.dtype) * x_weight
                answers.append(run_mlp(self.layers, layer))
        return blend_by_logit(answers)


class ScrambledPhaseStack(nn.Module):
    """Three pairs of 1x1 and depthwise 3x3 conv without bias, on (pixels, channels) reinterpreted as (channels, H, W).

    Args:
        in_channels: channels of the concatenated input.
        hidden: widths of the hidden layers.
        out_channels: channels that come out.
    """

    def __init__(self, in_channels: int, hidden: Sequence[int], out_channels: int) -> None:
        super().__init__()
        widths = [in_channels, *hidden, out_channels]
        self.pointwise = nn.ModuleList(nn.Conv2d(a, b, 1, bias=False) for a, b in pairwise(widths))
        self.depthwise = nn.ModuleList(nn.Conv2d(b, b, 3, padding=1, groups=b, bias=False) for b in widths[1:])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, H, W, in_channels), contiguous, to (B, H, W, out_channels)."""
        batch, height, width, channels = x.shape
        # Not a transpose: channels and pixels are scrambled. Through one dimension, which torch.export can follow.
        x = x.flatten().reshape(batch, channels, height, width)
        whole = torch.is_grad_enabled() or torch.compiler.is_compiling()
        strip = None if whole else rows_at_once(batch * width, STRIP_PIXELS)
        for i, (mix, smooth) in enumerate(zip(self.pointwise, self.depthwise, strict=True)):
            weight, kernel = weights_as(mix, x.dtype)[0].flatten(1), weights_as(smooth, x.dtype)[0]
            x = mix_and_smooth(x.relu_() if i else x, weight, kernel, strip)
        return x.flatten().reshape(batch, height, width, -1)


def mix_and_smooth(x: torch.Tensor, weight: torch.Tensor, kernel: torch.Tensor, strip: int | None) -> torch.Tensor:
    """Apply a 1x1 conv, then a depthwise 3x3 conv with zero padding, ``strip`` rows at a time.

    Args:
        x: (B, channels, H, W), contiguous.
        weight: (out_channels, channels).
        kernel: (out_channels, 1, 3, 3).
        strip: rows at a time, so that what the first conv gives stays in cache; None for all at once.

    Returns:
        (B, out_channels, H, W).
    """
    batch, _, height, width = x.shape
    channels = weight.shape[0]

    def part(window: torch.Tensor, at_top: bool, at_bottom: bool) -> torch.Tensor:
        # As a matrix product: torch's own 1x1 conv without bias goes through a slow path.
        mixed = torch.bmm(weight.expand(batch, -1, -1), window.flatten(2)).reshape(batch, channels, -1, width)
        return F.conv2d(pad_rows(mixed, at_top, at_bottom), kernel, padding=(0, 1), groups=channels)

    if strip is None:
        return part(x, True, True)
    result = x.new_empty((batch, channels, height, width))
    for start in range(0, height, strip):
        stop = min(start + strip, height)
        window = x[:, :, max(start - 1, 0) : min(stop + 1, height)]
        result[:, :, start:stop] = part(window, start == 0, stop == height)
    return result


class ReleaseFourierFusion(nn.Module):
    """Amplitudes and phases of unnormalised full-plane transforms, fused apart; the absolute value of the inverse."""

    def __init__(self, width: int, hidden: Sequence[int], latent: int) -> None:
        super().__init__()
        self.amplitude = PaddedImplicitFunction(width, width, 0, hidden, latent)
        self.phase = ScrambledPhaseStack(2 * width + 2, hidden, latent + 1)

    def forward(self, lr: torch.Tensor, hr: torch.Tensor) -> torch.Tensor:
        """Map (B, width, h, w) and (B, width, H, W) to (B, H, W, latent)."""
        dtype, real = hr.dtype, transform_dtype(hr)
        # Phases of self-conjugate bins lie on the cut: they follow the rounding of fft2 in the default memory layout.
        (lr_amplitude, lr_angle), (hr_amplitude, hr_angle) = (
            dense_polar(torch.fft.fft2(latent.to(real).contiguous())) for latent in (lr, hr)
        )
        rows = padded_axis(lr.shape[2], hr.shape[2], dtype=real, device=hr.device)
        columns = padded_axis(lr.shape[3], hr.shape[3], dtype=real, device=hr.device)
        turned = self.fuse_phases(lr_angle.to(dtype), hr_angle.to(dtype), rows, columns)
        table = self.amplitude.table(lr_amplitude)

        def block(start: int, stop: int) -> torch.Tensor:
            here = hr_amplitude[:, start:stop]
            fused = self.amplitude.evaluate(table, here, rows.part(start, stop), columns, None)
            angle = turned[:, start:stop]
            return torch.complex(fused * angle.cos(), fused * angle.sin())

        plane = evaluate_rows(block, hr.shape[2], hr.shape[3] * hr.shape[0])
        image: torch.Tensor = torch.fft.ifft2(plane, dim=(1, 2))
        return image.abs()

    def fuse_phases(self, lr: torch.Tensor, hr: torch.Tensor, rows: PaddedAxis, columns: PaddedAxis) -> torch.Tensor:
        """Map LR phases (B, h, w, width) and HR phases (B, H, W, width) to fused ones, (B, H, W, latent)."""
        padded = F.pad(lr, (0, 0, 1, 1, 1, 1))
        answers: list[torch.Tensor] = []
        for side_y in range(2):
            for side_x in range(2):
                cells = padded.index_select(1, rows.index[side_y]).index_select(2, columns.index[side_x])
                offset = rows.offsets(columns, side_y, side_x).to(hr.dtype)
                inputs = [cells, hr, offset.expand(hr.shape[0], -1, -1, -1)]
                answers.append(self.phase(torch.cat(inputs, dim=-1).contiguous()))
        return blend_by_logit(answers)
