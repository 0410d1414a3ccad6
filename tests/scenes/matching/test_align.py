"""Shifts, rotation and scale between two cubes: found, corrected through the sensor, or refused."""

import math
from typing import NamedTuple

import numpy as np
import pytest
import torch

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import six_numbers
from hyperfuse.cube.window import Window
from hyperfuse.datasets.indian_pines import load_indian_pines
from hyperfuse.errors import InputError
from hyperfuse.io.windows.memory import MemorySource
from hyperfuse.io.windows.warped import WarpedSource
from hyperfuse.scenes.fuse import fuse
from hyperfuse.scenes.matching.align import Alignment, align, estimate_alignment, pair_part, place
from hyperfuse.scenes.matching.grid import MatchedPair
from hyperfuse.scenes.matching.warp import rotated_grid
from hyperfuse.sensor.estimation.sampling import lr_positions, sample_through
from hyperfuse.sensor.estimation.views import Motion
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.presets import mtf
from hyperfuse.sensor.psf import GaussianPsf
from hyperfuse.sensor.srf.srf import srf_boxes
from scenes import mixture, power_law_fields


class AlignedPair(NamedTuple):
    msi: Cube
    sensor: Sensor
    alignment: Alignment
    notes: tuple


def corrected(alignment, hsi, msi, sensor):
    placement = place(alignment, sensor, (hsi.rows, hsi.cols))
    notes = placement.notes
    if placement.rotation:
        grid = rotated_grid(msi.header, None, placement.rotation, placement.centre)
        rotated = WarpedSource(MemorySource(msi), grid.grid).read(Window(0, 0, msi.rows, msi.cols))
        msi = rotated.replace(history=grid.header(msi.header).history)
        notes += grid.notes
    return AlignedPair(msi, placement.sensor, alignment, notes)


def part(hsi, msi, sensor):
    return pair_part(MatchedPair(hsi, msi, sensor))


def align_pair(hsi, msi, sensor):
    return corrected(align([part(hsi, msi, sensor)]), hsi, msi, sensor)


def scene(bands=12, rows=96, cols=104, seed=0):
    rng = np.random.default_rng(seed)
    fields = power_law_fields(rng, 4, rows, cols, 1.6)
    return mixture(rng.random((bands, 4)).T, fields) + 6


def make(image, shift=(0.0, 0.0), degrees=0.0, scale=0.0, noise=0.0, **fields):
    sensor = mtf(4, srf_boxes(4, len(image)))
    shape = sensor.lr_shape(image.shape[1:])
    positions = lr_positions(sensor, np.argwhere(np.ones(shape, np.bool_)))
    y, x = positions.mean(axis=0)
    motion = Motion(shift, math.radians(degrees), scale, (float(y), float(x)))
    tensor = torch.from_numpy(image).double()
    hsi = sample_through(tensor, motion.apply(positions), sensor.psf).T.reshape(-1, *shape)
    rng = np.random.default_rng(1)
    msi = sensor.respond(tensor).numpy()
    hsi = hsi + noise * hsi.std() * rng.standard_normal(hsi.shape)
    return Cube(data=hsi.astype(np.float32), **fields), Cube(data=msi.astype(np.float32)), sensor, motion, positions


def misplaced(pair, motion, positions, sensor, hsi):
    """How far LR pixels, and the MSI that they should cover by the aligned sensor, are apart."""
    pixels = np.argwhere(np.ones((hsi.rows, hsi.cols), np.bool_))
    return lr_positions(pair.sensor, pixels) - motion.apply(positions)


@pytest.mark.parametrize("noise", [0.0, 0.03, 0.1])
@pytest.mark.parametrize("shift", [(0.3, -0.4), (5.0, 2.2)])
def test_a_shift_goes_into_the_phase(shift, noise):
    hsi, msi, sensor, motion, positions = make(scene(), shift, noise=noise)
    pair = align_pair(hsi, msi, sensor)
    assert pair.alignment.accepted
    assert pair.msi is msi
    assert pair.sensor.ratio == sensor.ratio
    assert np.abs(misplaced(pair, motion, positions, sensor, hsi)).max() < 0.1
    assert pair.alignment.gain > 0
    assert "by the phase" in pair.notes[0]


def test_a_real_cube_without_georeferencing():
    image = load_indian_pines().data[::2]
    hsi, msi, sensor, motion, positions = make(image, (1.4, -0.8))
    pair = align_pair(hsi, msi, sensor)
    assert np.abs(misplaced(pair, motion, positions, sensor, hsi)).max() < 0.02


def test_a_pair_in_place_stays_as_it_is():
    hsi, msi, sensor, *_ = make(scene(), noise=0.03)
    pair = align_pair(hsi, msi, sensor)
    assert pair.sensor is sensor
    assert pair.msi is msi
    assert "alignment checked" in pair.notes[0]


