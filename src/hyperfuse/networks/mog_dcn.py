"""MoG-DCN: four steps of a model-guided optimisation, with a U-Net as its prior.

Dong, Zhou, Wu, Wu, Shi, Li: Model-Guided Deep Hyperspectral Image Super-Resolution, IEEE TIP 30, 2021, 5754-5768.
Equal to the program of chengerr/Model-Guided-Deep-Hyperspectral-Image-Super-resolution, which is for the ratio 8 with
kernels of 13x13; ``variant="uestc"``, the copy of the group of PSRT, BDT and FeINFN, has 7x7. At ratios up to 4 (there
is no authors' program of them) both have 7x7. Signs that the equations would have otherwise are the program's.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import nn

from hyperfuse.networks.base import Tiling
from hyperfuse.networks.blocks.upsample import resample
from hyperfuse.networks.compared import ComparedNetwork, ComparedOptions
from hyperfuse.networks.options import NetworkOptions, Ratio
from hyperfuse.networks.registry import register_network

_STAGES, _LEVELS, _SCALARS = 4, 4, 7
_LARGE_KERNEL, _SMALL_KERNEL = 13, 7


class MoGDCNOptions(ComparedOptions):
    """Options of ``mog-dcn``.

    Attributes:
        ratio: HR pixels per LR pixel; the authors' is 8.
        variant: ``"authors"`` degrades by 13x13 (7x7 at ratios up to 4), ``"uestc"`` by 7x7 at any ratio.
    """

    ratio: Ratio = 4
    variant: Literal["authors", "uestc"] = "authors"

    @property
    def kernel(self) -> int:
        """Side of the kernels of degradation and its transpose."""
        return _LARGE_KERNEL if self.variant == "authors" and self.ratio > 4 else _SMALL_KERNEL


def _conv(into: int, out: int) -> nn.Conv2d:
    return nn.Conv2d(into, out, 3, padding=1)


class _Encoding(nn.Module):
    """Three convolutions, one without activation (the skip), and one that halves the sides."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = _conv(64, 64), _conv(64, 64), _conv(64, 64)
        self.conv4 = _conv(64, 128)
        self.conv5 = nn.Conv2d(128, 64, 3, stride=2, padding=1)
        self.act = nn.PReLU()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what goes down and the skip."""
        for conv in (self.conv1, self.conv2, self.conv3):
            x = self.act(conv(x))
        skip = self.conv4(x)
        return self.act(self.conv5(skip)), skip


class _Bottom(nn.Module):
    """As an encoding block, without halving."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = _conv(64, 64), _conv(64, 64), _conv(64, 64)
        self.conv4 = _conv(64, 128)
        self.act = nn.PReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for conv in (self.conv1, self.conv2, self.conv3):
            x = self.act(conv(x))
        result: torch.Tensor = self.conv4(x)
        return result


class _Decoding(nn.Module):
    """Doubles the sides, joins the skip, and ends in a convolution ``conv3`` without activation."""

    def __init__(self, channels: int, last: nn.Conv2d) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(channels, 128, 3, stride=2, padding=1)
        self.conv0, self.conv1, self.conv2 = _conv(256, 128), _conv(128, 128), _conv(128, 128)
        self.conv3 = last
        self.act = nn.PReLU()

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        x = torch.cat([self.up(x, output_size=skip.shape[2:]), skip], 1)
        for conv in (self.conv0, self.conv1, self.conv2):
            x = self.act(conv(x))
        result: torch.Tensor = self.conv3(x)
        return result


