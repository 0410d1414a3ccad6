"""Folds of blocks, validation blocks and patterns of held-out pixels."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperfuse.statistics.folds import block_folds, block_labels, held_out_patterns, position_folds, validation_blocks

CPU = torch.device("cpu")


def test_folds_of_an_image_and_of_positions_are_the_same():
    positions = np.argwhere(np.ones((18, 21), np.bool_))
    expected = (positions[:, 0] // 4 % 2) * 2 + positions[:, 1] // 4 % 2
    np.testing.assert_array_equal(position_folds(positions), expected)
    np.testing.assert_array_equal(block_folds((18, 21), CPU).flatten(), expected)


def test_blocks_are_labelled_from_zero():
    assert block_labels(np.array([[0, 0], [3, 3], [4, 0], [9, 9]])).tolist() == [0, 0, 1, 2]


@given(st.integers(1, 12), st.integers(1, 12))
@settings(max_examples=25, deadline=None)
def test_every_pixel_is_held_out_once_and_never_with_a_neighbour(rows, cols):
    patterns = held_out_patterns((rows, cols), CPU)
    assert torch.stack(patterns).sum(0).eq(1).all()
    for held_out in patterns:
        assert not (held_out[1:] & held_out[:-1]).any()
        assert not (held_out[:, 1:] & held_out[:, :-1]).any()
        assert not (held_out[1:, 1:] & held_out[:-1, :-1]).any()


def test_validation_blocks_make_up_about_the_fraction_and_depend_on_the_seed():
    mask = validation_blocks((202, 199), 0.12, 3, CPU)
    assert mask.shape == (202, 199)
    assert 0.09 < mask.double().mean() < 0.15
    assert torch.equal(mask, validation_blocks((202, 199), 0.12, 3, CPU))
    assert not torch.equal(mask, validation_blocks((202, 199), 0.12, 4, CPU))
    assert mask[:4, :4].double().mean() in (0.0, 1.0)
