"""A part of the pixels, evaluated alone, is that part of the whole."""

import pytest
import torch

from hyperfuse.networks.feinfn import FeINFN
from hyperfuse.networks.options import FeINFNOptions

OPTIONS = {
    "both": {},
    "spatial": {"domains": "spatial"},
    "frequency": {"domains": "frequency"},
    "liif": {"domains": "spatial", "upsampler": "liif"},
    "bicubic": {"upsampler": "bicubic"},
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("grad", [True, False])
def test_a_part_is_that_part_of_the_whole(pair, name, grad):
    torch.manual_seed(0)
    network = FeINFN(5, 2, FeINFNOptions(width=6, encoder_blocks=1, hidden=(7,), **OPTIONS[name])).double()
    hsi, msi = pair(2, (6, 7), (15, 21), dtype=torch.float64)
    rows, columns = torch.tensor([3, 0, 14, 7]), torch.tensor([20, 1, 2])
    with torch.set_grad_enabled(grad):
        upsampled, spatial, spectral = network.encode(hsi, msi, torch.float64)
        whole = network.fuse_latents(torch.zeros_like(upsampled), spatial, spectral)
        part = network.detail_at(spatial, spectral, rows, columns)
    torch.testing.assert_close(part, whole[:, :, rows][:, :, :, columns])
