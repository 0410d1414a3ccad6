"""The sensor of a pair from the pair itself: what is given stays, what is found is reported."""

import numpy as np
import pytest
import torch

from hyperfuse.errors import InputError
from hyperfuse.sensor.estimation.location import locate
from hyperfuse.sensor.estimation.sampling import PairPart
from hyperfuse.sensor.estimation.sensor import estimate_sensor
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.presets import mtf
from hyperfuse.sensor.psf import BoxPsf, GaussianPsf
from hyperfuse.sensor.srf.coverage import outside_coverage
from hyperfuse.sensor.srf.srf import Srf
from scenes import fractions, gaussian_spectra, mixture, power_law_fields

WAVES = np.linspace(420.0, 960.0, 28)


def scene(rows=96, cols=96, seed=0):
    """Six materials of wide features, mixed and textured, in [0, 1]."""
    rng = np.random.default_rng(seed)
    abundances = fractions(power_law_fields(rng, 6, rows, cols, 1.4))
    return torch.from_numpy(mixture(gaussian_spectra(rng, WAVES, 6, 5), abundances))


def gaussians(*bands):
    rows = np.stack([np.exp(-4 * np.log(2) * ((WAVES - centre) / width) ** 2) for centre, width in bands])
    return Srf(rows / rows.sum(axis=1, keepdims=True))


SRF = gaussians((490, 70), (560, 40), (670, 60), (830, 110))
TRUE = Sensor(ratio=4, psf=GaussianPsf(sigma=(1.7, 1.7)), phase=(2.2, 0.9), srf=SRF)


def pair(true=TRUE, snr_db=None, **scene_options):
    image = scene(**scene_options)
    hsi, msi = true.degrade(image), true.respond(image)
    if snr_db is None:
        return hsi, msi
    generator = torch.Generator().manual_seed(0)
    return tuple(
        one + 10 ** (-snr_db / 20) * one.std() * torch.randn(one.shape, dtype=one.dtype, generator=generator)
        for one in (hsi, msi)
    )


def estimate(hsi, msi, phase=None, psf=None, srf=None, wavelengths=None, msi_valid=None):
    sensor = mtf(4).replace(phase=phase, srf=srf)
    sensor = sensor if psf is None else sensor.replace(psf=psf)
    part = PairPart(hsi, msi, sensor, msi_valid=msi_valid)
    return estimate_sensor([part], known_phase=phase is not None, known_psf=psf is not None, wavelengths=wavelengths)


def test_everything_is_found():
    hsi, msi = pair(snr_db=30)
    found = estimate(hsi, msi, wavelengths=WAVES)
    np.testing.assert_allclose(found.sensor.offset, TRUE.offset, atol=0.1)
    np.testing.assert_allclose(found.sensor.psf.sigma, 1.7, rtol=0.06)
    np.testing.assert_allclose(found.srf.wavelengths, SRF.matrix @ WAVES, atol=30)
    assert found.accepted.all()
    assert (found.explained > 0.97).all()
    assert found.position is not None
    assert found.position.before < found.position.after
    assert any("phase estimated" in note for note in found.notes)
    assert any("PSF estimated" in note for note in found.notes)
    np.testing.assert_allclose(found.gain, 1, atol=0.08)
    assert found.srf.source == "estimated from the pair"


def test_what_is_given_stays():
    hsi, msi = pair()
    found = estimate(hsi, msi, phase=TRUE.phase, psf=TRUE.psf, srf=SRF)
    assert found.sensor.to_dict() == TRUE.to_dict()
    assert found.position is None
    assert found.psf_fit is None
    assert found.gain.tolist() == [1] * 4
    assert found.offset.tolist() == [0] * 4
    assert (found.explained > 0.99999).all()
    assert found.notes == ()


def test_gain_and_offset_are_removed():
    hsi, msi = pair(snr_db=35)
    gain, offset = torch.tensor([1.25, 1.0, 0.8, 3.0]), torch.tensor([0.05, 0.0, 0.0, 0.2])
    other = msi * gain[:, None, None] + offset[:, None, None]
    found = estimate(hsi, other, phase=TRUE.phase, psf=TRUE.psf, srf=SRF)
    np.testing.assert_allclose(found.gain, gain, rtol=0.02)
    np.testing.assert_allclose(found.offset, offset, atol=0.02)
    residual = found.correct(other) - msi
    assert float(residual.abs().max()) < 0.02
    (note,) = [note for note in found.notes if "radiometry of the MSI differs" in note]
    assert "band 1 gain 1.2" in note
    assert "band 2" not in note


def test_a_band_of_other_ground_is_reported_and_left_alone():
    hsi, msi = pair(snr_db=35)
    msi[3] = pair(seed=9)[1][3] * 5
    found = estimate(hsi, msi, phase=TRUE.phase, psf=TRUE.psf, wavelengths=WAVES)
    assert found.accepted.tolist() == [True, True, True, False]
    assert any("band 4 is not explained" in note for note in found.notes)
    assert torch.equal(found.correct(msi)[3], msi[3])


