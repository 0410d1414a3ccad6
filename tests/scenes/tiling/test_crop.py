"""The part of a tile that holds data: nothing of the data is lost, and the geometry stays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperfuse.methods.contract.registry import get_method
from hyperfuse.scenes.tiling.crop import DataPart
from hyperfuse.sensor.presets import create_sensor


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 70), st.integers(1, 40), st.integers(0, 90), st.integers(1, 40), st.sampled_from([2.0, 3.2, 4.0]))
def test_all_data_lie_in_the_part_and_samples_stay_where_they_are(row, rows, col, cols, ratio):
    coarse = (round(80 / ratio), round(100 / ratio))
    sensor = create_sensor("mtf", ratio)
    valid = np.zeros((80, 100), bool)
    valid[row : row + rows, col : col + cols] = True
    if not valid.any():
        return
    part = DataPart.around(valid, coarse, sensor)
    assert valid[part.hr].sum() == valid.sum()
    for axis in (0, 1):
        low, high = part.lr[axis], part.hr[axis]
        assert 0 <= low.start < low.stop <= coarse[axis]
        # The centre of an LR pixel is at the same HR pixel, counted from the start of the part.
        before = sensor.offset[axis] + ratio * low.start
        assert part.sensor.offset[axis] + high.start == pytest.approx(before)


def test_a_method_takes_the_part():
    import torch

    sensor = create_sensor("mtf", 4)
    valid = np.zeros((96, 128), bool)
    valid[50:61, 70:90] = True
    part = DataPart.around(valid, (24, 32), sensor)
    hsi, msi = torch.rand(6, 24, 32), torch.rand(3, 96, 128)
    fused = get_method("regression")(hsi[:, *part.lr], msi[:, *part.hr], part.sensor)
    assert fused.shape[1:] == tuple(along.stop - along.start for along in part.hr)
    assert fused[0].numel() < msi[0].numel() / 4


def test_a_tile_full_of_data_is_not_cut():
    valid = np.ones((80, 100), bool)
    valid[:3] = False
    sensor = create_sensor("mtf", 4)
    part = DataPart.around(valid, (20, 25), sensor)
    assert part.sensor is sensor
    assert part.lr == (slice(0, 20), slice(0, 25))
    assert part.hr == (slice(0, 80), slice(0, 100))
