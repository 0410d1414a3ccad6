"""Detectors of an HSI: how headers state them, and the sensor of each."""

import numpy as np
import pytest
import torch

from hyperfuse.cube.header import CubeHeader
from hyperfuse.errors import InputError
from hyperfuse.sensor.detectors import Detector, detectors_of, restrict_detectors
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.presets import create_sensor


def header(bands=24, **fields):
    return CubeHeader(shape=(bands, 2, 2), **fields)


def of(found):
    return {one.name: one.bands for one in found}


def test_names_of_bands_state_the_detector():
    names = tuple(f"VNIR {n}" for n in range(1, 6)) + tuple(f"swir {n}" for n in range(1, 4))
    assert of(detectors_of(header(8, band_names=names))) == {"VNIR": (0, 1, 2, 3, 4), "SWIR": (5, 6, 7)}
    assert detectors_of(header(2, band_names=("VNIR 1", "VNIR 2"))) == ()
    assert detectors_of(header(2, band_names=("VNIR 1", "blue"))) == ()


def test_numbers_of_bands_do_for_an_instrument_that_numbers_them_through():
    names = ("B008", "B057", "B077")
    assert of(detectors_of(header(3, band_names=names, attributes={"sensor": "Hyperion"}))) == {
        "VNIR": (0, 1),
        "SWIR": (2,),
    }
    assert detectors_of(header(3, band_names=names)) == ()


def test_wavelengths_that_fall_back_state_where_the_next_detector_begins():
    first, second = np.linspace(420, 990, 14), np.linspace(900, 2400, 10)
    found = detectors_of(header(wavelengths=np.concatenate([first, second])))
    assert of(found) == {"VNIR": tuple(range(14)), "SWIR": tuple(range(14, 24))}
    assert detectors_of(header(wavelengths=np.linspace(420, 2400, 24))) == ()
    assert detectors_of(header(wavelengths=np.linspace(2400, 420, 24))) == ()  # another order, not 24 detectors
    assert detectors_of(header(wavelengths=np.concatenate([first[:5], second, first[:9]]))) == ()  # of nine bands
    assert of(detectors_of(header(wavelengths=np.concatenate([second, first])))) == {
        "SWIR": tuple(range(10)),
        "VNIR": tuple(range(10, 24)),
    }


def test_they_are_written_as_ranges_and_read_back(tmp_path):
    detectors = (Detector("VNIR", (0, 1, 2, 5), (0.25, -0.5)), Detector("SWIR", (3, 4)))
    assert detectors[0].to_dict() == {"name": "VNIR", "bands": "1-3, 6", "shift": [0.25, -0.5]}
    sensor = create_sensor("mtf", 3).replace(detectors=detectors)
    sensor.save(tmp_path / "sensor.yaml")
    assert Sensor.load(tmp_path / "sensor.yaml").detectors == detectors
    assert "detectors" not in create_sensor("mtf", 3).to_dict()


@pytest.mark.parametrize(
    ("bands", "text"), [((0, 1), "band 3 has to be"), ((0, 1, 2, 3), "band 4 has to be"), ((), "records no band")]
)
def test_every_band_is_of_one_detector(bands, text):
    with pytest.raises(InputError, match=text):
        create_sensor("mtf", 3).replace(detectors=(Detector("A", bands), Detector("B", (3, 4))))


@pytest.mark.parametrize("values", [{}, {"name": "A", "bands": "1-x", "shift": [0, 0]}, "A"])
def test_what_is_no_detector_is_refused(values):
    with pytest.raises(InputError) as caught:
        Detector.from_dict(values)
    assert caught.value.parameter == "detectors"


def test_bands_that_are_not_used_are_left_out():
    detectors = (Detector("VNIR", (0, 1, 2), (0.2, 0.1)), Detector("SWIR", (3, 4), (0.4, 0.0)))
    used = np.array([True, False, True, False, True])
    kept = (Detector("VNIR", (0, 1), (0.2, 0.1)), Detector("SWIR", (2,), (0.4, 0.0)))
    assert restrict_detectors(detectors, used) == kept
    assert of(restrict_detectors(detectors, used[[0, 0, 0, 1, 1]])) == {"VNIR": (0, 1, 2)}
    with pytest.raises(InputError, match="record 5 bands, the HSI has 4"):
        restrict_detectors(detectors, used[:4])


def test_the_sensor_of_a_detector_has_its_position():
    sensor = create_sensor("mtf", 4).replace(
        detectors=(Detector("VNIR", (0, 2), (0.5, -0.25)), Detector("SWIR", (1,), (0.0, 0.0)))
    )
    (vnir, first), (swir, second) = sensor.by_detector()
    assert (vnir, swir) == ([0, 2], [1])
    image = torch.rand(3, 24, 32, generator=torch.Generator().manual_seed(0))
    moved = create_sensor("mtf", 4).replace(phase=(2.0, 1.25))
    torch.testing.assert_close(first.degrade(image), moved.degrade(image))
    torch.testing.assert_close(second.degrade(image), sensor.degrade(image))
    assert create_sensor("mtf", 4).by_detector() == []
