"""Expansion in blocks of bands is the sensor's own interpolation."""

import pytest
import torch

from hyperfuse.methods.algorithms.expansion import BANDS_AT_ONCE, band_blocks, expand
from hyperfuse.sensor.presets import create_sensor


@pytest.mark.parametrize("bands", [1, BANDS_AT_ONCE, BANDS_AT_ONCE + 1, 3 * BANDS_AT_ONCE])
def test_blocks_cover_every_band_once(bands):
    blocks = list(band_blocks(bands))
    assert [i for block in blocks for i in range(bands)[block]] == list(range(bands))
    assert max(block.stop - block.start for block in blocks) <= BANDS_AT_ONCE


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_expand_is_upsample(dtype):
    image = torch.rand(BANDS_AT_ONCE + 3, 5, 6, dtype=dtype, generator=torch.Generator().manual_seed(0))
    sensor = create_sensor("mtf", (3, 2.5))
    made = expand(image, (15, 15), sensor)
    assert made.dtype == dtype
    torch.testing.assert_close(made, sensor.upsample(image, (15, 15)))
