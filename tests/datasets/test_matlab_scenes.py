import numpy as np
import pytest

from hyperfuse.datasets.matlab_scenes import find_cube, read_cube
from hyperfuse.errors import InputError

from .conftest import write_5, write_73


@pytest.mark.parametrize("write", [write_5, write_73])
@pytest.mark.parametrize(("rows", "cols"), [(None, None), (3, 8), (8, 3), (50, None)])
def test_the_top_left_is_read_in_the_axes_that_matlab_shows(tmp_path, write, rows, cols):
    stored = np.arange(9 * 12 * 4, dtype=np.uint16).reshape(9, 12, 4)
    write(tmp_path / "a.mat", cube=stored)
    found = find_cube(tmp_path / "a.mat", 4)
    assert (found.name, found.shape, found.kind) == ("cube", (9, 12, 4), "uint16")
    np.testing.assert_array_equal(read_cube(found, rows, cols), stored[:rows, :cols].transpose(2, 0, 1))


@pytest.mark.parametrize("write", [write_5, write_73])
def test_text_and_other_shapes_are_no_cube(tmp_path, write):
    write(tmp_path / "a.mat", flat=np.ones((4, 31)), wide=np.ones((31, 4, 4)))
    with pytest.raises(InputError, match=r"a\.mat: holds no array of 31 bands; .*flat \(4 x 31\), wide \(31 x 4 x 4\)"):
        find_cube(tmp_path / "a.mat", 31)
