import pytest
import torch


@pytest.fixture
def pair():
    """A function that makes a random pair in [0, 1]."""

    def make(batch, hsi_size, msi_size, hsi_bands=5, msi_bands=2, dtype=torch.float32, seed=0):
        generator = torch.Generator().manual_seed(seed)
        hsi = torch.rand(batch, hsi_bands, *hsi_size, generator=generator, dtype=torch.float64)
        msi = torch.rand(batch, msi_bands, *msi_size, generator=generator, dtype=torch.float64)
        return hsi.to(dtype), msi.to(dtype)

    return make
