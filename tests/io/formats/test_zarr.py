import sys

import numpy as np
import pytest

from hyperfuse.cube.crs import same_crs
from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError, MissingDependencyError
from hyperfuse.io import read, write

zarr = pytest.importorskip("zarr")
VALUES = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_xarray_reads_what_is_written(scene, tmp_path, dtype):
    xarray = pytest.importorskip("xarray")
    write(tmp_path / "a.zarr", scene, dtype=dtype)
    file = xarray.open_zarr(tmp_path / "a.zarr", consolidated=False, decode_coords="all")
    assert file.cube.dims == ("band", "y", "x")
    assert np.allclose(file.cube, scene.data, equal_nan=True, atol=1e-7)
    assert file.wavelength.values.tolist() == scene.wavelengths.tolist()
    assert file.band_name.values.tolist() == list(scene.band_names)
    assert same_crs(file.spatial_ref.attrs["crs_wkt"], "EPSG:32633")


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("fill", [np.nan, -1.0])
def test_stores_of_xarray(tmp_path, zarr_format, fill, assert_same):
    xarray = pytest.importorskip("xarray")
    values = np.where(VALUES == 5, np.nan, VALUES)
    array = xarray.DataArray(values, dims=("wavelength", "y", "x"), coords={"wavelength": [450.0, 550.0]}, name="toa")
    array.to_dataset().to_zarr(
        tmp_path / "a.zarr", zarr_format=zarr_format, consolidated=False, encoding={"toa": {"_FillValue": fill}}
    )
    expected = Cube(data=values, valid=VALUES != 5, wavelengths=[450.0, 550.0], nodata=fill)
    assert_same(read(tmp_path / "a.zarr"), expected)
    assert_same(read(f"{tmp_path / 'a.zarr'}:toa", bands="2"), expected.select_bands([1]))


def test_a_single_array(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", data=VALUES)
    assert np.array_equal(read(tmp_path / "a.zarr").data, VALUES)
    assert np.array_equal(read(tmp_path / "a.zarr", axes="cols,rows,bands").data, VALUES.T)


@pytest.mark.parametrize("compress", ["none", "zstd"])
def test_compressions(tmp_path, compress):
    write(tmp_path / "a.zarr", Cube(data=VALUES), compress=compress)
    codecs = zarr.open_group(tmp_path / "a.zarr", mode="r")["cube"].compressors
    assert bool(codecs) == (compress == "zstd")
    assert np.array_equal(read(tmp_path / "a.zarr").data, VALUES)


def test_replacing_a_folder(scene, tmp_path, assert_same):
    write(tmp_path / "a.zarr", Cube(data=VALUES))
    with pytest.raises(InputError, match=r"a\.zarr: exists already; use overwrite=True"):
        write(tmp_path / "a.zarr", scene)
    write(tmp_path / "a.zarr", scene, overwrite=True)
    assert_same(read(tmp_path / "a.zarr"), scene)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


def test_a_folder_with_other_content_is_never_replaced(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "thesis.txt").write_text("all of it")
    with pytest.raises(InputError, match="is a folder with other content than Zarr"):
        write(tmp_path / "a.zarr", Cube(data=VALUES), overwrite=True)
    assert (tmp_path / "a.zarr" / "thesis.txt").read_text() == "all of it"
    with pytest.raises(InputError, match=r"is not a Zarr folder \(it holds none of zarr.json"):
        read(tmp_path / "a.zarr")


def test_damaged_stores(tmp_path):
    write(tmp_path / "a.zarr", Cube(data=np.random.default_rng(0).random((2, 30, 30))))
    chunk = next(
        path for path in (tmp_path / "a.zarr" / "cube").rglob("*") if path.is_file() and path.name != "zarr.json"
    )
    chunk.write_bytes(chunk.read_bytes()[:20])
    with pytest.raises(InputError, match=r"a\.zarr: the array cube is damaged"):
        read(tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / "zarr.json").write_text("{")
    with pytest.raises(InputError, match=r"a\.zarr: is a damaged Zarr folder"):
        read(tmp_path / "a.zarr")


def test_the_package_that_is_missing_is_named(tmp_path, monkeypatch):
    write(tmp_path / "a.zarr", Cube(data=VALUES))
    monkeypatch.setitem(sys.modules, "zarr", None)
    for work in (lambda: read(tmp_path / "a.zarr"), lambda: write(tmp_path / "b.zarr", Cube(data=VALUES))):
        with pytest.raises(MissingDependencyError, match=r"needs the package zarr: pip install 'hyperfuse\[xarray\]'"):
            work()
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]
