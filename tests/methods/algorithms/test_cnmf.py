"""CNMF against a literal version of itself, on scenes that it can explain, and on inputs that degenerate."""

import numpy as np
import plain_cnmf as plain
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperfuse.errors import InputError
from hyperfuse.methods import get_method
from hyperfuse.methods.algorithms.endmembers import vertex_component_analysis
from hyperfuse.progress import silent
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.presets import mtf, uestc
from hyperfuse.sensor.psf import GaussianPsf
from hyperfuse.sensor.srf.srf import srf_boxes

METHOD = get_method("cnmf")


def scene(seed=0, bands=30, endmembers=4, shape=(32, 40), dtype=torch.float64):
    """Patches of pure materials, softened: spectra (bands, H, W) in a simplex whose vertices are in the image."""
    generator = torch.Generator().manual_seed(seed)
    draw = {"generator": generator, "dtype": torch.float64}
    spectra = torch.rand(bands, endmembers, **draw).cumsum(0) / bands + 0.2 * torch.rand(bands, endmembers, **draw)
    field = torch.nn.functional.interpolate(
        torch.randn(1, endmembers, 5, 6, **draw), shape, mode="bicubic", align_corners=True
    )[0]
    fractions = torch.softmax(8 * field, dim=0)
    return torch.einsum("bk,kij->bij", spectra, fractions).to(dtype)


def fuse(reference, sensor=None, msi_bands=4, progress=silent, **values):
    sensor = sensor or mtf(4, srf_boxes(msi_bands, len(reference)))
    hsi, msi = sensor.degrade(reference), sensor.respond(reference)
    return METHOD(hsi, msi, sensor, METHOD.configure(**values), progress)


def rmse(a, b):
    return float((a - b).square().mean().sqrt())


def dense(linear, shape):
    units = torch.eye(shape[0] * shape[1], dtype=torch.float64).reshape(-1, *shape)
    return linear(units).flatten(1).T.numpy()


