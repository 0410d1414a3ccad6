"""What the history says of a network: the fraction of its correction that is applied, or that there is none."""

import time

import numpy as np
import pytest
import torch

from hyperfuse import fuse
from hyperfuse.cube.cube import Cube
from hyperfuse.networks import create_network
from hyperfuse.networks.pretrained import save_pretrained
from hyperfuse.sensor.presets import create_sensor

SIDE, RATIO = 24, 4


def noise(bands=31, msi_bands=3):
    """Images of noise that have nothing to do with each other: no correction is better than none."""
    generator = np.random.default_rng(2)
    hsi = generator.uniform(0.2, 0.8, (bands, SIDE, SIDE))
    msi = generator.uniform(0.2, 0.8, (msi_bands, SIDE * RATIO, SIDE * RATIO))
    return Cube(data=hsi, wavelengths=np.linspace(400, 700, bands)), Cube(data=msi)


@pytest.fixture
def weights(tmp_path):
    """A network that was trained on nothing, for the images of noise."""
    torch.manual_seed(0)
    network = create_network("feinfn", hsi_bands=31, msi_bands=34, width=8, encoder_blocks=1)
    base = {"method": "feinfn", "settings": {"steps": 0}, "guidance": True, "scale": 0.01}
    return str(save_pretrained(network, tmp_path, base=base))


@pytest.mark.parametrize("trained", [False, True])
def test_a_correction_that_does_not_help_is_reported(trained, weights):
    settings = {"steps": 40, **({"weights": weights} if trained else {})}
    known = {"psf": "mtf:0.3", "align": False, "return_details": True}
    found = fuse(*noise(), settings=settings, **known)
    run = found.image.history[-1]["run"]
    assert any(note.startswith("nothing learnt: the network's correction helps on no held-out") for note in found.notes)
    assert run["network_fraction"] == {"1-31": 0.0}
    assert run["steps"] <= (16 if trained else 40)  # with weights, it has to be accepted by then
    linear = fuse(*noise(), settings={"steps": 0}, **known)
    assert np.array_equal(found.image.data, linear.image.data)
    assert not any("nothing learnt" in note for note in linear.notes)
    assert "network_fraction" not in linear.image.history[-1]["run"]


def test_weights_that_are_used_as_they_are_are_reported_too(weights):
    settings = {"effort": "fast", "weights": weights}
    found = fuse(*noise(), psf="mtf:0.3", align=False, settings=settings, return_details=True)
    assert any("the result is without it (after 0 steps)" in note for note in found.notes)


def test_the_fraction_is_recorded_by_groups_of_bands(monkeypatch):
    from hyperfuse.methods.feinfn import correction

    monkeypatch.setattr(correction, "shrinkage_factor", lambda tasks, predicted: tasks[0].band_scale * 0 + 0.25)
    hsi, msi = noise()
    good = np.ones(31, bool)
    good[:2] = False
    found = fuse(
        hsi.replace(good_bands=good), msi, psf="mtf:0.3", align=False, settings={"steps": 2}, return_details=True
    )
    fractions = found.image.history[-1]["run"]["network_fraction"]
    assert next(iter(fractions)) == "3-6"
    assert list(fractions)[-1] == "29-31"
    assert set(fractions.values()) == {0.25}
    assert not any("nothing learnt" in note for note in found.notes)


def test_a_constant_scene_ends_early(monkeypatch):
    from hyperfuse.methods.feinfn import correction

    def fit(*arguments):
        raise AssertionError("there is nothing to fit")

    monkeypatch.setattr(correction, "fit_to_pair", fit)
    started = time.monotonic()
    found = fuse(
        Cube(data=np.full((8, 16, 16), 0.4)),
        Cube(data=np.full((3, 64, 64), 0.2)),
        return_details=True,
        settings={"steps": 10},
    )
    assert time.monotonic() - started < 60
    assert np.abs(found.image.data - 0.4).max() < 1e-6
    assert any("(one of the images is constant)" in note for note in found.notes)
    assert any("nothing learnt" in note for note in found.notes)


def test_what_the_regression_on_patches_gains_is_noted():
    found = fuse(*noise(), psf="mtf:0.3", align=False, return_details=True)
    assert found.image.history[-1]["run"]["regression_gain_db"] == 0.0
    assert "regression on patches: nothing gained at held-out LR pixels, not applied" in found.notes
    fast = fuse(*noise(), psf="mtf:0.3", align=False, settings={"effort": "fast"}, return_details=True)
    assert not any("regression" in note for note in fast.notes)


def test_pixels_at_which_the_images_do_not_agree_are_noted():
    hsi, msi = simulated()
    clean, changed = hsi.data, hsi.data.copy()
    changed[:, 5, 7] = 9.0
    notes = [fuse(hsi.replace(data=data), msi, psf="mtf:0.3", align=False, return_details=True).notes
             for data in (clean, changed)]  # fmt: skip
    expected = "0.2% of the HSI's pixels do not agree with the MSI"
    assert [any(note.startswith(expected) for note in some) for some in notes] == [False, True]


def simulated():
    """An HSI and an MSI of one scene, with little noise."""
    generator = np.random.default_rng(3)
    shares = np.kron(generator.uniform(0.1, 1, (3, SIDE, SIDE)), np.ones((RATIO, RATIO)))
    truth = np.tensordot(generator.uniform(0, 1, (31, 3)), shares, 1)
    hsi = create_sensor("mtf", RATIO).degrade(torch.from_numpy(truth)).numpy()
    hsi += generator.normal(0, 0.002, hsi.shape)
    msi = truth[:30].reshape(3, 10, SIDE * RATIO, SIDE * RATIO).mean(1)
    msi += generator.normal(0, 0.002, msi.shape)
    return Cube(data=hsi, wavelengths=np.linspace(400, 700, 31)), Cube(data=msi)
