"""MIMO-SST, the multi-input multi-output spatial-spectral transformer, as its authors' program computes it.

Fang, Yang, Khader and Xiao: MIMO-SST: Multi-Input Multi-Output Spatial-Spectral Transformer for Hyperspectral and
Multispectral Image Fusion, IEEE TGRS 62 (2024), doi 10.1109/TGRS.2024.3361553. The program has one head, attention over
channels in both branches and a plain conv in place of the gated one; the side that attends is the one whose keys the
paper names. Two thirds of the state dict's parameters do nothing.
"""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple

import torch
from torch import nn

from hyperfuse.networks.base import Compared, Tiling
from hyperfuse.networks.blocks.bicubic import enlarge
from hyperfuse.networks.blocks.channel_attention import ChannelAttention, ChannelNorm, unit_rows
from hyperfuse.networks.blocks.layers import Resizing, apply_layer, conv3
from hyperfuse.networks.blocks.upsample import resample
from hyperfuse.networks.compared import ComparedNetwork, ComparedOptions
from hyperfuse.networks.options import NetworkOptions
from hyperfuse.networks.registry import register_network

WIDTH = 48
STEPS = (1, 2, 4)  # every how many pixels make the image of a scale


class MIMOSSTOptions(ComparedOptions):
    """Options of ``mimo-sst``.

    Attributes:
        variant: ``"authors"`` enlarges the LR-HSI bilinearly; ``"uestc"``, the copy of the group whose tables list this
            network, by MATLAB's bicubic interpolation.
    """

    variant: Literal["authors", "uestc"] = "authors"


class Scales(NamedTuple):
    """Images of all scales: (B, hsi_bands, H, W), and every second and every fourth pixel of it."""

    full: torch.Tensor
    half: torch.Tensor
    quarter: torch.Tensor


class _FeedForward(nn.Module):
    """A 3x3 conv and GELU; ``dwconv1`` does nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.dwconv = nn.Sequential(conv3(WIDTH, WIDTH), nn.GELU())
        self.dwconv1 = nn.Sequential(conv3(WIDTH, WIDTH), nn.GELU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, WIDTH, H, W) to the same shape."""
        return apply_layer(self.dwconv, x)


