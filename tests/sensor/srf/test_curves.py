import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.sensor.srf.curves import srf_from_centres, srf_from_curves
from hyperfuse.sensor.srf.srf import HsiBands

SIGMA_PER_FWHM = 1 / (2 * math.sqrt(2 * math.log(2)))


def overlapping_detectors(seed=0):
    """Centres of two detectors, irregular, overlapping between 900 and 1000 nm, in the order of the detectors."""
    rng = np.random.default_rng(seed)
    first = 420 + np.cumsum(rng.uniform(5, 9, 85))
    second = 900 + np.cumsum(rng.uniform(9, 12, 60))
    assert first[-1] > 960
    return np.concatenate([first, second])


def literal_response(samples, curve, centres, spectrum, step=0.01):
    """Integrate the curve times the linearly interpolated spectrum on a fine grid."""
    order = np.argsort(centres)
    fine = np.arange(samples[0], samples[-1] + step / 2, step)
    response = np.interp(fine, samples, curve)
    seen = np.interp(fine, np.asarray(centres)[order], np.asarray(spectrum)[order])
    return np.trapezoid(response * seen, fine) / np.trapezoid(response, fine)


@pytest.mark.parametrize("centre", [550.0, 553.3, 547.1])
@pytest.mark.parametrize("fwhm", [4.0, 15.0, 60.0])
def test_gaussian_against_the_closed_form(centre, fwhm):
    step = 10.0
    grid = np.arange(300, 801, step)
    srf = srf_from_centres([centre], [fwhm], grid)
    sigma = fwhm * SIGMA_PER_FWHM

    def twice_integrated(x):  # of the Gaussian density
        z = (x - centre) / sigma
        return (x - centre) * (1 + math.erf(z / math.sqrt(2))) / 2 + sigma * math.exp(-z * z / 2) / math.sqrt(
            2 * math.pi
        )

    # The integral of a density against a triangle of half width s is the second difference of that function over s.
    second = [(twice_integrated(c + step) - 2 * twice_integrated(c) + twice_integrated(c - step)) / step for c in grid]
    np.testing.assert_allclose(srf.matrix[0], second, atol=2e-5)
    np.testing.assert_allclose(srf.fwhm, [fwhm], rtol=1e-3)
    np.testing.assert_allclose(srf.wavelengths, [centre], atol=1e-3)


def test_rectangle_by_hand():
    srf = srf_from_curves([500, 530], [[2, 2]], [480, 490, 500, 510, 520, 530, 540])
    np.testing.assert_allclose(srf.matrix[0], [0, 0, 1 / 6, 1 / 3, 1 / 3, 1 / 6, 0], atol=1e-15)
    assert srf.names == ("band 1",)
    np.testing.assert_allclose(srf.fwhm, [30])


def test_curve_narrower_than_the_spacing_is_shared_by_its_two_neighbours():
    srf = srf_from_curves([501, 502, 503], [[0, 1, 0]], [490, 500, 510, 520])
    np.testing.assert_allclose(srf.matrix[0], [0, 0.8, 0.2, 0], atol=1e-14)


def test_any_spectrum_against_fine_integration():
    centres = overlapping_detectors()
    rng = np.random.default_rng(1)
    samples = np.linspace(700, 1100, 41)
    curves = rng.random((3, 41))
    spectra = rng.random((centres.size, 4))
    expected = [[literal_response(samples, curve, centres, spectrum) for spectrum in spectra.T] for curve in curves]
    srf = srf_from_curves(samples, curves, HsiBands(centres.size, centres, np.full(centres.size, 9.0)))
    np.testing.assert_allclose(srf.matrix @ spectra, expected, atol=2e-7)


def test_overlapping_detectors_are_not_counted_twice():
    first, second = np.arange(400, 1001, 10.0), np.arange(903, 1400, 10.0)
    curve = ([800, 1100], [[1, 1]])  # flat over [800, 1100], of which [900, 1000] is seen twice
    srf = srf_from_curves(*curve, np.concatenate([first, second]))
    overlap = np.concatenate([(first > 900) & (first < 1000), (second > 900) & (second < 1000)])
    assert srf.matrix[0, overlap].sum() == pytest.approx(97 / 300, abs=0.03)
    # Both detectors hold the same part of it: 9 centres of the first and 10 of the second, all 10 nm apart.
    assert srf.matrix[0, : first.size][overlap[: first.size]].sum() == pytest.approx(9 * 5 / 300, abs=1e-12)
    assert srf.wavelengths[0] == pytest.approx(950, abs=1e-9)


