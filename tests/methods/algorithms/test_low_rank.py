"""LTTR and LTMR against literal versions of themselves, on scenes that they recover, and through the package."""

import numpy as np
import plain_low_rank as plain
import pytest
import torch

import hyperfuse as hf
from hyperfuse.methods import PairTensors, get_method
from hyperfuse.methods.algorithms.ltmr import leading_spectra
from hyperfuse.methods.algorithms.lttr import shrink_unfolding, unfolding_fractions
from hyperfuse.methods.tensor.iterations import Iterations
from hyperfuse.methods.tensor.patches import PatchGrid, PatchGroups
from hyperfuse.methods.tensor.shrinkage import log_shrink
from hyperfuse.methods.tensor.splitting import alternate
from hyperfuse.methods.tensor.sylvester import PeriodicSampling, SylvesterSolver
from hyperfuse.methods.tensor.tucker import mix
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import BoxPsf, GaussianPsf, KernelPsf
from hyperfuse.sensor.srf.srf import srf_boxes
from scenes import patches_of_materials

NAMES = ("lttr", "ltmr")
AUTHORS = {"defaults": "authors", "peak": 1.0}
SENSORS = {
    "box": {"ratio": (4, 4), "psf": BoxPsf(width=(4, 4))},
    "lopsided": {
        "ratio": (2, 4),
        "psf": KernelPsf(weights=((0, 1, 2, 0), (1, 6, 3, 1), (0, 2, 3, 0))),
        "phase": (1.0, 0.0),
    },
    "between pixels": {"ratio": (4, 4), "psf": GaussianPsf(sigma=(1.3, 0.9)), "phase": (0.3, 2.6)},
}


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def shrinking(weight):
    return lambda fraction, *_: lambda values: log_shrink(values, fraction * weight)


def make_pair(sensor="box", shape=(16, 16), bands=5, msi_bands=3):
    reference = torch.as_tensor(patches_of_materials(bands, *shape, seed=1), dtype=torch.float64)
    model = Sensor(**SENSORS[sensor], srf=srf_boxes(msi_bands, bands), boundary="circular")
    return PairTensors(model.degrade(reference), model.respond(reference), model), reference


def plain_arguments(pair, side, step, groups):
    """The pair as the literal versions take it; groups as the method forms them."""
    shape = tuple(pair.msi.shape[1:])
    pixels = torch.eye(shape[0] * shape[1], dtype=torch.float64).reshape(-1, *shape)
    starts = [sorted({*range(0, size - side + 1, step), size - side}) for size in shape]
    first = [(y, x) for y in starts[0] for x in starts[1]]
    grid = PatchGrid(shape, side, step, column_major=side == 7)
    members = PatchGroups.similar(pair.msi, grid, groups).members
    assert len(members) == groups
    return (
        pair.hsi.flatten(1).T.numpy(),
        pair.msi.permute(1, 2, 0).numpy(),
        pair.sensor.srf.matrix,
        pair.sensor.degrade(pixels).flatten(1).T.numpy(),
        pair.sensor.upsample(pair.hsi, shape).permute(1, 2, 0).numpy(),
        [[first[number] for number in one.tolist()] for one in members],
    )


@pytest.mark.parametrize("sensor", SENSORS)
@pytest.mark.parametrize("weight", [1e-3, 3e-2])
def test_lttr_is_that_written_out(sensor, weight):
    pair, reference = make_pair(sensor)
    expected = plain.lttr(*plain_arguments(pair, 8, 4, 2), weight=weight, penalty=1e-2, iterations=3)
    values = {"weight": weight, "penalty": 1e-2, "iterations": 3, "groups": 2, "precision": "double"} | AUTHORS
    fused = get_method("lttr")(*pair[:3], values)
    np.testing.assert_allclose(fused.permute(1, 2, 0).numpy(), expected, rtol=0, atol=1e-9)
    assert np.abs(expected - reference.permute(1, 2, 0).numpy()).max() > 1e-3  # the prior and the blur left something
    single = get_method("lttr")(*pair[:3], values | {"precision": "single"})
    torch.testing.assert_close(single, fused, rtol=0, atol=1e-4)


