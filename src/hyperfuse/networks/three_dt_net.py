"""3DT-Net, an unfolded optimisation with a 3-D-CNN and transformer prior, as its authors' program computes it.

Ma, Jiang, Liu and Ma: Learning a 3D-CNN and Transformer Prior for Hyperspectral Image Super-Resolution, Information
Fusion (2023), arXiv 2111.13923. One prior is applied six times. Of the seven pairs of step sizes of the state dict the
program uses the first and the fourth.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from hyperfuse.networks.base import Tiling
from hyperfuse.networks.blocks.layers import apply_layer, conv3
from hyperfuse.networks.blocks.upsample import resample
from hyperfuse.networks.blocks.windows import MultiHeadAttention, PixelMLP, cut_windows, join_windows
from hyperfuse.networks.compared import ComparedNetwork, ComparedOptions
from hyperfuse.networks.options import NetworkOptions
from hyperfuse.networks.registry import register_network

FEATURES, FIRST, WIDTH, HEADS = 64, 128, 180, 6
WINDOW, SHIFT, LAYERS = 8, 4, 6
MASKED = -100.0
KERNEL = 13  # of the convs between the grids
STAGES = 3


class ThreeDTOptions(ComparedOptions):
    """Options of ``3dt-net``.

    Attributes:
        ratio: HR pixels per LR pixel: the stride of the convs between the grids, up to the 13 pixels of their kernel.
    """

    ratio: int = Field(default=4, ge=1, le=KERNEL)


class PositionAttention(MultiHeadAttention):
    """Attention within windows of 8 x 8 pixels with a learned bias for each offset of two pixels (Swin transformer)."""

    relative_position_index: torch.Tensor

    def __init__(self) -> None:
        super().__init__(WIDTH, HEADS, (WIDTH // HEADS) ** -0.5)
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * WINDOW - 1) ** 2, HEADS))
        at = torch.arange(WINDOW**2)
        row, column = at // WINDOW, at % WINDOW
        rows, columns = row[:, None] - row + WINDOW - 1, column[:, None] - column + WINDOW - 1
        self.register_buffer("relative_position_index", rows * (2 * WINDOW - 1) + columns)

    def position_bias(self) -> torch.Tensor:
        """Return what is added to the products of each head's queries and keys, (HEADS, 64, 64)."""
        return self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)


class SwinLayer(nn.Module):
    """Attention within windows and an MLP, both after a layer norm and added to their input (Liu et al., ICCV 2021).

    Args:
        shifted: whether windows are shifted by half their side, periodically; pixels that the shift brings together
            from opposite borders do not attend to each other.
        drop: probability that, in training, an image skips one of the two (stochastic depth).
    """

    def __init__(self, shifted: bool, drop: float) -> None:
        super().__init__()
        self.shifted, self.drop = shifted, drop
        self.norm1 = nn.LayerNorm(WIDTH)
        self.attn = PositionAttention()
        self.norm2 = nn.LayerNorm(WIDTH)
        self.mlp = PixelMLP(WIDTH, 2 * WIDTH)
        if shifted:  # of an image of 16 x 16 pixels: in the state dict, and never read
            borders = ((False, False), (False, True), (True, False), (True, True))
            masks = [_border_mask(*border, self.norm1.weight) for border in borders]
            self.register_buffer("attn_mask", torch.stack(masks))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, H, W, WIDTH) to the same shape, H and W multiples of 8."""
        attended = self._shifted(self.norm1(x)) if self.shifted else self._plain(self.norm1(x))
        x = x + self._sometimes(attended)
        return x + self._sometimes(apply_layer(self.mlp, self.norm2(x)))

    def _plain(self, x: torch.Tensor) -> torch.Tensor:
        attended = self.attn(cut_windows(x, WINDOW), self.attn.position_bias()[None])
        return join_windows(attended, (x.shape[1], x.shape[2]), WINDOW)

    def _shifted(self, x: torch.Tensor) -> torch.Tensor:
        """Attend in shifted windows: those of the last row and column, which hold two borders, apart from the rest."""
        rolled, bias = x.roll((-SHIFT, -SHIFT), (1, 2)), self.attn.position_bias()
        height, width = x.shape[1], x.shape[2]
        rows = []
        for last_row, top, bottom in ((False, 0, height - WINDOW), (True, height - WINDOW, height)):
            parts = []
            for last_column, left, right in ((False, 0, width - WINDOW), (True, width - WINDOW, width)):
                part = rolled[:, top:bottom, left:right].contiguous()
                if part.numel():
                    mask = _border_mask(last_row, last_column, x)
                    part = self.attn(cut_windows(part, WINDOW), (bias + mask)[None])
                    part = join_windows(part, (bottom - top, right - left), WINDOW)
                parts.append(part)
            rows.append(torch.cat(parts, dim=2))
        return torch.cat(rows, dim=1).roll((SHIFT, SHIFT), (1, 2))

    def _sometimes(self, added: torch.Tensor) -> torch.Tensor:
        if not self.training or not self.drop:
            return added
        kept = torch.rand(added.shape[0], 1, 1, 1, device=added.device) >= self.drop
        return added * (kept / (1 - self.drop)).to(added.dtype)


def _border_mask(last_row: bool, last_column: bool, like: torch.Tensor) -> torch.Tensor:
    """Return -100 between pixels of a shifted window that lie on opposite sides of the image, else 0, (64, 64)."""
    at = torch.arange(WINDOW**2, device=like.device)
    below = last_row & (at // WINDOW >= WINDOW - SHIFT)
    right = last_column & (at % WINDOW >= WINDOW - SHIFT)
    apart = (below[:, None] != below) | (right[:, None] != right)
    return MASKED * apart.to(like.dtype)


class ResidualGroup(nn.Module):
    """Swin layers and a 3x3 conv, plus the input."""

    def __init__(self) -> None:
        super().__init__()
        drops = [0.1 * number / (LAYERS - 1) for number in range(LAYERS)]
        layers = nn.ModuleList(SwinLayer(number % 2 == 1, drop) for number, drop in enumerate(drops))
        self.residual_group = nn.ModuleDict({"blocks": layers})
        self.conv = conv3(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, H, W, WIDTH) to the same shape."""
        inside = x
        for layer in self.residual_group["blocks"].children():
            inside = layer(inside)
        return apply_layer(self.conv, inside.permute(0, 3, 1, 2)).permute(0, 2, 3, 1) + x


