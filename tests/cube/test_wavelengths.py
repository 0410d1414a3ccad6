import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperfuse.cube.wavelengths import to_nanometres
from hyperfuse.errors import HyperfuseWarning

UNITS = {"nm": 1.0, "Nanometers": 1.0, "um": 1e3, "Micrometers": 1e3, "µm": 1e3, "microns": 1e3, "Millimeters": 1e6}
UNITS |= {"cm": 1e7, "metres": 1e9, "Angstroms": 0.1}


@given(st.lists(st.floats(300, 15_000), min_size=1, max_size=5), st.sampled_from(sorted(UNITS.items())))
def test_units_of_length(nanometres, unit):
    name, factor = unit
    centres, widths = to_nanometres(np.array(nanometres) / factor, name, np.ones(len(nanometres)) / factor)
    assert np.allclose(centres, nanometres, rtol=1e-9)
    assert np.allclose(widths, 1.0, rtol=1e-9)


@given(st.floats(1e3, 3e4), st.floats(0.1, 2))
def test_wavenumbers(wavenumber, width):
    centres, widths = to_nanometres([wavenumber], "Wavenumber", [width])
    assert np.isclose(centres[0] * wavenumber, 1e7)
    edges = 1e7 / (wavenumber - width / 2) - 1e7 / (wavenumber + width / 2)
    assert np.isclose(widths[0], edges, rtol=1e-5)


def test_micrometres_are_exact_decimals():
    assert to_nanometres([0.41824, 2.4455], "um")[0].tolist() == [418.24, 2445.5]


def test_magnitude_decides_without_a_unit():
    for unit in (None, "", "Unknown"):
        assert to_nanometres([450, np.nan, 2500], unit)[0][0] == 450
        with pytest.warns(HyperfuseWarning, match=r"a\.hdr: .* without a unit, from 0\.45 to 2\.5; taken as mic"):
            centres, widths = to_nanometres([0.45, np.nan, 2.5], unit, [0.01, 0.01, 0.02], where="a.hdr")
        assert np.array_equal(centres, [450, np.nan, 2500], equal_nan=True)
        assert widths.tolist() == [10, 10, 20]


@pytest.mark.parametrize(("values", "unit"), [([1, 2], "GHz"), ([0, 1, 2], None), ([1, 2], "Index")])
def test_no_lengths(values, unit):
    with pytest.warns(HyperfuseWarning, match="is not a length; the wavelengths are left out"):
        assert to_nanometres(values, unit) == (None, None)


def test_nothing_known():
    assert to_nanometres([np.nan], "nm") == (None, None)
    assert to_nanometres(None, None) == (None, None)
    assert to_nanometres(None, "um", [0.01])[1].tolist() == [10.0]


def test_what_is_not_positive_is_unknown():
    with pytest.warns(
        HyperfuseWarning, match="a.tif: 1 of 3 wavelengths are not positive, such as -1; taken as unknown"
    ):
        centres, widths = to_nanometres([-1, 500, 600], "nm", [10, 0, 10], where="a.tif")
    assert np.array_equal(centres, [np.nan, 500, 600], equal_nan=True)
    assert np.array_equal(widths, [10, np.nan, 10], equal_nan=True)
    assert to_nanometres([0, 0], "nm", [0, 0]) == (None, None)