def test_bands_beyond_the_msi_get_no_weight():
    true = TRUE.replace(srf=gaussians((490, 50), (560, 40), (640, 50)))
    found = estimate(*pair(true, snr_db=40), phase=TRUE.phase, psf=TRUE.psf, wavelengths=WAVES)
    beyond = WAVES > 800
    assert found.srf.matrix[:, beyond].sum(axis=1).max() < 0.03
    assert outside_coverage(WAVES, found.srf.matrix)[beyond].all()


def test_change_is_reported_and_left_out():
    hsi, msi = pair(snr_db=35)
    clean = estimate(hsi, msi, phase=TRUE.phase, psf=TRUE.psf, wavelengths=WAVES)
    msi[:, 10:40, 20:50] += 1.0
    found = estimate(hsi, msi, phase=TRUE.phase, psf=TRUE.psf, wavelengths=WAVES)
    assert 0.03 < found.changed < 0.25
    assert clean.changed < 0.01
    assert any("do not agree on" in note for note in found.notes)
    assert float(np.abs(found.gain - 1).max()) < 0.15


def test_haze_is_reported():
    hsi, msi = pair(snr_db=40)
    msi[0] += 0.05 * torch.sin(torch.arange(96) / 20)[:, None]
    found = estimate(hsi, msi, phase=TRUE.phase, psf=TRUE.psf, srf=SRF)
    assert any("smooth difference of brightness" in note and "band 1" in note for note in found.notes)


def test_unrelated_images_keep_the_assumed_sensor():
    hsi, _ = pair()
    _, msi = pair(seed=5)
    found = estimate(hsi, msi)
    assert found.sensor.offset == (1.5, 1.5)
    assert any("phase is not estimated" in note for note in found.notes)
    assert not found.accepted.any()


def test_gaps_are_left_out():
    hsi, msi = pair(snr_db=35)
    valid = torch.ones(96, 96, dtype=torch.bool)
    valid[30:50, 40:64] = False
    msi[:, ~valid] = 0
    found = estimate(hsi, msi, psf=TRUE.psf, srf=SRF, msi_valid=valid)
    np.testing.assert_allclose(found.sensor.offset, TRUE.offset, atol=0.05)
    np.testing.assert_allclose(found.gain, 1, atol=0.01)


def test_the_same_pair_gives_the_same_sensor():
    first, second = (estimate(*pair(snr_db=30), phase=TRUE.phase) for _ in range(2))
    assert first.sensor.to_dict() == second.sensor.to_dict()
    assert first.notes == second.notes


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_keep_their_type(dtype):
    hsi, msi = (one.to(dtype) for one in pair())
    found = estimate(hsi, msi, phase=TRUE.phase, psf=BoxPsf(width=(4, 4)), srf=SRF)
    assert found.correct(msi).dtype == dtype
    assert found.sensor.psf == BoxPsf(width=(4, 4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wavelengths": [500.0]}, "1 wavelengths for 28"),
        ({"srf": Srf([[1.0, 0.0]])}, "spectral responses turn 2 bands into 1"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        estimate(*pair(), phase=TRUE.phase, psf=TRUE.psf, **change)


def test_undeclared_gaps_are_refused():
    hsi, msi = pair()
    hsi[0, 0, 0] = torch.nan
    with pytest.raises(InputError, match="NaN"):
        estimate(hsi, msi)
    with pytest.raises(InputError, match=r"\(bands, rows, cols\)"):
        estimate(hsi[0], msi)


def test_too_small_a_pair_is_refused():
    with pytest.raises(InputError, match="36 are needed"):
        estimate(*pair(rows=16, cols=16), phase=1.5, psf=TRUE.psf, srf=SRF)


def cut(hsi, msi, sensor):
    """Cut three parts of 24 LR pixels."""
    return [
        PairPart(
            hsi[:, r : r + 24, c : c + 24],
            msi[:, 4 * r : 4 * r + 96, 4 * c : 4 * c + 96],
            sensor,
            origin=(4 * r, 4 * c),
        )
        for r, c in ((0, 0), (0, 24), (24, 8))
    ]


def test_responses_and_gains_of_a_scene_from_its_parts():
    hsi, msi = pair(snr_db=35, rows=192, cols=192)
    gain = torch.tensor([1.25, 1.0, 0.8, 3.0], dtype=msi.dtype)
    parts = cut(hsi, msi * gain[:, None, None], TRUE.replace(srf=None))
    found = estimate_sensor(parts, known_phase=True, known_psf=True, wavelengths=WAVES)
    np.testing.assert_allclose(found.srf.wavelengths, SRF.matrix @ WAVES, atol=30)
    np.testing.assert_allclose(found.gain, gain, rtol=0.1)
    assert found.accepted.all()


def test_phase_and_psf_of_a_scene_from_its_parts():
    hsi, msi = pair(snr_db=35, rows=192, cols=192)
    found = locate(cut(hsi, msi, mtf(4))[:2], known_phase=False, known_psf=False)
    np.testing.assert_allclose(found.sensor.psf.sigma, 1.7, rtol=0.06)
    for part in found.parts:
        np.testing.assert_allclose(part.sensor.offset, TRUE.phase, atol=0.1)
