"""The EDSR-like convolutional encoder."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from hyperfuse.networks.kernels.precision import weights_as
from hyperfuse.networks.kernels.winograd import gains_from_winograd, winograd_conv2d

# Rows times columns of one strip at inference: at 128 channels in float32 a strip's activation is 8 MiB, so that the
# two convolutions of a residual block hand it over in the last-level cache.
STRIP_PIXELS = 16384


def conv(layer: nn.Conv2d, x: torch.Tensor, padding: tuple[int, int]) -> torch.Tensor:
    """Apply ``layer``'s weights, cast to the type of ``x``, with the given padding."""
    weight, bias = weights_as(layer, x.dtype)
    if gains_from_winograd(x, weight):
        return winograd_conv2d(x, weight, bias, padding)
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
        return x + conv(self.conv2, conv(self.conv1, x, (1, 1)).relu_(), (1, 1))

    def update_(self, x: torch.Tensor, strip: int) -> None:
        """Do the same to ``x`` in place, ``strip`` rows at a time: nothing of the size of ``x`` is allocated."""
        rows = x.shape[2]
        hidden = x[:, :, :0]
        done = 0  # rows of the hidden layer that there are
        for start in range(0, rows, strip):
            stop = min(start + strip, rows)
            # conv2 reads the hidden layer on rows start-1 to stop, of which the first two are left from the strip
            # above. Beyond the image it sees zeros, not what conv1 would give.
            reach = min(stop + 1, rows)
            if done < reach:
                window = x[:, :, max(done - 1, 0) : min(reach + 1, rows)]
                below = conv(self.conv1, pad_rows(window, done == 0, reach == rows), (0, 1)).relu_()
                hidden = torch.cat([hidden[:, :, -2:], below], dim=2) if done else below
            else:
                hidden = hidden[:, :, -2:]
            done = reach
            x[:, :, start:stop] += conv(self.conv2, pad_rows(hidden, start == 0, stop == rows), (0, 1))


def pad_rows(x: torch.Tensor, top: bool, bottom: bool) -> torch.Tensor:
    """Add a row of zeros on the sides that are asked for."""
    return F.pad(x, (0, 0, int(top), int(bottom))) if top or bottom else x


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

    def forward(self, x: torch.Tensor, strip: int | None = None) -> torch.Tensor:
        """Encode an image.

        Args:
            x: (B, in_channels, H, W); its type is the type that is computed in.
            strip: rows to hold at a time where no gradient is wanted; None for the whole image at once.

        Returns:
            (B, width, H, W).
        """
        first = conv(self.head, x, (1, 1))
        if strip is None or torch.is_grad_enabled():
            features = first
            for block in self.blocks:
                features = block(features)
            return conv(self.tail, features, (1, 1)) + first
        features = first.clone()
        for block in self.blocks:
            assert isinstance(block, ResidualBlock)
            block.update_(features, strip)
        rows = x.shape[2]
        for start in range(0, rows, strip):
            stop = min(start + strip, rows)
            window = features[:, :, max(start - 1, 0) : min(stop + 1, rows)]
            first[:, :, start:stop] += conv(self.tail, pad_rows(window, start == 0, stop == rows), (0, 1))
        return first
