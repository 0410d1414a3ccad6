"""Bands that the MSI does not see are named, others are not."""

import numpy as np
import pytest

from hyperfuse.cube.cube import Cube
from hyperfuse.scenes.coverage import unseen_bands
from hyperfuse.scenes.fuse import fuse
from hyperfuse.scenes.matching.grid import match_pair
from hyperfuse.sensor import Srf
from hyperfuse.sensor.presets import mtf


def pair(hsi_nm, msi_nm=None, msi_fwhm=None, srf=None, msi_bands=2):
    hsi = Cube(data=np.random.default_rng(0).random((len(hsi_nm), 6, 6)), wavelengths=np.array(hsi_nm, float))
    msi = Cube(
        data=np.random.default_rng(1).random((msi_bands, 12, 12)),
        wavelengths=None if msi_nm is None else np.array(msi_nm, float),
        fwhm=None if msi_fwhm is None else np.array(msi_fwhm, float),
    )
    return match_pair(hsi, msi, sensor=mtf(2).replace(srf=srf))


WAVELENGTHS = [450, 500, 550, 600, 1600, 2200]


def test_bands_beyond_the_responses_are_named_with_their_wavelengths():
    srf = Srf([[0.5, 0.5, 0, 0, 0, 0], [0, 0, 0.5, 0.5, 0, 0]])
    matched = pair(WAVELENGTHS, srf=srf)
    told = unseen_bands(matched, matched.sensor)
    assert told.startswith("the MSI does not see bands 5-6 (1600 to 2200 nm)")


def test_a_gap_between_bands_of_the_msi_is_inside_its_range():
    srf = Srf([[1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1]])
    matched = pair(WAVELENGTHS, srf=srf)
    assert unseen_bands(matched, matched.sensor) == ""


@pytest.mark.parametrize(("fwhm", "expected"), [([60, 60], "5-6"), (None, "5-6"), ([60, 4000], "")])
def test_without_responses_the_wavelengths_of_the_msi_tell(fwhm, expected):
    matched = pair(WAVELENGTHS, [480, 580], fwhm)
    told = unseen_bands(matched, matched.sensor)
    assert (f"bands {expected} " in told) if expected else told == ""


def test_where_nothing_is_known_nothing_is_said():
    matched = pair(WAVELENGTHS)
    assert unseen_bands(matched, matched.sensor) == ""


def test_errors_of_both_kinds_of_bands_are_told_as_root_mean_squares():
    matched = pair(WAVELENGTHS, [480, 580], [60, 60])
    told = unseen_bands(matched, matched.sensor, [0.01, 0.01, 0.01, 0.01, 0.03, 0.04])
    assert "0.035 there, 0.01 elsewhere" in told


def test_the_history_of_a_result_holds_the_note():
    hsi = Cube(data=np.random.default_rng(0).random((6, 6, 6)), wavelengths=np.array(WAVELENGTHS, float))
    msi = Cube(data=np.random.default_rng(1).random((1, 12, 12)), wavelengths=[500], fwhm=[200])
    notes = fuse(hsi, msi, method="bicubic").history[-1]["notes"]
    assert any("does not see bands 5-6" in note for note in notes)
