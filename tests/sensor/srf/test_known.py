"""Responses that the product of an MSI makes known."""

import sys

import numpy as np
import pytest

from hyperfuse.cube.header import CubeHeader
from hyperfuse.io.products.responses import RESPONSES, SampledResponse, responses_text
from hyperfuse.sensor.srf.known import known_responses
from hyperfuse.sensor.srf.satellites import srf_from_satellite

CENTRES = np.arange(420, 1001, 10.0)


def hsi(centres=CENTRES):
    return CubeHeader(shape=(len(centres), 4, 4), wavelengths=centres, fwhm=np.full(len(centres), 10.0))


def msi(sensor, names, **fields):
    attributes = {"sensor": sensor} if sensor else {}
    return CubeHeader(shape=(len(names), 8, 8), band_names=tuple(names), attributes=attributes, **fields)


def usable(header):
    return np.ones(header.bands, bool)


@pytest.mark.parametrize(
    ("sensor", "names", "satellite"),
    [
        ("Sentinel-2A", ["B02", "B8A", "B04"], "sentinel-2a"),
        ("Landsat-8", ["B2", "B5"], "landsat-8"),
        ("planetscope-superdove", ["blue", "rededge"], "planetscope-superdove"),
    ],
)
def test_a_sensor_that_is_known_by_name(sensor, names, satellite):
    found = known_responses(msi(sensor, names), hsi(), usable(hsi()))
    expected = srf_from_satellite(satellite, CENTRES, names)
    np.testing.assert_array_equal(found.matrix, expected.matrix)
    assert found.source == expected.source


def test_bands_that_the_hsi_does_not_cover_are_not_known():
    found = known_responses(msi("Sentinel-2A", ["B04", "B12"]), hsi(), usable(hsi()))
    assert np.isfinite(found.matrix).all(axis=1).tolist() == [True, False]
    part = found.restricted(CENTRES < 800, np.array([True, False]))
    assert part.matrix.shape == (1, 38)


def test_a_product_that_states_centres_and_widths(monkeypatch):
    fields = {"wavelengths": [490.0, 560.0], "fwhm": [60.0, 40.0], "history": ({"step": "read", "product": "X"},)}
    found = known_responses(msi(None, ["a", "b"], **fields), hsi(), usable(hsi()))
    assert found.source == "X (centres and widths of the product, flat-topped)"
    assert (found.matrix @ CENTRES).tolist() == pytest.approx([490, 560], abs=1)
    # So it is of a known satellite where the package with its curves is not installed.
    monkeypatch.setitem(sys.modules, "pyrsr", None)
    again = known_responses(msi("Sentinel-2A", ["B2", "B3"], **fields), hsi(), usable(hsi()))
    np.testing.assert_array_equal(again.matrix, found.matrix)


def test_what_is_not_known():
    assert known_responses(msi("Sentinel-2A", ["first"]), hsi(), usable(hsi())) is None
    assert known_responses(msi("OtherSat", ["B2"], wavelengths=[490.0], fwhm=[60.0]), hsi(), usable(hsi())) is None
    plain = CubeHeader(shape=(59, 4, 4))
    assert known_responses(msi("Sentinel-2A", ["B2"]), plain, usable(plain)) is None


def test_curves_of_the_product_come_first():
    curve = SampledResponse(600, 2, (0.0, 1.0, 1.0, 1.0, 1.0, 0.0))
    attributes = {RESPONSES: responses_text({"B04": curve})}
    header = msi("Sentinel-2A", ["B04", "B03"])
    header = header.replace(attributes={**header.attributes, **attributes})
    fine = np.arange(560, 660, 1.0)
    found = known_responses(header, hsi(fine), usable(hsi(fine)))
    assert found.source == "Sentinel-2A (curves of the product)"
    # Weights are integrals against triangles between neighbouring bands of 1 nm.
    assert found.matrix[0] @ fine == pytest.approx(605)
    np.testing.assert_allclose(found.matrix[0, 43:48], 1 / 8, atol=1e-9)
    assert found.matrix[0, 39:52].sum() == pytest.approx(1)
    assert np.isnan(found.matrix[1]).all()
    for damaged in ("B04:600:1 1", "B04:600,0:1 1", "B04:600,1:1 nan", "x"):
        again = known_responses(header.replace(attributes={RESPONSES: damaged}), hsi(fine), usable(hsi(fine)))
        assert again is None
