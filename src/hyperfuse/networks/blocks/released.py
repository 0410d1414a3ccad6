"""Blocks of the released FeINFN program: only its departures from the paper's text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from hyperfuse.networks.blocks.implicit import FirstLayer, ImplicitFunction, add, blend, run_mlp, stack_neighbours
from hyperfuse.networks.kernels.dispatch import Path, rows_per_block, select_path
from hyperfuse.networks.kernels.four_neighbours import add_rows
from hyperfuse.networks.kernels.neighbours import (
    is_whole,
    lower_neighbour,
    nearest_two,
    offsets_from,
    rows_of,
    runs_of,
    take,
)
from hyperfuse.networks.kernels.polar import dense_polar, from_polar
from hyperfuse.networks.kernels.precision import linear, transform_dtype, weights_as
from hyperfuse.networks.kernels.rows import STRIP_PIXELS, evaluate_rows, pad_rows


@dataclass(frozen=True)
class PaddedNeighbours:
    """The two nearest LR pixels of each HR pixel along one axis, where the LR map is surrounded by a border of zeros.

    Attributes:
        index: int64 (2, n), lower and upper neighbour in the padded map (0 and size_in + 1 are the border).
        offset: (2, n), ``(x - x_k) size_in`` of each.
        inside: bool (2, n), whether the neighbour lies on the map.
        from_centre: (n,), ``x size_in``, the offset from a neighbour whose coordinates read as 0.
        first_pixel: the HR pixel that entry 0 describes.
        size_in: LR pixels of the axis.
        size_out: HR pixels of the axis.
    """

    index: torch.Tensor
    offset: torch.Tensor
    inside: torch.Tensor
    from_centre: torch.Tensor
    first_pixel: int
    size_in: int
    size_out: int

    def part(self, start: int, stop: int) -> PaddedNeighbours:
        """Return the neighbours of HR pixels ``start`` to ``stop - 1``."""
        if is_whole(start, stop, self.size_out):
            return self
        return replace(
            self,
            index=self.index[:, start:stop],
            offset=self.offset[:, start:stop],
            inside=self.inside[:, start:stop],
            from_centre=self.from_centre[start:stop],
            first_pixel=self.first_pixel + start,
        )

    def runs(self, side: int) -> list[tuple[int, int, int]]:
        """Return (start, stop, index) for runs of HR pixels with the same lower (0) or upper (1) neighbour."""
        pixels = range(self.first_pixel, self.first_pixel + self.from_centre.shape[0])
        return runs_of([lower_neighbour(pixel, self.size_in, self.size_out) + 1 + side for pixel in pixels])

    def beyond(self, side: int) -> slice:
        """Return which of these HR pixels have their lower (0) or upper (1) neighbour beyond the border."""
        half = self.size_out // self.size_in // 2  # HR pixels between the border and the outermost LR centre
        count = self.from_centre.shape[0]
        if side == 0:
            return slice(0, min(max(half - self.first_pixel, 0), count))
        return slice(min(max(self.size_out - half - self.first_pixel, 0), count), count)

    def along_axis(self) -> torch.Tensor:
        """Return the offsets as if only this axis mattered: 0 coordinates for neighbours beyond its border, (2, n)."""
        return torch.where(self.inside, self.offset, self.from_centre)

    def offsets(self, columns: PaddedNeighbours) -> torch.Tensor:
        """Return the offsets from the four neighbours, y before x, (2, n, 2, m, 2), for these rows and ``columns``.

        A neighbour beyond the border on either axis has both coordinates 0.
        """
        inside = self.inside.view(2, -1, 1, 1) & columns.inside
        y = torch.where(inside, self.offset.view(2, -1, 1, 1), self.from_centre.view(-1, 1, 1))
        x = torch.where(inside, columns.offset, columns.from_centre)
        return torch.stack([y, x], dim=-1)


def padded_neighbours(size_in: int, size_out: int, *, dtype: torch.dtype, device: torch.device) -> PaddedNeighbours:
    """Find the LR pixels nearest to ``x - 1/size_in`` and ``x + 1/size_in`` of each HR pixel centre ``x``.

    At even whole ratios there are no ties, and these are ``floor(u)`` and ``floor(u) + 1`` with
    ``u = (i + 1/2) size_in/size_out - 1/2``.

    Args:
        size_in: LR pixels of the axis.
        size_out: HR pixels of the axis.
        dtype: type of the offsets.
        device: of the result.

    Returns:
        The neighbours of every HR pixel.
    """
    position, index = nearest_two(size_in, size_out, size_out, device)
    from_centre = (position - size_out * (size_in - 1)).to(dtype) / size_out
    inside = index == index.clamp(0, size_in - 1)
    return PaddedNeighbours(
        index + 1, offsets_from(position, index, size_out, dtype), inside, from_centre, 0, size_in, size_out
    )


class PaddedImplicitFunction(ImplicitFunction):
    """An implicit function whose neighbours beyond the border are zero in feature and coordinate."""

    def first_layer(self, lr: torch.Tensor) -> FirstLayer:
        """As :meth:`ImplicitFunction.first_layer`, of a map that is surrounded by a pixel of zeros."""
        return super().first_layer(F.pad(lr, (0, 0, 1, 1, 1, 1)))

    def evaluate(
        self,
        layer: FirstLayer,
        hr: torch.Tensor,
        rows: PaddedNeighbours,
        columns: PaddedNeighbours,
        offsets: torch.Tensor,
        code: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Evaluate the pixels of some rows.

        Args:
            layer: of :meth:`first_layer`.
            hr: (B, R, W, hr_channels).
            rows: neighbours of the R rows.
            columns: neighbours of the W columns.
            offsets: (2, R, 2, W, 2), from the four neighbours, as of :meth:`PaddedNeighbours.offsets`.
            code: (1, R, W, 2), added to the offsets, or None.

        Returns:
            (B, R, W, out_channels).
        """
        table, on_hr, on_offset = layer
        base = linear(hr, on_hr)
        if select_path(hr) is not Path.WHOLE:
            if code is not None:
                base = base + linear(code.to(hr.dtype), on_offset)
            return blend(self._one_by_one(table, base, rows, columns, on_offset))
        if code is not None:
            offsets = offsets + code.transpose(0, 1)
        batch, height, width, channels = base.shape
        first = take(take(table, 2, columns.index.flatten()), 1, rows.index.flatten())
        first = add(first.view(batch, 2, height, 2, width, channels), base.view(batch, 1, height, 1, width, channels))
        return blend(run_mlp(self.layers, add(first, linear(offsets.to(hr.dtype), on_offset))))

    def _one_by_one(
        self,
        table: torch.Tensor,
        base: torch.Tensor,
        rows: PaddedNeighbours,
        columns: PaddedNeighbours,
        offset_weight: torch.Tensor,
    ) -> torch.Tensor:
        """Return the outputs of the four neighbours, (B, 2, R, 2, W, d + 1), one after the other: less memory."""
        dtype, (y_weight, x_weight) = base.dtype, offset_weight.unbind(1)
        by_row, by_column = rows.along_axis(), columns.along_axis()
        runs = [rows.runs(side) for side in range(2)]
        first, last = runs[0][0][2], runs[1][-1][2] + 1
        near = table[:, first:last]
        outputs = []
        for side_y, y in enumerate(by_row):
            in_row = base + y[:, None, None].to(dtype) * y_weight
            for side_x, x in enumerate(by_column):
                column = near.index_select(2, columns.index[side_x]) + x[:, None].to(dtype) * x_weight
                layer = add_rows(in_row, column, [(a, b, index - first) for a, b, index in runs[side_y]])
                # A neighbour beyond the border on one axis has coordinate 0 on the other too.
                layer[:, :, columns.beyond(side_x)] += (rows.from_centre - y)[:, None, None].to(dtype) * y_weight
                layer[:, rows.beyond(side_y)] += (columns.from_centre - x)[:, None].to(dtype) * x_weight
                outputs.append(run_mlp(self.layers, layer))
        return stack_neighbours(outputs)


