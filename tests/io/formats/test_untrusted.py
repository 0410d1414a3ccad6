"""MATLAB and HDF5 files from any source: no crash, no endless loop, no other file, no more memory than there is."""

import contextlib
import struct
import time
import zlib

import h5py
import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.io import read, write
from hyperfuse.io.encoding import sizes

VALUES = np.arange(24.0).reshape(2, 3, 4)


def refused(path):
    with pytest.raises(HyperfuseError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_no_byte_of_a_matlab_file_crashes_this_process(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"cube": VALUES.transpose(1, 2, 0), "wavelengths": [450.0, 550.0]})
    whole = (tmp_path / "a.mat").read_bytes()
    for at in range(128, len(whole), 2):
        for value in (0, 255):
            (tmp_path / "b.mat").write_bytes(whole[:at] + bytes([value]) + whole[at + 1 :])
            with contextlib.suppress(HyperfuseError):
                read(tmp_path / "b.mat")


@pytest.mark.filterwarnings("ignore")
def test_a_byte_count_of_zero(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"cube": VALUES.transpose(1, 2, 0)})
    whole = bytearray((tmp_path / "a.mat").read_bytes())
    for at in range(128, len(whole) - 3, 8):
        changed = bytearray(whole)
        changed[at : at + 4] = struct.pack("<I", 0)
        (tmp_path / "b.mat").write_bytes(changed)
        with contextlib.suppress(HyperfuseError):
            read(tmp_path / "b.mat")
        if at > 200:
            break


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4))
def test_changed_bytes_of_hdf5_are_one_line(tmp_path, changes):
    write(tmp_path / "a.nc", Cube(data=VALUES), overwrite=True)
    content = bytearray((tmp_path / "a.nc").read_bytes())
    for at, value in changes:
        content[at % len(content)] = value
    (tmp_path / "a.nc").write_bytes(content)
    with contextlib.suppress(HyperfuseError):
        read(tmp_path / "a.nc")


@pytest.fixture
def secret(tmp_path):
    (tmp_path / "secret").write_bytes(VALUES.tobytes())
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["cube"] = VALUES
    return tmp_path


def external_storage(file, folder):
    file.create_dataset("cube", VALUES.shape, "f8", external=[(str(folder / "secret"), 0, h5py.h5f.UNLIMITED)])


def virtual(file, folder):
    layout = h5py.VirtualLayout(VALUES.shape, "f8")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "cube", VALUES.shape)
    file.create_virtual_dataset("cube", layout)


def external_link(file, folder):
    file["cube"] = h5py.ExternalLink(str(folder / "other.h5"), "/cube")


def soft_link(file, folder):
    file["far"] = h5py.ExternalLink(str(folder / "other.h5"), "/")
    file["cube"] = h5py.SoftLink("/far/cube")


@pytest.mark.parametrize("ending", ["h5", "nc", "mat"])
@pytest.mark.parametrize("make", [external_storage, virtual, external_link, soft_link])
def test_nothing_is_read_of_other_files(secret, make, ending):
    path = secret / f"a.{ending}"
    with h5py.File(path, "w", userblock_size=512 if ending == "mat" else 0) as file:
        make(file, secret)
    names = [path] if make in (external_storage, virtual) else [path, f"{path}:cube", f"{path}:far.cube"]
    for name in names:
        said = refused(name)
        assert "other file" in said or "another file" in said or "has no" in said or "no 2-D or 3-D" in said, said


def test_links_inside_a_file_are_followed(tmp_path):
    from hyperfuse.io.encoding.hdf5 import find

    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["group/cube"] = VALUES
        file["group/near"], file["far"] = h5py.SoftLink("cube"), h5py.SoftLink("/group/near")
        file["loop"], file["nowhere"] = h5py.SoftLink("/loop"), h5py.SoftLink("/group/none")
        assert find(file, "far") == find(file, "group/near") == find(file, "/group/./cube") == file["group/cube"]
        assert find(file, "loop") is find(file, "nowhere") is find(file, "group/cube/below") is None
        layout = h5py.VirtualLayout(VALUES.shape, "f8")
        layout[:] = h5py.VirtualSource(file["group/cube"])
        file.create_virtual_dataset("cube", layout)
    np.testing.assert_array_equal(read(f"{tmp_path / 'a.h5'}:cube").data, VALUES)


@pytest.mark.parametrize("ending", ["h5", "mat"])
def test_a_small_hdf5_file_of_gigabytes_is_refused_at_once(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    with h5py.File(path, "w", userblock_size=512 if ending == "mat" else 0) as file:
        file.create_dataset("cube", (170, 100, 100_000), "f4", chunks=(1, 100, 1000))
    start = time.monotonic()
    assert "states 6.8 GB of values (170 x 100 x 100000 float32) in a file of 0.00" in refused(path)
    assert time.monotonic() - start < 20


def test_a_small_matlab_file_of_gigabytes_is_refused_at_once(tmp_path):
    # One compressed variable: the header of an array of doubles, then the values as zeros in bytes.
    shape = (100, 100, 20_000)
    count = int(np.prod(shape))
    head = (
        struct.pack("<IIII", 6, 8, 6, 0)
        + struct.pack("<IIiiii", 5, 12, *shape, 0)
        + struct.pack("<II4s4x", 1, 4, b"cube")
    )
    packer = zlib.compressobj(9)
    body = packer.compress(struct.pack("<II", 14, len(head) + 8 + count) + head + struct.pack("<II", 2, count))
    body += b"".join(packer.compress(bytes(2**20)) for _ in range(count >> 20)) + packer.flush()
    start = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    (tmp_path / "a.mat").write_bytes(start + struct.pack("<II", 15, len(body)) + body)
    assert (tmp_path / "a.mat").stat().st_size < 2e6
    assert "states 1.6 GB of values (100 x 100 x 20000 float64) in a file of 0.19" in refused(tmp_path / "a.mat")


@pytest.mark.parametrize("ending", ["h5", "mat", "npz", "npy", "zarr"])
def test_more_than_the_free_memory_is_refused(tmp_path, ending, monkeypatch):
    if ending == "zarr":
        pytest.importorskip("zarr")
    path = tmp_path / f"a.{ending}"
    if ending == "h5":
        with h5py.File(path, "w") as file:
            file["cube"] = VALUES
    else:
        write(path, Cube(data=VALUES), dtype="float64")
    monkeypatch.setattr("hyperfuse.runtime.isolation.is_child", lambda: True)  # so that the next line counts
    monkeypatch.setattr(sizes, "free_bytes", lambda: 300.0)
    assert refused(path).endswith(
        "float64) takes 0.0 GB of memory, of which 0.0 GB are free; read fewer bands (bands=...)"
    )


def test_an_npy_file_that_states_more_than_it_holds(tmp_path):
    from numpy.lib import format as npy

    with (tmp_path / "a.npy").open("wb") as file:
        npy.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (100, 1000, 9000)})
    with pytest.raises(InputError, match=r"states 7\.2 GB of values"):
        read(tmp_path / "a.npy")