@pytest.mark.parametrize("sensor", SENSORS)
@pytest.mark.parametrize("weight", [1e-4, 3e-3])
def test_ltmr_is_that_written_out(sensor, weight):
    pair, _ = make_pair(sensor)
    arguments = plain_arguments(pair, 7, 3, 2)
    basis = np.linalg.svd(arguments[0].T, full_matrices=False)[0][:, :3]
    expected = plain.ltmr(*arguments, basis=basis, weight=weight, penalty=1e-2, iterations=3)
    values = {"weight": weight, "penalty": 1e-2, "iterations": 3, "groups": 2, "precision": "double"} | AUTHORS
    fused = get_method("ltmr")(*pair[:3], values | {"components": 3})
    np.testing.assert_allclose(fused.permute(1, 2, 0).numpy(), expected, rtol=0, atol=1e-9)
    single = get_method("ltmr")(*pair[:3], values | {"components": 3, "precision": "single"})
    torch.testing.assert_close(single, fused, rtol=0, atol=1e-4)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_ranks_of_unfoldings_are_those_of_the_train(number):
    """Of cores of the ranks 2, 3 and 4; what is shrunk by nothing stays."""
    cores = random(1, 8, 2), random(2, 8, 3, seed=1), random(3, 5, 4, seed=2), random(4, 20, seed=3)
    tensor = torch.einsum("aib,bjc,ckd,dn->ijkn", *cores)
    patches = tensor.permute(3, 2, 0, 1).flatten(2)
    torch.testing.assert_close(shrink_unfolding(patches, number, shrinking(0.0)), patches, rtol=0, atol=1e-9)
    rows = 8 ** min(number, 2) * (5 if number == 3 else 1)
    assert torch.linalg.matrix_rank(tensor.reshape(rows, -1), rtol=1e-10) == number + 1
    # Only the largest singular value remains.
    values = torch.linalg.svdvals(tensor.reshape(rows, -1))
    fraction = unfolding_fractions(20, 5, 64)[number - 1]
    weight = float(values[1] + 1e-6) ** 2 / 4 / fraction
    found = (
        shrink_unfolding(patches, number, shrinking(weight)).unflatten(2, (8, 8)).permute(2, 3, 1, 0).reshape(rows, -1)
    )
    expected = log_shrink(values[:1], weight * fraction)
    torch.testing.assert_close(torch.linalg.svdvals(found)[:1], expected, rtol=1e-9, atol=1e-9)
    assert float(torch.linalg.svdvals(found)[1]) < 1e-6


def test_weights_of_unfoldings_follow_their_smaller_sides():
    roots = torch.tensor([8.0, 64.0, 100.0], dtype=torch.float64).sqrt()
    assert unfolding_fractions(100, 31, 64) == pytest.approx((roots / roots.sum()).tolist())
    total = 8**0.5 + 3**0.5 + 1
    assert unfolding_fractions(1, 3, 64) == pytest.approx([8**0.5 / total, 3**0.5 / total, 1 / total])
    assert sum(unfolding_fractions(1, 1, 1)) == pytest.approx(1.0)


def test_a_scene_of_as_many_components_as_msi_bands_comes_back():
    spectra, amounts = random(12, 3), random(3, 16, 16, seed=1)
    reference = torch.einsum("lp,pij->lij", spectra, amounts)
    sensor = Sensor(ratio=(4, 4), psf=BoxPsf(width=(4, 4)), srf=srf_boxes(4, 12), boundary="circular")
    pair = PairTensors(sensor.degrade(reference), sensor.respond(reference), sensor)
    values = {"weight": 0.0, "components": 3, "iterations": 25, "penalty": 1e-6, "precision": "double"}
    found = get_method("ltmr").fuse(pair, values)
    assert float((found.image - reference).abs().max()) < 1e-10
    assert found.details["change"][-1] < 1e-12
    assert max(found.details["hsi_misfit"], found.details["msi_misfit"]) < 1e-12


