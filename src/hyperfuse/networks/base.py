"""The base of every network: a module that maps a pair of images to the fused one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import nn

from hyperfuse.errors import InputError
from hyperfuse.networks.options import NetworkOptions


class Tiling(NamedTuple):
    """How an image is cut into blocks for a network, in HR pixels.

    Attributes:
        multiple: sides of a block are multiples of it, and blocks start at multiples of it.
        overlap: width of the border of a block in which the output depends on what is beyond it, and is not used; None
            where it is used with a weight that falls towards the border.
        side: of a block, where nothing else is asked for.
        spans_block: whether every pixel of the output depends on the whole block: another side gives another image.
    """

    multiple: int = 1
    overlap: int | None = None
    side: int = 256
    spans_block: bool = False


class Compared(NamedTuple):
    """An output of a network with what a loss compares it with, and the weight of that in the sum."""

    output: torch.Tensor
    reference: torch.Tensor
    weight: float = 1.0


class FusionNetwork(nn.Module, ABC):
    """Base of the networks: holds its bands and options, and checks its input.

    Attributes:
        name: the name it is registered under.
        reference: the paper, in the field's short form.
        year: of the paper.
        program: the program that it equals, ``owner/name commit``, or None.
        published: where its authors published weights, or None.
        cost: ``seconds`` or ``minutes`` for a 512x512x31 image on two cores.
        needs: what a pair must be like, in words.
        without_effect: patterns of the names of parameters that the authors' program has and does not use: they are
            counted and saved, have no gradient, and may be missing in a file of the authors.
        one_size: whether a program or file that it is exported to is for one size of images only.
        options_class: class of its options.
        hsi_bands: bands of the LR-HSI and of the fused image.
        msi_bands: bands of the HR-MSI.
        options: those it was built with.
    """

    name: ClassVar[str]
    reference: ClassVar[str]
    year: ClassVar[int]
    program: ClassVar[str | None] = None
    published: ClassVar[str | None] = None
    cost: ClassVar[Literal["seconds", "minutes"]] = "seconds"
    needs: ClassVar[str] = "any ratio"
    without_effect: ClassVar[tuple[str, ...]] = ()
    one_size: ClassVar[bool] = False
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

    @property
    def full_scale(self) -> float:
        """Value that stands for the brightest of a scene in the network's input and output: 1 for most."""
        return 1.0

    def fuse_unit_range(self, hsi: torch.Tensor, msi: torch.Tensor) -> torch.Tensor:
        """Return ``forward`` for images whose brightest value is about 1, in that unit; see :attr:`full_scale`."""
        scale = self.full_scale
        fused: torch.Tensor = self(hsi, msi) if scale == 1 else self(hsi * scale, msi * scale) / scale
        return fused

    def intermediate(self, hsi: torch.Tensor, msi: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the fused image and then, where the authors' loss has terms of more, those outputs."""
        return (self(hsi, msi),)

    def compared(self, outputs: tuple[torch.Tensor, ...], reference: torch.Tensor) -> list[Compared]:
        """Return the outputs of :meth:`intermediate` with what the authors' loss compares each with.

        Args:
            outputs: of :meth:`intermediate`.
            reference: the image that is to be fused, (B, hsi_bands, H, W).
        """
        return [Compared(outputs[0], reference)]

    def tiling(self) -> Tiling:
        """Return how images are to be cut into blocks for this network."""
        return Tiling()

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
