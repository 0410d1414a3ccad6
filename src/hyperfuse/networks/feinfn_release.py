"""FeINFN as the authors released it: equal to their program number for number, so that its weights can be used.

Where the program departs from the paper's text it is the program that is followed here, while
:mod:`hyperfuse.networks.feinfn` follows the paper. The departures: phases go through 1x1 and depthwise 3x3 convs on a
reinterpreted array, a code of the pixel's raster number is added to the spatial offsets, the "high-pass" kernel passes
the mean, cells beyond the border are zero (their coordinates too), transforms are unnormalised and of the full plane,
and the inverse is an absolute value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from hyperfuse.errors import InputError
from hyperfuse.networks.blocks.encoder import STRIP_PIXELS, pad_rows
from hyperfuse.networks.blocks.implicit import ImplicitFunction, blend_by_logit, run_mlp
from hyperfuse.networks.blocks.padded import PaddedAxis, padded_axis
from hyperfuse.networks.blocks.precision import transform_dtype, weights_as
from hyperfuse.networks.blocks.rows import add_rows, evaluate_rows, rows_at_once
from hyperfuse.networks.blocks.upsample import resample
from hyperfuse.networks.feinfn import FeINFN
from hyperfuse.networks.options import FeINFNOptions, FeINFNSize, NetworkOptions
from hyperfuse.networks.registry import register_network

RASTER_CODES = 4096

# (pattern of the released name, our name); a name that no pattern matches is refused.
_RENAMES: tuple[tuple[str, str], ...] = (
    (r"(spatial|spectral)_encoder\.head\.0\.", r"\1_encoder.head."),
    (r"(spatial|spectral)_encoder\.body\.(\d+)\.body\.0\.", r"\1_encoder.blocks.\2.conv1."),
    (r"(spatial|spectral)_encoder\.body\.(\d+)\.body\.2\.", r"\1_encoder.blocks.\2.conv2."),
    (r"(spatial|spectral)_encoder\.body\.(\d+)\.(?=weight|bias)", r"\1_encoder.tail."),
    (r"imnet\.layers\.(\d+)\.", r"spatial_fusion.layers.{half}."),
    (r"freq_query\.imnet1\.layers\.(\d+)\.", r"frequency_fusion.amplitude.layers.{half}."),
    (r"freq_query\.imnet2\.layers\.(\d+)\.0\.", r"frequency_fusion.phase.pointwise.{half}."),
    (r"freq_query\.imnet2\.layers\.(\d+)\.1\.", r"frequency_fusion.phase.depthwise.{half}."),
    (r"decoder\.K\.(\d+)\.0\.", r"decoder.keys.\1."),
    (r"decoder\.Q\.(\d+)\.0\.", r"decoder.queries.\1."),
    (r"decoder\.Q\.(\d+)\.1\.omega_0", r"decoder.activations.\1.frequency"),
    (r"decoder\.Q\.(\d+)\.1\.scale_0", r"decoder.activations.\1.scale"),
    (r"decoder\.last_layer\.", r"decoder.output."),
)
_IGNORED = re.compile(r"(.*\.)?(sub_mean|add_mean)\..*|hp\.kernel|(freq_query\.)?pe\.pe")


def mean_passing_filter(latent: torch.Tensor) -> torch.Tensor:
    """Return each pixel less its four neighbours, (B, C, h, w), zeros beyond the border: the program's "high-pass"."""
    x = F.pad(latent, (1, 1, 1, 1))
    neighbours = x[:, :, :-2, 1:-1] + x[:, :, 2:, 1:-1] + x[:, :, 1:-1, :-2] + x[:, :, 1:-1, 2:]
    return latent - neighbours


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
                    apart = torch.stack([y[:, None].expand(-1, len(x)), x.expand(len(y), -1)], dim=-1)
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
        strip = height if whole else rows_at_once(batch * width, STRIP_PIXELS)
        for i, (mix, smooth) in enumerate(zip(self.pointwise, self.depthwise, strict=True)):
            weight, kernel = weights_as(mix, x.dtype)[0].flatten(1), weights_as(smooth, x.dtype)[0]
            x = mix_and_smooth(x.relu_() if i else x, weight, kernel, strip)
        return x.flatten().reshape(batch, height, width, -1)