def test_without_a_weight_the_image_stays_at_the_truth():
    pair, reference = make_pair("lopsided")
    sampling = PeriodicSampling.of(pair.sensor, (16, 16))
    response = torch.as_tensor(pair.sensor.srf.matrix)
    solver = SylvesterSolver(response.T @ response + 3e-3 * torch.eye(5, dtype=torch.float64), sampling)
    groups = PatchGroups.similar(pair.msi, PatchGrid((16, 16), 8, 4), 2)
    priors = [lambda x, t=t: groups.map(x, lambda one: shrink_unfolding(one, t, shrinking(0.0))) for t in (1, 2, 3)]
    data = mix(response.T, pair.msi) + sampling.adjoint(pair.hsi)
    found = alternate(solver, data, reference, priors, 1e-3, Iterations(5))
    torch.testing.assert_close(found, reference, rtol=0, atol=1e-10)


def test_components_are_no_more_than_there_are():
    spectra = torch.einsum("lp,pij->lij", random(12, 3), random(3, 6, 6, seed=1))
    basis = leading_spectra(spectra, 10)
    assert basis.shape == (12, 3)
    torch.testing.assert_close(basis @ (basis.T @ spectra.flatten(1)), spectra.flatten(1))
    torch.testing.assert_close(basis.T @ basis, torch.eye(3, dtype=torch.float64))
    assert leading_spectra(torch.zeros(4, 3, 3, dtype=torch.float64), 2).shape == (4, 1)


@pytest.mark.parametrize("name", NAMES)
def test_iterations_converge_and_are_recorded(name):
    pair, _ = make_pair(shape=(24, 24))
    found = get_method(name).fuse(pair, {"iterations": 60, "precision": "double", "penalty": 0.05})
    details = found.details
    assert (details["iterations"], details["end"]) == (60, "iterations")
    assert len(details["change"]) == len(details["split"]) == 40
    assert details["change"][-1] < 0.5 * details["change"][1]
    early = get_method(name).fuse(pair, {"tolerance": details["change"][5], "precision": "double", "penalty": 0.05})
    assert early.details["end"] == "converged"
    assert early.details["iterations"] < 20


@pytest.mark.parametrize("name", NAMES)
def test_a_budget_ends_with_what_there_is(name):
    pair, reference = make_pair(shape=(32, 32))
    found = get_method(name).fuse(pair, {"budget_seconds": 1e-3})
    assert (found.details["iterations"], found.details["end"]) == (1, "budget")
    interpolated = pair.sensor.upsample(pair.hsi, (32, 32))
    assert float((found.image - reference).norm()) < 0.5 * float((interpolated - reference).norm())


@pytest.mark.parametrize("name", NAMES)
def test_defaults_scale_or_are_the_authors(name):
    pair, _ = make_pair(shape=(40, 40))
    method = get_method(name)
    scaled, authors = (method.fuse(pair, {"iterations": 1, "defaults": one}).details for one in ("scaled", "authors"))
    assert (scaled["groups"], scaled["peak"]) == (1, pytest.approx(float(pair.hsi.max()), rel=1e-5))
    assert (authors["weight"], authors["peak"]) == ({"lttr": 0.01, "ltmr": 0.001}[name], 1.0)
    assert authors["groups"] > 50  # as many as there are different patches
    both = method.fuse(pair, {"iterations": 1, "defaults": "authors", "groups": 2, "weight": 0.5, "peak": 2.0}).details
    assert (both["groups"], both["weight"], both["peak"]) == (2, 0.5, 2.0)
    assert method.fuse(pair, {"iterations": 1, "groups": 1, "largest_group": 20}).details["patches_per_group"][-1] <= 20


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("lttr", {"iterations": 0}, "method 'lttr': iterations: "),
        ("lttr", {"penalty": 0}, "method 'lttr': penalty: "),
        ("lttr", {"weight": -1}, "method 'lttr': weight: "),
        ("lttr", {"components": 3}, "method 'lttr': no setting 'components'"),
        ("ltmr", {"components": 0}, "method 'ltmr': components: "),
        ("ltmr", {"defaults": "cave"}, "method 'ltmr': defaults: "),
    ],
)
def test_wrong_settings_are_refused(name, values, message):
    with pytest.raises(hf.InputError, match=message):
        get_method(name).configure(**values)
