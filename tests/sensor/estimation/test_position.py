"""Shifts, rotation and scale recovered from pairs whose HSI was not sampled at the positions its sensor states."""

import math

import numpy as np
import pytest
import torch

from hyperfuse.datasets.indian_pines import load_indian_pines
from hyperfuse.errors import InputError
from hyperfuse.sensor.estimation.location import fit_positions, locate
from hyperfuse.sensor.estimation.position import fit_position
from hyperfuse.sensor.estimation.sampling import PairPart, lr_positions, sample_through
from hyperfuse.sensor.estimation.views import Motion
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.presets import mtf
from hyperfuse.sensor.psf import GaussianPsf
from hyperfuse.sensor.srf.srf import Srf, srf_boxes
from scenes import fractions, mixture, power_law_fields

SLOW = [((0.3, -0.7), 30), ((0.3, -0.7), 20), ((5.0, 3.1), None), ((5.0, 3.1), 30)]


def smooth_scene(bands=24, rows=96, cols=104, seed=0):
    """A scene of four materials with mixed spectra, textured down to two pixels."""
    fields = power_law_fields(np.random.default_rng(seed), 4, rows, cols, 1.4)
    waves = np.linspace(0, 1, bands)
    spectra = np.stack([0.4 + 0.3 * np.sin(5 * waves + 2 * k) for k in range(4)])
    return torch.from_numpy(mixture(spectra, fractions(fields, 1.0)))


def pines():
    return torch.from_numpy(load_indian_pines().data[::2]).double()


def make(image, ratio=4, shift=(0.0, 0.0), degrees=0.0, scale=0.0, snr_db=None, seed=0):
    """An HSI sampled where the motion puts it, an MSI of four bands, and the sensor that states the unmoved grid."""
    sensor = mtf(ratio, srf_boxes(4, image.shape[0]))
    shape = sensor.lr_shape((image.shape[-2], image.shape[-1]))
    positions = lr_positions(sensor, np.argwhere(np.ones(shape, np.bool_)))
    y, x = positions.mean(axis=0)
    motion = Motion(shift, math.radians(degrees), scale, (float(y), float(x)))
    hsi = torch.from_numpy(sample_through(image, motion.apply(positions), sensor.psf).T.copy()).reshape(-1, *shape)
    msi = sensor.respond(image)
    if snr_db is not None:
        generator = torch.Generator().manual_seed(seed)
        hsi, msi = (
            one
            + (one.square().mean((1, 2), keepdim=True) * 10 ** (-snr_db / 10)).sqrt()
            * torch.randn(one.shape, dtype=one.dtype, generator=generator)
            for one in (hsi, msi)
        )
    return hsi, msi, sensor, motion, positions


def farthest(found, motion, positions):
    return float(np.linalg.norm(found.motion.apply(positions) - motion.apply(positions), axis=1).max())


@pytest.mark.parametrize("snr_db", [None, 30, 20])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.3, -0.3), (-1.6, 0.9), (5.0, -2.4)])
def test_shifts_on_a_synthetic_scene(shift, snr_db):
    hsi, msi, sensor, motion, positions = make(smooth_scene(), shift=shift, snr_db=snr_db)
    found = fit_position(PairPart(hsi, msi, sensor))
    assert found.accepted
    assert farthest(found, motion, positions) < (0.02 if snr_db is None else 0.1)
    assert found.after >= found.before - 1e-6


@pytest.mark.parametrize(
    ("shift", "snr_db"),
    [((0.3, -0.7), None), ((5.0, 3.1), 20), *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)],
)
def test_shifts_on_indian_pines(shift, snr_db):
    hsi, msi, sensor, motion, positions = make(pines(), shift=shift, snr_db=snr_db)
    found = fit_position(PairPart(hsi, msi, sensor), affine=False)
    assert found.accepted
    # The scene's contrast is a fifth of its mean: at 20 dB, noise is a third of the contrast.
    assert farthest(found, motion, positions) < (0.15 if snr_db == 20 else 0.1)


@pytest.mark.parametrize(
    ("image", "snr_db"),
    [(pines, 30), pytest.param(pines, None, marks=pytest.mark.slow), (smooth_scene, 30), (smooth_scene, 20)],
)
def test_half_a_degree(image, snr_db):
    hsi, msi, sensor, motion, positions = make(image(), shift=(0.4, -0.6), degrees=0.5, snr_db=snr_db)
    found = fit_position(PairPart(hsi, msi, sensor))
    assert math.degrees(found.motion.rotation) == pytest.approx(0.5, abs=0.1)
    assert abs(found.motion.scale) < 2e-3
    assert farthest(found, motion, positions) < 0.2


