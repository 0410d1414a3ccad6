"""Displacement fields recovered from pairs, and none where there is none, or no evidence of one."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hyperfuse.sensor.displacement import Displacement
from hyperfuse.sensor.estimation.sampling import PairPart
from hyperfuse.sensor.presets import mtf
from hyperfuse.sensor.registration.coarse import search_shift
from hyperfuse.sensor.registration.components import PairComponents
from hyperfuse.sensor.registration.evidence import HeldOut
from hyperfuse.sensor.registration.register import register
from hyperfuse.sensor.registration.result import Registration
from hyperfuse.sensor.registration.splines import Field
from hyperfuse.sensor.srf.srf import srf_boxes
from scenes import fractions, mixture, power_law_fields

LR = (40, 44)
RATIO = 3
ROWS, COLS = np.arange(40.0), np.arange(44.0)


def image(seed=0, bands=16, rows=120, cols=132):
    fields = power_law_fields(np.random.default_rng(seed), 4, rows, cols, 1.4)
    waves = np.linspace(0, 1, bands)
    spectra = np.stack([0.4 + 0.3 * np.sin(5 * waves + 2 * k) for k in range(4)])
    return torch.from_numpy(mixture(spectra, fractions(fields, 1.0)))


def smooth(largest, seed=0):
    """A displacement in HR pixels with control points every 20 LR pixels."""
    values = np.random.default_rng(seed).normal(size=(2, 6, 6))
    field = Displacement(values, (20.0, 20.0), (-20.0, -20.0))
    return Displacement(values * largest * RATIO / field.largest(LR), field.spacing, field.origin)


def pair(displacement=None, snr_db=None, shift=(0.0, 0.0), seed=0):
    """A pair of which the HSI was sampled at displaced positions; the sensor that states the regular ones."""
    sensor = mtf(RATIO, srf_boxes(4, 16))
    y, x = sensor.offset
    true = sensor.replace(displacement=displacement, phase=(y + shift[0], x + shift[1]))
    scene = image(seed)
    hsi, msi = true.degrade(scene, LR), sensor.respond(scene)
    if snr_db is not None:
        generator = torch.Generator().manual_seed(seed)
        hsi, msi = (
            one
            + (one.square().mean((1, 2), keepdim=True) * 10 ** (-snr_db / 10)).sqrt()
            * torch.randn(one.shape, dtype=one.dtype, generator=generator)
            for one in (hsi, msi)
        )
    return PairPart(hsi.float(), msi.float(), sensor)


def found(part, reach=8.0):
    return register(PairComponents.of(part), reach)


def errors(result, displacement):
    """Distances of the positions found from the true ones, in LR pixels, where the true ones lie on the MSI."""
    off = result.field.at(ROWS, COLS) - displacement.at(ROWS, COLS) / RATIO
    return np.hypot(*off)[4:-4, 4:-4]


@pytest.mark.parametrize(("largest", "snr_db", "most"), [(1.0, None, 0.02), (2.0, None, 0.03), (1.0, 30, 0.06)])
def test_a_smooth_field_is_found(largest, snr_db, most):
    displacement = smooth(largest)
    result = found(pair(displacement, snr_db))
    assert result.accepted, result.doubt
    assert result.model == "field"
    off = errors(result, displacement)
    assert np.sqrt(np.square(off).mean()) < most
    assert result.explained_after > result.explained_before + 0.1
    assert np.median(result.errors_after) < 0.1
    text = result.note((3.0, 3.0), 30.0)
    assert "smooth field" in text
    assert " m)" in text or " m," in text


def test_clouds_and_another_date_cost_little():
    displacement = smooth(1.0)
    part = pair(displacement, 30)
    msi = part.msi * torch.tensor([1.2, 0.8, 1.1, 0.7])[:, None, None] + 0.05
    msi[:, 20:50, 60:100] = 2.0
    off = errors(found(replace(part, msi=msi)), displacement)
    seen = np.ones(LR, np.bool_)
    seen[5:18, 19:35] = False  # under the cloud, which covers a tenth, the field is interpolated
    assert np.quantile(off[seen[4:-4, 4:-4]], 0.95) < 0.1
    assert np.quantile(off, 0.9) < 0.2


@pytest.mark.parametrize("snr_db", [None, 30])
def test_no_field_is_invented(snr_db):
    result = found(pair(None, snr_db))
    assert not result.doubt
    assert result.model == "none"
    assert result.displacement((3.0, 3.0)) is None


def test_a_shift_needs_no_field():
    result = found(pair(None, 40, shift=(7.4, -5.2)))
    assert result.model == "shift"
    assert result.displacement((3.0, 3.0)) is None
    np.testing.assert_allclose(np.multiply(result.shift, RATIO), (7.4, -5.2), atol=0.1)


def test_a_rotation_is_an_affine_displacement():
    y, x = ROWS - 19.5, COLS - 21.5
    turned = np.stack(np.meshgrid(y, x, indexing="ij"))
    values = RATIO * 0.02 * np.stack([-turned[1], turned[0]])
    grid = Displacement(np.zeros((2, 5, 5)), (19.5, 21.5), (-19.5, -21.5))
    corners = np.stack(np.meshgrid(np.arange(5) * 19.5 - 39.0, np.arange(5) * 21.5 - 43.0, indexing="ij"))
    rotation = Displacement(RATIO * 0.02 * np.stack([-corners[1], corners[0]]), grid.spacing, grid.origin)
    np.testing.assert_allclose(rotation.at(ROWS, COLS), values, atol=1e-9)
    result = found(pair(rotation, 40))
    assert result.model == "affine"
    assert errors(result, rotation).max() < 0.05


@pytest.mark.parametrize("control", ["mirrored", "elsewhere", "noise", "too small"])
def test_what_does_not_belong_together_is_not_accepted(control):
    part = pair(smooth(1.0))
    msi = {
        "mirrored": part.msi.flip(2),
        "elsewhere": pair(seed=5).msi,
        "noise": torch.rand(part.msi.shape, generator=torch.Generator().manual_seed(0)),
        "too small": part.msi,
    }[control]
    part = replace(part, msi=msi)
    if control == "too small":
        part = replace(part, hsi=part.hsi[:, :9, :9], msi=msi[:, :27, :27])
    result = found(part)
    assert result.doubt
    assert result.displacement((3.0, 3.0)) is None
    assert result.note((3.0, 3.0), None).startswith("no displacement field is taken from the pair: ")


def test_one_shift_is_found_far_off_with_gaps():
    part = pair(None, 30, shift=(24.0, -21.0))
    valid = torch.ones(part.msi.shape[1:], dtype=torch.bool)
    valid[:30, :40] = False
    coarse = search_shift(PairComponents.of(replace(part, msi_valid=valid)).images(), 10.0)
    assert coarse is not None
    assert coarse.accepted, coarse.doubt
    np.testing.assert_allclose(coarse.shift, (8.0, -7.0), atol=0.5)


def test_a_periodic_scene_is_ambiguous():
    y, x = np.mgrid[:120, :132]
    stripes = 0.5 + 0.4 * np.sin(2 * np.pi * x / 24) * np.sin(2 * np.pi * y / 24)
    scene = torch.from_numpy(stripes[None] * np.linspace(0.5, 1, 16)[:, None, None])
    sensor = mtf(RATIO, srf_boxes(4, 16))
    noise = 0.002 * torch.randn(16, *LR, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    part = PairPart((sensor.degrade(scene, LR) + noise).float(), sensor.respond(scene).float(), sensor)
    coarse = search_shift(PairComponents.of(part).images(), 10.0)
    assert coarse is not None
    assert "periodic" in coarse.doubt


def test_the_same_pair_gives_the_same_registration_and_a_record_restores_it():
    part = pair(smooth(1.0), 30)
    first, second = found(part), found(part)
    np.testing.assert_array_equal(first.field.coefficients, second.field.coefficients)
    again = Registration.from_dict(first.to_dict())
    assert (again.model, again.doubt, again.coverage) == (first.model, first.doubt, first.coverage)
    np.testing.assert_array_equal(again.points.shifts, first.points.shifts)
    np.testing.assert_array_equal(again.errors, first.errors)
    np.testing.assert_allclose(again.field.at(ROWS, COLS), first.field.at(ROWS, COLS))


def test_held_out_corrections_are_those_of_the_pixels_of_a_thinned_image():
    fields = [Field.constant((40, 44), (float(number), 0.0)) for number in range(2)]
    first = np.zeros((20, 22))
    first[:, :11] = 1
    found = HeldOut(fields, [first, 1 - first], (2.0, 2.0)).at(np.array([39.0, 39.0]), np.array([3.0, 43.0]))
    np.testing.assert_allclose(found, [[0, 1], [0, 0]], atol=1e-9)