def test_bands_of_equal_centre_get_equal_weights():
    once = srf_from_curves([500, 540], [[1, 1]], [490, 500, 510, 520, 530, 540, 550])
    twice = srf_from_curves([500, 540], [[1, 1]], [520, 490, 500, 510, 520, 530, 540, 550])
    assert twice.matrix[0, 0] == twice.matrix[0, 4] == pytest.approx(once.matrix[0, 3] / 2)
    np.testing.assert_allclose(np.delete(twice.matrix[0], [0, 4]), np.delete(once.matrix[0], 3))


@settings(max_examples=25, deadline=None)
@given(data=st.data(), seed=st.integers(0, 10_000))
def test_laws_on_irregular_centres_in_any_order(data, seed):
    rng = np.random.default_rng(seed)
    centres = 400 + np.cumsum(rng.uniform(5.5, 8, 60))
    samples = np.sort(rng.uniform(centres[0], centres[-1], 25))
    curves = rng.random((2, 25)) * rng.uniform(1e-3, 1e3, (2, 1))
    fwhm = rng.uniform(3, 12, 60) if data.draw(st.booleans()) else None
    usable = np.ones(60, bool)  # single bad bands leave no hole
    usable[rng.choice(np.arange(2, 58, 2), 6, replace=False)] = False
    srf = srf_from_curves(samples, curves, HsiBands(centres.size, centres, fwhm, usable))
    assert (srf.matrix >= 0).all()
    np.testing.assert_allclose(srf.matrix.sum(axis=1), 1, atol=1e-12)  # a flat spectrum keeps its value
    assert (srf.matrix[:, ~usable] == 0).all()

    # A spectrum that is linear in wavelength is answered with its value at the centroid of the curve.
    fine = np.linspace(samples[0], samples[-1], 50_001)
    for k, curve in enumerate(curves):
        response = np.interp(fine, samples, curve)
        centroid = np.trapezoid(response * fine, fine) / np.trapezoid(response, fine)
        assert srf.wavelengths[k] == pytest.approx(centroid, abs=1e-3)
        assert srf.matrix[k] @ (3 + 0.01 * centres) == pytest.approx(3 + 0.01 * srf.wavelengths[k])

    order = data.draw(st.permutations(range(60)))
    shuffled = srf_from_curves(
        samples, curves, HsiBands(60, centres[order], None if fwhm is None else fwhm[order], usable[order])
    )
    np.testing.assert_array_equal(shuffled.matrix, srf.matrix[:, order])
    scaled = srf_from_curves(samples, curves * 7, HsiBands(centres.size, centres, fwhm, usable))
    np.testing.assert_allclose(scaled.matrix, srf.matrix, atol=1e-14)


def test_bad_bands_count_as_if_they_were_not_there():
    centres = overlapping_detectors()
    usable = np.ones(centres.size, bool)
    usable[[3, 40, 41, 100]] = False
    missing = centres.copy()
    missing[~usable] = np.nan
    samples, curves = np.linspace(430, 1100, 300), np.random.default_rng(2).random((2, 300))
    deleted = srf_from_curves(samples, curves, centres[usable])
    masked = srf_from_curves(samples, curves, HsiBands(missing.size, missing, usable=usable))
    np.testing.assert_array_equal(masked.matrix[:, usable], deleted.matrix)
    assert not masked.matrix[:, ~usable].any()


def test_partly_covered_curve_counts_where_it_is_seen():
    # Centres every 10 nm reach 5 nm beyond the last: 45 of the first curve's 90 nm are covered.
    centres = [500, 510, 520, 530, 540]
    srf = srf_from_curves([500, 590], [[1, 1]], centres)
    np.testing.assert_allclose(srf.matrix[0], np.array([5, 10, 10, 10, 10]) / 45, atol=1e-15)
    with pytest.raises(InputError, match=r"covers no band of the SRF curves: band 1 \(45%\)"):
        srf_from_curves([500, 600], [[1, 1]], centres)


def test_a_wider_fwhm_sees_further():
    fwhm = np.full(5, 30.0)
    srf = srf_from_curves([500, 600], [[1, 1]], HsiBands(5, [500, 510, 520, 530, 540], fwhm))
    np.testing.assert_allclose(srf.matrix[0], np.array([5, 10, 10, 10, 20]) / 55)


def test_a_gap_between_the_bands_is_a_hole():
    centres = np.concatenate([np.arange(1200, 1341, 10), np.arange(1460, 1601, 10)]).astype(float)
    with pytest.raises(InputError, match=r"covers no band .* 1390 nm \(0%\)"):
        srf_from_centres([1390], [30], centres)
    srf = srf_from_curves([1280, 1520], [[1, 1]], centres)
    expected = np.zeros(30)
    expected[8:15] = [5, 10, 10, 10, 10, 10, 10]  # 1280 to 1345
    expected[15:22] = [10, 10, 10, 10, 10, 10, 5]  # 1455 to 1520
    np.testing.assert_allclose(srf.matrix[0], expected / 130, atol=1e-15)


