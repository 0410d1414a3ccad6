"""Small layers that several of the compared networks have."""

from __future__ import annotations

import torch
from torch import nn


def apply_layer(layer: nn.Module, *inputs: torch.Tensor) -> torch.Tensor:
    """Return what a layer makes of its inputs: for layers that are found by name."""
    output: torch.Tensor = layer(*inputs)
    return output


def conv3(in_channels: int, out_channels: int, *, bias: bool = True, groups: int = 1) -> nn.Conv2d:
    """Return a 3x3 conv that keeps the size, with zeros beyond the border."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias, groups=groups)


def depthwise3(width: int) -> nn.Conv2d:
    """Return a 3x3 conv of each channel on its own, without bias."""
    return conv3(width, width, bias=False, groups=width)


class Resizing(nn.Module):
    """A 3x3 conv without bias, then channels to pixels or pixels to channels (Shi et al., CVPR 2016).

    Args:
        width: channels in.
        between: channels after the conv.
        finer: whether to twice as many rows and columns with a quarter of those channels, or to half as many with four
            times them.

    Example:
        >>> Resizing(8, 16, finer=True)(torch.zeros(1, 8, 5, 6)).shape
        torch.Size([1, 4, 10, 12])
    """

    def __init__(self, width: int, between: int, *, finer: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv3(width, between, bias=False), nn.PixelShuffle(2) if finer else nn.PixelUnshuffle(2)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, width, H, W) to (B, between / 4, 2 H, 2 W) or (B, 4 between, H / 2, W / 2)."""
        return apply_layer(self.body, x)
