import numpy as np
import pytest

from hyperfuse.datasets import open_dataset
from hyperfuse.datasets.cave import CAVE_PAGE, CAVE_SCENES, scene_name
from hyperfuse.errors import HyperfuseError, InputError

from .conftest import write_5, write_73, write_bands, write_png


def test_the_distributed_folders_are_read(tmp_path, sixteen):
    write_bands(tmp_path / "paints_ms" / "paints_ms", "paints_ms", sixteen)
    write_png(tmp_path / "paints_ms" / "paints_ms" / "paints_RGB.png", sixteen[:3].astype(np.uint8))
    scenes = open_dataset("cave", tmp_path)
    assert scenes.names == ("paints",)
    cube = scenes.load("paints")
    assert cube.data.dtype == np.float32
    np.testing.assert_array_equal(cube.data, (sixteen / 65535).astype(np.float32))
    assert cube.data.min() == 0
    assert cube.data.max() == 1
    np.testing.assert_array_equal(cube.wavelengths, np.arange(400, 701, 10))
    assert cube.history[-1]["values"] == "stored / 65535"
    assert "Yasuma" in cube.attributes["source"]


@pytest.mark.parametrize(
    ("path", "file"),
    [
        ("cd_ms", "cd_ms"),
        ("cd/inner", "cd_ms"),
        ("CD-ms", "CD_ms"),
        ("cd ms/__MACOSX", "cd"),
    ],
)
def test_other_nestings_and_spellings_are_the_same_scene(tmp_path, sixteen, path, file):
    write_bands(tmp_path / path, file, sixteen)
    scenes = open_dataset("cave", tmp_path)
    assert scenes.names == ("cd",)
    np.testing.assert_allclose(scenes.load("cd").data, sixteen / 65535, rtol=1e-7)


def test_hidden_files_of_an_archive_are_passed_over(tmp_path, sixteen):
    write_bands(tmp_path / "cd_ms", "cd_ms", sixteen)
    (tmp_path / "cd_ms" / "._cd_ms_01.png").write_bytes(b"resource fork")
    (tmp_path / ".cd_ms").mkdir()
    assert open_dataset("cave", tmp_path).load("cd").data[0, 0, 0] == 1


@pytest.mark.parametrize("bits", [8, 16])
def test_watercolors_of_red_green_blue_and_alpha(tmp_path, sixteen, bits):
    stored = sixteen if bits == 16 else (sixteen >> 8).astype(np.uint8)
    opaque = np.full_like(stored[0], np.iinfo(stored.dtype).max)
    write_bands(
        tmp_path / "watercolors_ms", "watercolors_ms", [np.stack([band, band, band, opaque]) for band in stored]
    )
    # Width, height, bits, and 6 for red, green, blue and alpha, as the header of a PNG has them.
    header = (tmp_path / "watercolors_ms" / "watercolors_ms_01.png").read_bytes()[16:26]
    assert header == bytes([0, 0, 0, 6, 0, 0, 0, 5, bits, 6])
    cube = open_dataset("cave", tmp_path).load("watercolors")
    expected = stored / 65535 if bits == 16 else (stored + 0.5) / 256
    np.testing.assert_array_equal(cube.data, expected.astype(np.float32))
    assert cube.valid is None


def test_a_colour_picture_is_no_band(tmp_path, sixteen):
    write_bands(tmp_path / "cd_ms", "cd_ms", sixteen)
    write_png(tmp_path / "cd_ms" / "cd_ms_07.png", sixteen[:3])
    with pytest.raises(InputError, match=r"cd_ms_07\.png: is a colour picture"):
        open_dataset("cave", tmp_path).load("cd")


