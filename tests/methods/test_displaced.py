"""Every method with a sensor of displaced samples: a shift is a phase, and a field costs no quality."""

import numpy as np
import pytest
import torch

from hyperfuse.errors import InputError
from hyperfuse.methods import get_method, list_methods
from hyperfuse.methods.contract.method import PairTensors
from hyperfuse.methods.feinfn.pretrained import TrainedNetwork
from hyperfuse.sensor.displacement import Displacement
from hyperfuse.sensor.psf import KernelPsf

FAST = [one.name for one in list_methods() if one.capabilities.displaced]
REGULAR = [one.name for one in list_methods() if not one.capabilities.displaced]


def field(shape, size, seed=0):
    """Displacements of up to about ``size`` HR pixels that change within ten LR pixels."""
    count = [int(np.ceil(length / 5)) + 3 for length in shape]
    return Displacement(size * np.random.default_rng(seed).uniform(-1, 1, (2, *count)), (5, 5), (-5, -5))


def rms(image):
    return float(image.double().square().mean().sqrt())


def constant(y, x):
    return Displacement(np.array([[[y]], [[x]]]), (4, 4), (0, 0))


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("psf", [None, KernelPsf(weights=((0, 1, 2, 0), (1, 6, 3, 1), (0, 2, 3, 0)))])
def test_a_displacement_that_is_constant_is_a_phase(name, psf, make_pair):
    options = {} if psf is None else {"psf": psf}
    pair = make_pair(phase=(2.1, 0.8), dtype=torch.float64, **options)
    displaced = pair.sensor.replace(phase=(1.4, 1.5), displacement=constant(0.7, -0.7))
    method = get_method(name)
    regular, moved = (method(pair.hsi, pair.msi, one) for one in (pair.sensor, displaced))
    # Of the back-projection's prior and of the MSI's noise only the last digits depend on the regular positions.
    assert rms(moved - regular) < 0.02 * rms(regular - pair.reference) + 1e-9


@pytest.mark.parametrize("name", FAST)
def test_displaced_samples_are_fused_as_well_as_regular_ones(name, make_pair):
    # What patches explain in this scene is by chance, with a field or without.
    pair, method, settings = make_pair(shape=(96, 96)), get_method(name), {"effort": "fast"} if name == "feinfn" else {}
    displaced = pair.sensor.replace(displacement=field((24, 24), 3.0))
    hsi = displaced.degrade(pair.reference)
    regular = rms(method(pair.hsi, pair.msi, pair.sensor, settings) - pair.reference)
    moved = rms(method(hsi, pair.msi, displaced, settings) - pair.reference)
    ignored = rms(method(hsi, pair.msi, pair.sensor, settings) - pair.reference)
    assert moved < 1.1 * regular
    assert moved < (1.0 if name == "bicubic" else 0.9) * ignored


@pytest.mark.parametrize("name", REGULAR)
def test_methods_that_need_regular_positions_refuse_others(name, make_pair):
    pair = make_pair()
    sensor = pair.sensor.replace(displacement=field((12, 12), 1.0))
    with pytest.raises(InputError, match=f"the method {name} needs HSI pixels at regular positions"):
        get_method(name)(pair.hsi, pair.msi, sensor)


@pytest.mark.parametrize("name", ["local-regression", "feinfn"])
def test_a_clean_hsi_is_met_at_its_displaced_samples(name, make_pair):
    pair = make_pair(shape=(64, 64), dtype=torch.float64)
    displaced = pair.sensor.replace(displacement=field((16, 16), 2.5))
    hsi = displaced.degrade(pair.reference)
    fused = get_method(name)(hsi, pair.msi, displaced)
    assert rms(displaced.degrade(fused) - hsi) < 0.01 * float(hsi.std())


def test_windows_of_a_displaced_scene_give_its_image(make_pair):
    pair, method = make_pair(shape=(32, 192)), get_method("feinfn")
    sensor = pair.sensor.replace(displacement=field((8, 48), 3.0))
    scene = PairTensors(sensor.degrade(pair.reference), pair.msi, sensor)
    model = method.fit([scene])
    whole, step = model.apply(scene), 2 / (192 - 1)
    for inside in (slice(0, 24), slice(24, 48)):
        around = model.margin + 1
        lr = slice(max(0, inside.start - around), min(48, inside.stop + around))
        hr = slice(4 * lr.start, 4 * lr.stop)
        extent = (-1.0, 1.0, step * hr.start - 1, step * (hr.stop - 1) - 1)
        seen = sensor.window((0, lr.start), sensor.offset)
        part = model.apply(PairTensors(scene.hsi[..., lr], scene.msi[..., hr], seen, extent))
        at = slice(4 * inside.start, 4 * inside.stop)
        cut = slice(at.start - hr.start, at.stop - hr.start)
        assert rms(part.image[..., cut] - whole.image[..., at]) < 0.1 * rms(whole.image - pair.reference)


def test_the_uncertainty_follows_the_samples(make_pair):
    """A constant displacement moves the map of what the measurement leaves open as the phase would."""
    pair, method = make_pair(phase=(2.0, 1.0)), get_method("feinfn")
    displaced = pair.sensor.replace(phase=(1.0, 1.5), displacement=constant(1.0, -0.5))
    regular, moved = (
        method.fuse(PairTensors(pair.hsi, pair.msi, one), {"uncertainty": True, "effort": "fast"})
        for one in (pair.sensor, displaced)
    )
    inner = (..., slice(4, -4), slice(4, -4))
    assert rms(moved.uncertainty[inner] / regular.uncertainty[inner] - 1) < 0.1


@pytest.mark.parametrize(
    ("settings", "parameter"),
    [({"effort": "best"}, "effort"), ({"steps": 5}, "steps"), ({"weights": "x"}, "weights")],
)
def test_a_network_of_regular_pixels_is_refused(settings, parameter, make_pair, monkeypatch):
    monkeypatch.setattr("hyperfuse.methods.feinfn.method.load_for_pair", lambda *_: object.__new__(TrainedNetwork))
    pair, method = make_pair(shape=(48, 48)), get_method("feinfn")
    displaced = PairTensors(pair.hsi, pair.msi, pair.sensor.replace(displacement=constant(0.5, 0.5)))
    with pytest.raises(InputError, match="regular positions only") as error:
        method.fit([displaced], settings)
    assert error.value.parameter == parameter
    # A budget is a limit: without a network it is kept as well.
    assert method.fit([displaced], {"budget_seconds": 60.0}).details["steps"] == 0