@pytest.mark.slow
def test_rotation_and_scale_over_a_wide_scene():
    hsi, msi, sensor, motion, positions = make(
        smooth_scene(8, 320, 400), shift=(2.3, -1.2), degrees=-0.8, scale=0.002, snr_db=30
    )
    # At the corners this is a shift of six HR pixels: more than one step from the centre could follow.
    assert np.abs(motion.apply(positions) - positions).max() > 4
    found = fit_position(PairPart(hsi, msi, sensor))
    assert farthest(found, motion, positions) < 0.1


def test_no_rotation_is_claimed_where_there_is_none():
    hsi, msi, sensor, *_ = make(smooth_scene(), shift=(1.2, 0.4), snr_db=20)
    found = fit_position(PairPart(hsi, msi, sensor))
    assert abs(math.degrees(found.motion.rotation)) < 0.1
    assert abs(found.motion.scale) < 2e-3


@pytest.mark.slow
def test_standard_errors_match_the_spread():
    errors, reported = [], []
    for seed in range(8):
        hsi, msi, sensor, *_ = make(smooth_scene(), shift=(0.4, -0.2), snr_db=20, seed=seed)
        found = fit_position(PairPart(hsi, msi, sensor), affine=False)
        errors.append(np.subtract(found.motion.shift, (0.4, -0.2)))
        reported.append(found.errors[:2])
    spread = float(np.sqrt(np.square(errors).mean()))
    assert 0.3 < float(np.mean(reported)) / spread < 3


def test_images_of_other_ground_are_not_accepted():
    hsi, _, sensor, *_ = make(smooth_scene(seed=1))
    _, msi, *_ = make(smooth_scene(seed=2))
    assert not fit_position(PairPart(hsi, msi, sensor)).accepted


@pytest.mark.parametrize("make_msi", [torch.ones_like, lambda msi: torch.rand(msi.shape, dtype=msi.dtype)])
def test_images_without_contrast_are_not_accepted(make_msi):
    torch.manual_seed(0)
    hsi, msi, sensor, *_ = make(smooth_scene())
    found = fit_position(PairPart(hsi, make_msi(msi), sensor))
    assert not found.accepted
    assert found.doubt


def test_a_shift_beyond_the_search_is_not_accepted():
    hsi, msi, sensor, *_ = make(smooth_scene(), shift=(9.0, 0.0))
    found = fit_position(PairPart(hsi, msi, sensor), max_shift=4)
    assert found.at_limit
    assert not found.accepted


def test_clouds_and_gaps_do_not_bias():
    hsi, msi, sensor, motion, positions = make(smooth_scene(), shift=(0.8, -0.5), snr_db=30)
    clouded = msi.clone()
    clouded[:, 20:44, 30:56] = 3.0
    found = fit_position(PairPart(hsi, clouded, sensor), affine=False)
    assert farthest(found, motion, positions) < 0.15
    valid = torch.ones(msi.shape[1:], dtype=torch.bool)
    valid[20:44, 30:56] = False
    clouded[:, ~valid] = 0
    found = fit_position(PairPart(hsi, clouded, sensor, msi_valid=valid), affine=False)
    assert farthest(found, motion, positions) < 0.05


def test_gain_and_offset_of_the_msi_do_not_matter():
    hsi, msi, sensor, *_ = make(smooth_scene(), shift=(0.8, -0.5), snr_db=30)
    other = msi * torch.tensor([1.0, 40.0, 0.1, 3.0], dtype=msi.dtype)[:, None, None] + 7
    first, second = (fit_position(PairPart(hsi, one, sensor), affine=False).motion.shift for one in (msi, other))
    np.testing.assert_allclose(first, second, atol=0.05)


def test_too_small_a_pair_is_refused():
    image = smooth_scene(4, 16, 16)
    hsi, msi, sensor, *_ = make(image)
    with pytest.raises(InputError, match="36 are needed"):
        fit_position(PairPart(hsi, msi, sensor))


@pytest.mark.slow
@pytest.mark.parametrize(("sigma", "snr_db"), [(0.5, None), (0.5, 30), (1.2, 30), (3.0, 30)])
def test_position_and_blur_alternately(sigma, snr_db):
    image = smooth_scene(12, 160, 160)
    true = Sensor(ratio=4, psf=GaussianPsf(sigma=(sigma, sigma)), phase=(2.1, 0.7), srf=srf_boxes(4, 12))
    hsi, msi = true.degrade(image), true.respond(image)
    if snr_db is not None:
        generator = torch.Generator().manual_seed(0)
        hsi, msi = (
            one + 10 ** (-snr_db / 20) * one.std() * torch.randn(one.shape, dtype=one.dtype, generator=generator)
            for one in (hsi, msi)
        )
    found = locate([PairPart(hsi, msi, mtf(4))], known_phase=False, known_psf=False).sensor
    np.testing.assert_allclose(found.offset, true.offset, atol=0.08)
    # Narrow Gaussians and boxes are the same few weights: what counts is what they make of the image.
    difference = found.replace(phase=true.offset).degrade(image) - true.degrade(image)
    assert float(difference.std()) < 0.03 * float(true.degrade(image).std())


