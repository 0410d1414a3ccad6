import h5py
import numpy as np
import pytest
import scipy.io

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.io import read, write

VALUES = np.arange(60.0).reshape(3, 4, 5)
# What MATLAB shows for the same cube: (rows, cols, bands).
SHOWN = VALUES.transpose(1, 2, 0)


def version_5(file, **variables):
    scipy.io.savemat(file, variables)


def version_73(file, **variables):
    """Lay variables out as MATLAB does: axes backwards, the class as an attribute, a block of 512 bytes in front."""
    with h5py.File(file, "w", userblock_size=512) as target:
        for name, array in variables.items():
            target[name] = np.atleast_2d(array).T
            target[name].attrs["MATLAB_class"] = np.bytes_(
                {"float64": "double"}.get(array.dtype.name, array.dtype.name)
            )
    with file.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


versions = pytest.mark.parametrize("save", [version_5, version_73])


@versions
def test_cubes_are_rows_cols_bands(tmp_path, save):
    save(tmp_path / "a.mat", scene=SHOWN, wavelengths=np.array([450.0, 550.0, 650.0]), map=np.ones((4, 5)))
    cube = read(tmp_path / "a.mat")
    assert np.array_equal(cube.data, VALUES)
    assert cube.data.flags.c_contiguous
    assert cube.wavelengths.tolist() == [450.0, 550.0, 650.0]
    assert np.array_equal(read(f"{tmp_path / 'a.mat'}:scene", axes="bands,rows,cols").data, SHOWN)
    assert np.array_equal(read(tmp_path / "a.mat", axes="xyb", bands="3").data[0], VALUES[2].T)


@versions
def test_a_matrix_is_one_band(tmp_path, save):
    save(tmp_path / "a.mat", pan=SHOWN[:, :, 0])
    assert np.array_equal(read(tmp_path / "a.mat").data, VALUES[:1])
    assert np.array_equal(read(tmp_path / "a.mat", axes="cols,rows").data[0], VALUES[0].T)


@versions
def test_integers_are_read_as_they_are_or_with_the_scale_given(tmp_path, save):
    stored = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    save(tmp_path / "a.mat", orig=stored)
    shown = stored.transpose(2, 0, 1)
    assert np.array_equal(read(tmp_path / "a.mat").data, shown)
    coded = read(tmp_path / "a.mat", scale=1 / 256, offset=0.5 / 256)
    assert np.array_equal(coded.data, (shown + 0.5) / 256)
    assert coded.data.dtype == np.float32


@versions
def test_several_cubes(tmp_path, save):
    save(tmp_path / "a.mat", HSim=SHOWN, MSim=SHOWN[..., :2].copy(), n=np.array([1.0]))
    with pytest.raises(
        InputError, match=r"name one, as in FILE:HSim: HSim \(4 x 5 x 3 float64\), MSim \(4 x 5 x 2 float64\)"
    ):
        read(tmp_path / "a.mat")
    assert read(f"{tmp_path / 'a.mat'}:MSim").bands == 2
    with pytest.raises(InputError, match=r"a\.mat: has no variable 'hsim'; it holds HSim"):
        read(f"{tmp_path / 'a.mat'}:hsim")


@versions
def test_no_cube_at_all(tmp_path, save):
    save(tmp_path / "a.mat", wavelengths=np.arange(400.0, 500.0))
    with pytest.raises(
        InputError, match=r"holds no 2-D or 3-D array of numbers; it holds wavelengths \(1 x 100 float64\)"
    ):
        read(tmp_path / "a.mat")


def test_fields_of_structures(tmp_path):
    version_5(tmp_path / "a.mat", S={"cube": SHOWN, "name": "lake"})
    assert np.array_equal(read(f"{tmp_path / 'a.mat'}:S.cube").data, VALUES)
    with pytest.raises(InputError, match=r"has no field 'kube' in 'S.kube'; there are cube, name"):
        read(f"{tmp_path / 'a.mat'}:S.kube")
    with pytest.raises(InputError, match="holds text values"):
        read(f"{tmp_path / 'a.mat'}:S.name")
    with h5py.File(tmp_path / "b.mat", "w", userblock_size=512) as file:
        file["S/cube"] = SHOWN.T
    assert np.array_equal(read(f"{tmp_path / 'b.mat'}:S.cube").data, VALUES)