@pytest.mark.parametrize("write", [write_5, write_73])
@pytest.mark.parametrize("kind", ["uint8", "uint16", "double of 16 bits", "fraction"])
def test_mat_files_of_either_version_and_kind(tmp_path, sixteen, write, kind):
    seen = sixteen.transpose(1, 2, 0)
    stored, expected = {
        "uint8": ((seen >> 8).astype(np.uint8), ((seen >> 8) + 0.5) / 256),
        "uint16": (seen, seen / 65535),
        "double of 16 bits": (seen.astype(np.float64), seen / 65535),
        "fraction": (seen / 65535, seen / 65535),
    }[kind]
    write(tmp_path / "beads.mat", other=np.ones((5, 6, 3)), img=stored, label=np.ones((5, 6)))
    scenes = open_dataset("cave", tmp_path)
    assert scenes.shape("beads") == (31, 5, 6)
    cube = scenes.load("beads")
    np.testing.assert_array_equal(cube.data, expected.transpose(2, 0, 1).astype(np.float32))
    assert cube.data.flags.c_contiguous


@pytest.mark.parametrize("write", [write_5, write_73])
def test_the_class_decides_not_the_values(tmp_path, write):
    # A dark 16-bit image has no value above 255; read as 8 bits it would be 256 times too bright.
    dark = np.random.default_rng(1).integers(0, 200, (4, 4, 31), dtype=np.uint16)
    write(tmp_path / "hairs.mat", orig=dark)
    np.testing.assert_allclose(
        open_dataset("cave", tmp_path).load("hairs").data, dark.transpose(2, 0, 1) / 65535, rtol=1e-6
    )


@pytest.mark.parametrize("write", [write_5, write_73])
@pytest.mark.parametrize("top", [200.0, 70000.0, -1.0])
def test_doubles_that_may_mean_anything_are_refused(tmp_path, write, top):
    write(tmp_path / "hairs.mat", orig=np.full((4, 4, 31), top))
    with pytest.raises(InputError, match=r"scene hairs of CAVE: .*hairs\.mat: holds double values .*needed"):
        open_dataset("cave", tmp_path).load("hairs")


def test_a_file_without_such_an_array_or_with_two_is_reported(tmp_path):
    write_5(tmp_path / "hairs.mat", rgb=np.ones((4, 4, 3)))
    write_5(tmp_path / "cd.mat", a=np.ones((4, 4, 31)), b=np.ones((4, 4, 31)))
    scenes = open_dataset("cave", tmp_path)
    with pytest.raises(InputError, match=r"no array of 31 bands; .*it has rgb \(4 x 4 x 3\)"):
        scenes.load("hairs")
    with pytest.raises(InputError, match=r"several arrays of 31 bands"):
        scenes.shape("cd")


def test_a_missing_band_is_named(tmp_path, sixteen):
    write_bands(tmp_path / "paints_ms", "paints_ms", sixteen)
    (tmp_path / "paints_ms" / "paints_ms_17.png").unlink()
    scenes = open_dataset("cave", tmp_path)
    with pytest.raises(
        InputError, match=r"scene paints of CAVE: .*paints_ms: 1 of the 31 bands are missing \(PNG files 17\)"
    ) as caught:
        scenes.load("paints")
    assert CAVE_PAGE in str(caught.value)
    assert "NAME_ms_31.png" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="bands are missing"):
        scenes.shape("paints")


