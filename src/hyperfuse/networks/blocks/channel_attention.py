"""Attention between channels instead of pixels (Restormer, Zamir et al., CVPR 2022)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from hyperfuse.networks.blocks.layers import apply_layer, depthwise3


def on_pixels(layer: nn.Module, image: torch.Tensor) -> torch.Tensor:
    """Apply a layer of (..., channels) to an image (B, channels, H, W)."""
    return apply_layer(layer, image.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each pixel of (B, width, H, W).

    Args:
        width: channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, width, H, W) to the same shape."""
        return on_pixels(self.body, x)


class ChannelAttention(nn.Module):
    """The parameters of an attention between channels: convs to queries, keys and values, a temperature, a projection.

    Args:
        width: channels.
        heads: each with its temperature.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Conv2d(width, 3 * width, 1, bias=False)
        self.qkv_dwconv = depthwise3(3 * width)
        self.project_out = nn.Conv2d(width, width, 1, bias=False)

    def split(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Map (B, width, H, W) to queries, keys and values of the same shape."""
        query, key, value = apply_layer(self.qkv_dwconv, self.qkv(x)).chunk(3, dim=1)
        return query, key, value


def unit_rows(x: torch.Tensor) -> torch.Tensor:
    """Divide the last axis by its L2 norm, or by 1e-12 where that is larger; in float32 at least."""
    wide = x if x.dtype == torch.float64 else x.float()
    return F.normalize(wide, dim=-1)
