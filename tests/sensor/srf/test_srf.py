import numpy as np
import pytest
import yaml

from hyperfuse.errors import InputError
from hyperfuse.sensor.srf.srf import HsiBands, Srf, srf_boxes


def test_boxes_by_hand():
    srf = srf_boxes(3, 7)
    third, half = 1 / 3, 1 / 2
    expected = [
        [third, third, third, 0, 0, 0, 0],
        [0, 0, 0, half, half, 0, 0],
        [0, 0, 0, 0, 0, half, half],
    ]
    np.testing.assert_array_equal(srf.matrix, expected)
    assert srf.names == ("bands 1 to 3", "bands 4 to 5", "bands 6 to 7")
    assert srf.wavelengths is None
    assert srf.source == "boxes:3"


def test_boxes_skip_bad_bands_and_know_their_centres():
    usable = np.array([True, True, False, True, True])
    srf = srf_boxes(2, HsiBands(5, [400, 410, np.nan, 430, 440], usable=usable))
    np.testing.assert_array_equal(srf.matrix, [[0.5, 0.5, 0, 0, 0], [0, 0, 0, 0.5, 0.5]])
    np.testing.assert_array_equal(srf.wavelengths, [405, 435])


def test_boxes_without_the_wavelength_of_a_usable_band_have_no_centres():
    assert srf_boxes(2, HsiBands(4, [400, 410, np.nan, 430])).wavelengths is None


def test_as_many_boxes_as_bands_is_the_identity():
    np.testing.assert_array_equal(srf_boxes(4, 4).matrix, np.eye(4))


@pytest.mark.parametrize("count", [0, -1, 6])
def test_boxes_refuse_a_count_that_cannot_be_cut(count):
    with pytest.raises(InputError, match="take 1 to 5"):
        srf_boxes(count, 5)


def test_boxes_refuse_an_image_without_usable_bands():
    with pytest.raises(InputError, match="no HSI band is usable"):
        srf_boxes(1, HsiBands(3, usable=np.zeros(3, bool)))


@pytest.mark.parametrize("usable", [np.ones(4, bool), np.ones(3, int), True])
def test_a_mask_of_another_shape_or_type_is_refused(usable):
    with pytest.raises(InputError, match="needs 3 booleans"):
        srf_boxes(1, HsiBands(3, usable=usable))


def test_default_names_and_sizes():
    srf = Srf([[1, 0, 0], [0, 0.25, 0.75]])
    assert (srf.msi_bands, srf.hsi_bands) == (2, 3)
    assert srf.names == ("band 1", "band 2")
    assert srf.matrix.dtype == np.float64


def test_the_matrix_is_a_copy():
    matrix = np.eye(2)
    srf = Srf(matrix)
    matrix[0, 0] = 5
    assert srf.matrix[0, 0] == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"matrix": [1.0, 0.0]}, "MSI bands, HSI bands"),
        ({"matrix": np.zeros((0, 3))}, "MSI bands, HSI bands"),
        ({"matrix": [[1.0], [0.5, 0.5]]}, "lists of equal length"),
        ({"matrix": [["a", "b"]]}, "must be numbers"),
        ({"matrix": [[np.nan, 1.0]]}, "NaN or infinite"),
        ({"matrix": [[1.0, 0.0], [1.5, -0.5]]}, "band 2 has negative weights"),
        ({"matrix": [[0.5, 0.4]]}, "sum to 0.9, not to 1"),
        ({"matrix": np.eye(2), "names": ("R",)}, "1 names for the 2 bands"),
        ({"matrix": np.eye(2), "wavelengths": [500.0]}, "wavelengths of the shape"),
        ({"matrix": np.eye(2), "wavelengths": [500.0, np.nan]}, "positive and finite"),
        ({"matrix": np.eye(2), "fwhm": [10.0, 0.0]}, "positive and finite"),
    ],
)
def test_what_is_no_srf_is_refused(fields, message):
    with pytest.raises(InputError, match=message):
        Srf(**fields)


def test_dict_survives_yaml():
    random = np.random.default_rng(0).random((3, 11))
    matrix = random / random.sum(axis=1, keepdims=True)
    srf = Srf(matrix, ("R", "G", "B"), np.array([650, 550, 450.5]), np.array([50, 60, 70.25]), "a test")
    assert Srf.from_dict(yaml.safe_load(yaml.safe_dump(srf.to_dict()))) == srf


def test_dict_of_the_matrix_alone_is_enough():
    assert Srf.from_dict({"matrix": [[1, 0]]}) == Srf([[1, 0]])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"names": ["R"]}, "has no matrix"),
        ({"matrix": [[1]], "wavelength": [500]}, "unknown key 'wavelength'"),
        ({"matrix": [[1]], "names": "R"}, "names of the srf are a list"),
        ([[1.0]], "is a mapping"),
    ],
)
def test_a_dict_that_is_no_srf_is_refused(values, message):
    with pytest.raises(InputError, match=message):
        Srf.from_dict(values)


def test_equality_sees_every_attribute():
    base = {"matrix": np.eye(2), "names": ("R", "G"), "wavelengths": [600, 500], "fwhm": [10, 20], "source": "s"}
    changes = {
        "matrix": np.eye(2)[::-1],
        "names": ("R", "B"),
        "wavelengths": [600, 501],
        "fwhm": None,
        "source": "t",
    }
    assert Srf(**base) == Srf(**base)
    for key, value in changes.items():
        assert Srf(**base) != Srf(**(base | {key: value})), key
    assert Srf(**base) != "an srf"
    with pytest.raises(TypeError, match="unhashable"):
        hash(Srf(**base))
