"""BDT, the bidirectional dilation transformer, as its authors' program computes it.

Deng, Deng, Wu, Ran and Wen: Bidirectional Dilation Transformer for Multispectral and Hyperspectral Image Fusion, IJCAI
2023. One path goes down from the MSI with the enlarged HSI, by attention between pixels of plain and dilated windows,
one up from the LR-HSI, by attention between channels within windows; convs merge their levels from coarse to fine. The
released programs of x4 and of x8 differ in the levels, in the width of the path that goes up, and in an activation.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from hyperfuse.networks.base import Tiling
from hyperfuse.networks.blocks.bicubic import enlarge
from hyperfuse.networks.blocks.channel_attention import ChannelAttention, ChannelNorm, unit_rows
from hyperfuse.networks.blocks.layers import Resizing, apply_layer, conv3, depthwise3
from hyperfuse.networks.blocks.windows import (
    MultiHeadAttention,
    PixelMLP,
    cut_windows,
    init_transformer,
    join_windows,
)
from hyperfuse.networks.compared import ComparedNetwork, ComparedOptions
from hyperfuse.networks.options import NetworkOptions
from hyperfuse.networks.registry import register_network

HEADS, SCALE, WINDOW = 8, 4.0, 8
DILATIONS = (1, 2, 1)
FEED_FORWARD = 2.66


class RatioWidths(NamedTuple):
    """What a ratio decides.

    Attributes:
        down: widths of the levels of the path that goes down.
        up: width of the path that goes up.
        activated: of the merges from coarse to fine, how many end in an activation.
    """

    down: tuple[int, ...]
    up: int
    activated: int


LAYOUTS = {4: RatioWidths((48, 96, 192), 48, 2), 8: RatioWidths((48, 96, 192, 192), 32, 2)}


class BDTOptions(ComparedOptions):
    """Options of ``bdt``.

    Attributes:
        ratio: HR pixels per LR pixel, which decides the number of levels.
    """

    ratio: Literal[4, 8] = 4


class DilationStage(nn.Module):
    """Three times attention within groups of 8 x 8 pixels and an MLP: plain, dilated, plain windows.

    Args:
        width: channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        for number in range(len(DILATIONS)):
            self.add_module(f"attn{number + 1}", MultiHeadAttention(width, HEADS, SCALE))
            self.add_module(f"mlp{number + 1}", PixelMLP(width, 4 * width))
        for number in range(2 * len(DILATIONS)):
            self.add_module(f"norm{number + 1}", nn.LayerNorm(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, H, W, width) to the same shape, H and W multiples of 16."""
        size = (x.shape[1], x.shape[2])
        for number, dilation in enumerate(DILATIONS, 1):
            groups = cut_windows(self._run(f"norm{2 * number - 1}", x), WINDOW, dilation)
            x = x + join_windows(self._run(f"attn{number}", groups), size, WINDOW, dilation)
            x = x + self._run(f"mlp{number}", self._run(f"norm{2 * number}", x))
        return x

    def _run(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return apply_layer(self.get_submodule(name), x)


class PatchMerging(nn.Module):
    """The four pixels of each 2 x 2 joined column by column, normalised and mapped linearly.

    Args:
        width: channels in.
        out_width: channels out.
    """

    def __init__(self, width: int, out_width: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * width, out_width, bias=False)
        self.norm = nn.LayerNorm(4 * width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, H, W, width) to (B, H/2, W/2, out_width)."""
        batch, height, columns, width = x.shape
        quads = x.view(batch, height // 2, 2, columns // 2, 2, width).permute(0, 1, 3, 4, 2, 5)
        normalised = self.norm(quads.reshape(batch, height // 2, columns // 2, 4 * width))
        return apply_layer(self.reduction, normalised)


class DownPath(nn.Module):
    """Features of the MSI and the enlarged HSI, level by level coarser.

    Args:
        in_channels: bands of both.
        widths: channels of the levels.
    """

    def __init__(self, in_channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.levels = len(widths)
        self.conv = conv3(in_channels, widths[0])
        for level, width in enumerate(widths, 1):
            self.add_module(f"stage{level}", DilationStage(width))
        for level, (width, following) in enumerate(pairwise(widths), 1):
            self.add_module(f"downsample{level}", PatchMerging(width, following))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Map (B, in_channels, H, W) to the features of each level, (B, width, H / 2**level, W / 2**level)."""
        pixels = apply_layer(self.conv, x).permute(0, 2, 3, 1).contiguous()
        features = []
        for level in range(1, self.levels + 1):
            if level > 1:
                pixels = apply_layer(self.get_submodule(f"downsample{level - 1}"), pixels)
            pixels = apply_layer(self.get_submodule(f"stage{level}"), pixels)
            features.append(pixels.permute(0, 3, 1, 2))
        return features


class SpectralAttention(ChannelAttention):
    """Attention between the channels of a head, within windows of 8 x 8 pixels.

    Args:
        width: channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, HEADS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, width, H, W) to the same shape, H and W multiples of 8."""
        size = (x.shape[2], x.shape[3])
        query, key, value = (_by_head(part) for part in self.split(x))
        products = unit_rows(query) @ unit_rows(key).transpose(-2, -1)
        attention = (products * self.temperature).softmax(dim=-1).to(value.dtype)
        attended = (attention @ value).flatten(1, 2).transpose(1, 2)
        return apply_layer(self.project_out, join_windows(attended, size, WINDOW).permute(0, 3, 1, 2))


def _by_head(image: torch.Tensor) -> torch.Tensor:
    """Return (windows, heads, channels of a head, pixels) of (B, width, H, W)."""
    windows = cut_windows(image.permute(0, 2, 3, 1).contiguous(), WINDOW).transpose(1, 2)
    return windows.reshape(windows.shape[0], HEADS, -1, windows.shape[2])


class GatedFeedForward(nn.Module):
    """A 1x1 conv, a depthwise 3x3 conv, one half gated by the GELU of the other, a 1x1 conv.

    Args:
        width: channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = int(width * FEED_FORWARD)
        self.project_in = nn.Conv2d(width, 2 * hidden, 1, bias=False)
        self.dwconv = depthwise3(2 * hidden)
        self.project_out = nn.Conv2d(hidden, width, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, width, H, W) to the same shape."""
        gate, gated = apply_layer(self.dwconv, self.project_in(x)).chunk(2, dim=1)
        return apply_layer(self.project_out, F.gelu(gate) * gated)


class SpectralBlock(nn.Module):
    """Attention between channels and the gated feed-forward network, each after a norm and added to its input.

    Args:
        width: channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(width)
        self.attn = SpectralAttention(width)
        self.norm2 = ChannelNorm(width)
        self.ffn = GatedFeedForward(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, width, H, W) to the same shape, H and W multiples of 8."""
        x = x + apply_layer(self.attn, self.norm1(x))
        return x + apply_layer(self.ffn, self.norm2(x))


class PatchEmbedding(nn.Module):
    """A 3x3 conv without bias.

    Args:
        bands: channels in.
        width: channels out.
    """

    def __init__(self, bands: int, width: int) -> None:
        super().__init__()
        self.proj = conv3(bands, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, bands, H, W) to (B, width, H, W)."""
        return apply_layer(self.proj, x)


class UpPath(nn.Module):
    """Features of the LR-HSI, level by level finer.

    Args:
        bands: of the LR-HSI.
        width: channels of all levels.
        levels: how many.
    """

    def __init__(self, bands: int, width: int, levels: int) -> None:
        super().__init__()
        self.levels = levels
        self.patch_embed = PatchEmbedding(bands, width)
        for level in range(1, levels + 1):
            self.add_module(f"stage{level}", SpectralBlock(width))
        for level in range(1, levels):
            self.add_module(f"up{level}_{level + 1}", Resizing(width, 4 * width, finer=True))

    def forward(self, hsi: torch.Tensor) -> list[torch.Tensor]:
        """Map (B, bands, h, w) to the features of each level, (B, width, h * 2**level, w * 2**level)."""
        x = self.patch_embed(hsi)
        features = []
        for level in range(1, self.levels + 1):
            if level > 1:
                x = apply_layer(self.get_submodule(f"up{level - 1}_{level}"), x)
            x = apply_layer(self.get_submodule(f"stage{level}"), x)
            features.append(x)
        return features


class Bidirectional(nn.Module):
    """Both paths, merged from the coarsest level to the finest.

    Args:
        hsi_bands: bands of the LR-HSI and of the output.
        msi_bands: bands of the HR-MSI.
        layout: what the ratio decides.
    """

    def __init__(self, hsi_bands: int, msi_bands: int, layout: RatioWidths) -> None:
        super().__init__()
        self.layout, levels = layout, len(layout.down)
        self.direction1 = DownPath(hsi_bands + msi_bands, layout.down)
        self.direction2 = UpPath(hsi_bands, layout.up, levels)
        for level, width in enumerate(reversed(layout.down), 1):
            joined = width + layout.up * (1 if level == 1 else 2)
            out = layout.up if level < levels else hsi_bands
            convs = conv3(joined, out, bias=False), nn.Conv2d(out, out, 5, padding=2, bias=False)
            self.add_module(f"merge{level}", nn.Sequential(*convs))
            if level < levels:
                self.add_module(f"up{level}", Resizing(layout.up, 4 * layout.up, finer=True))

    def forward(self, both: torch.Tensor, hsi: torch.Tensor) -> torch.Tensor:
        """Return the residual of the enlarged HSI, (B, hsi_bands, H, W), from that with the MSI and from the LR-HSI."""
        coarse_to_fine = zip(reversed(self.direction1(both)), self.direction2(hsi), strict=True)
        merged: torch.Tensor | None = None
        for level, pair in enumerate(coarse_to_fine, 1):
            features: tuple[torch.Tensor, ...] = pair
            if merged is not None:
                features = (*features, apply_layer(self.get_submodule(f"up{level - 1}"), merged))
            merged = apply_layer(self.get_submodule(f"merge{level}"), torch.cat(features, dim=1))
            if level <= self.layout.activated:
                merged = F.leaky_relu(merged, 0.2)
        assert merged is not None
        return merged


@register_network("bdt")
class BDT(ComparedNetwork):
    """The network of the module's text.

    Args:
        hsi_bands: bands of the LR-HSI and of the output.
        msi_bands: bands of the HR-MSI.
        options: ratio (4 or 8) and precision.

    Example:
        >>> [sum(p.numel() for p in BDT(31, 3, BDTOptions(ratio=ratio)).parameters()) for ratio in (4, 8)]
        [2668027, 3952209]
    """

    reference = "Deng, Deng, Wu, Ran, Wen: Bidirectional Dilation Transformer, IJCAI 2023"
    year = 2023
    program = "BDT ab73402"
    needs = "ratio 4 or 8, that of the weights"
    published = "CAVE x4 and x8, Harvard x4 in the program's repository"
    options_class: ClassVar[type[NetworkOptions]] = BDTOptions
    options: BDTOptions

    def __init__(self, hsi_bands: int, msi_bands: int, options: BDTOptions | None = None) -> None:
        options = options or BDTOptions()
        super().__init__(hsi_bands, msi_bands, options)
        self.t = Bidirectional(hsi_bands, msi_bands, LAYOUTS[options.ratio])
        self.residual_layer = f"t.merge{len(self.t.layout.down)}.1"
        init_transformer(self, std=0.01)

    def fuse(self, hsi: torch.Tensor, msi: torch.Tensor) -> torch.Tensor:
        """See :meth:`ComparedNetwork.fuse`."""
        upsampled = enlarge(hsi, (msi.shape[2], msi.shape[3]))
        return upsampled + apply_layer(self.t, torch.cat([upsampled, msi], dim=1), hsi)

    def tiling(self) -> Tiling:
        """Blocks of the coarsest level's dilated windows, and the convs that merge the levels, 4 pixels of each."""
        coarsest = 2 ** (len(self.t.layout.down) - 1)
        block = 2 * WINDOW * coarsest
        return Tiling(multiple=block, overlap=block + 4 * (2 * coarsest - 2) + 3, side=512 if coarsest == 4 else 640)
