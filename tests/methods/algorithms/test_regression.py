"""Global regression against numpy's least squares, and the laws that hold for it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from hyperfuse.methods import get_method
from hyperfuse.sensor.presets import mtf, uestc

METHOD = get_method("regression")


def pair(sensor, bands=5, msi_bands=3, fine=(24, 20), seed=0, alien=0.2):
    """A scene of linear combinations of the MSI, and a part that is not."""
    rng = np.random.default_rng(seed)
    fields = gaussian_filter(rng.normal(size=(msi_bands + 1, *fine)), (0, 1, 1))
    fields = 1 + 0.1 * fields / fields.std((1, 2), keepdims=True)
    weights = rng.random((bands, msi_bands + 1)) * ([1] * msi_bands + [alien])
    truth = torch.from_numpy(np.einsum("bk,krc->brc", weights, fields))
    return truth, sensor.degrade(truth), torch.from_numpy(fields[:msi_bands])


def run(hsi, msi, sensor, **values):
    return METHOD(hsi, msi, sensor, METHOD.configure(**values))


@pytest.mark.parametrize("sensor", [mtf(4), uestc(4), mtf((4, 2.5))], ids=["mtf", "uestc", "axes"])
def test_it_is_least_squares_at_low_resolution_applied_at_high(sensor):
    _, hsi, msi = pair(sensor)
    low, high = (image.numpy().reshape(3, -1).T for image in (sensor.degrade(msi), msi))
    design = np.column_stack([np.ones(len(low)), low])
    model = np.linalg.lstsq(design, hsi.numpy().reshape(5, -1).T, rcond=None)[0]
    expected = (np.column_stack([np.ones(len(high)), high]) @ model).T.reshape(5, *msi.shape[1:])
    np.testing.assert_allclose(run(hsi, msi, sensor, consistency=False), expected, atol=1e-6)


def test_what_is_a_combination_of_the_msi_is_recovered():
    sensor = mtf(4)
    truth, hsi, msi = pair(sensor, alien=0.0)
    for consistency in (True, False):
        assert (run(hsi, msi, sensor, consistency=consistency) - truth).abs().max() < 1e-6


def test_the_rest_comes_back_by_consistency():
    sensor = mtf(4)
    truth, hsi, msi = pair(sensor, fine=(48, 48), alien=1.0)
    with_it, without = (run(hsi, msi, sensor, consistency=flag) for flag in (True, False))
    assert (hsi - sensor.degrade(with_it)).abs().max() < 1e-2 * (hsi - sensor.degrade(without)).abs().max()
    assert (with_it - truth).square().mean() < 0.8 * (without - truth).square().mean()


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.floats(0.1, 1e4) | st.floats(-1e4, -0.1), min_size=3, max_size=3),
    st.lists(st.floats(-100, 100), min_size=3, max_size=3),
)
def test_gain_and_offset_of_every_msi_band_do_not_matter(gains, offsets):
    sensor = mtf(4)
    _, hsi, msi = pair(sensor)
    gain, offset = (torch.tensor(values, dtype=torch.float64)[:, None, None] for values in (gains, offsets))
    torch.testing.assert_close(run(hsi, gain * msi + offset, sensor), run(hsi, msi, sensor), atol=1e-6, rtol=0)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([1e-6, 1e-2, 1e4, -3.0]), st.floats(-10, 10))
def test_gain_and_offset_of_the_hsi_come_through(gain, offset):
    sensor = mtf(4)
    _, hsi, msi = pair(sensor)
    changed = run(gain * (hsi + offset), msi, sensor)
    torch.testing.assert_close(changed / gain - offset, run(hsi, msi, sensor), atol=1e-6, rtol=0)


def test_the_order_of_bands_does_not_matter():
    sensor = mtf(4)
    _, hsi, msi = pair(sensor)
    fused = run(hsi, msi, sensor)
    torch.testing.assert_close(run(hsi.flip(0), msi.flip(0), sensor).flip(0), fused, atol=1e-9, rtol=0)


@pytest.mark.parametrize(("msi_bands", "fine"), [(1, (4, 4)), (3, (4, 24)), (10, (8, 12)), (3, (24, 4))])
def test_tiny_images_and_more_msi_bands_than_lr_pixels_stay_in_range(msi_bands, fine):
    sensor = mtf(4)
    truth, hsi, msi = (image.float() for image in pair(sensor, msi_bands=msi_bands, fine=fine))
    fused = run(hsi, msi, sensor)
    assert fused.dtype == torch.float32
    assert (fused - truth).abs().max() < 3 * (truth - truth.mean((1, 2), keepdim=True)).abs().max()


def test_progress_grows_to_one():
    sensor = mtf(4)
    _, hsi, msi = pair(sensor)
    seen = []
    METHOD(hsi, msi, sensor, progress=lambda fraction, message="": seen.append(fraction))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