@versions
def test_complex_and_undeclared_nan(tmp_path, save):
    save(tmp_path / "a.mat", c=np.ones((2, 2, 2), complex), gaps=np.where(SHOWN == 7, np.nan, SHOWN))
    with pytest.raises(InputError, match=r"holds (complex|compound) values"):
        read(f"{tmp_path / 'a.mat'}:c")
    with pytest.raises(InputError, match=r"a\.mat: 1 values are NaN .* nodata=nan"):
        read(f"{tmp_path / 'a.mat'}:gaps")
    assert np.array_equal(read(f"{tmp_path / 'a.mat'}:gaps", nodata=np.nan).valid, VALUES != 7)


def test_scipy_reads_what_is_written(scene, tmp_path):
    write(tmp_path / "a.mat", scene)
    content = scipy.io.loadmat(tmp_path / "a.mat")
    assert np.array_equal(content["cube"], np.where(scene.valid, scene.data, np.float32(-32768)).transpose(1, 2, 0))
    assert content["cube"].dtype == np.float32
    assert content["wavelengths"].tolist() == [scene.wavelengths.tolist()]
    assert content["good_bands"].tolist() == [[1, 1, 1, 0, 1]]
    assert '"crs": "EPSG:32633"' in content["HYPERFUSE"][0]


def test_version_73_is_laid_out_as_matlab_does(scene, tmp_path):
    write(f"{tmp_path / 'a.mat'}:fused", scene, version="7.3", dtype="int16")
    with (tmp_path / "a.mat").open("rb") as file:
        assert scipy.io.matlab.matfile_version(file) == (2, 0)
    with h5py.File(tmp_path / "a.mat", "r") as content:
        fused = content["fused"][()].T  # axes are stored in reverse order
        assert fused.shape == (8, 9, 5)
        assert np.array_equal(fused == -32768, ~scene.valid.transpose(1, 2, 0))
        assert content["fused"].attrs["MATLAB_class"] == b"int16"
        assert np.array_equal(content["wavelengths"][()].ravel(), scene.wavelengths)
        assert '"crs": "EPSG:32633"' in content["HYPERFUSE"][()].tobytes().decode("utf-16-le")


@pytest.mark.parametrize("version", ["5", "7.3"])
@pytest.mark.parametrize("fraction", [0.9, 0.3, 0.02])
def test_cut_off(scene, tmp_path, version, fraction):
    write(tmp_path / "a.mat", scene, version=version)
    whole = (tmp_path / "a.mat").read_bytes()
    (tmp_path / "a.mat").write_bytes(whole[: int(len(whole) * fraction)])
    with pytest.raises(InputError, match=r"a\.mat: is .*cut off or damaged") as caught:
        read(tmp_path / "a.mat")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.mat", {"version": "6"}, "version='6' is not one of 5, 7.3"),
        ("a.mat", {"compress": "zstd"}, "compress='zstd' is not one of none, deflate"),
        ("a.mat:wavelengths", {}, "'wavelengths' is the name of another variable"),
        ("a.mat:my-cube", {}, "'my-cube' cannot name a variable"),
    ],
)
def test_wrong_options(tmp_path, name, options, message):
    with pytest.raises(InputError, match=message):
        write(f"{tmp_path / name}", Cube(data=VALUES), **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_the_axis_as_long_as_the_wavelengths_are_the_bands(tmp_path, version):
    values = np.arange(60.0).reshape(3, 4, 5)
    for number, axes in enumerate(("brc", "rcb", "rbc")):
        stored = values.transpose(["brc".index(letter) for letter in axes])
        path = tmp_path / f"{number}.mat"
        if version == "5":
            scipy.io.savemat(path, {"scene": stored, "wavelength": [450.0, 550.0, 650.0]})
        else:
            with h5py.File(path, "w") as file:
                file["scene"], file["wavelength"] = stored.T, [[450.0], [550.0], [650.0]]
        np.testing.assert_array_equal(read(path).data, values)
