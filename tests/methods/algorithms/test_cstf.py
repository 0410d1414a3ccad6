"""CSTF: exact where data are exact, sensors of every kind, its record, its time."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from hyperfuse.errors import InputError
from hyperfuse.methods import PairTensors, get_method
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import BoxPsf, GaussianPsf, KernelPsf
from scenes import gaussian_responses, patches_of_materials

METHOD = get_method("cstf")


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def psnr(found, truth):
    return float(-10 * ((found - truth).square().mean() / truth.max() ** 2).log10())


def exact_pair(**options):
    """An image of known ranks that the sizes of the pair determine: 24 x 24 x 8, ratio 3, ranks 5, 5, 3."""
    core, rows, cols, bands = random(3, 5, 5), random(24, 5, seed=1), random(24, 5, seed=2), random(8, 3, seed=3)
    image = torch.einsum("cab,ra,sb,lc->lrs", core, rows, cols, bands)
    image /= image.max()
    sensor = Sensor(**{"ratio": (3, 3), "psf": BoxPsf(width=(3, 3)), "srf": gaussian_responses(3, 8), **options})
    return PairTensors(sensor.degrade(image), sensor.respond(image), sensor), image


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"boundary": "circular", "phase": (0.0, 2.0)},
        {"psf": GaussianPsf(sigma=(1.5, 0.7)), "phase": (0.4, 1.7)},
        {"ratio": (3.3, 2)},
    ],
)
def test_an_image_of_low_ranks_is_recovered(options):
    pair, image = exact_pair(**options)
    sizes = {"row_atoms": 5, "col_atoms": 5, "band_atoms": 3}
    # With the weights of the authors, then with next to none and many iterations.
    assert psnr(METHOD.fuse(pair, sizes).image, image) > 60
    many = {"sparsity": 0.0, "proximity": 1e-9, "splitting": 1e-4, "sweeps": 60, "core_iterations": 200}
    assert psnr(METHOD.fuse(pair, {**sizes, **many}).image, image) > 100


def test_the_objective_falls_and_is_recorded():
    reference = torch.as_tensor(patches_of_materials(10, 40, 44)).double()
    sensor = Sensor(ratio=(4, 4), psf=GaussianPsf(sigma=(1.5, 1.5)), srf=gaussian_responses(3, 10))
    pair = PairTensors(sensor.degrade(reference), sensor.respond(reference), sensor)
    details = METHOD.fuse(pair, {"sweeps": 6, "core_iterations": 500}).details
    objective = details["objective"]
    assert len(objective) == 7
    assert all(after <= before * (1 + 1e-6) for before, after in pairwise(objective))
    assert objective[-1] < objective[0]
    assert details["iterations"] == 6
    assert details["end"] == "iterations"
    assert len(details["atoms"]) == 3
    assert max(details["core_residual"]) < 1e-2
    early = METHOD.fuse(pair, {"sweeps": 50, "tolerance": 0.02}).details
    assert early["end"] == "converged"
    assert early["change"][-1] < 0.02 <= early["change"][-2]
    assert early["iterations"] < 50


def test_from_the_last_core_the_objective_falls_further_than_from_zero():
    """The authors start from zero: 60 iterations lose what the pair does not determine."""
    reference = torch.as_tensor(patches_of_materials(10, 40, 40)).double()
    sensor = Sensor(ratio=(4, 4), psf=GaussianPsf(sigma=(2, 2)), srf=gaussian_responses(3, 10))
    pair = PairTensors(sensor.degrade(reference), sensor.respond(reference), sensor)
    warm, cold = (METHOD.fuse(pair, {"warm_start": one}) for one in (True, False))
    assert warm.details["objective"][-1] < cold.details["objective"][-1]
    assert warm.details["objective"] == sorted(warm.details["objective"], reverse=True)


def test_atoms_hold_the_msi_to_its_noise():
    reference = torch.as_tensor(patches_of_materials(10, 40, 40)).double()
    sensor = Sensor(ratio=(4, 4), psf=GaussianPsf(sigma=(2, 2)), srf=gaussian_responses(3, 10))
    pair = PairTensors(sensor.degrade(reference), sensor.respond(reference), sensor)
    peak = float(pair.hsi.max())
    rows, cols, _ = METHOD.fuse(pair, {"sweeps": 1, "core_iterations": 5}).details["atoms"]
    for axis, count in ((1, rows), (2, cols)):
        squares = torch.linalg.svdvals(pair.msi.movedim(axis, 0).flatten(1)).square()
        assert float((squares[count:].sum() / pair.msi.numel()).sqrt()) <= 1e-3 * peak
        assert count >= 21
    smooth = sensor.upsample(pair.hsi[:3], (40, 40))
    assert METHOD.fuse(pair._replace(msi=smooth), {"sweeps": 1}).details["atoms"][:2] == [21, 21]


def test_the_time_is_kept_and_what_was_reached_is_given():
    pair, image = exact_pair()
    outcome = METHOD.fuse(pair, {"budget_seconds": 1e-3, "sweeps": 1000})
    assert outcome.details["end"] == "budget"
    assert outcome.details["iterations"] <= 1
    assert psnr(outcome.image, image) > 15


def test_a_psf_that_is_not_separable():
    near = KernelPsf(weights=((1.0, 2.0, 1.0), (2.0, 4.4, 2.0), (1.0, 2.0, 1.0)))
    pair, image = exact_pair(psf=near)
    assert psnr(METHOD.fuse(pair).image, image) > 25
    notes = METHOD.capabilities.notes(pair.sensor, METHOD.configure())
    kernel = np.array(near.weights)
    values = np.linalg.svd(kernel)[1]
    assert notes == (
        f"cstf needs a separable PSF: the nearest one is used, which differs by "
        f"{np.sqrt(1 - (values[0] ** 2) / (values**2).sum()):.1%} of the PSF's norm",
    )
    assert METHOD.capabilities.notes(exact_pair()[0].sensor, METHOD.configure()) == ()
    outer = KernelPsf(weights=tuple(map(tuple, np.outer([1.0, 2, 1], [1.0, 5, 1]))))
    assert METHOD.capabilities.notes(exact_pair(psf=outer)[0].sensor, METHOD.configure()) == ()

    diagonal = KernelPsf(weights=tuple(map(tuple, np.eye(5))))
    with pytest.raises(InputError, match="cstf needs a separable PSF, and the nearest one differs by 89%") as error:
        METHOD.fuse(exact_pair(psf=diagonal)[0])
    assert error.value.parameter == "psf"
