import numpy as np

from hyperfuse.cube.cube import Cube
from hyperfuse.runtime.tensors import as_tensor, tensor_of


def test_a_tensor_of_a_read_only_array_shares_its_memory_without_a_warning(recwarn):
    cube = Cube(np.ones((2, 3, 4), np.float32))
    assert tensor_of(cube.data).data_ptr() == cube.data.ctypes.data
    assert as_tensor(cube).shape == (2, 3, 4)
    assert not recwarn.list
