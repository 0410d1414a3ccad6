"""Methods on an HSI whose detectors lie apart: the bands of each as if they were alone, with the sensor of each."""

import pytest
import torch

from hyperfuse.errors import InputError
from hyperfuse.methods import get_method, list_methods
from hyperfuse.methods.contract.by_detector import ByDetector, DetectorModel, DetectorModels
from hyperfuse.methods.contract.method import PairTensors, always
from hyperfuse.sensor.detectors import Detector
from hyperfuse.sensor.presets import create_sensor
from hyperfuse.sensor.srf.names import create_srf

FIRST, SECOND = (0, 1, 4), (2, 3, 5)


@pytest.fixture(scope="module")
def pair():
    generator = torch.Generator().manual_seed(0)
    sensor = create_sensor("mtf", 2).replace(
        detectors=(Detector("VNIR", FIRST), Detector("SWIR", SECOND, (0.5, -0.25))), srf=create_srf("boxes:3", 6)
    )
    image = torch.rand(6, 32, 32, generator=generator)
    hsi = torch.empty(6, 16, 16)
    for bands, own in sensor.by_detector():
        hsi[bands] = own.degrade(image[bands])
    return PairTensors(hsi, image[:3] + image[3:], sensor)


def alone(pair, bands, number):
    return PairTensors(pair.hsi[list(bands)], pair.msi, pair.sensor.by_detector()[number][1])


@pytest.mark.parametrize("name", ["bicubic", "gsa", "local-regression", "feinfn"])
def test_each_detector_is_fused_as_if_it_were_alone(pair, name):
    method = get_method(name)
    model = method.fit([pair])
    image = model.apply(pair).image
    for number, bands in enumerate((FIRST, SECOND)):
        expected = method.fuse(alone(pair, bands, number)).image
        torch.testing.assert_close(image[list(bands)], expected, rtol=0, atol=0)
    again = method.restore(model.state()).apply(pair)
    torch.testing.assert_close(again.image, image)


def test_uncertainty_is_that_of_each(pair):
    method = get_method("feinfn")
    outcome = method.fuse(pair, {"uncertainty": True})
    assert outcome.uncertainty is not None
    for number, bands in enumerate((FIRST, SECOND)):
        expected = method.fuse(alone(pair, bands, number), {"uncertainty": True}).uncertainty
        torch.testing.assert_close(outcome.uncertainty[list(bands)], expected)


def test_details_of_bands_are_put_in_their_order():
    class Fitted:
        margin = 3

        def __init__(self, **details):
            self.details = details

    first = Fitted(steps=5, held_out_rmse=[0.1, 0.2, 0.5], network_fraction=[0.0], gain=1.0, same="x", end="done")
    second = Fitted(
        steps=7, held_out_rmse=[0.3, 0.4, 0.6], network_fraction=[1, 1, 1], gain=2.0, same="x", end="no time"
    )
    parts = [DetectorModel("VNIR", list(FIRST), first), DetectorModel("SWIR", list(SECOND), second)]
    assert DetectorModels(parts).details == {
        "steps": 7,
        "held_out_rmse": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
        "network_fraction": [0.0, 0.0, 1, 1, 0.0, 1],
        "gain": {"VNIR": 1.0, "SWIR": 2.0},
        "same": "x",
        "end": "no time",
    }


def test_a_budget_is_divided_by_the_number_of_bands(pair):
    class Recorded:
        def __init__(self):
            self.budgets = []

        def fit(self, samples, settings, progress):
            self.budgets.append(settings.budget_seconds)
            progress(1.0, "")

    reached = []
    settings = get_method("feinfn").configure(budget_seconds=1000.0)
    uneven = create_sensor("mtf", 2).replace(detectors=(Detector("VNIR", (0, 1, 2, 3)), Detector("SWIR", (4, 5))))
    sample = pair._replace(sensor=uneven)
    recorded = Recorded()
    ByDetector(recorded, always).fit([sample], settings, lambda fraction, message="": reached.append(fraction))
    first, second = recorded.budgets
    assert first == pytest.approx(1000 * 4 / 6, rel=0.01)
    assert second == pytest.approx(1000, rel=0.01)  # what the first has left
    assert reached == pytest.approx([4 / 6, 1.0])


def test_methods_that_fuse_all_bands_at_once_refuse(pair):
    with pytest.raises(InputError, match="fuses all bands at once") as caught:
        get_method("cnmf").fit([pair])
    assert caught.value.parameter == "method"
    able = {one.name for one in list_methods() if one.capabilities.fuses_by_detector(one.configure())}
    assert "cnmf" not in able
    assert {"feinfn", "local-regression", "gsa"} <= able
    gsa = get_method("gsa")
    assert not gsa.capabilities.fuses_by_detector(gsa.configure(grouping="srf"))
