"""Pairs of which the HSI's detectors lie apart, through the whole pipeline: found, fused, recorded; or left alone."""

import json

import numpy as np
import pytest
from affine import Affine

from hyperfuse.cube.cube import Cube
from hyperfuse.io import read, write
from hyperfuse.scenes.fuse import fuse, fuse_tiles
from hyperfuse.scenes.registration import align
from hyperfuse.scenes.simulate import simulate
from hyperfuse.sensor.detectors import Detector
from scenes import mixture, smooth_abundances

BANDS, RATIO = 16, 4
SWIR = np.arange(BANDS) >= 9
NAMES = tuple(f"{'SWIR' if swir else 'VNIR'} {band + 1}" for band, swir in enumerate(SWIR))
GRID = Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 4_100_000.0)


def made(apart=(0.4, -0.2), names=NAMES, snr=40.0):
    """A pair; the samples of the second detector lie elsewhere by ``apart`` LR pixels."""
    rng = np.random.default_rng(0)
    data = mixture(rng.random((BANDS, 5)).T, smooth_abundances(rng, 5, 96, 128, 1.5))
    reference = Cube(
        data=(data / data.max()).astype(np.float32),
        wavelengths=np.linspace(450, 2400, BANDS),
        band_names=names,
        transform=GRID,
        crs="EPSG:32633",
    )
    how = {"ratio": RATIO, "srf": "boxes:4", "hsi_snr_db": snr}
    pair = simulate(reference, **how)
    phase = tuple(at + RATIO * shift for at, shift in zip(pair.sensor.offset, apart, strict=True))
    moved = simulate(reference, **how, phase=phase)
    data = np.where(SWIR[:, None, None], moved.hsi.data, pair.hsi.data)
    return pair._replace(hsi=pair.hsi.replace(data=data))


def rms(image, pair):
    inner = np.s_[:, 8:-8, 8:-8]
    return float(np.sqrt(np.mean(np.square(image[inner] - pair.reference.data[inner], dtype=np.float64))))


def true_sensor(pair, apart=(0.4, -0.2)):
    shift = (RATIO * apart[0], RATIO * apart[1])
    vnir, swir = (tuple(np.flatnonzero(which).tolist()) for which in (~SWIR, SWIR))
    return pair.sensor.replace(detectors=(Detector("VNIR", vnir), Detector("SWIR", swir, shift)))


@pytest.mark.parametrize("known", [True, False])
def test_the_shift_between_detectors_is_found_and_used(known):
    pair = made()
    how = {"method": "local-regression", "psf": pair.sensor.psf if known else None}
    found = fuse(pair.hsi, pair.msi, **how, return_details=True)
    vnir, swir = found.match.sensor.detectors
    assert (vnir.name, swir.name) == ("VNIR", "SWIR")
    apart = (np.array(swir.shift) - np.array(vnir.shift)) / RATIO
    np.testing.assert_allclose(apart, (0.4, -0.2), atol=0.02)
    at = np.array(found.match.sensor.offset) + vnir.shift
    np.testing.assert_allclose(at, pair.sensor.offset, atol=0.02 * RATIO)
    exact = fuse(pair.hsi, pair.msi, method="local-regression", sensor=true_sensor(pair))
    as_one = fuse(pair.hsi.replace(band_names=None), pair.msi, **how)
    assert rms(found.image.data, pair) < 1.06 * rms(exact.data, pair)  # 0.5 dB
    assert rms(found.image.data, pair) < 0.5 * rms(as_one.data, pair)  # 6 dB
    assert sum("detectors lie apart" in note for note in found.notes) == 1
    assert sum("PSF estimated" in note for note in found.notes) == (not known)
    step = json.loads(json.dumps(found.image.history[-1]))
    assert [one["bands"] for one in step["sensor"]["detectors"]] == ["1-9", "10-16"]


