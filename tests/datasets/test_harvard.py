import h5py
import numpy as np
import pytest

from hyperfuse.datasets import harvard, list_splits, open_dataset, read_split
from hyperfuse.datasets.harvard import HARVARD_PAGE, HARVARD_SCENES
from hyperfuse.errors import InputError

from .conftest import write_5, write_73

WRITERS = pytest.mark.parametrize("write", [write_5, write_73])


@pytest.fixture
def ref():
    """As ref in the files: (rows, cols, bands) doubles; the largest value lies outside the crop."""
    values = np.random.default_rng(0).random((9, 12, 31)) * 0.2
    values[8, 11, 3] = 5.0
    return values


@WRITERS
def test_the_top_left_is_divided_by_its_own_maximum(tmp_path, ref, write, monkeypatch):
    monkeypatch.setattr(harvard, "_CROP", 7)
    write(tmp_path / "imga1.mat", ref=ref, lbl=np.ones((9, 12)))
    scenes = open_dataset("harvard", tmp_path)
    assert scenes.names == ("imga1",)
    assert scenes.shape("imga1") == (31, 7, 7)
    cube = scenes.load("imga1")
    crop = ref[:7, :7]
    np.testing.assert_allclose(cube.data, crop.transpose(2, 0, 1) / crop.max(), rtol=2e-7)
    assert cube.data.dtype == np.float32
    assert cube.data.max() == 1
    np.testing.assert_array_equal(cube.wavelengths, np.arange(420, 721, 10))
    step = cube.history[-1]
    assert step["maximum"] == crop.max()
    assert step["crop"] == {"row": 0, "col": 0, "rows": 7, "cols": 7}
    assert "maximum" in step["values"]


@WRITERS
def test_an_image_smaller_than_the_crop_stays_whole(tmp_path, ref, write):
    write(tmp_path / "imgb0.mat", ref=ref)
    cube = open_dataset("harvard", tmp_path).load("imgb0")
    np.testing.assert_allclose(cube.data, ref.transpose(2, 0, 1) / 5.0, rtol=2e-7)
    assert cube.history[-1]["crop"]["cols"] == 12


def test_the_array_ref_is_taken_where_there_are_others(tmp_path, ref):
    write_73(tmp_path / "img1.mat", ref=ref, also=ref[:2])
    assert open_dataset("harvard", tmp_path).load("img1").data.shape == (31, 9, 12)


def test_the_true_size_is_read_from_the_header_alone(tmp_path):
    # Nothing is stored in the chunks of this array, so it takes no room; its header says 1040 x 1392 x 31.
    with h5py.File(tmp_path / "imge7.mat", "w", userblock_size=512) as file:
        file.create_dataset("ref", (31, 1392, 1040), np.float64, chunks=(1, 1392, 1040))
    assert (tmp_path / "imge7.mat").stat().st_size < 20_000
    scenes = open_dataset("harvard", tmp_path)
    assert scenes.shape("imge7") == (31, 1000, 1000)
    with pytest.raises(InputError, match=r"imge7\.mat: the maximum of the image is 0"):
        scenes.load("imge7")


@WRITERS
@pytest.mark.parametrize("keep", [0, 30, 90])
def test_a_cut_off_file_is_named(tmp_path, ref, write, keep):
    file = tmp_path / "imgh3.mat"
    write(file, ref=ref)
    file.write_bytes(file.read_bytes()[: file.stat().st_size * keep // 100])
    with pytest.raises(InputError, match=r"scene imgh3 of Harvard: .*imgh3\.mat: (is not a|holds no)") as caught:
        open_dataset("harvard", tmp_path).load("imgh3")
    assert HARVARD_PAGE in str(caught.value)
    assert "(1040, 1392, 31)" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_scenes_under_mixed_light_count_only_where_a_split_names_them(tmp_path, ref):
    for name in ("imga1", "imga4"):
        write_5(tmp_path / f"{name}.mat", ref=ref)
    assert open_dataset("harvard", tmp_path).names == ("imga1",)
    (tmp_path / "mixed.txt").write_text("imga4.mat")
    assert open_dataset("harvard", tmp_path, tmp_path / "mixed.txt").names == ("imga4",)


def test_the_split_is_every_fifth_of_the_50_scenes():
    assert len(set(HARVARD_SCENES)) == 50
    assert list_splits("harvard") == ("own-test", "own-train")
    train, test = read_split("harvard", "own-train"), read_split("harvard", "own-test")
    assert test == tuple(sorted(HARVARD_SCENES)[4::5])
    assert sorted((*train, *test)) == sorted(HARVARD_SCENES)


def test_missing_scenes_are_reported_with_the_address_of_the_data(tmp_path, ref):
    write_5(tmp_path / "imgb2.mat", ref=ref)
    with pytest.raises(InputError, match=r"9 of 10 scenes of the split own-test are not in .*imga5, imgb7") as caught:
        open_dataset("harvard", tmp_path, "own-test")
    assert HARVARD_PAGE in str(caught.value)
