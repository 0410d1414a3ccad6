"""Widths of Gaussians and boxes recovered from pairs, and when they are not accepted."""

import math

import numpy as np
import pytest
import torch

from hyperfuse.errors import InputError
from hyperfuse.sensor.estimation.psf import fit_psf
from hyperfuse.sensor.estimation.sampling import PairPart
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.presets import mtf
from hyperfuse.sensor.psf import BoxPsf, GaussianPsf
from hyperfuse.sensor.published import psf_prior
from hyperfuse.sensor.srf.srf import srf_boxes
from scenes import mixture, power_law_fields


def scene(bands=12, rows=96, cols=96, seed=0):
    rng = np.random.default_rng(seed)
    fields = power_law_fields(rng, 4, rows, cols, 1.4)
    return torch.from_numpy(mixture(rng.random((bands, 4)).T, fields) + 5)


def pair(psf, ratio=4, snr_db=None, msi_snr_db=None, image=None):
    image = scene() if image is None else image
    true = Sensor(ratio=ratio, psf=psf, srf=srf_boxes(4, image.shape[0]))
    generator = torch.Generator().manual_seed(0)

    def noisy(one, decibels):
        if decibels is None:
            return one
        return one + 10 ** (-decibels / 20) * one.std() * torch.randn(one.shape, dtype=one.dtype, generator=generator)

    return noisy(true.degrade(image), snr_db), noisy(true.respond(image), msi_snr_db), mtf(ratio)


@pytest.mark.parametrize("sigma", [(0.6, 0.6), (1.2, 1.2), (1.97, 1.97), (3.5, 3.5), (1.2, 2.2)])
@pytest.mark.parametrize("snr_db", [None, 25])
def test_gaussians(sigma, snr_db):
    found = fit_psf([PairPart(*pair(GaussianPsf(sigma=sigma), snr_db=snr_db))])
    assert found.accepted
    assert isinstance(found.psf, GaussianPsf) or sigma[0] < 1
    if isinstance(found.psf, GaussianPsf):
        np.testing.assert_allclose(found.psf.sigma, sigma, rtol=0.002 if snr_db is None else 0.06)


def test_boxes():
    found = fit_psf([PairPart(*pair(BoxPsf(width=(4, 4)), snr_db=35))])
    assert isinstance(found.psf, BoxPsf)
    np.testing.assert_allclose(found.psf.width, 4, rtol=0.05)


@pytest.mark.parametrize("true", [GaussianPsf(sigma=(0.5, 0.5)), GaussianPsf(sigma=(1.5, 1.5)), BoxPsf(width=(4, 4))])
def test_the_phase_is_found_with_the_width(true):
    image = scene()
    sensor = Sensor(ratio=4, psf=true, phase=(2.0, 1.1), srf=srf_boxes(4, 12))
    found = fit_psf([PairPart(sensor.degrade(image), sensor.respond(image), mtf(4))], free_phase=True)
    np.testing.assert_allclose(np.add(found.shift, 1.5), (2.0, 1.1), atol=0.02)
    assert type(found.psf) is type(true)


def test_noise_of_the_hsi_does_not_widen():
    """The plain residual falls as any blur widens; the correlation does not."""
    found = fit_psf([PairPart(*pair(GaussianPsf(sigma=(1.97, 1.97)), snr_db=15))])
    np.testing.assert_allclose(found.psf.sigma, 1.97, rtol=0.1)


def test_noise_of_the_msi_does_not_widen():
    found = fit_psf([PairPart(*pair(GaussianPsf(sigma=(0.7, 0.7)), msi_snr_db=15))])
    assert found.psf.kind == "gaussian"
    np.testing.assert_allclose(found.psf.sigma, 0.7, rtol=0.15)


def test_a_ratio_that_is_not_whole_and_not_square():
    hsi, msi, _ = pair(GaussianPsf(sigma=(1.5, 2.5)), ratio=(2.7, 4.2))
    found = fit_psf([PairPart(hsi, msi, mtf((2.7, 4.2)))])
    np.testing.assert_allclose(found.psf.sigma, (1.5, 2.5), rtol=0.02)


def test_declared_clouds_are_left_out():
    hsi, msi, sensor = pair(GaussianPsf(sigma=(1.5, 1.5)))
    valid = torch.ones(msi.shape[1:], dtype=torch.bool)
    valid[30:50, 40:70] = False
    msi[:, ~valid] = 50
    found = fit_psf([PairPart(hsi, msi, sensor, msi_valid=valid)])
    np.testing.assert_allclose(found.psf.sigma, 1.5, rtol=0.05)


@pytest.mark.parametrize("make_msi", [torch.ones_like, lambda msi: torch.rand(msi.shape, dtype=msi.dtype)])
def test_a_width_that_the_pair_does_not_determine_is_not_accepted(make_msi):
    torch.manual_seed(0)
    hsi, msi, sensor = pair(GaussianPsf(sigma=(1.5, 1.5)))
    assert not fit_psf([PairPart(hsi, make_msi(msi), sensor)]).accepted


def test_too_small_a_pair_is_refused():
    hsi, msi, sensor = pair(GaussianPsf(sigma=(1.5, 1.5)), image=scene(6, 16, 16))
    with pytest.raises(InputError, match="36 are needed"):
        fit_psf([PairPart(hsi, msi, sensor)])


@pytest.mark.parametrize("snr_db", [None, 25])
def test_several_parts_are_one_equation(snr_db):
    hsi, msi, sensor = pair(GaussianPsf(sigma=(1.2, 2.2)), snr_db=snr_db, image=scene(rows=160, cols=160))
    parts = [
        PairPart(hsi[:, r : r + 14, c : c + 14], msi[:, 4 * r : 4 * r + 56, 4 * c : 4 * c + 56], sensor)
        for r, c in ((0, 0), (0, 24), (24, 0), (24, 24))
    ]
    found = fit_psf(parts)
    assert found.accepted
    np.testing.assert_allclose(found.psf.sigma, (1.2, 2.2), rtol=0.02 if snr_db is None else 0.08)


PRISMA = psf_prior({"sensor": "PRISMA"})


def small_pair(seed, width, snr_db):
    """A pair of few LR pixels of a noisy HSI, whose PSF has the standard deviation ``width`` in LR pixels."""
    image = scene(rows=72, cols=72, seed=seed)
    return [PairPart(*pair(GaussianPsf(sigma=(3 * width,) * 2), ratio=3, snr_db=snr_db, image=image))]


def test_what_is_published_of_a_sensor_helps_where_the_pair_shows_little():
    errors = {None: [], PRISMA: []}
    for seed in range(6):
        parts = small_pair(seed, 0.72, 12)
        for prior, found in errors.items():
            found.append(abs(math.log(fit_psf(parts, prior=prior).psf.factors()[0].y.radius / (4 * 3 * 0.72))))
    assert np.mean(errors[PRISMA]) < 0.6 * np.mean(errors[None])


def test_a_pair_that_shows_another_psf_wins_over_what_is_published():
    found = fit_psf([PairPart(*pair(GaussianPsf(sigma=(1.4, 1.4)), snr_db=35))], prior=PRISMA)
    assert found.accepted
    np.testing.assert_allclose(found.psf.sigma, 1.4, rtol=0.05)
