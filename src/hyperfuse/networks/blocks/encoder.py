"""The EDSR-like convolutional encoder."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from hyperfuse.networks.kernels.dispatch import Path, Winograd, rows_per_block, select_path, select_winograd
from hyperfuse.networks.kernels.few_passes import fewer_passes, with_slope_in_layout
from hyperfuse.networks.kernels.precision import weights_as
from hyperfuse.networks.kernels.rows import STRIP_PIXELS, add_convolved, add_residual
from hyperfuse.networks.kernels.winograd import winograd_conv2d


def conv(layer: nn.Conv2d, x: torch.Tensor, padding: tuple[int, int] = (1, 1)) -> torch.Tensor:
    """Apply ``layer``'s weights, cast to the type of ``x``, with the given padding."""
    weight, bias = weights_as(layer, x.dtype)
    products = select_winograd(x, weight)
    if products is not Winograd.NONE:
        return winograd_conv2d(x, weight, bias, padding, products)
    return F.conv2d(x, weight, bias, padding=padding)


class ResidualBlock(nn.Module):
    """3x3 conv, ReLU, 3x3 conv, plus the input; no normalisation.

    Args:
        width: channels in and out.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, width, H, W) to the same shape."""
        return x + conv(self.conv2, conv(self.conv1, x).relu_())


class EDSREncoder(nn.Module):
    """3x3 conv, residual blocks, 3x3 conv, plus the output of the first (after EDSR, Lim et al., CVPRW 2017).

    Args:
        in_channels: channels of the input.
        width: channels of everything after the first conv.
        blocks: number of residual blocks.

    Example:
        >>> EDSREncoder(34, width=16, blocks=2)(torch.zeros(1, 34, 8, 8)).shape
        torch.Size([1, 16, 8, 8])
    """

    def __init__(self, in_channels: int, width: int = 128, blocks: int = 4) -> None:
        super().__init__()
        self.head = nn.Conv2d(in_channels, width, 3, padding=1)
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(blocks))
        self.tail = nn.Conv2d(width, width, 3, padding=1)

    @property
    def reach(self) -> int:
        """Pixels beyond an output pixel that its value depends on, in each direction."""
        return 2 + 2 * len(self.blocks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Encode an image.

        Args:
            x: (B, in_channels, H, W); its type is the type of the computation.

        Returns:
            (B, width, H, W).
        """
        first = conv(self.head, x)
        if select_path(x) is Path.BLOCKS:
            return self._add_in_strips(first)
        features = first
        for block in self.blocks:
            features = block(features)
        result = first + conv(self.tail, features)
        return with_slope_in_layout(result) if fewer_passes(x) else result

    def _add_in_strips(self, first: torch.Tensor) -> torch.Tensor:
        """Do the same after the first conv, in strips that stay in cache; ``first`` is overwritten."""
        batch, _, rows, columns = first.shape
        strip = rows_per_block(first, rows, batch * columns, 0, STRIP_PIXELS)
        features = first.clone()
        for block in self.blocks:
            assert isinstance(block, ResidualBlock)
            add_residual(features, partial(conv, block.conv1), partial(conv, block.conv2), strip)
        add_convolved(first, features, partial(conv, self.tail), strip)
        return first