class CrossTransformer(nn.Module):
    """Features of MSI and HSI that attend to each other's channels, and a conv of each.

    Of the four attentions that the program makes, it uses the convs of one, the temperature and projection of another
    and the temperature of a third.
    """

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(WIDTH)
        self.attn = ChannelAttention(WIDTH, 1)
        self.attn1 = ChannelAttention(WIDTH, 1)
        self.attn2 = ChannelAttention(WIDTH, 1)
        self.attn3 = ChannelAttention(WIDTH, 1)
        self.norm2 = ChannelNorm(WIDTH)
        self.ffn = _FeedForward()

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map the features of the MSI and of the HSI, (B, WIDTH, H, W) each, to the same shapes."""
        query_a, key_a, value_a = (part.flatten(2) for part in self.attn1.split(self.norm1(a)))
        query_b, key_b, value_b = (part.flatten(2) for part in self.attn1.split(self.norm1(b)))
        of_b = (self.attn2.temperature * _similarity(key_b, query_a)).softmax(dim=-1).to(value_b.dtype)
        a = a + self.attn2.project_out((of_b @ value_b).view(a.shape))
        a = a + self.ffn(self.norm2(a))
        # Divided by the temperature here, multiplied above; and nothing is projected: as in the program.
        of_a = (_similarity(key_a, query_b) / self.attn3.temperature).softmax(dim=-1).to(value_a.dtype)
        b = b + (of_a @ value_a).view(b.shape)
        return a, b + self.ffn(self.norm2(b))


def _similarity(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return unit_rows(first) @ unit_rows(second).transpose(-2, -1)


@register_network("mimo-sst")
class MIMOSST(ComparedNetwork):
    """The network of the module's text.

    Attention is over the channels' products of the whole image: a tile is fused differently than the image.

    Args:
        hsi_bands: bands of the LR-HSI and of the output.
        msi_bands: bands of the HR-MSI.
        options: ratio (any whole one), how the LR-HSI is enlarged, precision.

    Example:
        >>> network = MIMOSST(31, 3)
        >>> sum(p.numel() for p in network.parameters())
        4983042
    """

    reference = "Fang, Yang, Khader, Xiao: MIMO-SST, IEEE TGRS 62, 2024"
    year = 2024
    program = "Freelancefangjian/MIMO-SST 06aacc1"
    without_effect = (
        *("down3_4.*", "up4_3.*", "reduce_chan_level3.*", "Conv1.*"),
        *("*.attn.*", "*.attn1.temperature", "*.attn1.project_out.*", "*.attn2.qkv*", "*.attn3.qkv*"),
        *("*.attn3.project_out.*", "*.ffn.dwconv1.*"),
        "Conv192_31.*",  # makes the image at a quarter of the size, which training alone uses
    )
    residual_layer = "Conv96_31"
    options_class: ClassVar[type[NetworkOptions]] = MIMOSSTOptions
    options: MIMOSSTOptions

    def __init__(self, hsi_bands: int, msi_bands: int, options: MIMOSSTOptions | None = None) -> None:
        super().__init__(hsi_bands, msi_bands, options or MIMOSSTOptions())
        bands, width = hsi_bands, WIDTH
        self.Conv3_64 = conv3(msi_bands, width)
        self.Conv31_64 = conv3(bands, width)
        self.encoder_level11 = nn.Sequential(CrossTransformer())
        self.patch_embed = nn.ModuleDict({"proj": conv3(bands + msi_bands + 2 * width, width, bias=False)})
        self.down1_2 = Resizing(width, width // 2, finer=False)
        self.down2_3 = Resizing(2 * width, width, finer=False)
        self.Conv144_96 = conv3(3 * width, 2 * width)
        self.Conv240_192 = conv3(5 * width, 4 * width)
        self.Conv192_31 = conv3(4 * width, bands)
        self.up3_2 = Resizing(4 * width, 8 * width, finer=True)
        self.reduce_chan_level2 = nn.Conv2d(4 * width, 2 * width, 1, bias=False)
        self.up2_1 = Resizing(2 * width, 4 * width, finer=True)
        self.Conv96_31 = conv3(2 * width, bands)
        # What follows does nothing: a fourth level that the program makes and does not use.
        self.down3_4 = Resizing(4 * width, 2 * width, finer=False)
        self.up4_3 = Resizing(8 * width, 16 * width, finer=True)
        self.reduce_chan_level3 = nn.Conv2d(8 * width, 4 * width, 1, bias=False)
        self.Conv1 = conv3(5 * width, 4 * width)

    def fuse(self, hsi: torch.Tensor, msi: torch.Tensor) -> torch.Tensor:
        """See :meth:`ComparedNetwork.fuse`."""
        return self.scales(hsi, msi).full

    def intermediate(self, hsi: torch.Tensor, msi: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the images of all three scales."""
        self.check_pair(hsi, msi)
        self.check_divided(msi)
        return self.scales(hsi, msi)

    def compared(self, outputs: tuple[torch.Tensor, ...], reference: torch.Tensor) -> list[Compared]:
        """Compare each scale with every pixel, every second and every fourth of the reference."""
        return [Compared(output, reference[..., ::step, ::step]) for output, step in zip(outputs, STEPS, strict=True)]

    def scales(self, hsi: torch.Tensor, msi: torch.Tensor) -> Scales:
        """Return the images of all three scales; arguments as of :meth:`fuse`."""
        size = (msi.shape[2], msi.shape[3])
        upsampled = enlarge(hsi, size) if self.options.variant == "uestc" else resample(hsi, size, "bilinear")
        up = [upsampled[..., ::step, ::step] for step in STEPS]
        first, second, third = (
            self._embed(msi[..., ::step, ::step], image) for step, image in zip(STEPS, up, strict=True)
        )
        encoded2 = self.Conv144_96(torch.cat([self.down1_2(first), second], dim=1))
        encoded3 = self.Conv240_192(torch.cat([self.down2_3(encoded2), third], dim=1))
        decoded2 = self.reduce_chan_level2(torch.cat([self.up3_2(encoded3), encoded2], dim=1))
        decoded1 = torch.cat([self.up2_1(decoded2), first], dim=1)
        full = (self.Conv96_31(decoded1) + up[0]).relu()  # the ReLU is on the full image alone
        return Scales(full, self.Conv96_31(decoded2) + up[1], self.Conv192_31(encoded3) + up[2])

    def _embed(self, msi: torch.Tensor, upsampled: torch.Tensor) -> torch.Tensor:
        """Return the features of a scale, (B, WIDTH, H, W), with weights that all scales share."""
        a, b = self.encoder_level11[0](self.Conv3_64(msi), self.Conv31_64(upsampled))
        return apply_layer(self.patch_embed["proj"], torch.cat([a, b, msi, upsampled], dim=1))

    def tiling(self) -> Tiling:
        """Two halvings, and attention over all pixels."""
        return Tiling(multiple=STEPS[-1], overlap=16, side=512, spans_block=True)
