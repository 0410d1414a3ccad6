"""IR-TenSR: equal to its equations written out, its passes, its sensors and its time."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from hyperfuse.errors import InputError
from hyperfuse.methods import PairTensors, get_method
from hyperfuse.methods.tensor.subspace import leading_basis, slices_of
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import BoxPsf, GaussianPsf, KernelPsf
from hyperfuse.sensor.srf.srf import Srf
from reference.plain_ir_tensr import PlainIrTensr
from scenes import gaussian_responses, patches_of_materials

METHOD = get_method("ir-tensr")
# Weights by which every step changes the image; the authors' leave the patches nearly as they are.
STRONG = {"sparsity": 2e-3, "coupling": 0.03, "proximity": 0.01, "splitting": 0.3, "tolerance": 0.0}
SENSORS = {
    "box at a corner": {"ratio": (3, 3), "psf": BoxPsf(width=(3, 3)), "phase": (0.0, 0.0)},
    "ratio 2 and 3": {"ratio": (2, 3), "psf": GaussianPsf(sigma=(0.8, 1.1))},
    "lopsided": {"ratio": (3, 3), "psf": KernelPsf(weights=((0, 1, 2), (1, 6, 3), (0, 2, 3)))},
}


def make(shape=(12, 12), bands=6, msi_bands=3, noise=0.0, **options):
    image = torch.as_tensor(patches_of_materials(bands, *shape)).double()
    image /= image.max()
    srf = options.pop("srf", None) or gaussian_responses(msi_bands, bands)
    sensor = Sensor(
        **{"ratio": (3, 3), "psf": GaussianPsf(sigma=(1.0, 1.0)), "boundary": "circular", **options}, srf=srf
    )
    generator = torch.Generator().manual_seed(0)
    hsi, msi = (
        one + noise * torch.randn(one.shape, generator=generator, dtype=torch.float64)
        for one in (sensor.degrade(image), sensor.respond(image))
    )
    return PairTensors(hsi, msi, sensor), image


def rms(image):
    return float(image.square().mean().sqrt())


def plain_of(pair, settings):
    """The literal version of a pair of 12 x 12 pixels."""
    sensor, fine = pair.sensor, (12, 12)
    assert sensor.srf is not None
    pixels = torch.eye(144, dtype=torch.float64).reshape(144, *fine)
    degrade = sensor.degrade(pixels).reshape(144, -1).T.numpy()

    def upsample(hsi):
        return sensor.upsample(torch.tensor(hsi), fine).numpy()

    def first_basis(hsi):
        # Singular vectors have no phase of their own; the literal version starts from the same ones.
        basis = leading_basis(slices_of(torch.from_numpy(upsample(hsi))), 3)
        return torch.fft.irfft(basis.permute(1, 2, 0), n=12, dim=-1).numpy()

    return PlainIrTensr(degrade, sensor.srf.matrix, upsample, first_basis, settings)


@pytest.mark.parametrize("name", SENSORS)
def test_it_is_the_iteration_of_the_equations(name):
    pair, _ = make(**SENSORS[name])
    settings = METHOD.configure(
        **STRONG, rank=3, clusters=3, patch=4, passes=2, inner_iterations=3, patch_iterations=2, seed=1
    )
    plain = plain_of(pair, settings)
    peak = float(pair.hsi.max())
    expected = peak * plain.run(pair.hsi.numpy() / peak, pair.msi.numpy() / peak)
    found = METHOD.fuse(pair, settings)
    np.testing.assert_allclose(found.image.numpy(), expected, rtol=0, atol=1e-7)
    assert found.details["steps"] == [3, 3]
    # The patches do something: without them the image is another.
    assert rms(METHOD.fuse(pair, {**settings.model_dump(), "sparsity": 0.0}).image - found.image) > 1e-3


def test_without_patches_the_objective_falls_in_every_iteration():
    """Of the literal version, which the method is equal to: each block is a minimum."""
    pair, _ = make(noise=0.02)
    settings = METHOD.configure(**{**STRONG, "sparsity": 0.0}, rank=2, passes=1, inner_iterations=8, patch=4)
    plain = plain_of(pair, settings)
    plain.run(pair.hsi.numpy(), pair.msi.numpy())
    assert len(plain.objectives) == 8
    assert all(after <= before * (1 + 1e-9) for before, after in pairwise(plain.objectives))
    assert plain.objectives[-1] < 0.99 * plain.objectives[0]


def test_passes_explain_ever_more_of_what_is_measured():
    """Also of a noisy pair, of which nothing but the noisy images is read."""
    pair, _ = make((24, 24), noise=0.01)
    details = METHOD.fuse(pair, {**STRONG, "passes": 5, "inner_iterations": 30, "tolerance": 1e-3}).details
    for name in ("hsi_residual", "msi_residual", "change"):
        values = details[name]
        assert len(values) == 5
        assert values == sorted(values, reverse=True), name
    assert details["iterations"] == 5


def test_with_all_bands_in_the_msi_the_residual_falls_in_every_pass():
    srf = Srf(matrix=np.eye(4))
    pair, _ = make((24, 24), bands=4, srf=srf)
    details = METHOD.fuse(pair, {"rank": 4, "passes": 4}).details
    assert details["msi_residual"] == sorted(details["msi_residual"], reverse=True)
    assert details["msi_residual"][-1] < 0.05


@pytest.mark.parametrize(
    "options",
    [
        {"boundary": "reflect"},
        {"boundary": "reflect", "shape": (26, 31)},
        {"phase": (2.0, 0.3)},
        {"psf": KernelPsf(weights=((0, 1, 2), (1, 6, 3), (0, 2, 3))), "boundary": "reflect"},
        {"bands": 3, "msi_bands": 5},
        {"bands": 30, "msi_bands": 1},
    ],
)
def test_it_gains_over_interpolation_with_any_sensor(options):
    pair, image = make(**{"shape": (24, 30), **options})
    fused = METHOD.fuse(pair, {"passes": 2, "inner_iterations": 8}).image
    interpolated = pair.sensor.upsample(pair.hsi, tuple(image.shape[1:]))
    assert rms(fused - image) < 0.8 * rms(interpolated - image)


def test_ratios_that_are_not_whole_are_refused():
    pair, _ = make((24, 24), ratio=(2.5, 2))
    with pytest.raises(InputError, match=r"the method ir-tensr needs whole ratios, and these are 2\.5 and 2"):
        METHOD.fuse(pair)


def test_its_time_is_kept():
    pair, image = make((24, 24))
    outcome = METHOD.fuse(pair, {"budget_seconds": 1e-3, "passes": 1000})
    assert outcome.details["end"] == "budget"
    assert outcome.details["iterations"] == 1
    assert outcome.details["steps"] == [1]
    assert rms(outcome.image - image) < rms(image - image.mean((1, 2), keepdim=True))


def test_an_hsi_of_zeros():
    pair, _ = make()
    outcome = METHOD.fuse(pair._replace(hsi=torch.zeros_like(pair.hsi)))
    assert not bool(outcome.image.any())
