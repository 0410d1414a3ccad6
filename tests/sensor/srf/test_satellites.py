import subprocess
import sys

import numpy as np
import pytest

from hyperfuse.errors import HyperfuseWarning, InputError, MissingDependencyError
from hyperfuse.io.products.nominal_bands import NOMINAL_BANDS
from hyperfuse.sensor.srf.curves import FLAT_TOPPED, GAUSSIAN, srf_from_centres
from hyperfuse.sensor.srf.satellites import find_satellite, list_satellites, srf_from_satellite
from hyperfuse.sensor.srf.srf import HsiBands

FINE = np.arange(350, 2600, 4.0)


@pytest.mark.parametrize("name", [name for name, known in list_satellites().items() if known.pyrsr_names])
def test_the_bands_are_those_of_pyrsr_and_all_can_be_read(name):
    from pyrsr.sensorspecs import get_LayerBandsAssignment

    satellite = list_satellites()[name]
    subsystem = "SAM" if satellite.pyrsr_names[1] in ("TM", "ETM+") else ""
    held = get_LayerBandsAssignment(*satellite.pyrsr_names, subsystem)
    assert sorted(satellite.bands + satellite.further_bands) == sorted(f"B{band}" for band in held)
    srf = srf_from_satellite(name, FINE)
    assert srf.names == satellite.bands
    assert srf.matrix.shape == (len(satellite.bands), FINE.size)
    assert srf.source == f"{name} (pyrsr)"
    if satellite.pan is not None:
        pan = srf_from_satellite(name, FINE, bands=["pan"])
        assert pan.names == (satellite.pan,)
        assert 550 < pan.wavelengths[0] < 720


@pytest.mark.parametrize(("name", "bands"), [("sentinel-2a", ["4", "8A", "11"]), ("landsat-8", ["2", "7", "8"])])
def test_responses_against_fine_integration_of_the_curves_of_pyrsr(name, bands):
    from pyrsr import RSR

    rng = np.random.default_rng(0)
    first, second = 420 + np.cumsum(rng.uniform(5, 9, 85)), 900 + np.cumsum(rng.uniform(9, 12, 150))
    centres = np.concatenate([first, second])
    srf = srf_from_satellite(name, HsiBands(centres.size, centres, np.full(centres.size, 9.0)), bands=bands)
    spectrum = rng.random(centres.size)
    order = np.argsort(centres)
    curves = RSR(*list_satellites()[name].pyrsr_names, no_thermal=True)
    fine = np.arange(400, 2500, 0.01)
    seen = np.interp(fine, centres[order], spectrum[order])
    for k, band in enumerate(bands):
        response = np.maximum(np.interp(fine, curves.rsrs_wvl, curves.rsrs_norm01[band]), 0)
        expected = np.trapezoid(response * seen, fine) / np.trapezoid(response, fine)
        assert srf.matrix[k] @ spectrum == pytest.approx(expected, abs=1e-5)


def test_sentinel_2_centres_are_the_published_ones():
    # ESA, Sentinel-2 spectral response functions (COPE-GSEG-EOPG-TN-15-0007): central wavelengths of Sentinel-2A.
    published = [492.4, 559.8, 664.6, 704.1, 740.5, 782.8, 832.8, 864.7, 1613.7, 2202.4]
    srf = srf_from_satellite("sentinel-2a", FINE)
    assert srf.names == ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
    np.testing.assert_allclose(srf.wavelengths, published, atol=0.06)


@pytest.mark.parametrize("bands", [["B2", "B8A"], ["2", "8a"], ["b02", " B08A "]])
def test_ways_to_write_a_band(bands):
    assert srf_from_satellite("sentinel-2a", FINE, bands=bands).names == ("B2", "B8A")


def test_bands_keep_the_order_asked_for():
    backwards = srf_from_satellite("sentinel-2b", FINE, bands=["B8", "B3"])
    straight = srf_from_satellite("sentinel-2b", FINE, bands=["B3", "B8"])
    np.testing.assert_array_equal(backwards.matrix, straight.matrix[::-1])


