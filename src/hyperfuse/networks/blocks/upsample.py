"""Fixed upsamplers, which the implicit function is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from hyperfuse.errors import InputError
from hyperfuse.networks.blocks.implicit import FirstLayer, ImplicitFunction, mlp_layers, run_mlp
from hyperfuse.networks.kernels.neighbours import AxisNeighbours
from hyperfuse.networks.kernels.precision import transform_dtype, weights_as

Upsampler = Literal["implicit", "liif", "bilinear", "bicubic", "pixel-shuffle"]


def resample(image: torch.Tensor, size: tuple[int, int], mode: str = "bicubic") -> torch.Tensor:
    """Resample (B, C, h, w) to ``size`` with half-pixel centres; bicubic has a = -0.75, as torch does it."""
    return F.interpolate(image, size=size, mode=mode, align_corners=False, antialias=False)


class FixedUpsampler(nn.Module):
    """Bilinear or bicubic resampling of latents.

    Args:
        mode: ``"bilinear"`` or ``"bicubic"``.
    """

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode

    def forward(self, latent: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Map (B, C, h, w) to (B, C, *size)."""
        return resample(latent, size, self.mode)


class PixelShuffleUpsampler(nn.Module):
    """A 1x1 conv to ``ratio**2`` times the channels, rearranged to pixels (Shi et al., ESPCN, CVPR 2016).

    Args:
        width: channels of the latent.
        ratio: whole ratio of the HR to the LR grid.
    """

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.ratio = ratio
        self.expand = nn.Conv2d(width, width * ratio**2, 1)

    def forward(self, latent: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Map (B, C, h, w) to (B, C, ratio h, ratio w).

        Raises:
            InputError: where ``size`` is not that.
        """
        if not torch.compiler.is_compiling() and tuple(size) != tuple(n * self.ratio for n in latent.shape[-2:]):
            raise InputError(
                f"this network was built with shuffle_ratio={self.ratio}, but the images go from "
                f"{tuple(latent.shape[-2:])} to {tuple(size)}; build one for that ratio or use upsampler='implicit'"
            )
        return F.pixel_shuffle(F.conv2d(latent, *weights_as(self.expand, latent.dtype)), self.ratio)


class PixelFunction(ImplicitFunction):
    """The MLP of an implicit function on latents that share a grid: no neighbours, offsets or weight logit.

    Args:
        lr_channels: channels of the upsampled latent.
        hr_channels: channels of the HR latent.
        extra_channels: channels of a second upsampled map, 0 for none.
        hidden: widths of the hidden layers.
        out_channels: features of the output.
    """

    def __init__(
        self, lr_channels: int, hr_channels: int, extra_channels: int, hidden: Sequence[int], out_channels: int
    ) -> None:
        super().__init__(lr_channels, hr_channels, extra_channels, hidden, out_channels, ensemble="none")
        self.layers = mlp_layers(lr_channels + hr_channels + extra_channels, hidden, out_channels)
        self.offset_channels = 0

    def forward(
        self, first: FirstLayer, hr: torch.Tensor, rows: AxisNeighbours, columns: AxisNeighbours
    ) -> torch.Tensor:
        """As :meth:`ImplicitFunction.forward`; on equal grids the lower neighbour is the pixel."""
        here = first.table.index_select(1, rows.index[0]).index_select(2, columns.index[0])
        output = run_mlp(self.layers, here.add_(F.linear(hr, first.on_hr)))
        return output.to(transform_dtype(output))
