"""Images at the positions of a map: exact for straight lines, accurate for smooth images, right at gaps and borders."""

import numpy as np
import pytest

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.window import Window
from hyperfuse.io.windows.memory import MemorySource
from hyperfuse.io.windows.remapped import RemappedSource


def curved(rows, cols):
    """Positions some pixels off, along a smooth map."""
    y, x = np.meshgrid(rows.astype(float), cols.astype(float), indexing="ij")
    return np.stack([y + 1.3 + 0.8 * np.sin(x / 30), x - 2.6 + 0.7 * np.cos(y / 25)])


def image(y, x):
    return np.stack([np.sin(y / 6) + np.cos(x / 7), 0.3 * y - 0.2 * x])


@pytest.fixture
def source():
    y, x = np.mgrid[0:300, 0:280].astype(float)
    return Cube(data=image(y, x))


def test_values_at_positions(source):
    view = RemappedSource(MemorySource(source), source.header, curved)
    whole = view.read(Window(0, 0, 300, 280))
    expected = image(*curved(np.arange(300), np.arange(280)))
    inside = np.s_[4:-6, 5:-5]
    np.testing.assert_allclose(whole.data[0][inside], expected[0][inside], atol=1e-3)
    np.testing.assert_allclose(whole.data[1][inside], expected[1][inside], atol=1e-5)
    part = view.read(Window(37, 11, 91, 260))
    assert np.array_equal(part.data, whole.data[:, 37:128, 11:271], equal_nan=True)


def test_what_lies_outside_is_a_gap(source):
    whole = RemappedSource(MemorySource(source), source.header, curved).read(Window(0, 0, 300, 280))
    y, x = np.rint(curved(np.arange(300), np.arange(280)))
    outside = (y < 0) | (y > 299) | (x < 0) | (x > 279)
    assert np.array_equal(np.isnan(whole.data[0]), outside)
    far = RemappedSource(MemorySource(source), source.header, lambda rows, cols: curved(rows, cols) + 1000)
    assert not far.may_hold_data(Window(0, 0, 300, 280))
    assert far.read(Window(0, 0, 5, 5)).valid.any() == False  # noqa: E712
    nowhere = RemappedSource(MemorySource(source), source.header, lambda rows, cols: curved(rows, cols) * np.nan)
    assert np.isnan(nowhere.read(Window(0, 0, 5, 5)).data).all()


def test_gaps_have_no_weight(source):
    valid = np.ones(source.shape, bool)
    valid[0, 100:110, 50:70] = False
    marked = np.where(valid, source.data, np.nan)
    whole = RemappedSource(MemorySource(Cube(data=marked, valid=valid)), source.header, curved).read(
        Window(0, 0, 300, 280)
    )
    y, x = curved(np.arange(300), np.arange(280))
    near = np.rint(np.stack([y, x])).astype(int)
    hole = (near[0] >= 100) & (near[0] < 110) & (near[1] >= 50) & (near[1] < 70)
    inside = np.s_[4:-6, 5:-5]
    assert np.array_equal(np.isnan(whole.data[0][inside]), hole[inside])
    assert not np.isnan(whole.data[1][inside]).any()
    error = np.abs(whole.data[0] - image(y, x)[0])[inside]
    assert np.nanmax(error) < 0.2  # next to the gap as by linear interpolation, or the nearest pixel


def test_the_identity_changes_nothing(source):
    same = RemappedSource(
        MemorySource(source), source.header, lambda *lines: np.stack(np.meshgrid(*lines, indexing="ij")).astype(float)
    )
    assert np.array_equal(same.read(Window(0, 0, 300, 280)).data, source.data)