class ScrambledPhaseStack(nn.Module):
    """Three pairs of 1x1 and depthwise 3x3 conv without bias, on (pixels, channels) reinterpreted as (channels, H, W).

    Args:
        in_channels: channels of the concatenated input.
        hidden: widths of the hidden layers.
        out_channels: channels of the output.
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
        x = x.flatten().view(batch, channels, height, width)
        whole = select_path(x) is Path.WHOLE
        strip = height if whole else rows_per_block(x, height, batch * width, 0, STRIP_PIXELS)
        for i, (mix, smooth) in enumerate(zip(self.pointwise, self.depthwise, strict=True)):
            weight, kernel = weights_as(mix, x.dtype)[0], weights_as(smooth, x.dtype)[0]
            x = F.relu(x, inplace=not torch.is_grad_enabled()) if i else x
            if whole:
                x = F.conv2d(F.conv2d(x, weight), kernel, padding=1, groups=kernel.shape[0])
            else:
                x = mix_and_smooth(x, weight.flatten(1), kernel, strip)
        return x.flatten().view(batch, height, width, -1)


def mix_and_smooth(x: torch.Tensor, weight: torch.Tensor, kernel: torch.Tensor, strip: int) -> torch.Tensor:
    """Apply a 1x1 conv, then a depthwise 3x3 conv with zero padding, on a CPU.

    Args:
        x: (B, channels, H, W), contiguous.
        weight: (out_channels, channels).
        kernel: (out_channels, 1, 3, 3).
        strip: rows at a time, so that the output of the first conv stays in cache.

    Returns:
        (B, out_channels, H, W).
    """
    batch, _, height, width = x.shape
    channels = weight.shape[0]

    def mix(window: torch.Tensor) -> torch.Tensor:
        # As a matrix product: torch's own 1x1 conv without bias takes a slow path there.
        return torch.bmm(weight.expand(batch, -1, -1), window.flatten(2)).view(batch, channels, -1, width)

    if strip >= height:
        return F.conv2d(mix(x), kernel, padding=1, groups=channels)
    result = x.new_empty((batch, channels, height, width))
    for start in range(0, height, strip):
        stop = min(start + strip, height)
        window = x[:, :, max(start - 1, 0) : min(stop + 1, height)]
        mixed = pad_rows(mix(window), start == 0, stop == height)
        result[:, :, start:stop] = F.conv2d(mixed, kernel, padding=(0, 1), groups=channels)
    return result


class ReleasedFourierFusion(nn.Module):
    """Amplitudes and phases of unnormalised full-plane transforms, fused separately; absolute value of the inverse."""

    def __init__(self, width: int, hidden: Sequence[int], latent: int) -> None:
        super().__init__()
        self.amplitude = PaddedImplicitFunction(width, width, 0, hidden, latent)
        self.phase = ScrambledPhaseStack(2 * width + 2, hidden, latent + 1)

    def forward(
        self,
        lr: torch.Tensor,
        hr: torch.Tensor,
        rows: PaddedNeighbours,
        columns: PaddedNeighbours,
        offsets: torch.Tensor,
    ) -> torch.Tensor:
        """Map (B, width, h, w) and (B, width, H, W) to (B, H, W, latent)."""
        dtype, real = hr.dtype, transform_dtype(hr)
        # Phases of self-conjugate bins lie on the cut: they follow the rounding of fft2 in the default memory layout.
        (lr_amplitude, lr_angle), (hr_amplitude, hr_angle) = (
            _full_polar(torch.fft.fft2(latent.to(real).contiguous())) for latent in (lr, hr)
        )
        phase = self.fuse_phases(lr_angle.to(dtype), hr_angle.to(dtype), rows, columns, offsets.to(dtype))
        layer = self.amplitude.first_layer(lr_amplitude)

        def block(start: int, stop: int) -> torch.Tensor:
            here = rows_of(hr_amplitude, start, stop)
            from_four = rows_of(offsets, start, stop)
            fused = self.amplitude.evaluate(layer, here, rows.part(start, stop), columns, from_four)
            return from_polar(fused, rows_of(phase, start, stop))

        pixels, needed = hr.shape[3] * hr.shape[0], self.amplitude.bytes_per_pixel(real)
        plane = evaluate_rows(block, hr_amplitude, hr.shape[2], pixels, needed)
        image: torch.Tensor = torch.fft.ifft2(plane, dim=(1, 2))
        return image.abs()

    def fuse_phases(
        self,
        lr: torch.Tensor,
        hr: torch.Tensor,
        rows: PaddedNeighbours,
        columns: PaddedNeighbours,
        offsets: torch.Tensor,
    ) -> torch.Tensor:
        """Map LR phases (B, h, w, width) and HR phases (B, H, W, width) to fused ones, (B, H, W, latent)."""
        batch, height, width, channels = hr.shape
        padded = F.pad(lr, (0, 0, 1, 1, 1, 1))

        def outputs(side_y: slice, side_x: slice) -> torch.Tensor:
            index_y, index_x = rows.index[side_y], columns.index[side_x]
            size = (batch, index_y.shape[0], index_x.shape[0], height, width)
            nearest = take(take(padded, 2, index_x.flatten()), 1, index_y.flatten())
            inputs = [
                nearest.view(batch, size[1], height, size[2], width, channels).transpose(2, 3),
                hr[:, None, None].expand(*size, channels),
                offsets[side_y, :, side_x].transpose(1, 2).expand(*size, 2),
            ]
            fused: torch.Tensor = self.phase(torch.cat(inputs, dim=-1).view(-1, height, width, 2 * channels + 2))
            return fused.view(*size, -1)

        needed = 4 * 3 * 2 * channels * hr.element_size()
        whole = select_path(hr) is Path.WHOLE
        if whole and rows_per_block(hr, 4, batch * height * width // 4, needed) >= 4:
            four = outputs(slice(2), slice(2))
        else:  # a CPU, or an accelerator that is short of memory
            four = torch.cat([outputs(slice(y, y + 1), slice(x, x + 1)) for y in (0, 1) for x in (0, 1)], dim=1)
            four = four.view(batch, 2, 2, height, width, -1)
        return blend(four.transpose(2, 3))


def _full_polar(plane: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return amplitude and angle of (B, C, H, W) complex as they are, (B, H, W, C) each."""
    if select_path(plane) is Path.BLOCKS:
        return dense_polar(plane)
    plane = plane.permute(0, 2, 3, 1)
    return plane.abs(), plane.angle()
