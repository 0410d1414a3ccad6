import itertools

import numpy as np
import pytest
import scipy.io

import hyperfuse.benchmark.reproduce.data as data_module
from hyperfuse.benchmark.plan import same_scene
from hyperfuse.benchmark.reproduce.data import full_data, pines_data, quick_data
from hyperfuse.cube.cube import Cube
from hyperfuse.datasets.cave import CAVE_SCENES
from hyperfuse.errors import InputError


@pytest.fixture
def scenes(tmp_path):
    """Make CAVE scenes of 64x64 pixels that are one value each; returns their folder."""

    def make(*names, side=64):
        for number, name in enumerate(names):
            scipy.io.savemat(tmp_path / f"{name}.mat", {"x": np.full((side, side, 31), number + 1, np.uint16)})
        return tmp_path

    return make


def plain(name):
    return name.split("[")[0]


def test_a_test_scene_is_not_trained_on(scenes):
    tests, others = ("balloons", "balloons_half", "feathers", "clay"), ("paints", "sponges", "cloth", "beads")
    found = quick_data("cave", scenes(*tests, *others, "cloth_half", "watercolors"))
    trained = [plain(name) for name in (*found.train, *found.validation)]
    assert set(trained) == {"paints", "sponges", "cloth", "beads"}
    assert [plain(name) for name in found.test] == ["balloons"]
    for one, other in itertools.product(trained, found.test):
        assert not same_scene(one, other)


@pytest.mark.parametrize("test", ["balloons", "balloons_half", "feathers"])
def test_the_test_scene_is_the_one_that_is_there(scenes, test):
    assert plain(quick_data("cave", scenes("paints", test)).test[0]) == test


def test_a_half_is_no_second_scene(scenes):
    found = quick_data("cave", scenes("cloth", "cloth_half", "balloons"))
    assert [plain(name) for name in found.train] == ["cloth"]


def test_parts_of_one_scene_do_not_touch(scenes):
    found = quick_data("cave", scenes("paints", "balloons"))
    (trained,), (chosen,) = found.train, found.validation
    assert trained == "paints[0:48,0:64]"
    assert chosen == "paints[48:64,24:40]"
    assert found.scenes.shape(chosen) == (31, 16, 16) == found.scenes.load(chosen).data.shape
    assert found.scenes.load(found.test[0]).data.shape == (31, 64, 64)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["balloons"], "holds no training scene, such as beads"),
        (["paints"], "holds no test scene, such as balloons"),
    ],
)
def test_what_is_missing_is_named(scenes, names, message):
    with pytest.raises(InputError, match=message):
        quick_data("cave", scenes(*names))


def test_scenes_that_are_too_small_are_refused(scenes):
    with pytest.raises(InputError, match="the scene paints has 40x40 pixels; 64x64 are needed"):
        quick_data("cave", scenes("paints", "balloons", side=40))


def test_in_full_the_splits_are_whole_and_apart(scenes):
    found = full_data("cave", scenes(*CAVE_SCENES, side=4))
    assert (len(found.train), len(found.validation), len(found.test)) == (20, 1, 11)
    assert not {*found.train, *found.validation} & set(found.test)
    folder = scenes()
    (folder / "paints.mat").unlink()
    with pytest.raises(InputError, match="the scene paints is not in"):
        full_data("cave", folder)


def test_indian_pines_is_cut_into_parts_that_share_no_pixel(monkeypatch):
    cube = Cube(data=np.zeros((8, 145, 145), np.float32))
    monkeypatch.setattr(data_module, "load_indian_pines", lambda: cube)
    found = pines_data()
    seen = np.zeros((145, 145), int)
    for name in (*found.train, *found.validation, *found.test):
        window = found.scenes._parts[name].window
        assert window.rows % 8 == window.cols % 8 == 0
        seen[window.slices] += 1
    assert seen.max() == 1
    assert found.scenes.load(found.test[0]).bands == 2


def test_names_of_one_scene():
    assert same_scene("cloth_half", "cloth")
    assert same_scene("paints[0:4,0:4]", "paints")
    assert not same_scene("cloth", "clay")


def test_harvard_is_cut_likewise(tmp_path):
    for number, name in enumerate(("img1", "imga1", "imga5", "imgb2")):
        scipy.io.savemat(tmp_path / f"{name}.mat", {"ref": np.full((64, 72, 31), number + 1.0)})
    found = quick_data("harvard", tmp_path)
    assert [plain(name) for name in found.train] == ["img1", "imga1"]
    assert found.test == ("imga5[0:64,0:72]",)
    assert found.srf == "nikon-d700"