def mix_and_smooth(x: torch.Tensor, weight: torch.Tensor, kernel: torch.Tensor, strip: int) -> torch.Tensor:
    """Apply a 1x1 conv, then a depthwise 3x3 conv with zero padding, ``strip`` rows at a time.

    Args:
        x: (B, channels, H, W), contiguous.
        weight: (out_channels, channels).
        kernel: (out_channels, 1, 3, 3).
        strip: rows at a time; what the first conv gives for a strip stays in cache.

    Returns:
        (B, out_channels, H, W).
    """
    batch, _, height, width = x.shape
    channels = weight.shape[0]
    parts: list[torch.Tensor] = []
    for start in range(0, height, strip):
        stop = min(start + strip, height)
        window = x[:, :, max(start - 1, 0) : min(stop + 1, height)]
        # As a matrix product: torch's own 1x1 conv without bias goes through a slow path.
        mixed = torch.bmm(weight.expand(batch, -1, -1), window.flatten(2)).reshape(batch, channels, -1, width)
        mixed = pad_rows(mixed, start == 0, stop == height)
        parts.append(F.conv2d(mixed, kernel, padding=(0, 1), groups=channels))
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


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
        lr_plane, hr_plane = torch.fft.fft2(lr.to(real)), torch.fft.fft2(hr.to(real))
        rows = padded_axis(lr.shape[2], hr.shape[2], dtype=real, device=hr.device)
        columns = padded_axis(lr.shape[3], hr.shape[3], dtype=real, device=hr.device)
        turned = self.fuse_phases(lr_plane.angle().to(dtype), hr_plane.angle().to(dtype), rows, columns)
        table = self.amplitude.table(lr_plane.abs().permute(0, 2, 3, 1))

        def block(start: int, stop: int) -> torch.Tensor:
            here = hr_plane[:, :, start:stop].abs().permute(0, 2, 3, 1)
            fused = self.amplitude.evaluate(table, here, rows.part(start, stop), columns, None)
            angle = turned[:, start:stop]
            return torch.complex(fused * angle.cos(), fused * angle.sin())

        plane = evaluate_rows(block, hr.shape[2], hr.shape[3] * hr.shape[0])
        image: torch.Tensor = torch.fft.ifft2(plane, dim=(1, 2))
        return image.abs()

    def fuse_phases(self, lr: torch.Tensor, hr: torch.Tensor, rows: PaddedAxis, columns: PaddedAxis) -> torch.Tensor:
        """Map LR phases (B, width, h, w) and HR phases (B, width, H, W) to fused ones, (B, H, W, latent)."""
        padded = F.pad(lr, (1, 1, 1, 1)).permute(0, 2, 3, 1)
        pixels = hr.permute(0, 2, 3, 1).contiguous()
        answers: list[torch.Tensor] = []
        for side_y in range(2):
            for side_x in range(2):
                cells = padded.index_select(1, rows.index[side_y]).index_select(2, columns.index[side_x])
                offset = rows.offsets(columns, side_y, side_x).to(hr.dtype)
                inputs = [cells, pixels, offset.expand(hr.shape[0], -1, -1, -1)]
                answers.append(self.phase(torch.cat(inputs, dim=-1).contiguous()))
        return blend_by_logit(answers)


