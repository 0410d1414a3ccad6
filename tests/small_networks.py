"""Networks of a size for tests, by name: any number of bands, ratio 4."""

import pytest
import torch

from hyperfuse.networks import create_network, list_networks

FEINFN = ["feinfn", "feinfn-release"]
COMPARED = [name for name in list_networks() if name not in FEINFN]
# Millions of weights: seconds for a test, where many tests run over all networks.
LARGE = {"3dt-net", "bdt", "dhif", "dspnet", "mimo-sst", "mog-dcn"}
NETWORKS = [*FEINFN, *(pytest.param(n, marks=[pytest.mark.slow] if n in LARGE else []) for n in COMPARED)]
# What makes a network small, or lets it have any number of bands; ratio 4 is the default of all that have one.
SMALL = {
    **{name: {"width": 8, "encoder_blocks": 1, "hidden": (12, 8), "decoder_width": 10} for name in FEINFN},
    "ssrnet": {"variant": "uestc"},
    "dspnet": {"variant": "uestc"},
}


def small_network(name, hsi_bands=5, msi_bands=2, **options):
    """A network with weights that are always the same."""
    torch.manual_seed(0)
    return create_network(name, hsi_bands=hsi_bands, msi_bands=msi_bands, **SMALL.get(name, {}), **options)
