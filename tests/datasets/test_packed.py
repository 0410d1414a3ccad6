"""Packed scenes: what is lost is what the file states, and every dataset reads them."""

import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperfuse.cube.cube import Cube
from hyperfuse.datasets import open_dataset, read_packed, write_packed
from hyperfuse.datasets.packed import is_packed, read_index
from hyperfuse.errors import InputError


def scene(bands, rows, cols, seed=0):
    generator = np.random.default_rng(seed)
    ramp = np.linspace(0.1, 0.9, rows * cols).reshape(rows, cols)
    data = ramp * generator.random((bands, 1, 1)) + 0.05 * generator.random((bands, rows, cols))
    return Cube(data=data.astype(np.float32), wavelengths=np.linspace(400, 700, bands))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(1, 41), st.integers(1, 41), st.floats(1e-5, 1e-2), st.integers(0, 99))
def test_a_scene_is_wrong_by_the_stated_errors_at_most(tmp_path_factory, bands, rows, cols, error, seed):
    cube, file = scene(bands, rows, cols, seed), tmp_path_factory.mktemp("packed") / "scenes.pack"
    stated = write_packed([("one", cube)], file, error=error).scenes["one"]
    read = read_packed(file, "one")
    difference = read.data.astype(float) - cube.data
    assert read.data.dtype == np.float32
    assert np.sqrt((difference**2).mean()) == pytest.approx(stated.rms_error, abs=1e-6)
    assert np.abs(difference).max() <= stated.largest_error + 1e-6
    # Each component is rounded to the nearest step: a spectrum moves by half a step along each at most.
    assert np.linalg.norm(difference, axis=0).max() <= stated.step / 2 * np.sqrt(bands) + 1e-5


def test_the_error_is_the_requested_one(tmp_path):
    cube = scene(12, 64, 64)
    stated = write_packed([("one", cube)], tmp_path / "s.pack", error=1e-3).scenes["one"]
    assert stated.rms_error == pytest.approx(1e-3 * cube.data.max(), rel=0.05)


def test_a_packed_file_takes_the_place_of_the_folder(tmp_path):
    (tmp_path / "scenes").mkdir()
    for k, name in enumerate(("second", "first")):
        np.savez(tmp_path / "scenes" / f"{name}.npz", data=scene(4, 20, 30, k).data)
    folder = open_dataset("folder", tmp_path / "scenes")
    write_packed(folder.items(), tmp_path / "all.pack")
    packed = open_dataset("folder", tmp_path / "all.pack")
    assert packed.names == folder.names == ("first", "second")
    assert packed.shape("first") == (4, 20, 30)
    for name in packed:
        np.testing.assert_allclose(packed.load(name).data, folder.load(name).data, atol=5e-3)
    assert packed.subset(["second"]).load("second").history[-1]["scene"] == "second"


def test_names_are_those_of_the_kind(tmp_path):
    write_packed([("Jelly-Beans_ms", scene(31, 8, 8))], tmp_path / "cave.pack")
    scenes = open_dataset("cave", tmp_path / "cave.pack")
    assert scenes.names == ("jelly_beans",)
    np.testing.assert_array_equal(scenes.load("jelly_beans").wavelengths, np.linspace(400, 700, 31))


def test_what_cannot_be_packed_is_refused_and_nothing_is_written(tmp_path):
    gaps = scene(3, 8, 8)
    gaps = gaps.replace(valid=np.broadcast_to(np.arange(8) != 3, gaps.data.shape))
    for scenes, message in [
        ([("a", scene(3, 8, 8)), ("b", gaps)], "the scene b has gaps"),
        ([("a", Cube(data=np.zeros((3, 4, 4), np.float32)))], "no value but zero"),
        ([], "there is no scene"),
    ]:
        with pytest.raises(InputError, match=message):
            write_packed(scenes, tmp_path / "s.pack")
    with pytest.raises(InputError, match="a fraction from 1e-6"):
        write_packed([("a", scene(3, 8, 8))], tmp_path / "s.pack", error=0.5)
    assert not list(tmp_path.iterdir())


def test_damaged_files_are_reported(tmp_path):
    file = tmp_path / "s.pack"
    write_packed([("a", scene(3, 16, 16))], file)
    with pytest.raises(InputError, match="holds no scene 'b'"):
        read_packed(file, "b")
    whole = file.read_bytes()
    (tmp_path / "cut.pack").write_bytes(whole[: len(whole) // 2])
    assert not is_packed(tmp_path / "cut.pack")
    with pytest.raises(InputError, match="cannot be read"):
        read_index(tmp_path / "cut.pack")
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 255
    (tmp_path / "flipped.pack").write_bytes(bytes(flipped))
    with pytest.raises(InputError, match="cannot be read"):
        read_packed(tmp_path / "flipped.pack", "a")
    with zipfile.ZipFile(tmp_path / "other.pack", "w") as archive:
        archive.writestr("index.json", '{"format": "hyperfuse-pack-1", "scenes": {}}')
    with pytest.raises(InputError, match="not a file of packed scenes of this version"):
        open_dataset("folder", tmp_path / "other.pack")
