"""PSRT, the pyramid shuffle-and-reshuffle transformer, as its authors' program computes it.

Deng, Deng, Wu, Ran, Hong and Vivone: PSRT: Pyramid Shuffle-and-Reshuffle Transformer for Multispectral and
Hyperspectral Image Fusion, IEEE TGRS 61 (2023), doi 10.1109/TGRS.2023.3244750. The program multiplies the products of
queries and keys by 4, where attention has 1/2 for heads of this width; its weights need that. Between the first and the
last conv everything stays within aligned blocks of 16 x 16 pixels.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from hyperfuse.networks.base import Tiling
from hyperfuse.networks.blocks.bicubic import enlarge
from hyperfuse.networks.blocks.layers import apply_layer, conv3
from hyperfuse.networks.blocks.windows import (
    MultiHeadAttention,
    PixelMLP,
    cut_windows,
    init_transformer,
    join_windows,
    shuffle_runs,
    unshuffle_runs,
)
from hyperfuse.networks.compared import ComparedNetwork, ComparedOptions
from hyperfuse.networks.registry import register_network

WIDTH, HEADS, SCALE = 32, 8, 4.0
WINDOWS = (8, 4, 2)  # sides of the windows of the pyramid's levels
CELL = 16


class WindowAttention(nn.Module):
    """Attention within windows, then an MLP on each pixel, both after a layer norm and added to their input.

    Args:
        side: of the windows.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side
        self.norm1 = nn.LayerNorm(WIDTH)
        self.attn = MultiHeadAttention(WIDTH, HEADS, SCALE)
        self.norm2 = nn.LayerNorm(WIDTH)
        self.mlp = PixelMLP(WIDTH, 4 * WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, H, W, WIDTH) to the same shape."""
        attended = self.attn(cut_windows(self.norm1(x), self.side))
        x = x + join_windows(attended, (x.shape[1], x.shape[2]), self.side)
        return x + apply_layer(self.mlp, self.norm2(x))


class ShuffleBlock(nn.Module):
    """Attention within windows, within windows of the shuffled image, and within windows again, plus the input.

    Args:
        side: of the windows; runs of half of it are shuffled.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.run = side // 2
        self.WA1 = WindowAttention(side)
        self.WA2 = WindowAttention(side)
        self.WA3 = WindowAttention(side)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, H, W, WIDTH) to the same shape."""
        shuffled = self.WA2(shuffle_runs(self.WA1(x), self.run))
        return x + apply_layer(self.WA3, unshuffle_runs(shuffled, self.run))


class Pyramid(nn.Module):
    """Shuffle blocks of shrinking windows, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(ShuffleBlock(side) for side in WINDOWS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, H, W, WIDTH) to the same shape."""
        for layer in self.layers:
            x = layer(x)
        return x


class ShuffleTransformer(nn.Module):
    """A 3x3 conv and two pyramids.

    Args:
        in_channels: channels of the input.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv = conv3(in_channels, WIDTH)
        self.layers = nn.ModuleList(Pyramid() for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, in_channels, H, W) to (B, WIDTH, H, W), H and W multiples of 8."""
        pixels = apply_layer(self.conv, x).permute(0, 2, 3, 1).contiguous()
        for layer in self.layers:
            pixels = layer(pixels)
        return pixels.permute(0, 3, 1, 2)


@register_network("psrt")
class PSRT(ComparedNetwork):
    """The network of the module's text.

    Args:
        hsi_bands: bands of the LR-HSI and of the output.
        msi_bands: bands of the HR-MSI.
        options: ratio (any whole one) and precision.

    Example:
        >>> network = PSRT(31, 3)
        >>> sum(p.numel() for p in network.parameters())
        247455
    """

    reference = "Deng, Deng, Wu, Ran, Hong, Vivone: PSRT, IEEE TGRS 61, 2023"
    year = 2023
    program = "PSRT 9c2be90"
    published = "CAVE x4 and x8, Harvard x4 in the program's repository"
    residual_layer = "conv"

    def __init__(self, hsi_bands: int, msi_bands: int, options: ComparedOptions | None = None) -> None:
        super().__init__(hsi_bands, msi_bands, options or ComparedOptions())
        self.w = ShuffleTransformer(hsi_bands + msi_bands)
        self.conv = nn.Sequential(conv3(WIDTH, hsi_bands))
        init_transformer(self, std=0.01)

    def fuse(self, hsi: torch.Tensor, msi: torch.Tensor) -> torch.Tensor:
        """See :meth:`ComparedNetwork.fuse`."""
        upsampled = enlarge(hsi, (msi.shape[2], msi.shape[3]))
        features = self.w(torch.cat([upsampled, msi], dim=1))
        # The leaky ReLU is on the residual, in the program as here.
        return upsampled + F.leaky_relu(self.conv(features), 0.2)

    @property
    def side_multiple(self) -> int:
        """The windows' side; in half a block at the border the shuffle joins other runs, as in the program."""
        return max(WINDOWS)

    def tiling(self) -> Tiling:
        """Windows of 8 pixels in blocks of 16, and a conv before and after them."""
        return Tiling(multiple=CELL, overlap=CELL + 1)