class _Prior(nn.Module):
    """The U-Net: 64 channels in, an image and the skip of the first level out."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.Encoding_block1, self.Encoding_block2 = _Encoding(), _Encoding()
        self.Encoding_block3, self.Encoding_block4 = _Encoding(), _Encoding()
        self.Encoding_block_end = _Bottom()
        self.Decoding_block1 = _Decoding(128, nn.Conv2d(128, 512, 1))
        self.Decoding_block2 = _Decoding(512, nn.Conv2d(128, 512, 1))
        self.Decoding_block3 = _Decoding(512, nn.Conv2d(128, 512, 1))
        self.Decoding_block_End = _Decoding(512, _conv(128, bands))
        self.acti = nn.PReLU()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        skips = []
        for encode in (self.Encoding_block1, self.Encoding_block2, self.Encoding_block3, self.Encoding_block4):
            x, skip = encode(x)
            skips.append(skip)
        x = self.Encoding_block_end(x)
        decoders = (self.Decoding_block1, self.Decoding_block2, self.Decoding_block3, self.Decoding_block_End)
        for decode, skip in zip(decoders, reversed(skips), strict=True):
            x = decode(x, skip)
        return x, skips[0]


@register_network("mog-dcn")
class MoGDCN(ComparedNetwork):
    """MoG-DCN; nothing is clipped.

    Args:
        hsi_bands: bands of the LR-HSI and of the output.
        msi_bands: bands of the HR-MSI.
        options: ratio, variant and precision.

    Example:
        >>> network = MoGDCN(31, 3, MoGDCNOptions(ratio=8))
        >>> sum(p.numel() for p in network.parameters() if p.requires_grad)
        7070836
    """

    reference = "Dong, Zhou, Wu, Wu, Shi, Li: MoG-DCN, IEEE TIP 30, 2021"
    year = 2021
    program = "chengerr/Model-Guided-Deep-Hyperspectral-Image-Super-resolution 35eef37"
    cost = "minutes"
    needs = "the whole ratio of the weights"
    options_class: ClassVar[type[NetworkOptions]] = MoGDCNOptions
    options: MoGDCNOptions
    without_effect = (
        "P",
        "acti.*",
        "spatial.acti.*",
        *(f"{name}_{n}" for name in ("delta", "eta") for n in (1, 2, 4, 5, 6)),
    )

    def __init__(self, hsi_bands: int, msi_bands: int, options: MoGDCNOptions | None = None) -> None:
        options = options or MoGDCNOptions()
        super().__init__(hsi_bands, msi_bands, options)
        kernel, ratio = options.kernel, options.ratio
        for number in range(1, 2 * _STAGES + 1):
            # Of the features and those of earlier stages: 64, 192, 192, 192, 320, 192, 448, 192 channels.
            earlier = 0 if number == 1 else 1 if number % 2 == 0 else number // 2
            self.add_module(f"fe_conv{number}", _conv(64 + 128 * earlier if number > 1 else hsi_bands, 64))
        padding = kernel // 2
        self.conv_downsample = nn.Conv2d(hsi_bands, hsi_bands, kernel, stride=ratio, padding=padding)
        self.conv_upsample = nn.ConvTranspose2d(
            hsi_bands, hsi_bands, kernel, stride=ratio, padding=padding, output_padding=ratio - 1
        )
        self.conv_torgb = _conv(hsi_bands, msi_bands)
        self.conv_tohsi = _conv(msi_bands, hsi_bands)
        self.spatial = _Prior(hsi_bands)
        self.acti = nn.PReLU()
        for number in range(_SCALARS):
            self.register_parameter(f"delta_{number}", nn.Parameter(torch.tensor(0.1)))
            self.register_parameter(f"eta_{number}", nn.Parameter(torch.tensor(0.9)))
        if options.variant == "authors":
            self.P = nn.Parameter(torch.zeros(msi_bands, hsi_bands), requires_grad=False)
        for layer in self.modules():
            if type(layer) is nn.Conv2d:
                nn.init.xavier_normal_(layer.weight)

    def fuse(self, hsi: torch.Tensor, msi: torch.Tensor) -> torch.Tensor:
        """See :meth:`ComparedNetwork.fuse`."""
        delta, eta, delta_data, eta_data = map(self.get_parameter, ("delta_0", "eta_0", "delta_3", "eta_3"))
        x = resample(hsi, (msi.shape[2], msi.shape[3]))
        skips: list[torch.Tensor] = []
        while True:
            features = self._features(2 * len(skips) + 1, x, skips)
            detail, skip = self.spatial(features)
            skips.append(skip)
            by_msi = self.conv_tohsi(msi - self.conv_torgb(x))
            denoised = detail + x
            t = (1 - delta - delta * eta) * x + delta * by_msi + delta * (x - eta * denoised)

            detail, _ = self.spatial(self._features(2 * len(skips), t, skips[-1:]))
            denoised = detail + t
            if len(skips) == _STAGES:
                result: torch.Tensor = denoised
                return result
            by_hsi = self.conv_upsample(self.conv_downsample(x) - hsi)
            x = (1 - delta_data * eta_data) * x + delta_data * (by_msi + by_hsi) + delta_data * eta_data * denoised

    @property
    def side_multiple(self) -> int:
        """Sides are halved four times and need not be even: only LR pixels have to be whole."""
        return 1

    def tiling(self) -> Tiling:
        """Four halvings; eight U-Nets reach far, with some millionths (of fresh weights) beyond the overlap."""
        return Tiling(multiple=math.lcm(2**_LEVELS, self.options.ratio), overlap=48)

    def _features(self, number: int, image: torch.Tensor, skips: list[torch.Tensor]) -> torch.Tensor:
        features = self.get_submodule("fe_conv1")(image)
        if number > 1:
            features = self.get_submodule(f"fe_conv{number}")(torch.cat([features, *skips], 1))
        result: torch.Tensor = features
        return result
