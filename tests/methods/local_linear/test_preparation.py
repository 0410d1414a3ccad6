"""Light from beyond an image is found at its border, and only there."""

import pytest
import torch

import hyperfuse as hf
from hyperfuse.methods.contract.method import PairTensors
from hyperfuse.methods.local_linear.border import beyond_border
from hyperfuse.methods.local_linear.preparation import Preparation
from hyperfuse.sensor.presets import create_sensor
from scenes import patches_of_materials

RATIO, SIDE, CUT = 4, 24, 3


@pytest.fixture
def truth():
    """A larger image of 12 bands."""
    size = (SIDE + 2 * CUT) * RATIO
    return torch.as_tensor(patches_of_materials(12, size, size, seed=0)).float()


def pair_of(image, sensor):
    return PairTensors(sensor.degrade(image), image.reshape(3, 4, *image.shape[1:]).mean(1), sensor)


def cut(image, pixels):
    return image[:, pixels:-pixels, pixels:-pixels].contiguous()


@pytest.fixture
def pairs(truth):
    """A pair cut from a larger one, and that of the cut image, which continues by reflection."""
    sensor = create_sensor("mtf", RATIO)
    whole, alone = pair_of(truth, sensor), pair_of(cut(truth, CUT * RATIO), sensor)
    return whole._replace(hsi=cut(whole.hsi, CUT), msi=cut(whole.msi, CUT * RATIO)), alone


def test_the_hsi_at_the_border_becomes_that_of_the_image_alone(pairs):
    real, alone = pairs
    prepared = Preparation.fit([real]).apply(real)
    assert torch.equal(prepared.msi, real.msi)
    inner = (slice(None), slice(2, -2), slice(2, -2))
    assert torch.equal(prepared.hsi[inner], real.hsi[inner])
    before, after = ((one.hsi - alone.hsi)[:, 0].square().mean() for one in (real, prepared))
    assert after < 0.1 * before


def test_an_image_that_continues_by_reflection_needs_nothing(pairs):
    assert Preparation.fit([pairs[1]]) is None


def test_noise_is_no_light_from_beyond(pairs):
    generator = torch.Generator().manual_seed(1)
    alone = pairs[1]
    noisy = alone._replace(hsi=alone.hsi + 0.1 * torch.randn(alone.hsi.shape, generator=generator))
    assert Preparation.fit([noisy]) is None


@pytest.mark.parametrize("method", ["feinfn", "local-regression"])
def test_methods_gain_by_it(pairs, truth, method, monkeypatch):
    real, expected = pairs[0], cut(truth, CUT * RATIO)

    def error():
        fused = hf.get_method(method)(real.hsi, real.msi, real.sensor)
        return (fused - expected).square().mean()

    with_it = error()
    monkeypatch.setattr(Preparation, "fit", lambda samples: None)
    assert with_it < 0.5 * error()


def test_it_is_recorded_and_restored(pairs):
    real, method = pairs[0], hf.get_method("local-regression")
    model = method.fit([real], method.configure())
    assert model.details == {"light_from_beyond": True}
    restored = method.restore(model.state())
    torch.testing.assert_close(restored.apply(real).image, model.apply(real).image)


def test_a_small_image_has_no_inside_to_compare_with():
    assert not beyond_border(torch.rand(3, 6, 6), create_sensor("mtf", RATIO)).any()


def test_saturated_values_are_as_large_as_the_hsi_shows(pairs):
    alone = pairs[1]
    top = alone.msi.flatten(1).quantile(0.97, dim=1)[:, None, None]
    saturated = alone._replace(msi=torch.minimum(alone.msi, top))
    preparation = Preparation.fit([saturated])
    mended = preparation.apply(saturated)
    assert preparation.details()["saturated_msi_bands"] == 3
    wrong = (saturated.msi == top).any(0)
    assert torch.equal(mended.msi[:, ~wrong], saturated.msi[:, ~wrong])
    before, after = ((one.msi - alone.msi).square().mean() for one in (saturated, mended))
    assert after < 0.3 * before


def test_what_both_images_show_of_saturated_objects_is_not_changed(truth):
    """The highest value of the scene itself, seen by both."""
    truth = torch.minimum(truth, truth.flatten(1).quantile(0.95, dim=1)[:, None, None])
    assert Preparation.fit([pair_of(truth, create_sensor("mtf", RATIO))]) is None
