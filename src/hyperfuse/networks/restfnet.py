"""ResTFNet and TFNet: two streams, fused at half and at quarter size.

Liu, Liu, Wang: Remote sensing image fusion based on two-stream fusion network, Information Fusion 55 (2020) 1-15.
Equal to the programs of hw2hwei/SSRNet, the versions for HSI and MSI. Of the networks that go by this name in tables
the group of PSRT, BDT and FeINFN prints ``tfnet`` (2.387 M parameters); liouxy/tfnet_pytorch has a third, with batch
normalisation.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from hyperfuse.networks.base import Tiling
from hyperfuse.networks.blocks.upsample import resample
from hyperfuse.networks.compared import ComparedNetwork, ScaledOptions
from hyperfuse.networks.options import NetworkOptions
from hyperfuse.networks.registry import register_network

_REFERENCE = "Liu, Liu, Wang: two-stream fusion network, Information Fusion 55, 2020"
_PROGRAM = "hw2hwei/SSRNet 9727896"


def _conv(into: int, out: int) -> list[nn.Module]:
    return [nn.Conv2d(into, out, 3, padding=1), nn.PReLU()]


def _double(into: int, out: int) -> list[nn.Module]:
    return [*_conv(into, out), *_conv(out, out)]


def _down(into: int, out: int) -> list[nn.Module]:
    return [nn.Conv2d(into, out, 2, stride=2), nn.PReLU()]


def _up(into: int, out: int) -> list[nn.Module]:
    return [nn.ConvTranspose2d(into, out, 2, stride=2), nn.PReLU()]


class _TwoStream(ComparedNetwork):
    """What ResTFNet and TFNet have in common: bands, values and sizes."""

    reference = _REFERENCE
    year = 2020
    program = _PROGRAM
    options_class: ClassVar[type[NetworkOptions]] = ScaledOptions
    options: ScaledOptions

    @property
    def full_scale(self) -> float:
        """Value that stands for 1: the option of that name."""
        return float(self.options.full_scale)

    def tiling(self) -> Tiling:
        """Two halvings; convolutions of 3x3 at three sizes reach 25 HR pixels, and half an LR pixel is upsampled."""
        return Tiling(multiple=4, overlap=32)


@register_network("restfnet")
class ResTFNet(_TwoStream):
    """ResTFNet: residual blocks of two convolutions; the HSI is upsampled bilinearly. No residual from input to output.

    Args:
        hsi_bands: bands of the LR-HSI and of the output.
        msi_bands: bands of the HR-MSI.
        options: ratio (any whole one), range of the values, precision.

    Example:
        >>> sum(p.numel() for p in ResTFNet(31, 3).parameters())
        2262131
    """

    def __init__(self, hsi_bands: int, msi_bands: int, options: ScaledOptions | None = None) -> None:
        super().__init__(hsi_bands, msi_bands, options or ScaledOptions())
        self.lr_conv1 = nn.Sequential(*_conv(hsi_bands, 32))
        self.lr_conv2 = nn.Sequential(*_double(32, 32))
        self.lr_down_conv = nn.Sequential(*_down(32, 64))
        self.hr_conv1 = nn.Sequential(*_conv(msi_bands, 32))
        self.hr_conv2 = nn.Sequential(*_double(32, 32))
        self.hr_down_conv = nn.Sequential(*_down(32, 64))
        self.fusion_conv1 = nn.Sequential(*_double(128, 128))
        self.fusion_conv2 = nn.Sequential(*_down(128, 256))
        self.fusion_conv3 = nn.Sequential(*_double(256, 256))
        self.fusion_conv4 = nn.Sequential(*_up(256, 128))
        self.recons_conv1 = nn.Sequential(nn.Conv2d(256, 128, 1))
        self.recons_conv2 = nn.Sequential(*_double(128, 128))
        self.recons_conv3 = nn.Sequential(*_up(128, 64))
        self.recons_conv4 = nn.Sequential(nn.Conv2d(128, 64, 1))
        self.recons_conv5 = nn.Sequential(*_double(64, 64))
        self.recons_conv6 = nn.Sequential(*_conv(64, hsi_bands))

    def fuse(self, hsi: torch.Tensor, msi: torch.Tensor) -> torch.Tensor:
        """See :meth:`ComparedNetwork.fuse`."""
        lr = self.lr_conv1(resample(hsi, (msi.shape[2], msi.shape[3]), "bilinear"))
        lr_detail = self.lr_conv2(lr)
        hr = self.hr_conv1(msi)
        hr_detail = self.hr_conv2(hr)

        half = torch.cat([self.hr_down_conv(hr + hr_detail), self.lr_down_conv(lr + lr_detail)], 1)
        half = half + self.fusion_conv1(half)
        quarter = self.fusion_conv2(half)
        quarter = quarter + self.fusion_conv3(quarter)
        fused = self.recons_conv1(torch.cat([half, self.fusion_conv4(quarter)], 1))
        fused = fused + self.recons_conv2(fused)
        # The skips are the residual branches, not the sums.
        full = self.recons_conv4(torch.cat([lr_detail, hr_detail, self.recons_conv3(fused)], 1))
        full = full + self.recons_conv5(full)
        image: torch.Tensor = self.recons_conv6(full)
        return image


@register_network("tfnet")
class TFNet(_TwoStream):
    """TFNet: as ResTFNet, without additions.

    Args:
        hsi_bands: bands of the LR-HSI and of the output.
        msi_bands: bands of the HR-MSI.
        options: ratio (any whole one), range of the values, precision.

    Example:
        >>> sum(p.numel() for p in TFNet(31, 3).parameters())
        2386801
    """

    def __init__(self, hsi_bands: int, msi_bands: int, options: ScaledOptions | None = None) -> None:
        super().__init__(hsi_bands, msi_bands, options or ScaledOptions())
        self.lr_conv1 = nn.Sequential(*_conv(hsi_bands, 32))
        self.lr_conv2 = nn.Sequential(*_conv(32, 32))
        self.hr_conv1 = nn.Sequential(*_conv(msi_bands, 32))
        self.hr_conv2 = nn.Sequential(*_conv(32, 32))
        self.lr_down_conv = nn.Sequential(*_down(32, 64))
        self.hr_down_conv = nn.Sequential(*_down(32, 64))
        self.fusion_conv1 = nn.Sequential(*_double(128, 128))
        self.fusion_conv2 = nn.Sequential(*_down(128, 256), *_double(256, 256), *_up(256, 128))
        self.recons_conv1 = nn.Sequential(*_double(256, 128), *_up(128, 64))
        self.recons_conv2 = nn.Sequential(*_double(128, 64), *_conv(64, hsi_bands))

    def fuse(self, hsi: torch.Tensor, msi: torch.Tensor) -> torch.Tensor:
        """See :meth:`ComparedNetwork.fuse`."""
        lr = self.lr_conv2(self.lr_conv1(resample(hsi, (msi.shape[2], msi.shape[3]), "bilinear")))
        hr = self.hr_conv2(self.hr_conv1(msi))
        half = self.fusion_conv1(torch.cat([self.hr_down_conv(hr), self.lr_down_conv(lr)], 1))
        fused = self.recons_conv1(torch.cat([half, self.fusion_conv2(half)], 1))
        image: torch.Tensor = self.recons_conv2(torch.cat([lr, hr, fused], 1))
        return image
