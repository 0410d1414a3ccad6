"""Filled gaps: what is known stays, what was in a gap does not matter, and the fill is worth having."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.scenes.fuse import fuse
from hyperfuse.scenes.gaps import GappyPair, GapRegression, fill_gaps
from hyperfuse.sensor.presets import mtf
from scenes import mixture, smooth_abundances

SENSOR = mtf(4)


def pair(bands=10, msi_bands=3, lr=(12, 14), seed=0, noise=0.0):
    """A scene of four materials, an MSI that is linear in its spectra."""
    rng = np.random.default_rng(seed)
    abundances = smooth_abundances(rng, 4, 4 * lr[0], 4 * lr[1], 2)
    truth = torch.from_numpy(mixture(rng.random((bands, 4)).T, abundances))
    hsi = SENSOR.degrade(truth)
    hsi = hsi + noise * torch.from_numpy(rng.normal(size=hsi.shape))
    return hsi, torch.einsum("mb,brc->mrc", torch.from_numpy(rng.random((msi_bands, bands)) / bands), truth)


def block(shape, rows, cols):
    valid = torch.ones(shape, dtype=torch.bool)
    valid[..., rows, cols] = False
    return valid


def all_valid(image):
    return torch.ones(image.shape, dtype=torch.bool)


def fill(hsi, hsi_valid, msi, msi_valid):
    pair = GappyPair(hsi, hsi_valid, msi, msi_valid, SENSOR)
    return fill_gaps(pair, GapRegression.fit([pair]))


masks = st.integers(0, 1000).map(np.random.default_rng)


@settings(max_examples=25, deadline=None)
@given(masks, st.sampled_from([0.02, 0.3, 0.9, 1.0]), st.sampled_from([(1, 1), (1, 6), (5, 1), (6, 7)]))
def test_known_values_stay_and_what_was_in_gaps_does_not_matter(rng, fraction, lr):
    hsi, msi = pair(lr=lr)
    hsi_valid = torch.from_numpy(rng.random(hsi.shape) > fraction)
    msi_valid = torch.from_numpy(rng.random(msi.shape[1:]) > fraction)
    results = []
    for garbage in (0.0, float("nan"), float("inf"), -1e30):
        low, high = torch.where(hsi_valid, hsi, garbage), torch.where(msi_valid, msi, garbage)
        results.append(fill(low, hsi_valid, high, msi_valid))
    for low, high in results:
        assert torch.isfinite(low).all()
        assert torch.isfinite(high).all()
        assert torch.equal(low[hsi_valid], hsi[hsi_valid])
        assert torch.equal(high[:, msi_valid], msi[:, msi_valid])
        assert torch.equal(low, results[0][0])
        assert torch.equal(high, results[0][1])


def test_without_gaps_nothing_changes():
    hsi, msi = pair()
    low, high = fill(hsi, all_valid(hsi), msi, all_valid(msi[0]))
    assert torch.equal(low, hsi)
    assert torch.equal(high, msi)


def error(found, truth, gap):
    return float((found - truth)[..., gap].square().mean().sqrt() / truth.std())


def test_a_gap_of_the_hsi_is_filled_from_the_msi():
    hsi, msi = pair(msi_bands=4)  # as many bands as materials: the MSI determines all
    valid = block(hsi.shape, slice(4, 8), slice(5, 9))
    low, _ = fill(torch.where(valid, hsi, 0.0), valid, msi, all_valid(msi[0]))
    assert error(low, hsi, ~valid[0]) < 1e-6


def test_a_band_of_the_hsi_with_a_gap_is_filled_alone():
    hsi, msi = pair(msi_bands=4)
    valid = all_valid(hsi)
    valid[3, 2:5, 2:5] = False
    low, _ = fill(torch.where(valid, hsi, 0.0), valid, msi, all_valid(msi[0]))
    assert torch.equal(low[valid], hsi[valid])
    assert error(low[3], hsi[3], ~valid[3]) < 1e-6


@pytest.mark.parametrize("rows", [slice(16, 32), slice(17, 22), slice(0, 9)])
def test_a_gap_of_the_msi_is_filled_with_what_the_hsi_predicts(rows):
    hsi, msi = pair()
    valid = block(msi.shape[1:], rows, slice(20, 39))
    _, high = fill(hsi, all_valid(hsi), torch.where(valid, msi, 0.0), valid)
    mean = msi[:, valid].mean(1)[:, None, None].expand(msi.shape)
    assert error(high, msi, ~valid) < 0.5 * error(mean, msi, ~valid)
    # Degraded by the PSF it is right, also at the border, where LR pixels cover known pixels and filled ones.
    affected = SENSOR.degrade((~valid)[None].double())[0] > 1e-3
    assert error(SENSOR.degrade(high), SENSOR.degrade(msi), affected) < 0.01


@pytest.mark.parametrize("fraction", [0.02, 0.1])
def test_a_noisy_hsi_does_not_shake_the_fill(fraction):
    """Where the PSF hardly covers a gap, agreeing to the last digit would put the noise, magnified, into the fill."""
    hsi, msi = pair(noise=0.1)
    valid = torch.from_numpy(np.random.default_rng(5).random(msi.shape[1:]) > fraction)
    _, high = fill(hsi, all_valid(hsi), torch.where(valid, msi, 0.0), valid)
    low, top = msi.amin((1, 2), keepdim=True), msi.amax((1, 2), keepdim=True)
    assert (high > low - 0.2 * (top - low)).all()
    assert (high < top + 0.2 * (top - low)).all()


@settings(max_examples=25, deadline=None)
@given(masks, st.sampled_from([0.5, 0.9, 0.97]))
def test_where_both_are_missing_the_surroundings_are_spread_in(rng, fraction):
    """Too few LR pixels know both, so there is nothing to predict from: means of what is known, never beyond it."""
    hsi, msi = pair(lr=(4, 4))
    hsi_valid = torch.from_numpy(rng.random(hsi.shape) > fraction)
    msi_valid = torch.from_numpy(rng.random(msi.shape[1:]) > fraction)
    low, high = fill(hsi, hsi_valid, msi, msi_valid)
    for filled, image, valid in ((low, hsi, hsi_valid), (high, msi, msi_valid.expand(msi.shape))):
        for band, source, known in zip(filled, image, valid, strict=True):
            if not known.any():
                assert (band == 0).all()
                continue
            assert band.min() >= source[known].min() - 1e-9
            assert band.max() <= source[known].max() + 1e-9


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_the_unit_of_the_values_does_not_matter(dtype, scale):
    hsi, msi = (image.to(dtype) for image in pair())
    hsi_valid = block(hsi.shape, slice(1, 3), slice(1, 3))
    msi_valid = block(msi.shape[1:], slice(20, 31), slice(9, 26))
    plain = fill(hsi, hsi_valid, msi, msi_valid)
    scaled = fill(scale * hsi, hsi_valid, scale * msi, msi_valid)
    for one, other in zip(plain, scaled, strict=True):
        assert one.dtype == other.dtype == dtype
        torch.testing.assert_close(other / scale, one, rtol=1e-2, atol=1e-2)


def test_a_constant_scene_is_filled_with_itself():
    hsi, msi = torch.full((5, 8, 8), 0.4), torch.full((2, 32, 32), 0.7)
    low, high = fill(hsi, block(hsi.shape, slice(2, 5), slice(2, 5)), msi, block((32, 32), slice(3, 9), slice(9, 30)))
    torch.testing.assert_close(low, hsi)
    torch.testing.assert_close(high, msi)


def test_values_beyond_float32_are_reported_as_such():
    generator = np.random.default_rng(0)
    hsi, msi = generator.random((4, 8, 8)), generator.random((3, 24, 24))
    hsi[0, 0, 0] = 1e39
    with pytest.raises(InputError, match=r"the HSI holds values up to 1e\+39, beyond what float32 can hold"):
        fuse(Cube(data=hsi), Cube(data=msi), method="bicubic")