class SwinBody(nn.Module):
    """A norm, a group of Swin layers, a norm and a 3x3 conv."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = nn.ModuleDict({"norm": nn.LayerNorm(WIDTH)})
        self.layers = nn.ModuleList([ResidualGroup()])
        self.norm = nn.LayerNorm(WIDTH)
        self.conv_after_body = conv3(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, WIDTH, H, W) to the same shape."""
        pixels = self.patch_embed["norm"](x.permute(0, 2, 3, 1))
        for layer in self.layers:
            pixels = layer(pixels)
        return apply_layer(self.conv_after_body, self.norm(pixels).permute(0, 3, 1, 2))


class NormalisedConv(nn.Module):
    """Weights of a conv in direction and length (Salimans and Kingma, NeurIPS 2016).

    Args:
        shape: of the weights, output channels first.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        plain = nn.Conv3d(shape[1], shape[0], (shape[2], shape[3], shape[4]))
        assert plain.bias is not None
        self.weight_v = nn.Parameter(plain.weight.detach().clone())
        self.weight_g = nn.Parameter(self._length().detach().clone())
        self.bias = nn.Parameter(plain.bias.detach().clone())

    @property
    def weight(self) -> torch.Tensor:
        """The weights themselves."""
        return self.weight_v * (self.weight_g / self._length())

    def _length(self) -> torch.Tensor:
        return self.weight_v.square().sum(dim=(1, 2, 3, 4), keepdim=True).sqrt()


class SpatialSpectralPrior(nn.Module):
    """Swin layers over the image and, after them, convs over the cube, whose depth are the bands.

    Args:
        bands: of the output.
    """

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.head = conv3(FEATURES, FIRST)
        self.feture = conv3(FIRST, WIDTH)
        self.body = SwinBody()
        self.tail = conv3(WIDTH, bands)
        self.conv3d1 = NormalisedConv((64, 1, 1, 3, 3))
        self.conv3d2 = NormalisedConv((1, 64, 3, 1, 1))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map (B, FEATURES, H, W) to an image (B, bands, H, W) and features (B, FIRST, H, W)."""
        first = self.head(x)
        features = self.feture(first)
        cube = self.tail(self.body(features) + features).relu()
        return self._over_bands(cube), first

    def _over_bands(self, cube: torch.Tensor) -> torch.Tensor:
        """Convolve with a 1x3x3 kernel to 64 channels, ReLU, and with a 3x1x1 kernel to one, band by band.

        All bands at once would hold 64 times the cube.
        """
        within = self.conv3d1.weight.squeeze(2)
        across = self.conv3d2.weight[0].squeeze(-1).transpose(0, 1).unsqueeze(-1)  # for the next, this, the previous
        maps = [
            F.conv2d(F.conv2d(band, within, self.conv3d1.bias, padding=1).relu(), across)
            for band in cube.chunk(cube.shape[1], dim=1)
        ]
        to_next, to_this, to_previous = torch.stack(maps, dim=1).unbind(2)
        from_previous = F.pad(to_next[:, :-1], (0, 0, 0, 0, 1, 0))
        from_next = F.pad(to_previous[:, 1:], (0, 0, 0, 0, 0, 1))
        return from_previous + to_this + from_next + self.conv3d2.bias


