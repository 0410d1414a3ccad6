"""First layers that begin by seeing contrasts of spectra, however faint."""

from __future__ import annotations

import torch
from torch import nn

from hyperfuse.errors import InputError
from hyperfuse.networks.base import FusionNetwork
from hyperfuse.networks.feinfn import FeINFN
from hyperfuse.sensor.srf.srf import Srf
from hyperfuse.training.scene_store import SceneStore

_COMPONENTS = 8
_PIXELS = 65536  # of each scene, evenly spread


def whiten_first_layers(network: FusionNetwork, store: SceneStore, srf: Srf, guided: bool) -> None:
    """Draw first layers anew, as layers over leading components of unit variance, and write them for bands.

    Spectra of a scene differ mostly in brightness; what tells materials apart has a hundredth of its variance, and
    fresh weights over bands hardly see it. Mean and components are those of the scenes to learn from.

    Args:
        network: FeINFN; changed in place.
        store: the scenes.
        srf: responses of the MSI.
        guided: whether the image of a base is among the bands of the MSI.

    Raises:
        InputError: another network than FeINFN.
    """
    if not isinstance(network, FeINFN):
        raise InputError(f"network.begin_whitened is for feinfn, not {network.name}")
    samples = []
    for name in store.names:
        spectra = store.load(name).flatten(1).double()
        samples.append(spectra[:, :: max(1, spectra.shape[1] // _PIXELS)])
    hsi = torch.cat(samples, 1)
    msi = torch.as_tensor(srf.matrix, dtype=torch.float64) @ hsi
    bands, wide = _components(hsi), _components(msi)
    _redraw(network.spectral_encoder.head, [bands])
    _redraw(network.spatial_encoder.head, [wide, bands, bands] if guided else [wide, bands])


def _components(spectra: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean (bands,) of spectra (bands, n) and the matrix (k, bands) that whitens them."""
    values, vectors = torch.linalg.eigh(torch.cov(spectra))
    leading = torch.argsort(values, descending=True)[:_COMPONENTS]
    leading = leading[values[leading] > 1e-12 * values.max().clamp_min(1e-300)]
    return spectra.mean(1), (vectors[:, leading] * values[leading].rsqrt()).T


@torch.no_grad()
def _redraw(layer: nn.Conv2d, images: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Replace a convolution over the bands of several images by a fresh one over their components."""
    means, matrices = zip(*images, strict=True)
    matrix: torch.Tensor = torch.block_diag(*matrices)  # type: ignore[no-untyped-call]
    fresh = nn.Conv2d(matrix.shape[0], layer.out_channels, layer.kernel_size, padding=layer.padding)  # type: ignore[arg-type]
    assert fresh.bias is not None
    assert layer.bias is not None
    weight = torch.einsum("okij,kb->obij", fresh.weight.double(), matrix)
    layer.weight.copy_(weight)
    layer.bias.copy_(fresh.bias.double() - weight.sum((2, 3)) @ torch.cat(means))