def test_images_of_other_places_are_not_moved():
    hsi, *_ = make(scene(seed=1))
    _, msi, sensor, *_ = make(scene(seed=2))
    pair = align_pair(hsi, msi, sensor)
    assert not pair.alignment.accepted
    assert pair.sensor is sensor
    assert pair.notes[0].startswith("alignment not checked: the HSI explains")


def test_too_small_a_pair_is_reported():
    hsi, msi, sensor, *_ = make(scene(4, 16, 16))
    pair = align_pair(hsi, msi, sensor)
    assert pair.sensor is sensor
    assert "36 are needed" in pair.notes[0]
    with pytest.raises(InputError, match="36 are needed"):
        estimate_alignment([part(hsi, msi, sensor)])


def test_an_image_without_data_is_refused():
    hsi, msi, sensor, *_ = make(scene(4, 48, 48))
    with pytest.raises(InputError, match="MSI holds no data"):
        align_pair(hsi, msi.replace(good_bands=np.zeros(4, np.bool_)), sensor)


def test_a_scale_goes_into_the_ratio():
    hsi, msi, sensor, motion, positions = make(scene(), (0.5, 0.5), scale=0.01)
    pair = align_pair(hsi, msi, sensor)
    assert pair.msi is msi
    assert pair.sensor.ratio == pytest.approx((4.04, 4.04), abs=2e-3)
    assert np.abs(misplaced(pair, motion, positions, sensor, hsi)).max() < 0.1


def test_a_rotation_resamples_the_msi_and_keeps_the_hsi():
    hsi, msi, sensor, *_ = make(scene(), (0.6, -0.3), degrees=0.5, noise=0.02)
    msi = msi.replace(transform=(10.0, 0.0, 500.0, 0.0, -10.0, 900.0))
    pair = align_pair(hsi, msi, sensor)
    assert any("rotated by 0.5" in note for note in pair.notes)
    assert pair.msi.history[-1]["step"] == "rotate"
    seen, valid = torch.from_numpy(np.nan_to_num(pair.msi.data)), pair.msi.valid_pixels
    assert valid.mean() > 0.97
    rotated = pair.sensor.degrade(seen, (hsi.rows, hsi.cols)).numpy()
    straight = sensor.degrade(torch.from_numpy(msi.data), (hsi.rows, hsi.cols)).numpy()
    truth = sensor.srf.matrix @ hsi.data.reshape(12, -1)
    inner = np.s_[:, 3:-3, 3:-3]
    errors = [float(np.square((image - truth.reshape(image.shape))[inner]).mean()) for image in (straight, rotated)]
    assert errors[1] < 0.05 * errors[0]
    # A position keeps its coordinates: half a degree of rotation, in the sense of the transform.
    a, b, _, d, e, _ = six_numbers(pair.msi.transform)
    assert math.degrees(math.atan2(d, a)) == pytest.approx(0.5, abs=0.05)
    assert math.hypot(b, e) == pytest.approx(10)


def test_an_unknown_psf_does_not_pull_the_position():
    image = scene()
    true = Sensor(ratio=4, psf=GaussianPsf(sigma=(0.8, 0.8)), phase=(2.6, 0.9), srf=srf_boxes(4, 12))
    tensor = torch.from_numpy(image)
    hsi, msi = (Cube(data=one.float().numpy()) for one in (true.degrade(tensor), true.respond(tensor)))
    found = estimate_alignment([part(hsi, msi, mtf(4))], known_psf=False, affine=False)
    assert found.shift_y == pytest.approx(1.1, abs=0.03)
    assert found.shift_x == pytest.approx(-0.6, abs=0.03)


def test_gaps_and_bad_bands_are_left_out():
    hsi, msi, sensor, motion, positions = make(scene(), (0.8, -0.5))
    data, valid = hsi.data.copy(), np.ones(hsi.data.shape, np.bool_)
    data[3] = 1e9
    valid[:, 5:9, 6:12] = False
    good = np.arange(12) != 3
    seen = np.ones(msi.data.shape, np.bool_)
    seen[:, 60:80, 20:40] = False
    pair = align_pair(hsi.replace(data=data, valid=valid, good_bands=good), msi.replace(valid=seen), sensor)
    assert np.abs(misplaced(pair, motion, positions, sensor, hsi)).max() < 0.02


def test_alignment_pays_in_the_fused_image():
    image = scene()
    hsi, msi, sensor, *_ = make(image, (1.2, -0.8))
    pair = align_pair(hsi, msi, sensor)
    inner = np.s_[:, 12:-12, 12:-12]
    assumed, aligned = (
        np.square((fuse(hsi, msi, method="regression", sensor=one).data - image)[inner]).mean()
        for one in (sensor, pair.sensor)
    )
    assert aligned < 0.2 * assumed


def test_an_alignment_can_be_applied_by_hand():
    hsi, msi, sensor, *_ = make(scene(), (0.8, -0.5))
    found = estimate_alignment([part(hsi, msi, sensor)])
    pair = corrected(found, hsi, msi, sensor)
    np.testing.assert_allclose(np.subtract(pair.sensor.offset, sensor.offset), (0.8, -0.5), atol=0.02)
