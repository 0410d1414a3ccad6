import numpy as np
import pytest

from hyperfuse.errors import InputError
from hyperfuse.sensor.srf.cameras import list_cameras, srf_camera
from hyperfuse.sensor.srf.srf import HsiBands

GRID = np.arange(400, 701, 10.0)


def test_nikon_rows_are_the_whole_numbers_over_their_sums():
    srf = srf_camera("nikon-d700", 31)
    assert srf.names == ("R", "G", "B")
    red, green, blue = srf.matrix * np.array([[255], [203], [251]])
    assert np.rint(red).sum() == 255
    assert np.rint(green).sum() == 203
    assert np.rint(blue).sum() == 251
    np.testing.assert_allclose(red, np.rint(red), atol=1e-12)
    np.testing.assert_allclose(green, np.rint(green), atol=1e-12)
    np.testing.assert_allclose(blue, np.rint(blue), atol=1e-12)
    # Peaks, at 610, 530 and 460 nm, and the ends.
    assert (red.argmax(), round(red[21])) == (21, 22)
    assert (green.argmax(), round(green[13])) == (13, 21)
    assert (blue.argmax(), round(blue[6])) == (6, 30)
    assert [round(row[0]) for row in (red, green, blue)] == [2, 1, 7]
    assert [round(row[-1]) for row in (red, green, blue)] == [17, 2, 1]


def test_31_bands_without_wavelengths_are_taken_as_the_visible_range():
    assumed, given = srf_camera("nikon-d700", 31), srf_camera("nikon-d700", HsiBands(31, GRID))
    np.testing.assert_array_equal(assumed.matrix, given.matrix)
    np.testing.assert_allclose(assumed.wavelengths, [632, 543.793103, 467.609562], atol=1e-6)
    assert "taken as 400 to 700 nm" in assumed.source
    assert given.source == "nikon-d700"


def test_the_order_of_the_bands_does_not_matter():
    order = np.random.default_rng(0).permutation(31)
    shuffled = srf_camera("nikon-d700", HsiBands(31, GRID[order]))
    np.testing.assert_array_equal(shuffled.matrix, srf_camera("nikon-d700", 31).matrix[:, order])


def test_other_bands_integrate_the_curves():
    rng = np.random.default_rng(0)
    centres = 385 + np.cumsum(rng.uniform(4, 9, 60))
    spectrum = rng.random(60)
    srf = srf_camera("nikon-d700", HsiBands(60, centres))
    fine = np.arange(395, 705.005, 0.01)
    seen = np.interp(fine, centres, spectrum)
    for row, response in zip(srf.matrix, srf_camera("nikon-d700", 31).matrix, strict=True):
        curve = np.interp(fine, GRID, response)  # constant beyond 400 and 700 nm
        expected = np.trapezoid(curve * seen, fine) / np.trapezoid(curve, fine)
        assert row @ spectrum == pytest.approx(expected, abs=1e-6)


def test_a_bad_band_gets_no_weight():
    usable = np.ones(31, bool)
    usable[13] = False
    srf = srf_camera("nikon-d700", HsiBands(31, usable=usable))
    assert not srf.matrix[:, 13].any()
    assert srf.matrix[1, 12] > srf_camera("nikon-d700", 31).matrix[1, 12]
    np.testing.assert_allclose(srf.matrix.sum(axis=1), 1)


def test_what_the_camera_cannot_see_is_refused():
    with pytest.raises(InputError, match="needs the wavelengths of the 30 HSI bands"):
        srf_camera("nikon-d700", 30)
    with pytest.raises(InputError, match="covers no band"):
        srf_camera("nikon-d700", HsiBands(20, np.arange(1000, 1200, 10)))
    with pytest.raises(InputError, match="did you mean 'nikon-d700'"):
        srf_camera("nikon-d70", 31)
    with pytest.raises(InputError, match="31 wavelengths for 30"):
        srf_camera("nikon-d700", HsiBands(30, GRID))


def test_list():
    assert list_cameras() == ("nikon-d700",)
