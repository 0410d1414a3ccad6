import multiprocessing
import os
import pickle
from concurrent.futures import ProcessPoolExecutor

import h5py
import numpy as np
import pytest

from hyperfuse.datasets import open_patch_file
from hyperfuse.datasets.patch_files import PATCH_FILES_PAGE
from hyperfuse.errors import InputError

SHAPES = {"GT": (7, 5, 8, 12), "LRHSI": (7, 5, 2, 3), "HSI_up": (7, 5, 8, 12), "RGB": (7, 3, 8, 12)}


def write(path, **changes):
    rng = np.random.default_rng(0)
    arrays = {key: rng.random(shape) for key, shape in SHAPES.items()} | changes
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            if array is not None:
                file[key] = array
    return arrays


def test_a_patch_is_what_the_file_holds(tmp_path):
    arrays = write(tmp_path / "train.h5")
    with open_patch_file(tmp_path / "train.h5") as patches:
        assert len(patches) == 7
        assert patches.ratio == 4
        assert set(patches.keys) == set(SHAPES)
        assert patches.shapes["LRHSI"] == (7, 5, 2, 3)
        for index in (0, 6, -1, np.int64(3)):
            patch = patches[index]
            assert patch.keys() == arrays.keys()
            for key, values in patch.items():
                assert values.dtype == np.float32
                np.testing.assert_array_equal(values, arrays[key][index].astype(np.float32))
        assert len(list(patches)) == 7
        for beyond in (7, -8):
            with pytest.raises(IndexError, match=f"patch {beyond} is not among the 7"):
                patches[beyond]


def test_a_file_without_the_upsampled_image_will_do(tmp_path):
    write(tmp_path / "train.h5", HSI_up=None)
    assert open_patch_file(tmp_path / "train.h5")[0].keys() == {"GT", "LRHSI", "RGB"}


def test_only_what_is_asked_for_is_read(tmp_path):
    # A million patches that no machine holds: unwritten chunks take no room in the file, but would in memory.
    path = tmp_path / "large.h5"
    with h5py.File(path, "w") as file:
        for key, (_, *rest) in SHAPES.items():
            made = file.create_dataset(key, (10**9, *rest), np.float32, chunks=(1, *rest))
            made[10**9 - 1] = 2.0
    patches = open_patch_file(path)
    assert len(patches) == 10**9
    assert patches[-1]["GT"].min() == 2
    assert patches[10**8]["GT"].max() == 0


def _read_in_child(patches, indices, results):
    found = [patches[index]["GT"] for index in indices]
    # HDF5 reads by position, so a handle taken over from the parent shows in no value; here it shows.
    assert patches._process == os.getpid()
    results.put(found)


def test_processes_forked_from_one_read_at_the_same_time(tmp_path):
    arrays = write(tmp_path / "train.h5")
    patches = open_patch_file(tmp_path / "train.h5")
    assert patches[2]["GT"].size
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    indices = [6, 0, 3] * 20
    workers = [context.Process(target=_read_in_child, args=(patches, indices, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    found = [[patches[index]["GT"] for index in indices], *(results.get(timeout=20) for _ in workers)]
    for worker in workers:
        worker.join()
    for result in found:
        np.testing.assert_array_equal(result, arrays["GT"][indices].astype(np.float32))


def test_a_file_goes_to_a_process_of_its_own(tmp_path):
    arrays = write(tmp_path / "train.h5")
    patches = open_patch_file(tmp_path / "train.h5")
    assert patches[2]["GT"].size
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(patches.__getitem__, 5).result(timeout=60)
    np.testing.assert_array_equal(found["RGB"], arrays["RGB"][5].astype(np.float32))


def test_an_open_file_is_pickled_without_its_handle(tmp_path):
    write(tmp_path / "train.h5")
    patches = open_patch_file(tmp_path / "train.h5")
    first = patches[0]["RGB"]
    again = pickle.loads(pickle.dumps(patches))
    np.testing.assert_array_equal(again[0]["RGB"], first)
    patches.close()
    np.testing.assert_array_equal(patches[0]["RGB"], first)


def test_no_file_is_reported_with_the_address_of_the_data(tmp_path):
    with pytest.raises(InputError, match=r"nix\.h5: does not exist; .*GT, LRHSI, RGB") as caught:
        open_patch_file(tmp_path / "nix.h5")
    assert PATCH_FILES_PAGE in str(caught.value)
    with pytest.raises(InputError, match="is a folder; name a file"):
        open_patch_file(tmp_path)


@pytest.mark.parametrize("keep", [0, 5, 50, 95])
def test_a_cut_off_file_is_named(tmp_path, keep):
    path = tmp_path / "train.h5"
    write(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * keep // 100])
    with pytest.raises(InputError, match=r"train\.h5: is not an HDF5 file, or it is cut off or damaged"):
        open_patch_file(path)


def test_a_damaged_patch_is_named(tmp_path):
    path = tmp_path / "train.h5"
    with h5py.File(path, "w") as file:
        for key, shape in SHAPES.items():
            file.create_dataset(
                key, data=np.random.default_rng(0).random(shape), chunks=(1, *shape[1:]), fletcher32=True
            )
        chunk = file["GT"].id.get_chunk_info(4)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset + 8] ^= 255
    path.write_bytes(content)
    patches = open_patch_file(path)
    assert patches[3]["GT"].shape == (5, 8, 12)
    with pytest.raises(InputError, match=r"train\.h5: the patch 4 cannot be read"):
        patches[4]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"GT": None}, "has no array GT; it holds HSI_up 7 x 5 x 8 x 12, LRHSI"),
        ({"RGB": np.ones((7, 8, 12))}, r"RGB has the shape \(7, 8, 12\)"),
        ({"RGB": np.full((7, 3, 8, 12), 1j)}, "RGB has the shape .* of kind 'c'"),
        ({"RGB": np.ones((6, 3, 8, 12))}, r"different numbers of patches \(GT 7, LRHSI 7, RGB 6"),
        ({"LRHSI": np.ones((7, 4, 2, 3))}, r"do not fit together \(GT 5 x 8 x 12, LRHSI 4 x 2 x 3"),
        ({"LRHSI": np.ones((7, 5, 3, 3))}, "do not fit together"),
        ({"LRHSI": np.ones((7, 5, 9, 12))}, "do not fit together"),
        ({"RGB": np.ones((7, 3, 8, 8))}, "do not fit together"),
        ({"HSI_up": np.ones((7, 5, 4, 6))}, "do not fit together"),
    ],
)
def test_arrays_that_are_missing_or_do_not_fit_are_reported(tmp_path, changes, message):
    write(tmp_path / "train.h5", **changes)
    with pytest.raises(InputError, match=rf"train\.h5: .*{message}"):
        open_patch_file(tmp_path / "train.h5")
