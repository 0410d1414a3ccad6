"""MTF-GLP-HS against its equations written out band by band."""

import numpy as np
import plain_mtf_glp_hs as plain
import pytest
import torch

from hyperfuse.methods import get_method
from hyperfuse.sensor.psf import BoxPsf, KernelPsf

method = get_method("mtf-glp-hs")
DETAIL = {"synthesis": plain.synthesis, "best-band": plain.best_band}


def fuse(pair, **settings):
    return method(pair.hsi, pair.msi, pair.sensor, method.configure(**settings))


@pytest.mark.parametrize("detail", ["synthesis", "best-band"])
@pytest.mark.parametrize(
    "options",
    [
        {"ratio": 4},
        {"ratio": 4, "msi_bands": 1},
        {"ratio": 3, "msi_bands": 5, "psf": BoxPsf(width=(3, 3)), "phase": (0, 2)},
        {"ratio": 2, "psf": KernelPsf(weights=((0, 1, 2), (1, 5, 0)))},
        {"ratio": (2, 3.2), "shape": (40, 64), "boundary": "circular"},
        {"ratio": 2, "bands": 40, "msi_bands": 3},  # more than one block of bands
    ],
)
def test_equations_written_out(make_pair, options, detail):
    pair = make_pair(**{"bands": 8, **options}, dtype=torch.float64)
    # Noise of the MSI's own keeps the plain least squares of the oracle well conditioned.
    pair.msi.add_(0.01 * torch.randn(pair.msi.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    shape, coarse = tuple(pair.msi.shape[1:]), tuple(pair.hsi.shape[1:])
    expected = plain.mtf_glp_hs(
        pair.hsi.numpy(),
        pair.msi.numpy(),
        lambda image: pair.sensor.degrade(torch.as_tensor(image), coarse).numpy(),
        lambda image: pair.sensor.upsample(torch.as_tensor(image), shape).numpy(),
        DETAIL[detail],
    )
    np.testing.assert_allclose(fuse(pair, detail=detail).numpy(), expected, atol=1e-5)  # the fit has a ridge


def test_a_negative_of_a_band_is_as_good_as_the_band(make_pair):
    pair = make_pair(bands=6, msi_bands=3, dtype=torch.float64)
    for detail in DETAIL:
        made = fuse(pair, detail=detail)
        negative = torch.cat([pair.msi[:1], 1 - 2 * pair.msi[1:]])
        inverted = method(pair.hsi, negative, pair.sensor, method.configure(detail=detail))
        torch.testing.assert_close(inverted, made, atol=1e-7, rtol=0)


def test_a_scene_that_the_msi_determines_is_nearly_restored(make_pair):
    # Every band a fixed combination of the MSI: the details are exact, only the expansion's own error is left.
    pair = make_pair(bands=3, msi_bands=3, dtype=torch.float64)
    made = fuse(pair)
    low = pair.sensor.upsample(pair.sensor.degrade(pair.reference), (48, 48))
    expected = pair.reference + pair.sensor.upsample(pair.hsi, (48, 48)) - low
    torch.testing.assert_close(made, expected, atol=1e-3, rtol=0)
    assert float((made - pair.reference).abs().max()) < 1e-2


def test_a_copied_msi_band_changes_nothing(make_pair):
    pair = make_pair(bands=6, msi_bands=3)
    made = fuse(pair)
    again = method(pair.hsi, torch.cat([pair.msi, pair.msi[:1]]), pair.sensor.replace(srf=None), method.configure())
    torch.testing.assert_close(again, made, atol=1e-4, rtol=0)
