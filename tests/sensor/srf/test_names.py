import numpy as np
import pytest

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.sensor.srf.cameras import srf_camera
from hyperfuse.sensor.srf.curves import srf_from_centres
from hyperfuse.sensor.srf.names import create_srf, list_srfs
from hyperfuse.sensor.srf.satellites import srf_from_satellite
from hyperfuse.sensor.srf.srf import HsiBands, srf_boxes

CENTRES = np.arange(400, 1001, 5.0)


def cube(**fields):
    return Cube(data=np.zeros((CENTRES.size, 1, 1)), **({"wavelengths": CENTRES} | fields))


def test_boxes():
    assert create_srf("boxes:6", 31) == srf_boxes(6, 31)
    assert create_srf("boxes:6", cube()) == srf_boxes(6, HsiBands(CENTRES.size, CENTRES))


def test_cameras():
    assert create_srf("Nikon-D700", 31) == srf_camera("nikon-d700", 31)
    assert create_srf("nikon-d700", cube()) == srf_camera("nikon-d700", HsiBands(CENTRES.size, CENTRES))


def test_satellites():
    assert create_srf(" Sentinel-2A:B2,b8a ", cube()) == srf_from_satellite("sentinel-2a", CENTRES, bands=["B2", "B8A"])
    assert create_srf("landsat-8:PAN", cube()).names == ("B8",)
    with pytest.warns(HyperfuseWarning, match=r"left out: B11 \(0%\), B12 \(0%\)"):
        assert create_srf("sentinel2a", cube(), drop_uncovered=True).msi_bands == 8


def test_gaussians():
    expected = srf_from_centres([450, 550.5], [60, 20], CENTRES, source="gaussian:450/60,550.5/20")
    assert create_srf("gaussian:450/60,550.5/20", cube()) == expected


def test_files(tmp_path, monkeypatch):
    weights = np.eye(3, CENTRES.size)
    np.save(tmp_path / "Weights.npy", weights)
    np.testing.assert_array_equal(create_srf(str(tmp_path / "Weights.npy"), CENTRES.size).matrix, weights)
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(create_srf("Weights.npy", cube()).matrix, weights)


def test_what_a_cube_knows_is_used_and_keywords_come_first():
    good = np.ones(CENTRES.size, bool)
    good[30:33] = False  # 550, 555 and 560 nm
    fwhm = np.full(CENTRES.size, 6.5)
    known = cube(good_bands=good, fwhm=fwhm)
    srf = create_srf("gaussian:555/40", known)
    assert srf == srf_from_centres([555], 40, HsiBands(CENTRES.size, CENTRES, fwhm, good), source="gaussian:555/40")
    assert not srf.matrix[0, 30:33].any()
    everything = create_srf("gaussian:555/40", known, usable=np.ones(CENTRES.size, bool))
    assert everything.matrix[0].argmax() == 31
    moved = create_srf("gaussian:555/40", known, wavelengths=CENTRES + 100)
    assert moved.matrix[0].argmax() == 11
    with pytest.raises(InputError, match="2 FWHM for"):
        create_srf("gaussian:555/40", known, fwhm=[5, 5])


def test_an_hsi_without_wavelengths_gets_a_hint():
    for spec in ("sentinel-2a", "gaussian:450/60", "landsat-9:B4"):
        with pytest.raises(InputError, match=r"need the wavelengths .* boxes:N, or a table of weights with 30 columns"):
            create_srf(spec, 30)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("boxes", "write boxes:6"),
        ("boxes:six", "write boxes:6"),
        ("boxes:-2", "write boxes:6"),
        ("boxes:0", "take 1 to 121"),
        ("gaussian:450", "write gaussian:450/60"),
        ("gaussian:450/60/7", "write gaussian:450/60"),
        ("gaussian:", "write gaussian:450/60"),
        ("gaussian:a/b", "write gaussian:450/60"),
        ("sentinel-2a:", "no band ''"),
        ("sentinal-2a", r"'sentinal-2a' is no SRF and no table .*; did you mean 'sentinel-2a'"),
        ("nikon", "did you mean 'nikon-d700'"),
        ("box:6", "did you mean 'boxes'"),
        ("nowhere/table.csv", "there is no such file"),
        ("", "'' is no SRF"),
    ],
)
def test_texts_that_name_no_srf_are_refused(spec, message):
    with pytest.raises(InputError, match=message):
        create_srf(spec, cube())


def test_all_that_is_listed_can_be_made():
    wide = np.arange(350, 2600, 10.0)
    for name, line in list_srfs().items():
        spec = {
            "boxes:N": "boxes:3",
            "gaussian:CENTRE/FWHM,...": "gaussian:450/60",
            "flat:CENTRE/FWHM,...": "flat:450/60",
        }.get(name, name)
        srf = create_srf(spec, wide.size, wavelengths=wide)
        if line.startswith("satellite"):
            kind = "satellite, nominal" if "nominal" in srf.source else "satellite"
            assert line == f"{kind}: " + ", ".join(srf.names)
