import sys

import numpy as np
import pytest
import xarray

import hyperfuse as hf
import hyperfuse.xarray
from scenes import patches_of_materials

METHODS = ["bicubic", "gsa", "local-regression", "cnmf"]


@pytest.fixture(scope="module")
def pair():
    reference = hf.Cube(
        patches_of_materials(6, 96, 120).astype(np.float32),
        wavelengths=np.linspace(450, 850, 6),
        transform=(10, 0, 600, 0, -10, 900),
        crs="EPSG:32633",
    )
    return hf.simulate(reference, ratio=4, srf="boxes:3", hsi_snr_db=35)


@pytest.fixture
def counted(pair):
    """The pair in chunks, and a list that grows with every chunk that is computed."""
    computed = []

    def watched(block):
        computed.append(block.shape)
        return block

    def lazily(cube, chunks):
        array = cube.to_xarray().chunk(chunks)
        meta = np.empty((0, 0, 0), "f4")
        return array.copy(data=array.data.map_blocks(watched, dtype="f4", meta=meta))

    return lazily(pair.hsi, {"y": 12}), lazily(pair.msi, {"y": 48, "x": 48}), computed


def test_nothing_is_computed_before_it_is_asked_for(pair, counted):
    hsi, msi, computed = counted
    fused = hsi.hyperfuse.fuse(msi, method="gsa", sensor=pair.sensor)
    assert computed == []
    assert fused.shape == (6, 96, 120)
    assert fused.chunks == ((6,), (48, 48), (40, 40, 40))
    assert fused.rio.crs == "EPSG:32633"
    assert fused.attrs["HYPERFUSE_HISTORY"]
    corner = fused[:, :8, :8].compute()
    assert computed
    assert np.isfinite(corner).all()


@pytest.mark.parametrize("method", METHODS)
def test_the_graph_gives_what_fusing_files_in_tiles_gives(method, pair, counted, tmp_path):
    hsi, msi, _ = counted
    values = hsi.hyperfuse.fuse(msi, method=method, sensor=pair.sensor, tile=48).compute(scheduler="threads")
    for name in ("hsi", "msi"):
        hf.write(tmp_path / f"{name}.tif", getattr(pair, name))
    files = tmp_path / "hsi.tif", tmp_path / "msi.tif"
    hf.fuse_tiles(*files, tmp_path / "out.tif", method=method, sensor=pair.sensor, tile=48)
    np.testing.assert_array_equal(values, hf.read(tmp_path / "out.tif").data)
    eager = hf.fuse(pair.hsi, pair.msi, method=method, sensor=pair.sensor)
    assert np.sqrt(np.mean((values - eager.data) ** 2)) < 0.01 * eager.data.std()


def test_what_is_estimated_is_estimated_when_it_is_computed(pair, counted):
    hsi, msi, _ = counted
    lazy = hsi.hyperfuse.fuse(msi, method="gsa", tile=500)
    eager = hsi.load().hyperfuse.fuse(msi.load(), method="gsa")
    assert lazy.chunks == ((6,), (96,), (120,))
    np.testing.assert_allclose(lazy, eager, atol=1e-5)
    assert lazy.coords.keys() == eager.coords.keys()


def test_an_hsi_that_lies_off_leaves_gaps_on_the_grid_that_was_stated(pair):
    moved = pair.hsi.replace(transform=(40, 0, 640, 0, -40, 860))
    fused = moved.to_xarray().chunk().hyperfuse.fuse(pair.msi.to_xarray(), method="bicubic", align=False, tile=48)
    eager = hf.fuse(moved, pair.msi, method="bicubic", align=False)
    assert fused.shape == eager.shape
    assert hf.Cube.from_xarray(fused).transform == eager.transform
    np.testing.assert_allclose(fused, eager.data, atol=1e-5)


def test_gaps_and_bad_bands_come_out_as_in_memory(pair):
    valid = np.ones(pair.msi.shape, bool)
    valid[:, 40:60, 30:90] = False
    msi = pair.msi.replace(valid=valid)
    good = np.array([True, False, True, True, True, True])
    hsi = pair.hsi.replace(good_bands=good)
    lazy = hsi.to_xarray().chunk({"x": 10}).hyperfuse.fuse(msi.to_xarray().chunk({"y": 48, "x": 48}), method="gsa")
    eager = hf.fuse(hsi, msi, method="gsa")
    np.testing.assert_array_equal(np.isnan(lazy), np.isnan(eager.data))
    assert lazy.good_wavelengths.values.tolist() == good.tolist()


def test_a_distributed_cluster_computes_the_same(pair, counted):
    distributed = pytest.importorskip("distributed")
    hsi, msi = pair.hsi.to_xarray().chunk({"y": 12}), pair.msi.to_xarray().chunk({"y": 48, "x": 48})
    fused = hsi.hyperfuse.fuse(msi, method="local-regression", sensor=pair.sensor)
    here = fused.compute(scheduler="synchronous")
    with distributed.Client(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None):
        xarray.testing.assert_identical(fused.compute(), here)


def test_what_headers_show_not_to_fit_is_refused_at_once(pair):
    with pytest.raises(hf.InputError, match="are HSI and MSI swapped"):
        pair.msi.to_xarray().chunk().hyperfuse.fuse(pair.hsi.to_xarray(), method="gsa", ratio=0.25)
    lazy = pair.hsi.to_xarray().chunk()
    with pytest.raises(hf.InputError, match="a lazy fusion returns no uncertainty"):
        lazy.hyperfuse.fuse(pair.msi.to_xarray(), settings={"uncertainty": True})
    with pytest.raises(hf.InputError, match="tile is 1 or more"):
        lazy.hyperfuse.fuse(pair.msi.to_xarray(), tile=0)


def test_a_missing_dask_is_named(pair, monkeypatch):
    lazy, msi = pair.hsi.to_xarray().chunk(), pair.msi.to_xarray()
    monkeypatch.setitem(sys.modules, "dask", None)
    with pytest.raises(hf.MissingDependencyError, match="a lazy fusion needs the package dask"):
        lazy.hyperfuse.fuse(msi, method="gsa")