@pytest.mark.parametrize("keep", [0, 20, 60])
def test_a_cut_off_band_is_named(tmp_path, keep):
    stored = np.random.default_rng(2).integers(0, 65536, (31, 32, 32), dtype=np.uint16)
    write_bands(tmp_path / "paints_ms", "paints_ms", stored)
    file = tmp_path / "paints_ms" / "paints_ms_09.png"
    file.write_bytes(file.read_bytes()[: len(file.read_bytes()) * keep // 100])
    with pytest.raises(InputError, match=r"scene paints of CAVE: .*paints_ms_09\.png: .*damaged"):
        open_dataset("cave", tmp_path).load("paints")


@pytest.mark.parametrize("write", [write_5, write_73])
@pytest.mark.parametrize("keep", [0, 10, 60, 90])
def test_a_cut_off_mat_file_is_named(tmp_path, write, keep):
    stored = np.random.default_rng(2).integers(0, 65536, (32, 32, 31), dtype=np.uint16)
    file = tmp_path / "paints.mat"
    write(file, img=stored)
    file.write_bytes(file.read_bytes()[: file.stat().st_size * keep // 100])
    with pytest.raises(InputError, match=r"scene paints of CAVE: .*paints\.mat: (is not a MATLAB file|holds no array)"):
        open_dataset("cave", tmp_path).load("paints")


def test_bands_that_do_not_belong_together_are_reported(tmp_path, sixteen):
    write_bands(tmp_path / "paints_ms", "paints_ms", sixteen)
    write_png(tmp_path / "paints_ms" / "paints_ms_05.png", np.zeros((5, 7), np.uint16))
    with pytest.raises(InputError, match=r"paints_ms_05\.png: is 5 x 7 of 16 bits, but .* is 5 x 6 of 16 bits"):
        open_dataset("cave", tmp_path).load("paints")


def test_two_files_for_one_band_or_scene_are_reported(tmp_path, sixteen):
    write_bands(tmp_path / "paints_ms", "paints_ms", sixteen)
    write_png(tmp_path / "paints_ms" / "copy_05.png", sixteen[0])
    with pytest.raises(InputError, match=r"copy_05\.png and paints_ms_05\.png are both band 5"):
        open_dataset("cave", tmp_path).load("paints")
    write_5(tmp_path / "Paints.mat", img=np.ones((4, 4, 31)))
    with pytest.raises(InputError, match=r"holds the scene paints twice: Paints\.mat and paints_ms"):
        open_dataset("cave", tmp_path)


def test_a_split_with_scenes_that_are_not_there(tmp_path):
    write_5(tmp_path / "balloons.mat", img=np.ones((4, 4, 31)))
    with pytest.raises(InputError, match=r"10 of 11 scenes of the split uestc-test are not in .*\(cd, .* and 4 more\)"):
        open_dataset("cave", tmp_path, "uestc-test")
    names = tmp_path / "mine.txt"
    names.write_text("balloons\npaints")
    with pytest.raises(InputError, match=r"the scene paints of the split .*mine\.txt is not in .*") as caught:
        open_dataset("cave", tmp_path, names)
    assert CAVE_PAGE in str(caught.value)


def test_what_is_not_of_cave_counts_only_where_a_split_names_it(tmp_path):
    write_5(tmp_path / "balloons.mat", img=np.ones((4, 4, 31)))
    write_5(tmp_path / "balloons_half.mat", Omsi=np.ones((2, 2, 31)))
    assert open_dataset("cave", tmp_path).names == ("balloons",)
    split = tmp_path / "half.txt"
    split.write_text("balloons-half\n")
    scenes = open_dataset("cave", tmp_path, str(split))
    assert scenes.names == ("balloons_half",)
    assert scenes.load("balloons_half").data.shape == (31, 2, 2)


def test_an_empty_folder_is_reported_with_the_address_of_the_data(tmp_path):
    (tmp_path / "paints_ms").mkdir()
    with pytest.raises(InputError, match="holds no scene of CAVE; CAVE is available at") as caught:
        open_dataset("cave", tmp_path)
    assert CAVE_PAGE in str(caught.value)


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path):
    write_5(tmp_path / "paints.mat", img=np.ones((4, 4, 31)))
    scenes = open_dataset("cave", tmp_path)
    (tmp_path / "paints.mat").unlink()
    with pytest.raises(HyperfuseError, match=r"scene paints: .*paints\.mat: cannot be read: No such file") as caught:
        scenes.load("paints")
    assert not isinstance(caught.value, InputError)


def test_there_are_32_scenes_in_order():
    assert len(CAVE_SCENES) == 32
    assert sorted(CAVE_SCENES) == list(CAVE_SCENES)
    assert all(scene_name(f"{name}_ms") == name == scene_name(name.replace("_", " ")) for name in CAVE_SCENES)