@pytest.mark.parametrize(
    "sensor",
    [
        mtf(3, srf_boxes(3, 9)),
        uestc(4, srf_boxes(4, 9)),
        Sensor(ratio=(2.5, 3.2), psf=GaussianPsf(sigma=(1.0, 1.4)), phase=(0.4, 1.1), srf=srf_boxes(2, 9)),
    ],
    ids=["mtf", "uestc", "fraction"],
)
def test_multiplicative_updates_are_those_written_out(sensor):
    reference = scene(3, bands=9, shape=(12, 13))
    reference[2] -= 0.3  # some values below zero
    hsi, msi = sensor.degrade(reference), sensor.respond(reference)
    first = vertex_component_analysis(hsi.clamp(min=0).flatten(1), 4, seed=0)
    expected = plain.cnmf(
        hsi.flatten(1).numpy(),
        msi.flatten(1).numpy(),
        sensor.srf.matrix,
        dense(lambda x: sensor.degrade(x, hsi.shape[1:]), msi.shape[1:]),
        dense(lambda x: sensor.upsample(x, msi.shape[1:], "linear"), hsi.shape[1:]),
        first.tolist(),
        outer=2,
        inner=3,
        sum_to_one=0.05,
    )
    fused = fuse(
        reference,
        sensor,
        endmembers=4,
        outer_iterations=2,
        inner_iterations=3,
        tolerance=0,
        sum_to_one=0.05,
        updates="multiplicative",
    )
    np.testing.assert_allclose(fused.flatten(1).numpy(), expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("updates", ["accelerated", "multiplicative"])
def test_a_scene_of_few_materials_comes_back(updates):
    reference = scene()
    fused = fuse(reference, msi_bands=6, updates=updates, outer_iterations=60, tolerance=1e-4)
    sensor = mtf(4, srf_boxes(6, 30))
    interpolated = sensor.upsample(sensor.degrade(reference), reference.shape[1:])
    assert rmse(fused, reference) < 0.05 * rmse(interpolated, reference)
    assert rmse(sensor.degrade(fused), sensor.degrade(reference)) < 1e-3
    assert rmse(sensor.respond(fused), sensor.respond(reference)) < 1e-3


def test_more_iterations_explain_the_pair_better():
    reference = scene(1)
    sensor = mtf(4, srf_boxes(4, 30))
    misfit = [
        rmse(sensor.degrade(fused), sensor.degrade(reference)) + rmse(sensor.respond(fused), sensor.respond(reference))
        for fused in (fuse(reference, sensor, outer_iterations=n, tolerance=0) for n in (1, 4, 16))
    ]
    assert misfit[0] > 1.5 * misfit[1] > 2 * misfit[2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("values", [{}, {"endmembers": 5}, {"updates": "multiplicative"}, {"sum_to_one": 0}])
def test_a_constant_scene_stays_constant(dtype, values):
    spectrum = torch.linspace(0.1, 0.9, 12, dtype=dtype)[:, None, None]
    reference = spectrum.expand(12, 17, 23).contiguous()
    fused = fuse(reference, msi_bands=3, **values)
    torch.testing.assert_close(fused, reference, rtol=20 * torch.finfo(dtype).eps, atol=0)


def test_one_band_takes_the_detail_of_the_msi():
    reference = scene(bands=1)
    assert rmse(fuse(reference, msi_bands=1), reference) < 0.05 * rmse(
        torch.full_like(reference, float(reference.mean())), reference
    )


@pytest.mark.parametrize("shape", [(17, 23), (4, 4), (8, 5)], ids=["odd", "one LR pixel", "two LR pixels"])
def test_sizes_down_to_fewer_lr_pixels_than_endmembers(shape):
    reference = scene(shape=shape)
    for endmembers in (None, 10):
        fused = fuse(reference, endmembers=endmembers)
        assert fused.shape == reference.shape
        assert rmse(fused, reference) < 0.6 * float(reference.square().mean().sqrt())


def test_a_dead_band_stays_dead_and_changes_nothing_else_much():
    reference = scene(2)
    whole = fuse(reference)
    reference[11] = 0.0
    fused = fuse(reference)
    assert float(fused[11].abs().max()) == 0.0
    others = [band for band in range(30) if band != 11]
    assert rmse(fused[others], whole[others]) < 0.02


def test_negative_values_are_read_as_zero():
    reference = scene(4) - 0.15
    sensor = mtf(4, srf_boxes(4, 30))
    hsi, msi = sensor.degrade(reference), sensor.respond(reference)
    assert float(hsi.min()) < 0 > float(msi.min())
    fused = METHOD(hsi, msi, sensor)
    assert float(fused.min()) >= 0
    assert torch.equal(fused, METHOD(hsi.clamp(min=0), msi.clamp(min=0), sensor))
    assert float(METHOD(-hsi.abs(), msi, sensor).abs().max()) == 0.0


def test_inputs_are_left_as_they_were():
    sensor = mtf(4, srf_boxes(4, 30))
    hsi, msi = sensor.degrade(scene()), sensor.respond(scene())
    copies = hsi.clone(), msi.clone()
    METHOD(hsi, msi, sensor)
    assert torch.equal(hsi, copies[0])
    assert torch.equal(msi, copies[1])


def test_the_seed_decides_and_nothing_else():
    reference = scene(5) + 0.02 * torch.rand(30, 32, 40, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first = fuse(reference, endmembers=8, seed=1)
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first, fuse(reference, endmembers=8, seed=1))
    assert not torch.equal(first, fuse(reference, endmembers=8, seed=2))


def test_float32_follows_float64():
    double = fuse(scene(), outer_iterations=5)
    single = fuse(scene(dtype=torch.float32), outer_iterations=5)
    assert single.dtype == torch.float32
    assert double.dtype == torch.float64
    assert rmse(single, double) < 1e-4


@given(exponent=st.integers(-60, 60))
@settings(max_examples=20, deadline=None)
def test_units_do_not_matter(exponent):
    reference = scene(bands=12, shape=(16, 16), dtype=torch.float32)
    factor = 2.0**exponent  # exact in binary, so that rounding is the same
    scaled = fuse(reference * factor, outer_iterations=3) / factor
    torch.testing.assert_close(scaled, fuse(reference, outer_iterations=3), rtol=0, atol=1e-5)


def test_progress_rises_from_0_to_1_and_the_message_states_an_early_end():
    calls = []
    fuse(scene(), progress=lambda fraction, message="": calls.append((fraction, message)), tolerance=0.5)
    fractions = [fraction for fraction, _ in calls]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert calls[-1][1] == f"fused after {sum('alternation ' in m for _, m in calls)} alternations"
    assert 2 <= sum(message.startswith("alternation") for _, message in calls) < 20


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"endmembers": 0}, "method 'cnmf': endmembers: "),
        ({"inner_iterations": 0}, "method 'cnmf': inner_iterations: "),
        ({"outer_iterations": 0}, "method 'cnmf': outer_iterations: "),
        ({"tolerance": 1.0}, "method 'cnmf': tolerance: "),
        ({"sum_to_one": -1}, "method 'cnmf': sum_to_one: "),
        ({"updates": "hals"}, "method 'cnmf': updates: "),
        ({"endmember": 3}, "did you mean 'endmembers'"),
    ],
)
def test_wrong_settings_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        METHOD.configure(**values)


def test_the_responses_of_the_msi_are_needed():
    reference = scene()
    sensor = mtf(4, srf_boxes(4, 30))
    with pytest.raises(InputError, match="needs the spectral responses"):
        METHOD(sensor.degrade(reference), sensor.respond(reference), sensor.replace(srf=None))