def test_motion_rotates_and_scales_about_its_centre():
    motion = Motion((1.0, 2.0), math.pi / 2, 0.5, (10.0, 20.0))
    # One pixel along +x goes to -y... on the screen, counter-clockwise, stretched by half, then shifted.
    np.testing.assert_allclose(motion.apply(np.array([[10.0, 21.0]])), [[10.0 - 1.5 + 1, 22.0]])
    np.testing.assert_allclose(motion.apply(np.array([[10.0, 20.0]])), [[11.0, 22.0]])


def test_srf_is_not_needed():
    hsi, msi, sensor, motion, positions = make(smooth_scene(), shift=(0.6, 0.2))
    assert isinstance(sensor.srf, Srf)
    found = fit_position(PairPart(hsi, msi, sensor.replace(srf=None)))
    assert farthest(found, motion, positions) < 0.02


def parts_of(hsi, msi, sensor, side, corners):
    """Cut parts of ``side`` LR pixels from a pair of a whole ratio whose phase is centred."""
    ratio = int(sensor.ratio[0])
    parts = []
    for row, col in corners:
        low = hsi[:, row : row + side, col : col + side]
        high = msi[:, row * ratio : (row + side) * ratio, col * ratio : (col + side) * ratio]
        parts.append(PairPart(low, high, sensor, origin=(row * ratio, col * ratio)))
    return parts


CORNERS = [(0, 0), (0, 60), (60, 0), (60, 60), (30, 30)]


def test_shift_rotation_and_scale_of_a_scene_from_its_parts():
    image = smooth_scene(8, 336, 336)
    hsi, msi, sensor, motion, positions = make(image, shift=(0.6, -0.4), degrees=0.4, scale=0.003, snr_db=30)
    parts = parts_of(hsi, msi, sensor, 24, CORNERS)
    found = fit_positions(parts)
    assert found.accepted
    assert math.degrees(found.motion.rotation) == pytest.approx(0.4, abs=0.03)
    assert found.motion.scale == pytest.approx(0.003, abs=5e-4)
    assert found.errors[2] < math.radians(0.05)
    assert farthest(found, motion, positions) < 0.25
    assert found.before < found.after


def test_no_rotation_is_claimed_from_parts_of_a_shifted_scene():
    hsi, msi, sensor, motion, positions = make(smooth_scene(8, 336, 336), shift=(1.2, -0.7), snr_db=30)
    found = fit_positions(parts_of(hsi, msi, sensor, 24, CORNERS))
    assert found.accepted
    assert found.motion.rotation == found.motion.scale == 0
    assert farthest(found, motion, positions) < 0.05


def test_parts_that_show_nothing_do_not_count():
    hsi, msi, sensor, motion, positions = make(smooth_scene(8, 336, 336), shift=(1.2, -0.7), snr_db=30)
    parts = parts_of(hsi, msi, sensor, 24, CORNERS[:3])
    parts[1] = PairPart(torch.ones_like(parts[1].hsi), parts[1].msi, sensor, origin=parts[1].origin)
    assert farthest(fit_positions(parts), motion, positions) < 0.05
    assert farthest(fit_positions(parts[:2]), motion, positions) < 0.05
    assert not fit_positions(parts[1:2]).accepted


def test_parts_that_contradict_each_other_are_not_accepted():
    hsi, msi, sensor, *_ = make(smooth_scene(8, 336, 336), shift=(0.5, 0.5), snr_db=30)
    other, *_ = make(smooth_scene(8, 336, 336), shift=(-3.0, 2.0), snr_db=30)
    parts = parts_of(hsi, msi, sensor, 24, CORNERS[:2]) + parts_of(other, msi, sensor, 24, CORNERS[2:4])
    assert "uncertain" in fit_positions(parts, affine=False).doubt


def test_one_part_is_fitted_as_a_pair():
    hsi, msi, sensor, *_ = make(smooth_scene(), shift=(0.4, -0.6), degrees=0.5, snr_db=30)
    moved = PairPart(hsi, msi, sensor, origin=(100.0, 50.0))
    first, second = fit_position(PairPart(hsi, msi, sensor)), fit_positions([moved])
    assert second.motion.shift == first.motion.shift
    np.testing.assert_allclose(np.subtract(second.motion.centre, first.motion.centre), (100, 50))
