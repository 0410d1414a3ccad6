"""The base of every network: a module that maps a pair of images to the fused one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import nn

from hyperfuse.errors import InputError
from hyperfuse.networks.options import NetworkOptions


class FusionNetwork(nn.Module, ABC):
    """Base of the networks: holds its bands and options, and checks its input.

    Attributes:
        name: the name it is registered under.
        options_class: class of its options.
        hsi_bands: bands of the LR-HSI and of the fused image.
        msi_bands: bands of the HR-MSI.
        options: those it was built with.
    """

    name: ClassVar[str]
    options_class: ClassVar[type[NetworkOptions]]

    def __init__(self, hsi_bands: int, msi_bands: int, options: NetworkOptions) -> None:
        super().__init__()
        self.hsi_bands, self.msi_bands = hsi_bands, msi_bands
        self.options = options

    @abstractmethod
    def forward(self, hsi: torch.Tensor, msi: torch.Tensor) -> torch.Tensor:
        """Fuse (B, hsi_bands, h, w) and (B, msi_bands, H, W) to (B, hsi_bands, H, W)."""

    @abstractmethod
    def zero_output_layer(self) -> None:
        """Set the last layer to 0: until it is trained, the network returns the HSI resampled to the MSI's grid."""

    def check_pair(self, hsi: torch.Tensor, msi: torch.Tensor) -> None:
        """Refuse input that does not fit this network.

        Raises:
            InputError: for the wrong number of dimensions, bands or images, other types or a ratio below 1.
        """
        for image, bands, what in ((hsi, self.hsi_bands, "hsi"), (msi, self.msi_bands, "msi")):
            if image.dim() != 4:
                raise InputError(f"{what} must be (batch, bands, rows, columns), not {tuple(image.shape)}")
            if image.shape[1] != bands:
                raise InputError(f"{what} has {image.shape[1]} bands, but this network was built for {bands}")
            if not image.is_floating_point():
                raise InputError(f"{what} must be floating point, not {image.dtype}; scale it to [0, 1] first")
        if hsi.shape[0] != msi.shape[0]:
            raise InputError(f"hsi holds {hsi.shape[0]} images and msi {msi.shape[0]}; they must be pairs")
        if 0 in hsi.shape or 0 in msi.shape:
            raise InputError(f"an empty image: hsi {tuple(hsi.shape)}, msi {tuple(msi.shape)}")
        if msi.shape[2] < hsi.shape[2] or msi.shape[3] < hsi.shape[3]:
            raise InputError(
                f"msi is {tuple(msi.shape[2:])} and hsi {tuple(hsi.shape[2:])}: the msi must be the larger; swapped?"
            )
