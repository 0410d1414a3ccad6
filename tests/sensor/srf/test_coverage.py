"""Bands outside the spectral coverage of the MSI are found and named, others are not."""

import numpy as np
import pytest

from hyperfuse.cube.cube import Cube
from hyperfuse.scenes.fuse import fuse
from hyperfuse.sensor.srf.coverage import coverage_note, outside_coverage, true_runs

WAVELENGTHS = [450, 500, 550, 600, 1600, 2200]
NUMBERS = np.arange(1, 7)


def note(*given, rmse=None, **named):
    return coverage_note(outside_coverage(WAVELENGTHS, *given, **named), NUMBERS, WAVELENGTHS, rmse)


def test_bands_beyond_the_responses_are_named_with_their_wavelengths():
    found = note([[0.5, 0.5, 0, 0, 0, 0], [0, 0, 0.5, 0.5, 0, 0]])
    assert found.startswith("bands outside the spectral coverage of the MSI: 5-6 (1600 to 2200 nm); their fine detail")


def test_a_wide_gap_between_bands_of_the_msi_is_outside_and_a_narrow_one_covered():
    responses = [[1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1]]
    assert outside_coverage(WAVELENGTHS, responses).tolist() == [False, True, True, True, True, False]
    assert "2-5 (500 to 1600 nm)" in note(responses)
    narrow = outside_coverage([640, 645, 650, 655, 660, 665], responses)
    assert narrow.tolist() == [False, False, False, False, False, False]


def test_without_wavelengths_the_weights_decide():
    assert outside_coverage(None, [[1, 0.019, 0.021], [0, 0, 0]]).tolist() == [False, True, False]
    assert coverage_note(np.array([False, True, True]), [2, 4, 6]).startswith(
        "bands outside the spectral coverage of the MSI: 4, 6;"
    )


def test_responses_that_are_not_known_are_left_out():
    unknown = [np.nan] * 3
    assert outside_coverage([500, 600, 700], [[1, 0, 0], unknown]).tolist() == [False, True, True]
    assert outside_coverage([500, 600, 700], [unknown]) is None


@pytest.mark.parametrize(("fwhm", "expected"), [([60, 60], "5-6"), (None, "5-6"), ([60, 4000], "")])
def test_without_responses_wavelengths_and_widths_of_the_msi_decide(fwhm, expected):
    found = note(msi_wavelengths=[480, 580], msi_fwhm=fwhm)
    assert (f"MSI: {expected} " in found) if expected else found == ""


@pytest.mark.parametrize(
    ("msi", "fwhm"), [(None, None), ([500.0], None), ([np.nan, 500.0], [10.0, 10.0]), (None, [10.0])]
)
def test_where_nothing_is_known_nothing_is_said(msi, fwhm):
    assert outside_coverage(WAVELENGTHS, None, msi, fwhm) is None
    assert note(None, msi, fwhm) == ""
    assert outside_coverage(None, None, [500.0, 600.0], [10.0, 10.0]) is None


def test_errors_of_both_kinds_of_bands_are_root_mean_squares():
    rmse = [0.01, 0.01, 0.01, 0.01, 0.03, 0.04]
    found = note(msi_wavelengths=[480, 580], msi_fwhm=[60, 60], rmse=rmse)
    assert "0.035 there, 0.01 elsewhere" in found
    assert note(msi_wavelengths=[9000], msi_fwhm=[60], rmse=rmse).endswith("held-out LR pixels 0.022")


def test_runs_of_a_mask():
    assert true_runs(np.array([False, True, True, False, True])) == [(1, 2), (4, 4)]
    assert true_runs(np.zeros(3, np.bool_)) == []


def test_the_history_of_a_result_holds_the_note():
    hsi = Cube(data=np.random.default_rng(0).random((6, 6, 6)), wavelengths=np.array(WAVELENGTHS, float))
    msi = Cube(data=np.random.default_rng(1).random((1, 12, 12)), wavelengths=[500], fwhm=[200])
    notes = fuse(hsi, msi, method="bicubic").history[-1]["notes"]
    assert any("outside the spectral coverage of the MSI: 5-6" in note for note in notes)
