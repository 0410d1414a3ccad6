"""Attention within groups of pixels: how an image is cut into them, and the layers that work on them.

Images are (B, H, W, channels) here, groups (B * groups, pixels, channels). Nothing in a group depends on the order of
its pixels unless a bias by position is given.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from hyperfuse.networks.blocks.layers import apply_layer


def cut_windows(image: torch.Tensor, side: int, dilation: int = 1) -> torch.Tensor:
    """Cut an image into groups of side x side pixels, in raster order.

    Args:
        image: (B, H, W, C), H and W multiples of ``side * dilation``.
        side: pixels of a group along an axis.
        dilation: distance of a group's pixels: in each aligned block of ``side * dilation`` pixels, those whose rows,
            and columns, agree modulo ``dilation`` form a group; 1 for plain windows.

    Returns:
        (B * H * W / side**2, side**2, C).

    Example:
        >>> rows = torch.arange(8.0)[None, :, None, None].expand(1, 8, 8, 1)
        >>> cut_windows(rows, 4, dilation=2)[0, ::4, 0].tolist()
        [0.0, 2.0, 4.0, 6.0]
    """
    batch, height, width, channels = image.shape
    block = side * dilation
    blocks = image.view(batch, height // block, side, dilation, width // block, side, dilation, channels)
    return blocks.permute(0, 1, 3, 4, 6, 2, 5, 7).reshape(-1, side * side, channels)


def join_windows(groups: torch.Tensor, size: tuple[int, int], side: int, dilation: int = 1) -> torch.Tensor:
    """Put the groups of :func:`cut_windows` back to the image (B, *size, C) that they were cut from."""
    height, width = size
    block = side * dilation
    blocks = groups.view(-1, height // block, dilation, width // block, dilation, side, side, groups.shape[-1])
    return blocks.permute(0, 1, 5, 2, 3, 6, 4, 7).reshape(-1, height, width, groups.shape[-1])


def shuffle_runs(image: torch.Tensor, run: int) -> torch.Tensor:
    """Cut both axes into runs of ``run`` pixels and move those of even number before those of odd number.

    Args:
        image: (B, H, W, C), H and W multiples of ``2 * run``.
        run: pixels of a run.

    Example:
        >>> shuffle_runs(torch.arange(8.0).view(1, 8, 1, 1).expand(1, 8, 8, 1), 2)[0, :, 0, 0].tolist()
        [0.0, 1.0, 4.0, 5.0, 2.0, 3.0, 6.0, 7.0]
    """
    batch, height, width, channels = image.shape
    runs = image.view(batch, height // (2 * run), 2, run, width // (2 * run), 2, run, channels)
    return runs.permute(0, 2, 1, 3, 5, 4, 6, 7).reshape(image.shape)


def unshuffle_runs(image: torch.Tensor, run: int) -> torch.Tensor:
    """Undo :func:`shuffle_runs`."""
    batch, height, width, channels = image.shape
    runs = image.view(batch, 2, height // (2 * run), run, 2, width // (2 * run), run, channels)
    return runs.permute(0, 2, 1, 3, 5, 4, 6, 7).reshape(image.shape)


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention of several heads within groups (Vaswani et al., NeurIPS 2017).

    Args:
        width: channels of a pixel.
        heads: runs of ``width / heads`` channels that attend on their own.
        scale: factor of the products of queries and keys.
    """

    def __init__(self, width: int, heads: int, scale: float) -> None:
        super().__init__()
        self.heads, self.scale = heads, scale
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, groups: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        """Map (groups, pixels, width) to the same shape.

        Args:
            groups: pixels of each group.
            bias: added to the scaled products, broadcast to (groups, heads, pixels, pixels).
        """
        count, pixels, width = groups.shape
        parts = self.qkv(groups).view(count, pixels, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind()
        bias = None if bias is None else bias.to(query.dtype)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=self.scale)
        return apply_layer(self.proj, attended.transpose(1, 2).reshape(count, pixels, width))


class PixelMLP(nn.Module):
    """Linear, GELU, linear on each pixel's channels.

    Args:
        width: channels in and out.
        hidden: channels between.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (..., width) to the same shape."""
        return apply_layer(self.fc2, F.gelu(self.fc1(x)))


def init_transformer(network: nn.Module, std: float) -> None:
    """Set linear weights to N(0, std^2) and biases of convs to 0; all else keeps torch's default."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=std)
        elif isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.zeros_(module.bias)