@register_network("3dt-net")
class ThreeDTNet(ComparedNetwork):
    """The network of the module's text.

    The authors' program is for ratio 8; at others the strides between the grids change, kernels and counts do not.

    Args:
        hsi_bands: bands of the LR-HSI and of the output.
        msi_bands: bands of the HR-MSI.
        options: ratio (up to 13) and precision.

    Example:
        >>> network = ThreeDTNet(31, 3)
        >>> sum(p.numel() for p in network.parameters())
        3463536
    """

    reference = "Ma, Jiang, Liu, Ma: 3DT-Net, Information Fusion, 2023"
    year = 2023
    program = "qingma2016/3DT-Net 20cd516"
    cost = "minutes"
    needs = "the whole ratio of the weights, up to 13"
    without_effect = ("delta_[12456]", "eta_[12456]", "acti.weight", "*.relative_position_index", "*.attn_mask")
    one_size = True  # the windows at a border are taken apart from the others, if there are others
    options_class: ClassVar[type[NetworkOptions]] = ThreeDTOptions
    options: ThreeDTOptions

    def __init__(self, hsi_bands: int, msi_bands: int, options: ThreeDTOptions | None = None) -> None:
        options = options or ThreeDTOptions()
        super().__init__(hsi_bands, msi_bands, options)
        for number in range(7):
            self.register_parameter(f"delta_{number}", nn.Parameter(torch.tensor(0.1)))
            self.register_parameter(f"eta_{number}", nn.Parameter(torch.tensor(0.9)))
        self.acti = nn.PReLU()
        after_first = FEATURES + FIRST
        for number, width in enumerate(
            (hsi_bands, after_first, after_first, after_first, after_first + FIRST, after_first)
        ):
            self.add_module(f"fe_conv{number + 1}", nn.Conv2d(width, FEATURES, 3, padding=1))
        self.spatial = SpatialSpectralPrior(hsi_bands)
        self.conv_torgb = conv3(hsi_bands, msi_bands)
        self.conv_tohsi = conv3(msi_bands, hsi_bands)
        ratio, border = options.ratio, KERNEL // 2
        self.conv_downsample = nn.Conv2d(hsi_bands, hsi_bands, KERNEL, stride=ratio, padding=border)
        self.conv_upsample = nn.ConvTranspose2d(
            hsi_bands, hsi_bands, KERNEL, stride=ratio, padding=border, output_padding=ratio - 1
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_normal_(module.weight)
            elif isinstance(module, PositionAttention):
                nn.init.trunc_normal_(module.relative_position_bias_table, std=0.02)

    def fuse(self, hsi: torch.Tensor, msi: torch.Tensor) -> torch.Tensor:
        """Alternate the prior with steps towards both images; see :meth:`ComparedNetwork.fuse`."""
        x = resample(hsi, (msi.shape[-2], msi.shape[-1]))
        delta, eta, last_delta, last_eta = (
            self.get_parameter(name) for name in ("delta_0", "eta_0", "delta_3", "eta_3")
        )
        earlier: list[torch.Tensor] = []
        fused = x
        for stage in range(STAGES):
            features = self._features(1, x)
            if stage:
                features = self._features(2 * stage + 1, torch.cat([features, *earlier], dim=1))
            prior, first = self.spatial(features)
            prior = prior + x
            earlier.append(first)
            z = (1 - delta - delta * eta) * x + delta * self._towards_msi(x, msi) + delta * (x - eta * prior)
            features = self._features(2 * stage + 2, torch.cat([self._features(1, z), first], dim=1))
            fused = self.spatial(features)[0] + z
            if stage < STAGES - 1:
                towards_hsi = self.conv_upsample(self.conv_downsample(x) - hsi)
                x = (
                    (1 - last_delta * last_eta) * x
                    + last_delta * (self._towards_msi(x, msi) + towards_hsi)
                    + last_delta * last_eta * fused
                )
        return fused

    def _features(self, number: int, x: torch.Tensor) -> torch.Tensor:
        return apply_layer(self.get_submodule(f"fe_conv{number}"), x)

    def _towards_msi(self, x: torch.Tensor, msi: torch.Tensor) -> torch.Tensor:
        return apply_layer(self.conv_tohsi, msi - self.conv_torgb(x))

    def tiling(self) -> Tiling:
        """Windows of 8 pixels, 36 layers of them; 32 pixels from a cut its effect is 1e-5 of the deviation."""
        return Tiling(multiple=WINDOW, overlap=4 * WINDOW)