def test_one_missing_band_is_interpolated_across():
    srf = srf_from_curves([500, 520], [[1, 1]], [480, 490, 500, 520, 530, 540])
    np.testing.assert_allclose(srf.matrix[0], [0, 0, 0.5, 0.5, 0, 0], atol=1e-15)


def test_uncovered_bands_are_refused_or_left_out_by_name():
    centres = np.arange(400, 1001, 10.0)
    names = ("green", "swir", "red")
    arguments = ([550, 1600, 650], [40, 90, 30], centres)
    with pytest.raises(InputError, match=r"400 to 1000 nm.*swir \(0%\).*\(green, red\)"):
        srf_from_centres(*arguments, names=names)
    with pytest.warns(HyperfuseWarning, match=r"left out: swir \(0%\)"):
        srf = srf_from_centres(*arguments, names=names, drop_uncovered=True)
    assert srf.names == ("green", "red")
    np.testing.assert_allclose(srf.wavelengths, [550, 650], atol=1e-3)
    np.testing.assert_allclose(srf.fwhm, [40, 30], rtol=1e-3)
    assert srf.source == "gaussian, without swir (not covered by the HSI)"


def test_nothing_covered_is_refused_even_where_bands_may_be_left_out():
    with pytest.raises(InputError, match="covers no band"):
        srf_from_centres([1600, 2200], 90, np.arange(400, 1001, 10.0), drop_uncovered=True)


def test_samples_may_come_in_any_order():
    samples, curve = np.array([500.0, 505, 512, 530]), np.array([0.0, 1, 0.4, 0])
    straight = srf_from_curves(samples, curve, np.arange(450, 600, 7.0))
    backwards = srf_from_curves(samples[::-1], curve[::-1], np.arange(450, 600, 7.0))
    assert straight == backwards


def test_slightly_negative_responses_count_as_zero():
    grid = np.arange(450, 600, 7.0)
    dipped = srf_from_curves([500, 505, 512, 530], [0, 1, 0.4, -0.02], grid)
    cut = srf_from_curves([500, 505, 512, 530], [0, 1, 0.4, 0], grid)
    np.testing.assert_array_equal(dipped.matrix, cut.matrix)


def test_a_single_band_with_its_fwhm():
    srf = srf_from_curves([500, 510], [[1, 1]], HsiBands(1, [505], [20]))
    np.testing.assert_array_equal(srf.matrix, [[1]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"curves": [[0, 0, 0]]}, "nowhere above zero"),
        ({"curves": [[1, -0.1, 1]]}, "cut it at zero"),
        ({"curves": [[1, np.nan, 1]]}, "NaN or infinite"),
        ({"curves": [[1, 1]]}, "needed are"),
        ({"wavelengths_nm": [500, 500, 510]}, "500 nm twice"),
        ({"wavelengths_nm": [0.5, 0.51, 0.52]}, "no nm; multiply"),
        ({"hsi": [0.49, 0.5, 0.51]}, "no nm; multiply"),
        ({"hsi": [490, np.nan, 510]}, "1 HSI bands have no wavelength .* band 2"),
        ({"hsi": [500]}, "give its FWHM"),
        ({"hsi": []}, "one number per band"),
        ({"names": ["a", "b"]}, "2 names for 1 response curves"),
    ],
)
def test_input_that_makes_no_srf_is_refused(changes, message):
    arguments = {"wavelengths_nm": [500, 505, 510], "curves": [[1, 1, 1]], "hsi": [490, 500, 510]}
    with pytest.raises(InputError, match=message):
        srf_from_curves(**(arguments | changes))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"fwhm": [10, 10]}, "2 FWHM for 3 HSI bands"),
        ({"fwhm": [10, 0, 10]}, "not positive"),
        ({"wavelengths": None}, "need the wavelengths"),
        ({"wavelengths": [500]}, "1 wavelengths for 3 HSI bands"),
    ],
)
def test_hsi_bands_that_make_no_srf_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        srf_from_curves([500, 510], [[1, 1]], HsiBands(**({"count": 3, "wavelengths": [490, 500, 510]} | fields)))


@pytest.mark.parametrize(
    ("centres", "fwhm", "message"),
    [
        ([500, 600], [10, 20, 30], "one per band"),
        ([500], [0], "positive numbers"),
        ([-500], [10], "positive numbers"),
        ([np.nan], [10], "positive numbers"),
        ([], 10, "one per band"),
    ],
)
def test_gaussians_that_make_no_srf_are_refused(centres, fwhm, message):
    with pytest.raises(InputError, match=message):
        srf_from_centres(centres, fwhm, np.arange(400, 700, 10))
