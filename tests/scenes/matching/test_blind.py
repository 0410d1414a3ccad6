"""A pair as it comes: grid, shift, blur, responses and radiometry are found where nothing states them, only there."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.methods.contract.registry import get_method
from hyperfuse.scenes.job import FusionJob
from hyperfuse.scenes.matching.grid import MatchedPair
from hyperfuse.scenes.matching.grid import match_pair as match_cubes
from hyperfuse.scenes.pipeline import match_scene
from hyperfuse.scenes.source import PairSource
from hyperfuse.sensor.geometry import PairGeometry
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import GaussianPsf
from hyperfuse.sensor.srf.satellites import srf_from_satellite
from hyperfuse.sensor.srf.srf import Srf
from scenes import fractions, gaussian_spectra, mixture, power_law_fields

WAVES = np.linspace(420.0, 960.0, 20)
UTM33 = "EPSG:32633"


class Found(NamedTuple):
    """What is estimated for a pair, and the pair as it would be fused."""

    pair: MatchedPair
    alignment: object
    estimate: object


def match_pair(hsi, msi, **specified):
    return match_cubes(hsi, msi, PairGeometry(**specified))


def match_blind(hsi, msi, need_srf=True, **specified):
    method = get_method("regression")
    method = replace(method, capabilities=replace(method.capabilities, needs_srf=need_srf))
    geometry = PairGeometry(**specified)
    job = FusionJob(method=method, settings=method.configure(), geometry=geometry, device=torch.device("cpu"))
    source = match_scene(PairSource.of_cubes(hsi, msi), job).source
    (pair,) = (source.read(tile) for tile in source.whole.tiles())
    match = source.match
    if match.radiometry is not None:
        every = np.ones(msi.bands, np.bool_)
        msi = pair.msi.replace(data=match.radiometry.normalise(torch.from_numpy(pair.msi.data), every).numpy())
        pair = replace(pair, msi=msi)
    return Found(replace(pair, notes=match.notes), match.alignment, match.estimate)


def scene(rows=96, cols=96, seed=0):
    rng = np.random.default_rng(seed)
    abundances = fractions(power_law_fields(rng, 5, rows, cols, 1.5))
    return torch.from_numpy(mixture(gaussian_spectra(rng, WAVES, 5, 4), abundances))


def responses(*bands):
    rows = np.stack([np.exp(-4 * np.log(2) * ((WAVES - centre) / width) ** 2) for centre, width in bands])
    return Srf(rows / rows.sum(axis=1, keepdims=True))


SRF = responses((490, 80), (560, 60), (670, 80), (830, 120))
TRUE = Sensor(ratio=4, psf=GaussianPsf(sigma=(1.3, 1.3)), phase=(2.3, 0.8), srf=SRF)
IMAGE = scene()


def pair(true=TRUE, **fields):
    hsi, msi = true.degrade(IMAGE), true.respond(IMAGE)
    hsi = hsi + 0.002 * torch.randn(hsi.shape, dtype=hsi.dtype, generator=torch.Generator().manual_seed(0))
    return Cube(data=hsi.float().numpy(), wavelengths=WAVES, **fields), Cube(data=msi.float().numpy())


def test_all_is_found():
    found = match_blind(*pair())
    sensor = found.pair.sensor
    np.testing.assert_allclose(sensor.offset, TRUE.offset, atol=0.06)
    np.testing.assert_allclose(sensor.psf.sigma, 1.3, rtol=0.08)
    np.testing.assert_allclose(sensor.srf.matrix @ WAVES, SRF.matrix @ WAVES, atol=25)
    assert found.alignment.accepted
    assert found.estimate.accepted.all()
    text = " ".join(found.pair.notes)
    assert "PSF estimated" in text
    assert "HSI shifted by" in text
    assert "PSF not known" not in text


def test_a_sensor_is_used_as_given():
    hsi, msi = pair()
    given_sensor = TRUE.replace(phase=(1.5, 1.5))
    found = match_blind(hsi, msi, sensor=given_sensor)
    expected = match_pair(hsi, msi, sensor=given_sensor)
    assert found.pair.sensor.to_dict() == expected.sensor.to_dict()
    assert found.pair.notes == expected.notes
    assert found.alignment is None
    assert found.estimate is None


def test_a_sensor_without_responses_gets_them_where_they_are_needed():
    hsi, msi = pair()
    given_sensor = TRUE.replace(srf=None)
    assert match_blind(hsi, msi, sensor=given_sensor, need_srf=False).pair.sensor.srf is None
    found = match_blind(hsi, msi, sensor=given_sensor).pair.sensor
    np.testing.assert_allclose(found.srf.matrix @ WAVES, SRF.matrix @ WAVES, atol=25)
    assert found.psf == given_sensor.psf
    assert found.offset == given_sensor.offset


@pytest.mark.parametrize("given", [{"phase": 1.5}, {"align": False}])
def test_a_position_that_is_specified_stays(given):
    found = match_blind(*pair(), need_srf=False, **given)
    assert found.pair.sensor.offset == (1.5, 1.5)
    assert found.alignment is None


def test_given_blur_and_responses_stay_and_levels_are_removed():
    hsi, msi = pair()
    found = match_blind(hsi, msi.replace(data=1.3 * msi.data + 0.1), psf="sigma:1.3", srf=SRF)
    assert found.pair.sensor.psf == GaussianPsf(sigma=(1.3, 1.3))
    assert found.pair.sensor.srf == SRF
    np.testing.assert_allclose(found.estimate.gain, 1.3, rtol=0.03)
    cols = slice(-found.pair.msi.cols, None) if found.pair.msi.cols < msi.cols else slice(None)
    assert float(np.abs(found.pair.msi.data.mean() - msi.data[..., cols].mean())) < 0.01


def test_large_shifts_cut_the_pair_to_what_both_see():
    true = TRUE.replace(phase=(6.5, -3.4))
    hsi, msi = pair(true)
    found = match_blind(hsi, msi, need_srf=False)
    sensor, cut = found.pair.sensor, found.pair
    # The first rows and the last columns of the HSI lie where the MSI has data, or a pixel beyond.
    for axis, size, coarse in ((0, cut.msi.rows, cut.hsi.rows), (1, cut.msi.cols, cut.hsi.cols)):
        first = sensor.offset[axis] - 2
        assert first >= -1.6
        assert first + 4 * coarse <= size + 0.6
    assert any("the shift taken into account" in note for note in cut.notes)
    seen = sensor.degrade(torch.from_numpy(cut.msi.data), (cut.hsi.rows, cut.hsi.cols))
    made = np.einsum("mb,byx->myx", SRF.matrix, cut.hsi.data)
    inner = np.s_[:, 2:-2, 2:-2]
    assert float(np.abs(seen.numpy() - made)[inner].max()) < 0.03


def test_fusing_pays():
    hsi, msi = pair()
    method = get_method("regression")
    errors = []
    for found in (match_pair(hsi, msi), match_blind(hsi, msi, need_srf=False).pair):
        low, high = torch.from_numpy(found.hsi.data), torch.from_numpy(found.msi.data)
        fused = method(low, high, found.sensor, method.configure(), lambda *_: None)
        errors.append(float((fused - IMAGE[:, : fused.shape[1], : fused.shape[2]]).square().mean()))
    assert errors[1] < 0.5 * errors[0]


def test_another_grid_is_warped_and_noted():
    grid = (10.0, 0.0, 400000.0, 0.0, -10.0, 4000000.0)
    hsi, msi = pair(TRUE.replace(phase=(1.5, 1.5)))
    hsi = hsi.replace(transform=(40.0, 0.0, 400000.0, 0.0, -40.0, 4000000.0), crs=UTM33)
    mirrored = msi.replace(
        data=msi.data[:, ::-1].copy(), transform=(*grid[:3], 0.0, 10.0, 4000000.0 - 960.0), crs=UTM33
    )
    found = match_blind(hsi, mirrored, need_srf=False)
    assert "mirrored" in found.pair.notes[0]
    np.testing.assert_allclose(found.pair.msi.data, msi.data, atol=1e-6)
    np.testing.assert_allclose(found.pair.sensor.offset, (1.5, 1.5), atol=0.06)


def test_pairs_too_small_to_tell_keep_the_usual_sensor():
    hsi, msi = Cube(data=np.random.default_rng(0).random((8, 4, 4))), Cube(data=np.ones((3, 16, 16)))
    found = match_blind(hsi, msi)
    assert found.pair.sensor.to_dict() == match_pair(hsi, msi).sensor.to_dict()
    text = " ".join(found.pair.notes)
    assert "PSF not known" in text
    assert "alignment not checked" in text
    assert "spectral responses not estimated" in text


def test_bad_bands_and_gaps_stay_what_they_are():
    good = np.arange(20) != 7
    hsi, msi = pair(good_bands=good)
    data = hsi.data.copy()
    data[7] = 1e6
    seen = np.ones(msi.data.shape, np.bool_)
    seen[:, 20:40, 30:60] = False
    found = match_blind(hsi.replace(data=data), msi.replace(valid=seen))
    assert found.pair.sensor.srf.matrix.shape == (4, 20)
    assert (found.pair.sensor.srf.matrix[:, 7] == 0).all()
    assert (~found.pair.msi.valid_pixels).sum() >= 500
    np.testing.assert_allclose(found.pair.sensor.offset, TRUE.offset, atol=0.06)


def test_what_does_not_match_is_refused_as_before():
    hsi, msi = pair()
    with pytest.raises(InputError, match="swapped"):
        match_blind(msi, hsi)


def test_responses_of_a_known_sensor_are_taken_and_recorded():
    image = IMAGE
    waves = np.linspace(420.0, 960.0, 20)
    srf = srf_from_satellite("planetscope-superdove", waves, ["blue", "green", "red", "nir"])
    sensor = Sensor(ratio=4, psf=GaussianPsf(sigma=(1.3, 1.3)), srf=srf)
    hsi = Cube(data=sensor.degrade(image).float().numpy(), wavelengths=waves)
    msi = Cube(
        data=sensor.respond(image).float().numpy(),
        band_names=srf.names,
        attributes={"sensor": "planetscope-superdove"},
    )
    found = match_blind(hsi, msi)
    np.testing.assert_allclose(found.pair.sensor.srf.matrix, srf.matrix, atol=1e-3)
    source = "planetscope-superdove (nominal centres and widths, flat-topped): 4 as published"
    assert found.pair.sensor.srf.source == source
    assert any(source in note.replace(": MSI bands", ":") for note in found.pair.notes)
