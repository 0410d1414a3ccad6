import numpy as np
import pytest

from hyperfuse.cube.cube import Cube
from hyperfuse.datasets import open_dataset
from hyperfuse.errors import InputError
from hyperfuse.io import write

DATA = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def test_any_format_is_a_scene_by_the_name_of_its_file(tmp_path):
    for name in ("b.tif", "a.mat", "d.npz", "c.img"):
        write(tmp_path / name, Cube(data=DATA, wavelengths=[450, 550]))
    (tmp_path / "notes.txt").write_text("no cube")
    (tmp_path / "below").mkdir()
    (tmp_path / ".hidden.npy").touch()
    scenes = open_dataset("folder", tmp_path)
    assert scenes.names == ("a", "b", "c", "d")
    for name in scenes:
        cube = scenes.load(name)
        np.testing.assert_array_equal(cube.data, DATA)
        np.testing.assert_array_equal(cube.wavelengths, [450, 550])


def test_an_envi_file_without_an_extension_is_found_by_its_header(tmp_path):
    write(tmp_path / "line.img", Cube(data=DATA))
    (tmp_path / "line.img").rename(tmp_path / "line")
    scenes = open_dataset("folder", tmp_path)
    assert scenes.names == ("line",)
    np.testing.assert_array_equal(scenes.load("line").data, DATA)
    (tmp_path / "line").unlink()
    with pytest.raises(InputError, match=r"scene line of the folder: .*line\.hdr: is a header without its data file"):
        open_dataset("folder", tmp_path).load("line")


def test_a_zarr_folder_is_a_scene(tmp_path):
    pytest.importorskip("zarr")
    write(tmp_path / "big.zarr", Cube(data=DATA))
    scenes = open_dataset("folder", tmp_path)
    assert scenes.names == ("big",)
    np.testing.assert_array_equal(scenes.load("big").data, DATA)


def test_files_that_differ_in_the_extension_alone_keep_it(tmp_path):
    np.save(tmp_path / "a.npy", DATA)
    np.save(tmp_path / "b.npy", DATA)
    write(tmp_path / "a.tif", Cube(data=DATA + 1))
    scenes = open_dataset("folder", tmp_path)
    assert scenes.names == ("a.npy", "a.tif", "b")
    assert scenes.load("a.tif").data.min() == 1


def test_values_are_as_they_are_unless_a_scale_is_given(tmp_path):
    np.save(tmp_path / "a.npy", np.full((1, 2, 2), 255, np.uint8))
    assert open_dataset("folder", tmp_path).load("a").data.max() == 255
    scenes = open_dataset("folder", tmp_path, scale=1 / 256, offset=0.5 / 256)
    assert scenes.load("a").data.max() == 255.5 / 256


def test_a_split_names_scenes_in_its_order(tmp_path):
    for name in "abc":
        np.save(tmp_path / f"{name}.npy", DATA)
    (tmp_path / "split.txt").write_text("c\na\n")
    assert open_dataset("folder", tmp_path, tmp_path / "split.txt").names == ("c", "a")
    (tmp_path / "split.txt").write_text("c.npy")
    with pytest.raises(InputError, match=r"the scene c\.npy of .* is not in .* without the extension"):
        open_dataset("folder", tmp_path, tmp_path / "split.txt")


def test_a_damaged_file_is_named(tmp_path):
    np.save(tmp_path / "a.npy", DATA)
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-9])
    scenes = open_dataset("folder", tmp_path)
    for ask in (scenes.load, scenes.shape):
        with pytest.raises(InputError, match=r"scene a of the folder: .*a\.npy: .*cut off"):
            ask("a")