def test_detectors_that_lie_at_one_position_change_nothing():
    pair = made(apart=(0.0, 0.0))
    stated = fuse(pair.hsi, pair.msi, method="local-regression", return_details=True)
    plain = fuse(pair.hsi.replace(band_names=None), pair.msi, method="local-regression")
    np.testing.assert_array_equal(stated.image.data, plain.data)
    assert stated.match.sensor.detectors == ()
    assert any("are taken to lie at one position: no shift" in note for note in stated.notes)


def test_nothing_is_said_where_no_detectors_are_stated():
    pair = made(apart=(0.0, 0.0), names=None)
    assert not any("detector" in note for note in fuse(pair.hsi, pair.msi, method="bicubic", return_details=True).notes)


@pytest.mark.parametrize("stated", [{"align": False}, {"phase": 1.5}, {"method": "cnmf", "srf": "boxes:4"}])
def test_stated_positions_and_methods_of_all_bands_at_once_are_respected(stated):
    pair = made()
    how = {"method": "bicubic", "psf": pair.sensor.psf, **stated}
    found = fuse(pair.hsi, pair.msi, **how, return_details=True)
    assert found.match.sensor.detectors == ()
    says = any("the method fuses all bands at once" in note for note in found.notes)
    assert says == ("method" in stated)


@pytest.mark.parametrize("method", ["bicubic", "local-regression", "feinfn"])
def test_tiles_are_as_the_whole(tmp_path, method):
    pair = made()
    sensor = true_sensor(pair)
    for name in ("hsi", "msi"):
        write(tmp_path / f"{name}.tif", getattr(pair, name))
    files = (tmp_path / "hsi.tif", tmp_path / "msi.tif", tmp_path / "out.tif")
    whole = fuse(pair.hsi, pair.msi, method=method, sensor=sensor)
    fuse_tiles(*files, method=method, sensor=sensor, tile=64)
    tiled = read(files[2])
    if method == "bicubic":
        np.testing.assert_allclose(tiled.data, whole.data, atol=2e-6)
    assert rms(tiled.data, pair) < 1.012 * rms(whole.data, pair)  # 0.1 dB
    assert tiled.history[-1]["sensor"]["detectors"] == [one.to_dict() for one in sensor.detectors]


def test_gaps_lie_where_the_detector_has_them():
    pair = made()
    valid = np.ones(pair.hsi.data.shape, bool)
    valid[SWIR, 10, 20] = False
    gappy = pair.hsi.replace(valid=valid)
    image = fuse(gappy, pair.msi, method="bicubic", sensor=true_sensor(pair))
    gaps = np.isnan(image.data) | (False if image.valid is None else ~image.valid)
    assert not gaps[~SWIR].any()
    rows, cols = np.nonzero(gaps[SWIR][0])
    centre = 1.5 + RATIO * np.array([10.4, 19.8])
    np.testing.assert_allclose([rows.mean(), cols.mean()], centre, atol=0.51)
    assert (rows.max() - rows.min(), cols.max() - cols.min()) == (3, 3)


def test_align_reports_them():
    pair = made()
    found = align(pair.hsi, pair.msi, psf=pair.sensor.psf)
    vnir, swir = found.evidence.to_dict()["detectors"]
    assert (vnir["bands"], swir["bands"]) == ("1-9", "10-16")
    for unit, size in (("lr_pixels", 1.0), ("hr_pixels", 4.0), ("metres", 40.0)):
        apart = np.array(swir["shift"][unit]) - vnir["shift"][unit]
        np.testing.assert_allclose(apart, (0.4 * size, -0.2 * size), atol=0.02 * size)


def test_a_sensor_of_other_bands_is_refused():
    pair = made()
    sensor = pair.sensor.replace(detectors=(Detector("VNIR", (0, 1)), Detector("SWIR", (2, 3))))
    with pytest.raises(Exception, match="the detectors record 4 bands, the HSI has 16"):
        fuse(pair.hsi, pair.msi, method="bicubic", sensor=sensor)
