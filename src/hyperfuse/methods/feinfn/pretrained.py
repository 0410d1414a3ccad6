"""Networks that were trained on other scenes, for the default method to start from."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hyperfuse.errors import InputError
from hyperfuse.networks.feinfn import FeINFN
from hyperfuse.networks.pretrained import find_pretrained, from_pretrained, read_base

# Method whose linear part their images were made by.
_BASE = "feinfn"


@dataclass(frozen=True)
class TrainedNetwork:
    """A network that was trained to improve images of the linear part.

    Attributes:
        network: for the HSI, and the MSI with the image as its guidance.
        scale: unit of what it adds.
    """

    network: FeINFN
    scale: float


def load_for_pair(weights: str, hsi: torch.Tensor, msi: torch.Tensor) -> TrainedNetwork:
    """Read a network that improves the linear part of the default method.

    Args:
        weights: name of weights that ship, or a folder that training wrote.
        hsi: LR-HSI of the pair, (bands, h, w).
        msi: HR-MSI, (msi_bands, H, W).

    Raises:
        InputError: no such weights, weights for other bands, or a network that was trained for something else.
    """
    folder = find_pretrained(weights)
    base, network = read_base(folder), from_pretrained(folder)
    if base is None or base["method"] != _BASE or not base.get("guidance") or not isinstance(network, FeINFN):
        raise InputError(
            f"{weights}: was not trained to improve the images of {_BASE} (base.method={_BASE}, base.guidance=true); "
            "a network that stands alone is run by `hyperfuse fuse --network`"
        )
    bands, msi_bands = network.hsi_bands, network.msi_bands - network.hsi_bands
    if (bands, msi_bands) != (hsi.shape[0], msi.shape[0]):
        raise InputError(
            f"{weights}: is for an HSI of {bands} bands and an MSI of {msi_bands}, the pair has {hsi.shape[0]} and "
            f"{msi.shape[0]}; omit weights=..."
        )
    return TrainedNetwork(network, float(base.get("scale", 1.0)))
