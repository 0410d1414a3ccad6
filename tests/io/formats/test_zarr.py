import json
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hyperfuse.cube.crs import same_crs
from hyperfuse.cube.cube import Cube
from hyperfuse.errors import HyperfuseError, InputError, MissingDependencyError
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


class Evil:
    """What runs code when it is unpickled."""

    def __reduce__(self):
        return exec, ("import pathlib; pathlib.Path('ran').touch()",)


@pytest.mark.parametrize("consolidated", [False, True])
def test_no_code_of_a_pickle_runs(tmp_path, monkeypatch, consolidated):
    import base64
    import json
    import pickle

    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "a.zarr"
    (folder / "cube").mkdir(parents=True)
    array = {
        "zarr_format": 2, "shape": [1], "chunks": [1], "dtype": "|O", "compressor": None, "order": "C",
        "filters": [{"id": "pickle", "protocol": 5}], "fill_value": base64.b64encode(pickle.dumps(Evil())).decode(),
    }  # fmt: skip
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    (folder / "cube" / ".zarray").write_text(json.dumps(array))
    (folder / "cube" / "0").write_bytes(pickle.dumps(np.array([Evil()], dtype=object)))
    if consolidated:
        (folder / "cube" / ".zarray").write_text(
            json.dumps({**array, "filters": None, "dtype": "<f4", "fill_value": 0})
        )
        known = {".zgroup": {"zarr_format": 2}, "cube/.zarray": array}
        (folder / ".zmetadata").write_text(json.dumps({"zarr_consolidated_format": 1, "metadata": known}))
    with pytest.raises(InputError, match=r"a\.zarr: uses the codec 'pickle', which is not read: it may run code"):
        read(folder)
    text = (folder / "cube" / ".zarray").read_text().replace('"|O"', '"<f4"')
    (folder / "cube" / ".zarray").write_text(text)
    with pytest.raises(InputError, match="uses the codec 'pickle'" if not consolidated else "pickle"):
        read(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m["codecs"].append({"name": "numcodecs.pickle"}), r"uses the codec 'numcodecs\.pickle'"),
        (
            lambda m: m.update(codecs=[{"name": "sharding_indexed", "configuration": {"codecs": [{"name": "own"}]}}]),
            "'own'",
        ),
        (lambda m: m.update(data_type="object"), "holds Python objects, which are not read"),
        (lambda m: m.update(codecs=5), "uses the codec '5'"),
    ],
)
def test_codecs_and_types_are_from_a_list(tmp_path, change, said):
    import json

    write(tmp_path / "a.zarr", Cube(data=VALUES))
    file = tmp_path / "a.zarr" / "cube" / "zarr.json"
    metadata = json.loads(file.read_text())
    change(metadata)
    file.write_text(json.dumps(metadata))
    with pytest.raises(InputError, match=said):
        read(tmp_path / "a.zarr")


def test_chunks_of_no_size(tmp_path):
    array = {"zarr_format": 2, "shape": [2, 4, 4], "chunks": [0, 0, 0], "dtype": "<f4", "order": "C"}
    (tmp_path / "a.zarr" / "cube").mkdir(parents=True)
    (tmp_path / "a.zarr" / ".zgroup").write_text('{"zarr_format": 2}')
    rest = {"compressor": None, "filters": None, "fill_value": 0}
    (tmp_path / "a.zarr" / "cube" / ".zarray").write_text(json.dumps({**array, **rest}))
    with pytest.raises(InputError, match=r"a\.zarr: the array cube states chunks of no size"):
        read(tmp_path / "a.zarr")


def test_metadata_that_is_no_json(tmp_path):
    write(tmp_path / "a.zarr", Cube(data=VALUES))
    (tmp_path / "a.zarr" / "cube" / "zarr.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"damaged Zarr folder \(cube/zarr\.json is no JSON\)"):
        read(tmp_path / "a.zarr")


def test_common_codecs_are_read(tmp_path):
    codecs = zarr.codecs
    for number, options in enumerate(
        [
            {"compressors": codecs.BloscCodec()},
            {"compressors": codecs.GzipCodec()},
            {"filters": codecs.TransposeCodec(order=(2, 0, 1))},
            {"chunks": (1, 3, 2), "shards": (2, 3, 4)},
            {"zarr_format": 2},
        ]
    ):
        root = zarr.create_group(tmp_path / f"{number}.zarr", zarr_format=options.pop("zarr_format", 3))
        root.create_array("toa", data=VALUES, **options)
        np.testing.assert_array_equal(read(tmp_path / f"{number}.zarr").data, VALUES)


def test_millions_of_absent_chunks_are_refused_at_once(tmp_path):
    from hyperfuse.cube.window import Window
    from hyperfuse.io.windows.open import open_windows

    zarr.create_group(tmp_path / "a.zarr").create_array("toa", shape=(1, 2000, 2000), chunks=(1, 1, 1), dtype="f4")
    with pytest.raises(InputError, match="toa is stored in 4000000 chunks, too many to read; rechunk it"):
        read(tmp_path / "a.zarr")
    assert not open_windows(tmp_path / "a.zarr").read(Window(5, 7, 4, 4)).data.any()


JUNK = [None, 5, -1, 1e300, "x", "", [], {}, [1, 2], True, 10**30, {"a": [{}]}, "NaN"]


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_changed_metadata_are_one_line(tmp_path, data):
    import contextlib
    import json

    folder = tmp_path / "a.zarr"
    write(folder, Cube(data=VALUES, wavelengths=[450.0, 550.0], transform=(30, 0, 0, 0, -30, 0)), overwrite=True)
    file = folder / data.draw(st.sampled_from([".", "cube", "y", "wavelength"])) / "zarr.json"
    part = metadata = json.loads(file.read_text())
    while True:
        key = data.draw(st.sampled_from(sorted(part) if isinstance(part, dict) else range(len(part))))
        below = part[key]
        if not isinstance(below, dict | list) or not below or data.draw(st.booleans()):
            break
        part = below
    part[key] = data.draw(st.sampled_from(JUNK))
    file.write_text(json.dumps(metadata))
    with contextlib.suppress(HyperfuseError):
        read(folder)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("size", [0, -1, 2**21, 2**31, 10**30])
def test_sizes_that_no_image_has_are_refused(tmp_path, axis, size):
    import json

    folder = tmp_path / "a.zarr"
    write(folder, Cube(data=VALUES, wavelengths=[450.0, 550.0], transform=(30, 0, 0, 0, -30, 0)))
    file = folder / "cube" / "zarr.json"
    metadata = json.loads(file.read_text())
    metadata["shape"][axis] = size
    file.write_text(json.dumps(metadata))
    with pytest.raises(HyperfuseError):
        read(folder)
