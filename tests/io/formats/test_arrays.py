import json

import numpy as np
import pytest

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io import read, write

VALUES = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)


@pytest.mark.parametrize("stored", [VALUES, VALUES.astype(">f4"), np.asfortranarray(VALUES), VALUES.astype(np.float16)])
def test_npy_in_any_layout(tmp_path, stored):
    np.save(tmp_path / "a.npy", stored)
    cube = read(tmp_path / "a.npy")
    assert np.array_equal(cube.data, VALUES)
    assert cube.data.dtype == np.float32
    assert np.array_equal(read(tmp_path / "a.npy", axes="rows,cols,bands").data, VALUES.transpose(2, 0, 1))


def test_npy_of_two_dimensions_is_one_band(tmp_path):
    np.save(tmp_path / "a.npy", VALUES[0])
    assert np.array_equal(read(tmp_path / "a.npy").data, VALUES[:1])


def test_npy_says_what_it_drops(scene, tmp_path):
    with pytest.warns(HyperfuseWarning) as caught:
        write(tmp_path / "a.npy", scene)
    assert len(caught) == 1
    assert str(caught[0].message) == (
        "a.npy: an .npy file cannot hold wavelengths, fwhm, good bands, band names, transform, crs, units, attributes, "
        "history, scale, offset, nodata (-32768); write .npz to keep them"
    )
    assert np.array_equal(np.load(tmp_path / "a.npy"), np.where(scene.valid, scene.data, np.float32(-32768)))
    assert np.array_equal(read(tmp_path / "a.npy", nodata=-32768).data, scene.data, equal_nan=True)


def test_npy_of_bare_values_says_nothing(tmp_path):
    write(tmp_path / "a.npy", Cube(data=VALUES), dtype="float64")
    assert np.load(tmp_path / "a.npy").dtype == np.float64
    assert np.array_equal(np.load(tmp_path / "a.npy"), VALUES)


def test_numpy_reads_the_archive(scene, tmp_path):
    write(f"{tmp_path / 'a.npz'}:fused", scene, dtype="int16", compress="deflate")
    with np.load(tmp_path / "a.npz") as file:
        assert set(file) == {"fused", "wavelengths", "fwhm", "good_bands", "HYPERFUSE", "HYPERFUSE_HISTORY"}
        assert file["fused"].dtype == np.int16
        assert file["wavelengths"].tolist() == scene.wavelengths.tolist()
        record = json.loads(str(file["HYPERFUSE"]))
    assert record["coding"] == [1e-4, 0.0]
    assert record["crs"] == "EPSG:32633"
    assert record["nodata"] == -32768.0


def test_archives_of_others(tmp_path):
    np.savez(tmp_path / "a.npz", scene=VALUES, wavelengths=[450.0, 550.0], mask=np.ones((3, 4)))
    assert read(tmp_path / "a.npz").wavelengths.tolist() == [450.0, 550.0]
    assert read(f"{tmp_path / 'a.npz'}:mask").bands == 1
    np.savez(tmp_path / "b.npz", hsi=VALUES, msi=VALUES)
    with pytest.raises(InputError, match=r"b\.npz: holds several arrays; name one, as in FILE:hsi"):
        read(tmp_path / "b.npz")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones(5), r"has the shape \(5,\)"),
        (np.ones((2, 2, 2, 2)), r"has the shape \(2, 2, 2, 2\)"),
        (np.ones((0, 2, 2)), r"\(0, 2, 2\)"),
        (np.ones((2, 2, 2), complex), "holds complex values"),
        (np.array([[["a", "b"]]]), "holds text values"),
        (np.array([[[None]]]), r"is not an \.npy file of numbers"),
        (np.zeros((2, 2, 2), [("x", "f4")]), "holds compound values"),
    ],
)
def test_arrays_that_are_no_cube(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(InputError, match=r"a\.npy: .*" + message):
        read(tmp_path / "a.npy")


@pytest.mark.parametrize("ending", ["npy", "npz"])
@pytest.mark.parametrize("fraction", [0.9, 0.3, 0.01])
def test_cut_off(tmp_path, ending, fraction):
    file = tmp_path / f"a.{ending}"
    write(file, Cube(data=np.ones((4, 20, 20))))
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * fraction)])
    with pytest.raises(
        InputError, match=rf"a\.{ending}: is not an \.{ending} file of numbers, or it is cut off"
    ) as caught:
        read(file)
    assert "\n" not in str(caught.value)


def test_an_archive_with_a_flipped_byte(tmp_path):
    write(tmp_path / "a.npz", Cube(data=np.ones((4, 20, 20))), compress="deflate")
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[len(content) // 4] ^= 0xFF
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.npz: is not an \.npz file"):
        read(tmp_path / "a.npz")


def test_variables_where_there_are_none(tmp_path):
    np.save(tmp_path / "a.npy", VALUES)
    with pytest.raises(InputError, match="leave out ':x'"):
        read(f"{tmp_path / 'a.npy'}:x")
    with pytest.raises(InputError, match="NumPy array holds no named variables; leave out ':x'"):
        write(f"{tmp_path / 'b.npy'}:x", Cube(data=VALUES))
