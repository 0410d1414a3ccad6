"""Sizes that no sensor has are refused in one line, before anything of that size is made."""

import tracemalloc

import pytest

from hyperfuse.cube.header import CubeHeader
from hyperfuse.errors import InputError
from hyperfuse.scenes.matching.grid import match_grids
from hyperfuse.sensor.axis import sampling_operator
from hyperfuse.sensor.geometry import PairGeometry
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.presets import create_sensor
from hyperfuse.sensor.psf import BoxPsf, GaussianPsf, create_psf
from hyperfuse.sensor.srf.srf import Srf


@pytest.fixture(autouse=True)
def little_memory():
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6


@pytest.mark.parametrize("text", ["box:1e9", "sigma:1e9", "sigma:2,1e7", "fwhm:1e300"])
def test_psf_texts(text):
    with pytest.raises(InputError, match="is wider than 4096 MSI pixels; its unit is the MSI pixel") as caught:
        create_psf(text, (3.0, 3.0))
    assert caught.value.parameter == "psf"


def test_ratios():
    for make in (
        lambda: Sensor(ratio=5000, psf=BoxPsf(width=(3, 3))),
        lambda: create_sensor("mtf", 1e6),
        lambda: create_psf("mtf:0.3", (3.0, 33171.0)),
        lambda: create_psf("box", (1e9, 1e9)),
        lambda: match_grids(grid(331_710.0), grid(10.0), PairGeometry(psf="mtf:0.3")),
        lambda: match_grids(grid(331_710.0), grid(10.0), PairGeometry()),
    ):
        with pytest.raises(InputError, match=r"a ratio of \S+ MSI pixels per HSI pixel is beyond 4096") as caught:
            make()
        assert caught.value.parameter == "ratio"
    with pytest.raises(InputError, match="a modulation of 1e-300 at Nyquist makes a PSF wider than 4096 MSI pixels"):
        create_psf("mtf:1e-300", (4096.0, 1.0))


def grid(pixel):
    return CubeHeader(shape=(2, 4, 4), transform=(pixel, 0, 0, 0, -pixel, 0))


@pytest.mark.parametrize(
    "psf", ["{kind: box, width: [1.0e+9, 1.0]}", "{kind: gaussian, sigma: [1, 1], radius: [1.0e+9, 4]}"]
)
def test_sensor_files(tmp_path, psf):
    (tmp_path / "sensor.yaml").write_text(f"ratio: 3\npsf: {psf}\n")
    with pytest.raises(InputError, match=r"sensor\.yaml: .*16384"):
        Sensor.load(tmp_path / "sensor.yaml")


@pytest.mark.parametrize("psf", [BoxPsf(width=(4000, 4000)), GaussianPsf(sigma=(1000, 1000))])
def test_a_psf_beyond_the_image(psf):
    with pytest.raises(InputError, match=r"the PSF reaches [\d.]+ MSI pixels, beyond an image of 96"):
        Sensor(ratio=3, psf=psf).sampling((96, 96), (32, 32))
    wide = BoxPsf(width=(150, 150)).factors()[0].y
    assert sampling_operator(96, 32, wide, ratio=3.0, phase=1.0, boundary="reflect").size_out == 32


def test_numbers_beyond_a_float(tmp_path):
    with pytest.raises(InputError, match="the matrix of an SRF must be numbers"):
        Srf(matrix=[[1.0, 10**400]])
    (tmp_path / "sensor.yaml").write_text(f"ratio: {'9' * 400}\npsf: {{kind: box, width: [3, 3]}}\n")
    with pytest.raises(InputError, match=r"sensor\.yaml: .*ratio"):
        Sensor.load(tmp_path / "sensor.yaml")