@register_network("feinfn-release")
class FeINFNRelease(FeINFN):
    """The released program's network; see the module's text for what differs from :class:`FeINFN`.

    Only even whole ratios: at odd ones the centre pixel is a tie between cells, which rounding settles.

    Args:
        hsi_bands: bands of the LR-HSI and of the output.
        msi_bands: bands of the HR-MSI.
        options: sizes and precision.

    Example:
        >>> network = FeINFNRelease(31, 3)
        >>> sum(p.numel() for p in network.parameters())
        3164816
    """

    options_class: ClassVar[type[NetworkOptions]] = FeINFNSize
    spatial_fusion: PaddedImplicitFunction
    raster_codes: torch.Tensor

    def __init__(self, hsi_bands: int, msi_bands: int, options: FeINFNSize | None = None) -> None:
        size = options or FeINFNSize()
        super().__init__(hsi_bands, msi_bands, FeINFNOptions(**size.model_dump()))
        self.options = size  # type: ignore[assignment]
        latent = size.latent or hsi_bands + 1
        self.spatial_fusion = PaddedImplicitFunction(size.width, size.width, size.width, size.hidden, latent)
        self.frequency_fusion = ReleaseFourierFusion(size.width, size.hidden, latent)  # type: ignore[assignment]
        number = torch.arange(RASTER_CODES, dtype=torch.float32)
        self.register_buffer("raster_codes", torch.stack([number.sin(), number.cos()]), persistent=False)

    def check_pair(self, hsi: torch.Tensor, msi: torch.Tensor) -> None:
        """As :meth:`FusionNetwork.check_pair`; also refuses ratios that the released program does not define."""
        super().check_pair(hsi, msi)
        for axis, what in ((2, "rows"), (3, "columns")):
            if msi.shape[axis] % (2 * hsi.shape[axis]):
                raise InputError(
                    f"feinfn-release needs an even whole ratio, but {what} go from {hsi.shape[axis]} to "
                    f"{msi.shape[axis]}; use the network 'feinfn'"
                )

    def encode(
        self, hsi: torch.Tensor, msi: torch.Tensor, dtype: torch.dtype
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """As :meth:`FeINFN.encode`, in the default memory layout: other rounding would turn phases on the cut."""
        working = transform_dtype(hsi)
        upsampled = resample(hsi.to(working), (msi.shape[2], msi.shape[3]))
        pair = torch.cat([msi.to(working), upsampled], dim=1).to(dtype)
        return upsampled, self.spatial_encoder(pair), self.spectral_encoder(hsi.to(dtype))

    def spatial_rows(self, spectral: torch.Tensor, spatial: torch.Tensor) -> Callable[[int, int], torch.Tensor]:
        """As :meth:`FeINFN.spatial_rows`, with the program's filter, border and raster code."""
        height, width = spatial.shape[-2:]
        real = transform_dtype(spatial)
        rows = padded_axis(spectral.shape[2], height, dtype=real, device=spatial.device)
        columns = padded_axis(spectral.shape[3], width, dtype=real, device=spatial.device)
        maps = torch.cat([spectral, mean_passing_filter(spectral)], dim=1)
        table = self.spatial_fusion.table(maps.permute(0, 2, 3, 1))
        pixels = spatial.permute(0, 2, 3, 1)
        codes = F.interpolate(self.raster_codes[None], size=height * width, mode="linear", align_corners=False)
        code = codes[0].reshape(2, height, width).permute(1, 2, 0)

        def block(start: int, stop: int) -> torch.Tensor:
            part = rows.part(start, stop)
            return self.spatial_fusion.evaluate(table, pixels[:, start:stop], part, columns, code[start:stop])

        return block

    def load_released_state_dict(self, state_dict: Mapping[str, torch.Tensor]) -> None:
        """Load weights saved by the released program.

        Args:
            state_dict: its state dict; mean shifts, the fixed filter and the code table in it are ignored.

        Raises:
            InputError: for a name that is not the program's, one that is missing or a shape that does not fit.
        """
        own = self.state_dict()
        renamed: dict[str, torch.Tensor] = {}
        for name, value in state_dict.items():
            if _IGNORED.fullmatch(name):
                continue
            ours = released_name(name)
            if ours not in own:
                raise InputError(
                    f"weights: {name!r} is not part of this feinfn-release network (bands, depth or width?)"
                )
            # The decoder's 1x1 convs are Linear layers here.
            value = (
                value.flatten(1) if value.dim() == 4 and own[ours].dim() == 2 and value.shape[2:] == (1, 1) else value
            )
            if value.shape != own[ours].shape:
                raise InputError(
                    f"weights: {name!r} is {tuple(value.shape)}, this network has {tuple(own[ours].shape)}"
                )
            renamed[ours] = value
        missing = sorted(own.keys() - renamed.keys())
        if missing:
            raise InputError(f"weights: {len(missing)} are missing, the first is {missing[0]!r}")
        self.load_state_dict(renamed)


def released_name(name: str) -> str:
    """Translate a name of the released program's state dict to ours; a name it does not know comes back as it is."""
    for pattern, ours in _RENAMES:
        match = re.match(pattern, name)
        if match:
            # The program's Sequential holds a ReLU between layers: its layer 2 is our layer 1.
            number = int(match.group(1)) // 2 if "{half}" in ours else 0
            return match.expand(ours.replace("{half}", str(number))) + name[match.end() :]
    return name
