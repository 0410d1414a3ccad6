"""The network that a training run starts from: fresh, with a zero output layer, whitened, or with given weights."""

from __future__ import annotations

import torch
from torch import nn

from hyperfuse.errors import InputError
from hyperfuse.networks.base import FusionNetwork
from hyperfuse.networks.feinfn import FeINFN
from hyperfuse.networks.pretrained import from_pretrained
from hyperfuse.networks.registry import create_network
from hyperfuse.sensor.srf.srf import Srf
from hyperfuse.training.configuration import TrainingConfig
from hyperfuse.training.data import TrainingData
from hyperfuse.training.scene_store import SceneStore

_COMPONENTS = 8
_PIXELS = 65536  # of each scene, evenly spread


def initial_network(config: TrainingConfig, data: TrainingData) -> FusionNetwork:
    """Create the network that a configuration states, on the CPU; fresh weights are drawn from torch's generator.

    Raises:
        InputError: options or weights that do not fit, or data without spectral responses to whiten by.
    """
    section = config.network
    network = create_network(section.name, hsi_bands=data.hsi_bands, msi_bands=data.msi_bands, **section.options)
    if section.intermediate and type(network).intermediate is FusionNetwork.intermediate:
        raise InputError(
            f"{network.name} has no intermediate outputs that a loss is taken of: network.intermediate=false"
        )
    if section.whitened_input:
        if data.srf is None:
            raise InputError("network.whitened_input needs scenes; stored pairs do not state the MSI's responses")
        whiten_first_layers(network, data.store, data.srf, guidance=config.base is not None and config.base.guidance)
    if section.zero_output:
        network.zero_output_layer()
    if section.weights is not None:
        given = from_pretrained(section.weights)
        try:
            network.load_state_dict(given.state_dict())
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise InputError(f"{section.weights}: does not fit the network that is configured ({reason})") from None
    return network


def whiten_first_layers(network: FusionNetwork, store: SceneStore, srf: Srf, guidance: bool) -> None:
    """Draw the first layers again, over leading principal components of unit variance in place of bands.

    Spectra of a scene differ mostly in brightness; what distinguishes materials has a hundredth of its variance, to
    which fresh weights over bands hardly respond. A data-dependent initialisation (Mishkin and Matas, 2016); mean and
    components are those of the training scenes. ``guidance``: the image of a base is among the bands of the MSI.

    Raises:
        InputError: another network than FeINFN.
    """
    if not isinstance(network, FeINFN):
        raise InputError(f"network.whitened_input is for feinfn, not {network.name}")
    samples = []
    for name in store.names:
        spectra = store.load(name).flatten(1).double()
        samples.append(spectra[:, :: max(1, spectra.shape[1] // _PIXELS)])
    hsi = torch.cat(samples, 1)
    msi = torch.as_tensor(srf.matrix, dtype=torch.float64) @ hsi
    hsi_whitening, msi_whitening = _whitening(hsi), _whitening(msi)
    _redraw(network.spectral_encoder.head, [hsi_whitening])
    _redraw(network.spatial_encoder.head, [msi_whitening, hsi_whitening, *([hsi_whitening] if guidance else [])])


def _whitening(spectra: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
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
