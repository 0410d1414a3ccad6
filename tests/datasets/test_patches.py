import dataclasses
import gc
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperfuse.cube import Cube
from hyperfuse.datasets import PatchGrid, Scenes, get_dataset, open_dataset, patch_starts, read_split
from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.io import write

from .conftest import write_5

SIZES = {"a": (7, 9), "b": (4, 4), "c": (12, 5)}


def value(name, row, col):
    """What a pixel holds: its own address."""
    return ord(name) * 10_000 + row * 100 + col


@pytest.fixture
def scenes(tmp_path):
    """Scenes of the kind folder whose loads are counted in ``scenes.loads``."""
    for name, (rows, cols) in SIZES.items():
        address = value(name, *np.mgrid[:rows, :cols])
        np.save(tmp_path / f"{name}.npy", np.stack([address, -address]).astype(np.float32))
    return counted(get_dataset("folder"), tmp_path)


def counted(dataset, folder):
    loads = []
    found = Scenes(
        dataclasses.replace(dataset, load=lambda place: (loads.append(place.stem), dataset.load(place))[1]), folder
    )
    found.loads = loads
    return found


@settings(max_examples=60, deadline=None)
@given(length=st.integers(1, 700), size=st.integers(1, 100), stride=st.integers(1, 60))
def test_starts_are_those_of_the_half_open_range(length, size, stride):
    if size > length:
        with pytest.raises(InputError, match=f"{length} pixels are fewer than the {size} of a patch"):
            patch_starts(length, size, stride)
        return
    starts = patch_starts(length, size, stride)
    assert list(starts) == ([0] if length == size else [at for at in range(length - size) if at % stride == 0])


def test_the_training_patches_of_cave_are_3920(tmp_path):
    # 20 files that say 512 x 512 x 31 without holding it: only their headers are read.
    for name in read_split("cave", "uestc-train"):
        with h5py.File(tmp_path / f"{name}.mat", "w", userblock_size=512) as file:
            file.create_dataset("img", (31, 512, 512), np.uint16, chunks=(1, 512, 512))
    grid = PatchGrid(open_dataset("cave", tmp_path, "uestc-train"))
    assert len(grid) == 3920
    assert grid.bands == 31
    assert {grid.position(index)[1:] for index in range(196)} == {
        (row, col) for row in range(0, 448, 32) for col in range(0, 448, 32)
    }
    assert grid.position(195) == ("beads", 416, 416)
    assert grid.position(196) == ("cloth", 0, 0)


def test_every_patch_is_the_window_of_its_scene(scenes):
    grid = PatchGrid(scenes, size=4, stride=2)
    expected = [
        (name, row, col)
        for name, (rows, cols) in SIZES.items()
        for row in (range(0, rows - 4, 2) if rows > 4 else [0])
        for col in (range(0, cols - 4, 2) if cols > 4 else [0])
    ]
    assert [grid.position(index) for index in range(len(grid))] == expected
    for index, (name, row, col) in enumerate(expected):
        patch, *where = grid[index]
        assert where == [name, row, col]
        assert patch.dtype == np.float32
        assert patch.flags.c_contiguous
        address = value(name, *np.mgrid[row : row + 4, col : col + 4])
        np.testing.assert_array_equal(patch, np.stack([address, -address]))
    assert grid[-1][1:] == expected[-1]
    assert len(list(grid)) == len(grid)
    for beyond in (len(grid), -len(grid) - 1):
        with pytest.raises(IndexError):
            grid[beyond]


def test_a_patch_is_a_copy_that_holds_no_scene(scenes):
    grid = PatchGrid(scenes, size=4, stride=2)
    patch = grid[0][0]
    assert patch.base is None
    patch[:] = 0
    assert grid[0][0][0, 0, 1] == value("a", 0, 1)


def test_scenes_are_read_once_while_they_fit_and_the_oldest_goes_first(scenes):
    bytes_of = {name: 2 * rows * cols * 4 for name, (rows, cols) in SIZES.items()}
    grid = PatchGrid(scenes, size=4, stride=2, memory_bytes=bytes_of["a"] + bytes_of["c"])
    first = {grid.position(index)[0]: index for index in reversed(range(len(grid)))}
    scenes.loads.clear()
    for name in "aaba":
        assert grid[first[name]][1] == name
    assert scenes.loads == ["a", "b"]
    # There is no room for all three; b goes, as a was used after it.
    for name in "cacb":
        assert grid[first[name]][1] == name
    assert scenes.loads == ["a", "b", "c", "b"]
    assert sum(array.nbytes for array in grid._store._kept.values()) <= bytes_of["a"] + bytes_of["c"]


def test_a_bound_smaller_than_a_scene_keeps_the_one_in_use(scenes):
    grid = PatchGrid(scenes, size=4, stride=2, memory_bytes=0)
    scenes.loads.clear()
    for index in range(len(grid)):
        grid[index]
    assert scenes.loads == ["a", "b", "c"]
    assert len(grid._store._kept) == 1


def test_sizes_of_cave_are_found_without_reading(tmp_path):
    for name in ("paints", "cd"):
        write_5(tmp_path / f"{name}.mat", img=np.full((6, 8, 31), 0.5))
    scenes = counted(get_dataset("cave"), tmp_path)
    grid = PatchGrid(scenes, size=4, stride=1)
    assert len(grid) == 2 * 2 * 4
    assert scenes.loads == []
    grid[0]
    assert scenes.loads == ["cd"]


