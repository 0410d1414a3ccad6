"""GSA against its equations written out band by band, and what its settings and groups do."""

import numpy as np
import plain_gsa
import pytest
import torch

from hyperfuse.errors import InputError
from hyperfuse.methods import get_method
from hyperfuse.sensor.psf import BoxPsf
from hyperfuse.sensor.srf.srf import Srf

gsa = get_method("gsa")


def oracle(pair, owner, intensity):
    shape = tuple(pair.msi.shape[1:])
    return plain_gsa.gsa(
        pair.hsi.numpy(),
        pair.msi.numpy(),
        owner,
        lambda image: pair.sensor.degrade(torch.as_tensor(image), tuple(pair.hsi.shape[1:])).numpy(),
        lambda image: pair.sensor.upsample(torch.as_tensor(image), shape).numpy(),
        intensity == "all",
    )


def fuse(pair, **settings):
    return gsa(pair.hsi, pair.msi, pair.sensor, gsa.configure(**settings)).numpy()


@pytest.mark.parametrize("intensity", ["all", "group"])
@pytest.mark.parametrize("grouping", ["correlation", "srf"])
@pytest.mark.parametrize(
    "options",
    [
        {"ratio": 4},
        {"ratio": 4, "msi_bands": 1},
        {"ratio": 3, "msi_bands": 4, "psf": BoxPsf(width=(3, 3)), "phase": (0, 2)},
        {"ratio": (2, 3.2), "shape": (40, 64), "boundary": "circular"},
        {"ratio": 2, "bands": 40, "msi_bands": 2},  # more than one block of bands in a group
    ],
)
def test_equations_written_out(make_pair, options, grouping, intensity):
    pair = make_pair(**{"bands": 8, **options}, dtype=torch.float64)
    # Noise of the HSI's own keeps the plain least squares of the oracle well conditioned.
    noise = 0.01 * torch.randn(pair.hsi.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pair.hsi.add_(noise)
    if grouping == "correlation":
        msi_lr = pair.sensor.degrade(pair.msi, tuple(pair.hsi.shape[1:])).numpy()
        owner = plain_gsa.assign_by_correlation(pair.hsi.numpy(), msi_lr)
    else:
        owner = plain_gsa.assign_by_response(pair.sensor.srf.matrix)
    made = fuse(pair, grouping=grouping, intensity=intensity)
    np.testing.assert_allclose(made, oracle(pair, owner, intensity), atol=1e-6)


def test_bands_to_which_no_msi_band_responds_go_by_correlation(make_pair):
    pair = make_pair(bands=6, msi_bands=2, dtype=torch.float64)
    pair.hsi.add_(0.01 * torch.randn(pair.hsi.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))
    # Response 0 only on band 0, response 1 only on band 5, nothing between.
    matrix = np.zeros((2, 6))
    matrix[0, 0] = matrix[1, 5] = 1
    msi_lr = pair.sensor.degrade(pair.msi).numpy()
    owner = plain_gsa.assign_by_correlation(pair.hsi.numpy(), msi_lr)
    owner[0], owner[5] = 0, 1
    made = gsa(pair.hsi, pair.msi, pair.sensor.replace(srf=Srf(matrix)), gsa.configure(grouping="srf")).numpy()
    np.testing.assert_allclose(made, oracle(pair, owner, "all"), atol=1e-6)


def test_grouping_by_responses_needs_them(make_pair):
    pair = make_pair()
    with pytest.raises(InputError, match=r"grouping=srf needs the spectral responses.*srf=..."):
        gsa(pair.hsi, pair.msi, pair.sensor.replace(srf=None), gsa.configure(grouping="srf"))


def test_an_msi_that_holds_no_detail_changes_nothing(make_pair):
    # MSI bands that are the expanded HSI bands, seen through a blur that passes the samples as they are, are their own
    # intensities: nothing is left to inject.
    sharp = make_pair(bands=4, dtype=torch.float64)
    sensor = sharp.sensor.replace(psf=BoxPsf(width=(0.01, 0.01)), phase=(2, 2), srf=None)
    msi = sensor.upsample(sharp.hsi, (48, 48))
    torch.testing.assert_close(sensor.degrade(msi), sharp.hsi)
    made = gsa(sharp.hsi, msi, sensor)
    torch.testing.assert_close(made, msi, atol=1e-4, rtol=0)  # what the fit's ridge leaves


def test_all_bands_follow_the_response_better_than_the_group(make_pair):
    # A response spread over all bands is not made up by the few bands of a group; what is missing becomes an error.
    pair = make_pair(bands=16, msi_bands=3)
    errors = {
        name: float((torch.as_tensor(fuse(pair, intensity=name)) - pair.reference).square().mean())
        for name in ("all", "group")
    }
    assert errors["all"] <= errors["group"]
