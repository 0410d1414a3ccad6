"""DHIF-Net: four steps of an iterative regularisation, with filters in space and spectrum from a U-Net.

Huang, Dong, Wu, Li, Li, Shi: Deep Hyperspectral Image Fusion Network With Iterative Spatio-Spectral Regularization,
IEEE TCI 8, 2022, 201-214. Equal to the program of TaoHuang95/DHIF-Net, which is for the ratios 8 and 16; 4 is that of
the copy of the group of PSRT, BDT and FeINFN.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import nn
from torch.nn import functional as F

from hyperfuse.networks.base import Tiling
from hyperfuse.networks.blocks.upsample import resample
from hyperfuse.networks.compared import ComparedNetwork, ComparedOptions
from hyperfuse.networks.options import NetworkOptions
from hyperfuse.networks.registry import register_network

_STAGES, _WIDTH, _TAPS = 4, 64, 7
# Kernel, stride and padding of the convolutions that degrade, by ratio.
_DEGRADATIONS = {4: [(6, 4, 1)], 8: [(12, 8, 2)], 16: [(6, 4, 1), (6, 4, 1)]}


class DHIFOptions(ComparedOptions):
    """Options of ``dhif``.

    Attributes:
        ratio: HR pixels per LR pixel.
    """

    ratio: Literal[4, 8, 16] = 4


def _twice(into: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(into, out, 3, padding=1), nn.ReLU(), nn.Conv2d(out, out, 3, padding=1), nn.ReLU())


class _Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.E1, self.E2 = _twice(_WIDTH, 64), _twice(64, 128)
        self.E3, self.E4, self.E5 = _twice(128, 256), _twice(256, 512), _twice(512, 512)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the features of the five levels, each of half the sides of the one before."""
        levels = [self.E1(x)]
        for encode in (self.E2, self.E3, self.E4, self.E5):
            levels.append(encode(F.avg_pool2d(levels[-1], 2)))
        return levels