def test_short_wave_bands_beyond_the_hsi_are_refused_or_left_out():
    visible = np.arange(400, 1001, 5.0)
    with pytest.raises(InputError, match=r"B11 \(0%\), B12 \(0%\).*\(B2, B3, B4, B5, B6, B7, B8, B8A\)"):
        srf_from_satellite("sentinel-2a", visible)
    with pytest.warns(HyperfuseWarning, match=r"left out: B11 \(0%\), B12 \(0%\)"):
        srf = srf_from_satellite("sentinel-2a", visible, drop_uncovered=True)
    assert srf.names[-1] == "B8A"


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match=r"did you mean 'sentinel-2[abc]'"):
        srf_from_satellite("sentinel-2", FINE)
    with pytest.raises(InputError, match="sentinel-2a has no band 'B13'; its bands are B2, B3"):
        srf_from_satellite("sentinel-2a", FINE, bands=["B13"])
    with pytest.raises(InputError, match="no panchromatic band"):
        srf_from_satellite("sentinel-2a", FINE, bands=["PAN"])
    with pytest.raises(InputError, match="chosen twice"):
        srf_from_satellite("landsat-8", FINE, bands=["PAN", "B8"])
    with pytest.raises(InputError, match="no band of landsat-8 is chosen"):
        srf_from_satellite("landsat-8", FINE, bands=[])


@pytest.mark.parametrize("text", ["Sentinel-2A", "sentinel2a", "SENTINEL_2A", "sentinel 2a"])
def test_names_are_found_however_they_are_written(text):
    found = find_satellite(text)
    assert found is not None
    assert found.name == "sentinel-2a"


def test_pyrsr_is_loaded_only_where_it_is_used():
    code = "import sys, hyperfuse.sensor.srf.satellites as s; s.list_satellites(); print('pyrsr' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_missing_pyrsr_is_an_error_that_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyrsr", None)
    with pytest.raises(MissingDependencyError, match=r"landsat-8 needs the package pyrsr: .*hyperfuse\[sensors\]"):
        srf_from_satellite("landsat-8", FINE)


@pytest.mark.parametrize("name", [name for name, known in list_satellites().items() if not known.pyrsr_names])
def test_nominal_bands_have_their_centres_and_widths(name):
    satellite = list_satellites()[name]
    nominal = {band: (centre, width) for band, centre, width in NOMINAL_BANDS[name]}
    assert set(satellite.all_bands) == set(nominal)
    fine = np.arange(300, 2700, 1.0)
    srf = srf_from_satellite(name, fine, bands=list(dict.fromkeys(satellite.all_bands)))
    assert srf.source == f"{name} (nominal centres and widths, flat-topped)"
    for band, centre, width in zip(srf.names, srf.wavelengths, srf.fwhm, strict=True):
        assert (centre, width) == pytest.approx(nominal[band], abs=0.1)
    assert srf_from_satellite(name, fine).names == satellite.bands


def test_flat_topped_responses_lie_within_their_width():
    """A Gaussian has 24 % of its area beyond its FWHM; the published curves of multispectral sensors 2 to 8 %."""
    fine = np.arange(500, 800, 0.5)
    outside = np.abs(fine - 650) > 30
    parts = {
        exponent: srf_from_centres([650], [60], fine, exponent=exponent).matrix[0, outside].sum()
        for exponent in (GAUSSIAN, FLAT_TOPPED)
    }
    assert parts[GAUSSIAN] == pytest.approx(0.239, abs=0.005)
    assert parts[FLAT_TOPPED] == pytest.approx(0.051, abs=0.005)


def test_satellites_whose_bands_have_names():
    srf = srf_from_satellite("PlanetScope SuperDove", FINE, bands=["Blue", "NIR"])
    assert srf.names == ("blue", "nir")
    assert srf_from_satellite("worldview3", FINE, bands=["s1", "RE"]).names == ("S1", "RE")
    assert srf_from_satellite("worldview-2", FINE, bands=["pan"]).names == ("P",)
    with pytest.raises(InputError, match="worldview-2 has no band 'S1'; its bands are C, B, G"):
        srf_from_satellite("worldview-2", FINE, bands=["S1"])
