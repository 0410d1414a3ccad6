"""DSPNet, the dual spatial-spectral pyramid network, as its authors' program computes it.

Sun, Xu, Ma, Wu, Mei, Huang and Ma: Dual Spatial-Spectral Pyramid Network With Transformer for Hyperspectral Image
Fusion, IEEE TGRS 61 (2023). Attention is over the channels' products of the whole image. The program takes the
temperature of the branch of four groups for that of eight as well, and for a number of bands that is no multiple of 8
repeats those before the last one.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import nn
from torch.nn import functional as F

from hyperfuse.errors import InputError
from hyperfuse.networks.base import Tiling
from hyperfuse.networks.blocks.channel_attention import on_pixels, unit_rows
from hyperfuse.networks.blocks.layers import apply_layer, conv3, depthwise3
from hyperfuse.networks.blocks.upsample import resample
from hyperfuse.networks.compared import ComparedNetwork, ComparedOptions
from hyperfuse.networks.options import NetworkOptions
from hyperfuse.networks.registry import register_network

BANDS = 32  # that the spectral pyramid starts from
GROUPS = (2, 4, 8)
HEAD = 64  # channels of a head
COARSEST = 16  # pixels whose sizes the pyramids halve to whole ones
SLOPE = 0.2


class DSPNetOptions(ComparedOptions):
    """Options of ``dspnet``.

    Attributes:
        variant: ``"authors"`` is for 25 to 32 bands; ``"uestc"``, the copy of the group whose tables list this network,
            maps any number of bands to 32 by a 1x1 conv first.
    """

    variant: Literal["authors", "uestc"] = "authors"


class _Gate(nn.Module):
    """A weight of each channel from the means and maxima of all."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = max(1, width // 4)  # of one MSI band the authors' has none
        self.fc1 = nn.Conv2d(width, hidden, 1, bias=False)
        self.fc2 = nn.Conv2d(hidden, width, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, width, H, W) to the weights, (B, width, 1, 1)."""
        mean, largest = x.mean(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True)
        return (self._mixed(mean) + self._mixed(largest)).sigmoid()

    def _mixed(self, pooled: torch.Tensor) -> torch.Tensor:
        return apply_layer(self.fc2, apply_layer(self.fc1, pooled).relu())


class SpatialPyramid(nn.Module):
    """Convs of an image, of half and of a quarter of it, gated by channel and joined by a conv.

    Args:
        width: channels in.
        out_width: channels out.
    """

    def __init__(self, width: int, out_width: int) -> None:
        super().__init__()
        self.scale1 = nn.Sequential(conv3(width, width))
        self.scale1_2 = nn.Sequential(_Shrink(2), conv3(width, width), _Enlarge(2))
        self.scale1_4 = nn.Sequential(_Shrink(4), conv3(width, width), _Enlarge(4))
        self.channel = _Gate(3 * width)
        self.out = nn.Sequential(conv3(3 * width, out_width), nn.LeakyReLU(SLOPE))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, width, H, W) to (B, out_width, H, W), H and W multiples of 4."""
        scales = torch.cat([self.scale1(x), self.scale1_2(x), self.scale1_4(x)], dim=1)
        return apply_layer(self.out, apply_layer(self.channel, scales) * scales)


class SpectralPyramid(nn.Module):
    """Two grouped convs to twice the channels, for 2, 4 and 8 groups.

    Args:
        width: channels in.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        for groups in GROUPS:
            self.add_module(f"conv{groups}", _two_convs(width, 2 * width, 2 * width, groups))

    def forward(self, images: list[torch.Tensor]) -> list[torch.Tensor]:
        """Map an image of each number of groups, (B, width, H, W), to one of (B, 2 width, H, W)."""
        return [apply_layer(self.get_submodule(f"conv{groups}"), x) for groups, x in zip(GROUPS, images, strict=True)]


class PyramidAttention(nn.Module):
    """The channels of an image attend to their own values and to those of the spectral pyramid.

    Args:
        width: channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // HEAD
        for source in ("m", *map(str, GROUPS)):
            self.add_module(f"to_k{source}", nn.Linear(width, width, bias=False))
            self.add_module(f"to_v{source}", nn.Linear(width, width, bias=False))
            self.register_parameter(f"rescale{source}", nn.Parameter(torch.ones(self.heads, 1, 1)))
        self.to_qm = nn.Linear(width, width, bias=False)
        self.proj = nn.Linear(width, width)
        self.pos_emb = nn.Sequential(depthwise3(width), nn.GELU(), depthwise3(width))

    def forward(self, x: torch.Tensor, spectral: list[torch.Tensor]) -> torch.Tensor:
        """Map (B, width, H, W), with the same of each number of groups, to (B, width, H, W)."""
        query = unit_rows(self._by_head("to_qm", x))
        attended = self._attended(query, x, "m", "m")
        for groups, image in zip(GROUPS, spectral, strict=True):
            # The program has a temperature for 8 groups, and takes that for 4.
            attended = attended + self._attended(query, image, str(groups), str(min(groups, 4)))
        joined = attended.reshape(x.shape)
        value = on_pixels(self.get_submodule("to_vm"), x)
        return on_pixels(self.proj, joined) + apply_layer(self.pos_emb, value) + x

    def _attended(self, query: torch.Tensor, image: torch.Tensor, source: str, temperature: str) -> torch.Tensor:
        """Return what each channel of each head collects from a source, (B, heads, HEAD, pixels)."""
        key, value = self._by_head(f"to_k{source}", image), self._by_head(f"to_v{source}", image)
        products = self.get_parameter(f"rescale{temperature}") * (unit_rows(key) @ query.transpose(-2, -1))
        return products.softmax(dim=-1).to(value.dtype) @ value

    def _by_head(self, layer: str, image: torch.Tensor) -> torch.Tensor:
        """Return (B, heads, HEAD, pixels) of a linear layer's output."""
        return on_pixels(self.get_submodule(layer), image).reshape(image.shape[0], self.heads, HEAD, -1)


