import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperfuse.io.products.upsample import double


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_it_is_the_bilinear_interpolation_of_torch(rows, cols, seed):
    data = np.random.default_rng(seed).random((2, rows, cols), dtype=np.float32)
    fine, valid = double(data, None)
    oracle = torch.nn.functional.interpolate(torch.from_numpy(data)[None], scale_factor=2, mode="bilinear")[0]
    assert valid is None
    assert np.allclose(fine, oracle.numpy(), atol=1e-6)


def test_a_plane_stays_one_inside():
    rows, cols = np.mgrid[0:5, 0:6] + 0.5
    fine, _ = double((2 * rows - 3 * cols)[None], None)
    y, x = (np.mgrid[0:10, 0:12] + 0.5) / 2
    assert np.allclose(fine[0, 1:-1, 1:-1], (2 * y - 3 * x)[1:-1, 1:-1])


def test_gaps_do_not_spread():
    valid = np.random.default_rng(8).random((3, 6, 7)) < 0.6
    data = np.where(valid, 0.25, np.nan).astype(np.float32)
    fine, seen = double(data, valid)
    assert np.array_equal(seen, valid.repeat(2, 1).repeat(2, 2))
    assert np.allclose(fine[seen], 0.25)
    assert np.isnan(fine[~seen]).all()
    assert fine.dtype == np.float32


def test_weights_next_to_a_gap():
    valid = np.array([[[True, False, True]]])
    data = np.array([[[1.0, np.nan, 5.0]]])
    assert double(data, valid)[0][0, 0].tolist() == pytest.approx([1, 1, np.nan, np.nan, 5, 5], nan_ok=True)
