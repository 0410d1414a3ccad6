"""The bands of several images on one grid as one image, and an image placed on a larger grid."""

import numpy as np
import pytest
from affine import Affine

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import Grid
from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError
from hyperfuse.io.windows.memory import MemorySource
from hyperfuse.io.windows.stacked import StackedSource, placed_on

TRANSFORM = Affine(10.0, 0.0, 0.0, 0.0, -10.0, 0.0)
GRID = Grid(8, 9, TRANSFORM, "EPSG:32633")


def cube(rows=8, cols=9, at=(0, 0), **fields):
    values = np.random.default_rng(rows * cols).random((2, rows, cols))
    return Cube(data=values, transform=TRANSFORM @ Affine.translation(at[1], at[0]), crs="EPSG:32633", **fields)


def test_responses_of_all_bands_are_kept():
    texts = ("B02:440,1:0 1 0.5;B03:500,1:1 1", "B05:700,1:1 1;B06:800,1:1 1")
    images = [cube(attributes={"responses": text, "sensor": "S2"}) for text in texts]
    stacked = StackedSource([MemorySource(one) for one in images], ["a", "b"], order=[2, 0, 1, 3])
    assert stacked.header.attributes == {"sensor": "S2", "responses": ";".join(texts)}
    window = Window(2, 3, 4, 5)
    assert np.array_equal(stacked.read(window).data[0], images[1].data[0, 2:6, 3:8])
    assert np.array_equal(stacked.read(window).data[3], images[1].data[1, 2:6, 3:8])


def test_an_image_that_reaches_beyond_the_grid_is_cut_and_filled_with_gaps():
    image = cube(6, 5, at=(-2, 7))
    placed = placed_on(MemorySource(image), GRID)
    whole = placed.read(Window(0, 0, 8, 9))
    expected = np.full((2, 8, 9), np.nan)
    expected[:, :4, 7:] = image.data[:, 2:, :2]
    assert np.array_equal(whole.data, expected, equal_nan=True)
    assert whole.transform == TRANSFORM
    for window in (Window(1, 6, 3, 3), Window(0, 7, 2, 2), Window(5, 0, 3, 3)):
        assert np.array_equal(placed.read(window).data, whole.crop(*window).data, equal_nan=True)
    assert not placed.may_hold_data(Window(0, 0, 8, 7))
    with pytest.raises(InputError, match="does not overlap"):
        placed_on(MemorySource(cube(2, 2, at=(50, 0))), GRID)
    same = MemorySource(cube())
    assert placed_on(same, GRID) is same