def test_a_scratch_folder_holds_each_scene_once_for_all(scenes, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    plain = PatchGrid(scenes, size=4, stride=2)
    expected = [patch for patch, *_ in plain]
    grid = PatchGrid(Scenes(get_dataset("folder"), tmp_path), size=4, stride=2, memory_bytes=0, scratch=scratch)
    assert list(scratch.rglob("*.npy")) == []
    np.testing.assert_array_equal([patch for patch, *_ in grid], expected)
    files = sorted(scratch.rglob("*.npy"))
    assert len(files) == 3
    assert all(isinstance(kept, np.memmap) for kept in grid._store._kept.values())
    # From here on nothing can be read anew, neither here nor by a copy, as a worker has it.
    for name in SIZES:
        (tmp_path / f"{name}.npy").unlink()
    worker = pickle.loads(pickle.dumps(grid))
    np.testing.assert_array_equal([patch for patch, *_ in worker], expected)
    np.testing.assert_array_equal([patch for patch, *_ in grid], expected)
    del worker
    gc.collect()
    assert sorted(scratch.rglob("*.npy")) == files
    del grid
    gc.collect()
    assert list(scratch.iterdir()) == []


def test_what_a_parent_wrote_is_not_a_forked_childs_to_remove(scenes, tmp_path):
    holder = [PatchGrid(scenes, size=4, stride=2, scratch=tmp_path)]
    assert holder[0][0][0].size

    def let_go():
        holder.clear()
        gc.collect()

    child = multiprocessing.get_context("fork").Process(target=let_go)
    child.start()
    child.join()
    assert child.exitcode == 0
    assert len(list(tmp_path.rglob("0.npy"))) == 1
    let_go()
    assert list(tmp_path.rglob("0.npy")) == []


def test_a_scratch_folder_that_is_not_there_is_told(scenes, tmp_path):
    with pytest.raises(InputError, match=r"the scratch folder .*nix does not exist"):
        PatchGrid(scenes, size=4, stride=2, scratch=tmp_path / "nix")


def test_a_full_disk_is_told(scenes, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    grid = PatchGrid(scenes, size=4, stride=2, scratch=tmp_path)
    monkeypatch.setattr("hyperfuse.datasets.scene_store.npy_format.write_array_header_1_0", full)
    with pytest.raises(HyperfuseError, match="no space left"):
        grid[0]
    assert not list(tmp_path.rglob("0.npy"))


@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.parametrize("with_scratch", [True, False])
def test_workers_get_a_grid_without_its_scenes(tmp_path, start, with_scratch):
    np.save(tmp_path / "a.npy", np.ones((2, 300, 300), np.float32))
    grid = PatchGrid(Scenes(get_dataset("folder"), tmp_path), scratch=tmp_path if with_scratch else None)
    assert grid[0][0].all()
    assert len(pickle.dumps(grid)) < 10_000
    with ProcessPoolExecutor(1, multiprocessing.get_context(start)) as pool:
        patch, *where = pool.submit(grid.__getitem__, 1).result(timeout=60)
    assert where == ["a", 0, 32]
    np.testing.assert_array_equal(patch, np.ones((2, 64, 64)))
    # The worker has ended; what is in the scratch folder is not its to remove.
    assert len(list(tmp_path.rglob("0.npy"))) == with_scratch


def test_torch_takes_it_for_a_dataset(scenes):
    torch = pytest.importorskip("torch")
    loader = torch.utils.data.DataLoader(PatchGrid(scenes, size=4, stride=2), batch_size=3)
    patches, names, rows, cols = next(iter(loader))
    assert patches.shape == (3, 2, 4, 4)
    assert list(names) == ["a", "a", "a"]
    assert (rows.tolist(), cols.tolist()) == ([0, 0, 0], [0, 2, 4])


def test_scenes_that_cannot_be_cut_are_named(tmp_path):
    folder = get_dataset("folder")
    np.save(tmp_path / "a.npy", np.ones((2, 8, 8), np.float32))
    np.save(tmp_path / "b.npy", np.ones((2, 8, 3), np.float32))
    with pytest.raises(InputError, match="the scene b: 3 pixels are fewer than the 4 of a patch"):
        PatchGrid(Scenes(folder, tmp_path), size=4, stride=2)
    np.save(tmp_path / "b.npy", np.ones((3, 8, 8), np.float32))
    with pytest.raises(InputError, match="the scene a has 2 bands and b 3"):
        PatchGrid(Scenes(folder, tmp_path), size=4, stride=2)
    for size, stride in ((0, 1), (4, 0)):
        with pytest.raises(InputError, match="at least 1"):
            PatchGrid(Scenes(folder, tmp_path, ("a",)), size=size, stride=stride)


def test_a_scene_with_gaps_is_refused(tmp_path):
    valid = np.ones((2, 8, 8), bool)
    valid[0, 0, 0] = False
    write(tmp_path / "a.tif", Cube(data=np.ones((2, 8, 8), np.float32), valid=valid))
    grid = PatchGrid(Scenes(get_dataset("folder"), tmp_path), size=4, stride=2)
    with pytest.raises(InputError, match="the scene a has gaps"):
        grid[0]
