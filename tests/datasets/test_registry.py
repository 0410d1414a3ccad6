import dataclasses
import pickle
import subprocess
import sys

import numpy as np
import pytest

from hyperfuse.cube.cube import Cube
from hyperfuse.datasets import Scenes, get_dataset, list_datasets, list_splits, open_dataset, read_split
from hyperfuse.datasets.cave import CAVE_SCENES
from hyperfuse.errors import InputError

from .conftest import write_5

ONE_SCENE = {
    "cave": ("paints", lambda folder: write_5(folder / "paints.mat", img=np.full((4, 5, 31), 0.5))),
    "folder": ("field", lambda folder: np.save(folder / "field.npy", np.full((31, 4, 5), 0.5))),
    "harvard": ("imga1", lambda folder: write_5(folder / "imga1.mat", ref=np.full((4, 5, 31), 0.5))),
}

every_kind = pytest.mark.parametrize("kind", list_datasets())


def test_every_kind_is_tested():
    assert set(ONE_SCENE) == set(list_datasets())


@every_kind
def test_the_interface_that_training_and_benchmark_use(tmp_path, kind):
    name, write = ONE_SCENE[kind]
    write(tmp_path)
    scenes = open_dataset(kind, str(tmp_path))
    assert (len(scenes), scenes.names, list(scenes)) == (1, (name,), [name])
    assert name in scenes
    assert scenes.kind == kind
    cube = scenes.load(name)
    assert isinstance(cube, Cube)
    assert cube.data.shape == (31, 4, 5) == scenes.shape(name)
    assert [(key, item.data.shape) for key, item in scenes.items()] == [(name, (31, 4, 5))]
    with pytest.raises(InputError, match="no scene 'nix' among"):
        scenes.load("nix")


@every_kind
def test_reading_is_put_off_and_nothing_is_kept(tmp_path, kind):
    name, write = ONE_SCENE[kind]
    write(tmp_path)
    dataset = get_dataset(kind)
    loads = []

    def counted(path):
        loads.append(path)
        return dataset.load(path)

    scenes = Scenes(dataclasses.replace(dataset, load=counted), tmp_path)
    assert loads == []
    first = scenes.load(name)
    assert scenes.load(name) is not first
    assert len(loads) == 2
    assert not any(isinstance(value, Cube | np.ndarray) for value in vars(scenes).values())


@every_kind
def test_scenes_travel_between_processes(tmp_path, kind):
    name, write = ONE_SCENE[kind]
    write(tmp_path)
    scenes = open_dataset(kind, tmp_path)
    again = pickle.loads(pickle.dumps(scenes))
    np.testing.assert_array_equal(again.load(name).data, scenes.load(name).data)


@every_kind
def test_no_folder_is_reported(tmp_path, kind):
    with pytest.raises(InputError, match=r"does not exist; .*the folder must hold"):
        open_dataset(kind, tmp_path / "nix")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"is a file; .*the folder must hold"):
        open_dataset(kind, tmp_path / "file")


def test_the_nearest_kind_is_reported(tmp_path):
    with pytest.raises(InputError, match=r"no kind of dataset 'cavee'; did you mean 'cave'\?"):
        open_dataset("cavee", tmp_path)


@pytest.mark.parametrize("kind", ["cave", "harvard"])
def test_a_scale_is_for_folders_only(tmp_path, kind):
    with pytest.raises(InputError, match="scale and offset are options of the kind folder"):
        open_dataset(kind, tmp_path, scale=2.0)


def test_a_subset_keeps_the_order_asked_for(tmp_path):
    for name in ("paints", "cd", "clay"):
        write_5(tmp_path / f"{name}.mat", img=np.full((2, 2, 31), 0.5))
    scenes = open_dataset("cave", tmp_path)
    assert scenes.names == ("cd", "clay", "paints")
    assert scenes.subset(("paints", "cd"), "validation").names == ("paints", "cd")
    with pytest.raises(InputError, match="no scene 'hairs'"):
        scenes.subset(("hairs",))
    with pytest.raises(InputError, match="no scene"):
        scenes.subset(())


def test_the_splits_of_cave_are_the_published_ones():
    assert list_splits("cave") == ("dhif-test", "dhif-train", "uestc-test", "uestc-train")
    train, test = read_split("cave", "uestc-train"), read_split("cave", "cave-uestc-test")
    assert (len(train), len(test)) == (20, 11)
    assert {*train, *test} == {*CAVE_SCENES} - {"watercolors"}
    assert (train[0], train[-1], test[0], test[-1]) == ("beads", "thread_spools", "balloons", "jelly_beans")
    assert {"paints", "sponges", "fake_and_real_sushi", "cloth"} <= {*train}
    assert "balloons" in test
    assert read_split("cave", "dhif-train") + read_split("cave", "dhif-test") == CAVE_SCENES
    assert len(read_split("cave", "dhif-test")) == 12


def test_a_split_of_ones_own(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("\ufeff# mine\nPaints_ms  # the best\n\n  jelly beans\n", "utf-8")
    canonical = get_dataset("cave").canonical
    assert read_split("cave", file, canonical) == ("paints", "jelly_beans")
    file.write_text("paints\nbeads\npaints_ms\n")
    with pytest.raises(InputError, match="names the scene paints twice"):
        read_split("cave", file, canonical)
    file.write_text("# none\n")
    with pytest.raises(InputError, match="names no scene"):
        read_split("cave", file)
    file.write_bytes(b"\xff\xfe\x00p")
    with pytest.raises(InputError, match="is not a text file"):
        read_split("cave", file)


def test_an_unknown_split_is_reported_with_the_nearest(tmp_path):
    with pytest.raises(InputError, match=r"no split 'uestc-tset' of cave; did you mean 'uestc-test'\?"):
        read_split("cave", "uestc-tset")
    with pytest.raises(InputError, match="no split 'train' of folder; otherwise give the path"):
        read_split("folder", "train")


def test_opening_loads_no_reader():
    code = "import sys, hyperfuse.datasets; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "scipy", "rasterio"} & set(loaded)