class PyramidTransformer(nn.Module):
    """Attention, then convs of 1x1, depthwise 3x3 and 1x1 on the normalised channels, added.

    Args:
        width: channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        net = nn.Sequential(
            nn.Conv2d(width, 4 * width, 1, bias=False),
            nn.GELU(),
            depthwise3(4 * width),
            nn.GELU(),
            nn.Conv2d(4 * width, width, 1, bias=False),
        )
        feed_forward = nn.ModuleDict({"norm": nn.LayerNorm(width), "fn": nn.ModuleDict({"net": net})})
        self.blocks = nn.ModuleList([nn.ModuleList([PyramidAttention(width), feed_forward])])

    def forward(self, x: torch.Tensor, spectral: list[torch.Tensor]) -> torch.Tensor:
        """Map (B, width, H, W), with the same of each number of groups, to (B, width, H, W)."""
        attention = self.get_submodule("blocks.0.0")
        assert isinstance(attention, PyramidAttention)
        x = attention(x, spectral)
        normalised = on_pixels(self.get_submodule("blocks.0.1.norm"), x)
        return x + apply_layer(self.get_submodule("blocks.0.1.fn.net"), normalised)


class _Shrink(nn.Module):
    """Bilinear resampling to a fraction, half-pixel centres, no antialiasing.

    Args:
        factor: pixels per pixel of the result.
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to (B, C, H / factor, W / factor)."""
        return F.interpolate(x, scale_factor=1 / self.factor, mode="bilinear", align_corners=False)


class _Enlarge(nn.Module):
    """Bilinear resampling to a multiple, corners aligned: unlike on the way down.

    Args:
        factor: pixels of the result per pixel.
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to (B, C, H * factor, W * factor)."""
        return F.interpolate(x, scale_factor=float(self.factor), mode="bilinear", align_corners=True)


class _Down(nn.Module):
    """A layer on half the image, under the authors' names.

    Args:
        layer: it.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.maxpool_conv = nn.Sequential(_Shrink(2), layer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to the layer's channels at half the size."""
        return apply_layer(self.maxpool_conv, x)


class _DoubleConv(nn.Module):
    """Two convs under the authors' names.

    Args:
        width: channels in.
        inner: channels between.
        out_width: channels out.
    """

    def __init__(self, width: int, inner: int, out_width: int) -> None:
        super().__init__()
        self.double_conv = _two_convs(width, inner, out_width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, width, H, W) to (B, out_width, H, W)."""
        return apply_layer(self.double_conv, x)


class _Up(nn.Module):
    """Two convs of the enlarged image, under the authors' names.

    Args:
        width: channels in.
        inner: channels between.
        out_width: channels out.
    """

    def __init__(self, width: int, inner: int, out_width: int) -> None:
        super().__init__()
        self.up = _Enlarge(2)
        self.conv = _DoubleConv(width, inner, out_width)

    def forward(self, *joined: torch.Tensor) -> torch.Tensor:
        """Map images that are joined to ``width`` channels, (B, ., H, W), to (B, out_width, 2 H, 2 W)."""
        return apply_layer(self.conv, self.up(torch.cat(joined, dim=1)))


class _Output(nn.Module):
    """A 3x3 and a 1x1 conv, under the authors' names.

    Args:
        width: channels in.
        bands: channels out.
    """

    def __init__(self, width: int, bands: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(conv3(width, width), nn.LeakyReLU(SLOPE), nn.Conv2d(width, bands, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, width, H, W) to (B, bands, H, W)."""
        return apply_layer(self.conv, x)


@register_network("dspnet")
class DSPNet(ComparedNetwork):
    """The network of the module's text.

    Args:
        hsi_bands: bands of the LR-HSI and of the output.
        msi_bands: bands of the HR-MSI.
        options: ratio (any whole one), which copy of the program, precision.

    Raises:
        InputError: fewer than 25 or more than 32 HSI bands, which the authors' program does not take.

    Example:
        >>> network = DSPNet(31, 3)
        >>> sum(p.numel() for p in network.parameters())
        6055131
    """

    reference = "Sun, Xu, Ma, Wu, Mei, Huang, Ma: DSPNet, IEEE TGRS 61, 2023"
    year = 2023
    program = "syc11-25/DSPNet 6a6a065"
    needs = "a whole ratio; 25 to 32 HSI bands (variant uestc: any)"
    published = "CAVE x4 in the program's repository, as a pickled module"
    without_effect = ("*.rescale8",)
    residual_layer = "outc.conv.2"
    one_size = True  # a program for any size is for batches of more than one image
    options_class: ClassVar[type[NetworkOptions]] = DSPNetOptions
    options: DSPNetOptions

    def __init__(self, hsi_bands: int, msi_bands: int, options: DSPNetOptions | None = None) -> None:
        super().__init__(hsi_bands, msi_bands, options or DSPNetOptions())
        self.projection: nn.Conv2d | None = None
        if self.options.variant == "uestc":
            self.projection = nn.Conv2d(hsi_bands, BANDS, 1)
        elif not BANDS - 8 < hsi_bands <= BANDS:
            raise InputError(
                f"dspnet is for {BANDS - 7} to {BANDS} HSI bands, not {hsi_bands}; variant='uestc' takes any",
                "hsi_bands",
            )
        self.inc = _DoubleConv(hsi_bands + msi_bands, 64, 64)
        self.spa1, self.spe1, self.mls1 = SpatialPyramid(msi_bands, 32), SpectralPyramid(32), PyramidTransformer(64)
        self.down1 = _Down(_DoubleConv(96, 128, 128))
        self.spa2, self.spe2, self.mls2 = _Down(SpatialPyramid(32, 64)), SpectralPyramid(64), PyramidTransformer(128)
        self.down2 = _Down(_DoubleConv(192, 256, 256))
        self.spa3, self.spe3, self.mls3 = _Down(SpatialPyramid(64, 128)), SpectralPyramid(128), PyramidTransformer(256)
        self.up1 = _Up(384, 192, 128)
        self.up2 = _Up(320, 160, 64)
        self.outc = _Output(160, hsi_bands)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)

    def fuse(self, hsi: torch.Tensor, msi: torch.Tensor) -> torch.Tensor:
        """See :meth:`ComparedNetwork.fuse`."""
        upsampled = resample(hsi, (msi.shape[2], msi.shape[3]))
        return upsampled + self._residual(upsampled, msi)

    def _residual(self, upsampled: torch.Tensor, msi: torch.Tensor) -> torch.Tensor:
        spatial1 = self.spa1(msi)
        spatial2 = self.spa2(spatial1)
        spatial3 = self.spa3(spatial2)
        spectral1 = self.spe1([self._to_32_bands(upsampled)] * len(GROUPS))
        spectral2 = self.spe2([_half(x) for x in spectral1])
        spectral3 = self.spe3([_half(x) for x in spectral2])
        x1 = self.mls1(self.inc(torch.cat([upsampled, msi], dim=1)), spectral1)
        x2 = self.mls2(self.down1(torch.cat([x1, spatial1], dim=1)), spectral2)
        x3 = self.mls3(self.down2(torch.cat([x2, spatial2], dim=1)), spectral3)
        u2 = self.up1(x3, spatial3)
        u1 = self.up2(u2, x2, spatial2)
        return apply_layer(self.outc, torch.cat([u1, x1, spatial1], dim=1))

    def _to_32_bands(self, upsampled: torch.Tensor) -> torch.Tensor:
        if self.projection is not None:
            return apply_layer(self.projection, upsampled)
        missing = BANDS - self.hsi_bands
        return torch.cat([upsampled, upsampled[:, self.hsi_bands - 1 - missing : self.hsi_bands - 1]], dim=1)

    def tiling(self) -> Tiling:
        """Four halvings, and attention and pooling over all pixels."""
        return Tiling(multiple=COARSEST, overlap=32, side=512, spans_block=True)


def _half(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=False)


def _two_convs(width: int, inner: int, out_width: int, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        conv3(width, inner, groups=groups),
        nn.LeakyReLU(SLOPE),
        conv3(inner, out_width, groups=groups),
        nn.LeakyReLU(SLOPE),
    )