class _Decoder(nn.Module):
    """From the levels to three filters of seven taps per band and pixel."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.D1, self.D2 = _twice(1024, 512), _twice(768, 256)
        self.D3, self.D4 = _twice(384, 128), _twice(192, 128)
        taps = _TAPS * bands
        self.K_1, self.K_2, self.K_3 = (
            nn.Sequential(
                nn.Conv2d(128, taps, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(taps, taps, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(taps, taps, 1),
            )
            for _ in range(3)
        )

    def forward(self, levels: list[torch.Tensor]) -> torch.Tensor:
        """Return the features that the filters are made of."""
        *skips, x = levels
        for decode, skip in zip((self.D1, self.D2, self.D3, self.D4), reversed(skips), strict=True):
            x = decode(torch.cat([skip, resample(x, (skip.shape[2], skip.shape[3]))], 1))
        return x


def _filters(head: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """Return (B, taps, bands, H, W) whose taps have the norm 1; they may be negative and need not sum to 1."""
    taps = head(features).unflatten(1, (_TAPS, -1))
    return F.normalize(taps, dim=1)


def _filtered(image: torch.Tensor, filters: torch.Tensor, axis: int) -> torch.Tensor:
    """Filter (B, bands, H, W) along rows (2) or columns (3), whose borders repeat, or bands (1), beyond which is 0."""
    reach = _TAPS // 2
    pad = {1: (0, 0, 0, 0, reach, reach), 2: (0, 0, reach, reach), 3: (reach, reach)}[axis]
    extended = F.pad(image, pad) if axis == 1 else F.pad(image, (*pad, *(0,) * (4 - len(pad))), mode="replicate")
    size = image.shape[axis]
    result = filters[:, 0] * extended.narrow(axis, 0, size)
    for tap in range(1, _TAPS):
        result = result + filters[:, tap] * extended.narrow(axis, tap, size)
    return result


@register_network("dhif")
class DHIF(ComparedNetwork):
    """DHIF-Net; nothing is clipped.

    Args:
        hsi_bands: bands of the LR-HSI and of the output.
        msi_bands: bands of the HR-MSI.
        options: ratio and precision.

    Example:
        >>> sum(p.numel() for p in DHIF(31, 3).parameters())
        22461913
    """

    reference = "Huang, Dong, Wu, Li, Li, Shi: DHIF-Net, IEEE TCI 8, 2022"
    year = 2022
    program = "TaoHuang95/DHIF-Net 6434366"
    cost = "minutes"
    needs = "ratio 4, 8 or 16, that of the weights"
    published = "CAVE x8, x16 (pickled modules, to be converted): TaoHuang95/DHIF-Net"
    options_class: ClassVar[type[NetworkOptions]] = DHIFOptions
    options: DHIFOptions

    def __init__(self, hsi_bands: int, msi_bands: int, options: DHIFOptions | None = None) -> None:
        options = options or DHIFOptions()
        super().__init__(hsi_bands, msi_bands, options)
        sizes = _DEGRADATIONS[options.ratio]
        self.RT = nn.Sequential(nn.Conv2d(msi_bands, hsi_bands, 3, padding=1), nn.LeakyReLU())
        self.R = nn.Sequential(nn.Conv2d(hsi_bands, msi_bands, 3, padding=1), nn.LeakyReLU())
        down = [(nn.Conv2d(hsi_bands, hsi_bands, k, s, p), nn.LeakyReLU()) for k, s, p in sizes]
        up = [(nn.ConvTranspose2d(hsi_bands, hsi_bands, k, s, p), nn.LeakyReLU()) for k, s, p in sizes]
        self.B = nn.Sequential(*(layer for pair in down for layer in pair))
        self.BT = nn.Sequential(*(layer for pair in up for layer in pair))
        self.conv = nn.Conv2d(hsi_bands + msi_bands, _WIDTH, 3, padding=1)
        for stage in range(_STAGES):
            self.add_module(f"Den_con{stage + 1}", nn.Conv2d(_WIDTH * (stage + 1), _WIDTH, 3, padding=1))
        self.Encoder = _Encoder()
        self.Decoder = _Decoder(hsi_bands)
        self._draw_weights()

    def fuse(self, hsi: torch.Tensor, msi: torch.Tensor) -> torch.Tensor:
        """See :meth:`ComparedNetwork.fuse`."""
        x = resample(hsi, (msi.shape[2], msi.shape[3]))
        features: list[torch.Tensor] = []
        for stage in range(_STAGES):
            by_msi = self.RT(self.R(x) - msi)
            by_hsi = self.BT(self.B(x) - hsi)
            features.append(self.conv(torch.cat([x, msi], 1)))
            dense = self.get_submodule(f"Den_con{stage + 1}")(torch.cat(features, 1))
            regularised = self._regularised(x, self.Decoder(self.Encoder(dense)))
            step, weight = self.get_parameter(f"eta_{stage}"), self.get_parameter(f"lamda_{stage}")
            x = x - 2 * step * (by_msi + by_hsi + weight * (x - regularised))
        return x

    def tiling(self) -> Tiling:
        """Four halvings; four U-Nets reach far, with some millionths (of fresh weights) beyond the overlap."""
        return Tiling(multiple=16, overlap=48)

    @torch.no_grad()
    def zero_output_layer(self) -> None:
        """Set the step sizes to 0: the result is the HSI upsampled bicubically."""
        for stage in range(_STAGES):
            self.get_parameter(f"eta_{stage}").zero_()

    def _regularised(self, image: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Filter along columns, rows and bands, by the filters of three heads."""
        for head, axis in ((self.Decoder.K_1, 3), (self.Decoder.K_2, 2), (self.Decoder.K_3, 1)):
            image = _filtered(image, _filters(head, features), axis)
        return image

    @torch.no_grad()
    def _draw_weights(self) -> None:
        """Draw weights as the program does: Xavier uniform, biases of convolutions 0."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.xavier_uniform_(layer.weight)
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                layer.bias.zero_()
        for stage in range(_STAGES):
            self.register_parameter(f"lamda_{stage}", nn.Parameter(torch.normal(1.0, 0.01, (1,))))
            self.register_parameter(f"eta_{stage}", nn.Parameter(torch.normal(0.1, 0.01, (1,))))
