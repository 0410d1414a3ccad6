"""SSRNet: MSI bands put into the upsampled HSI, then three residual convolutions.

Zhang, Huang, Wang, Li: SSR-NET: Spatial-Spectral Reconstruction Network for Hyperspectral and Multispectral Image
Fusion, IEEE TGRS 59(7), 2021, 5953-5965. Equal to the program of hw2hwei/SSRNet. Its MSI is a choice of the sensor's
own bands, evenly spread; where bands are wide or in another order (red first), ``variant="uestc"`` of the group of
PSRT, BDT and FeINFN, which joins both images, is the one that makes sense.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import nn

from hyperfuse.errors import InputError
from hyperfuse.networks.base import Compared, Tiling
from hyperfuse.networks.blocks.upsample import resample
from hyperfuse.networks.compared import ComparedNetwork, ScaledOptions
from hyperfuse.networks.options import NetworkOptions
from hyperfuse.networks.registry import register_network


class SSRNetOptions(ScaledOptions):
    """Options of ``ssrnet``.

    Attributes:
        variant: ``"authors"`` replaces bands of the upsampled HSI by those of the MSI, ``"uestc"`` joins both.
    """

    variant: Literal["authors", "uestc"] = "authors"


@register_network("ssrnet")
class SSRNet(ComparedNetwork):
    """SSRNet; its output is never negative.

    Args:
        hsi_bands: bands of the LR-HSI and of the output.
        msi_bands: bands of the HR-MSI, from 2 to ``hsi_bands`` for the authors' variant.
        options: ratio (any whole one), variant, range of the values, precision.

    Raises:
        InputError: numbers of bands for which the authors' replacement is not defined.

    Example:
        >>> [sum(p.numel() for p in SSRNet(31, 3, SSRNetOptions(variant=v)).parameters()) for v in ("authors", "uestc")]
        [26041, 26878]
    """

    reference = "Zhang, Huang, Wang, Li: SSR-NET, IEEE TGRS 59(7), 2021"
    year = 2021
    program = "hw2hwei/SSRNet 9727896"
    needs = "a whole ratio; 2 MSI bands or more (variant uestc: any)"
    options_class: ClassVar[type[NetworkOptions]] = SSRNetOptions
    options: SSRNetOptions
    without_effect = ("weight",)

    def __init__(self, hsi_bands: int, msi_bands: int, options: SSRNetOptions | None = None) -> None:
        options = options or SSRNetOptions()
        super().__init__(hsi_bands, msi_bands, options)
        replaces = options.variant == "authors"
        if replaces and not 2 <= msi_bands <= hsi_bands:
            raise InputError(
                f"ssrnet puts MSI bands into the HSI, from the first band to the last: it needs 2 to {hsi_bands} of "
                f"them, not {msi_bands}; take variant='uestc', which joins the images"
            )
        self.weight = nn.Parameter(torch.tensor([0.5]))
        self.conv_fus = nn.Sequential(nn.Conv2d(hsi_bands + (0 if replaces else msi_bands), hsi_bands, 3, padding=1))
        self.conv_spat = nn.Sequential(nn.Conv2d(hsi_bands, hsi_bands, 3, padding=1))
        self.conv_spec = nn.Sequential(nn.Conv2d(hsi_bands, hsi_bands, 3, padding=1))

    @property
    def full_scale(self) -> float:
        """Value that stands for 1: the option of that name."""
        return float(self.options.full_scale)

    def fuse(self, hsi: torch.Tensor, msi: torch.Tensor) -> torch.Tensor:
        """See :meth:`ComparedNetwork.fuse`."""
        return self.stages(hsi, msi)[1]

    def stages(self, hsi: torch.Tensor, msi: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the image after the spatial stage and the output; the authors' loss has terms of both."""
        upsampled = resample(hsi, (msi.shape[2], msi.shape[3]), "bilinear")
        joined = self._replaced(upsampled, msi) if self.options.variant == "authors" else torch.cat([upsampled, msi], 1)
        fused = self.conv_fus(joined).relu()
        spatial = fused + self.conv_spat(fused).relu()
        spectral = spatial + self.conv_spec(spatial).relu()
        return spatial, spectral

    def intermediate(self, hsi: torch.Tensor, msi: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the output, the spatial stage's differences along rows and columns, the output's along bands."""
        self.check_pair(hsi, msi)
        spatial, spectral = self.stages(hsi, msi)
        return spectral, *(_difference(spatial, axis) for axis in (2, 3)), _difference(spectral, 1)

    def compared(self, outputs: tuple[torch.Tensor, ...], reference: torch.Tensor) -> list[Compared]:
        """Compare the differences with the reference's, the spatial ones at half the weight."""
        edges = zip(outputs[1:], (2, 3, 1), (0.5, 0.5, 1.0), strict=True)
        return [
            Compared(outputs[0], reference),
            *(Compared(output, _difference(reference, axis), weight) for output, axis, weight in edges),
        ]

    def tiling(self) -> Tiling:
        """Three convolutions of 3x3, and half an LR pixel of bilinear upsampling."""
        return Tiling(overlap=16)

    def _replaced(self, upsampled: torch.Tensor, msi: torch.Tensor) -> torch.Tensor:
        """Return the upsampled HSI with evenly spaced bands replaced by the MSI's, the last by the last."""
        gap = self.hsi_bands / (self.msi_bands - 1)
        positions = [*(math.floor(gap * band) for band in range(self.msi_bands - 1)), self.hsi_bands - 1]
        where = {position: band for band, position in enumerate(positions)}
        bands = [
            msi[:, where[band] : where[band] + 1] if band in where else upsampled[:, band : band + 1]
            for band in range(self.hsi_bands)
        ]
        return torch.cat(bands, 1)


def _difference(image: torch.Tensor, axis: int) -> torch.Tensor:
    """Return each element along an axis minus the next one."""
    return -image.diff(dim=axis)
