"""Fused tile by tile: the same as whole, without seams, without reading what is empty, and resumed after any end."""

import os
import signal
import subprocess
import sys
import textwrap
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import six_numbers
from hyperfuse.errors import FinishedError, HyperfuseError, InputError
from hyperfuse.io import read, write
from hyperfuse.scenes import windows
from hyperfuse.scenes.fuse import fuse, fuse_tiles
from hyperfuse.scenes.simulate import simulate
from hyperfuse.scenes.tiling.memory import default_memory_gb, tile_side
from hyperfuse.scenes.tiling.store import TileStore
from scenes import mixture, smooth_abundances

TILE, OVERLAP = 32, 6  # 8 LR pixels


def scene(rows=96, cols=128, bands=6, seed=0):
    """A scene of four smooth materials, with georeferencing."""
    rng = np.random.default_rng(seed)
    abundances = smooth_abundances(rng, 4, rows, cols, 1.5)
    data = mixture(rng.random((bands, 4)).T, abundances)
    return Cube(
        data=(data / data.max()).astype(np.float32),
        wavelengths=np.linspace(450, 900, bands),
        transform=(10.0, 0.0, 500_000.0, 0.0, -10.0, 4_100_000.0),
        crs="EPSG:32633",
        attributes={"sensor": "made"},
    )


def pair(folder, reference=None, ratio=4, ending=".tif", **options):
    made = simulate(scene() if reference is None else reference, ratio=ratio, srf="boxes:3", **options)
    for name in ("hsi", "msi"):
        write(folder / f"{name}{ending}", getattr(made, name))
    return made, folder / f"hsi{ending}", folder / f"msi{ending}"


def psnr(reference, fused):
    return -10 * np.log10(np.nanmean((reference - fused) ** 2, axis=(1, 2))).mean()


def count_calls(monkeypatch):
    """Count the tiles that are fused in this process."""
    calls = []
    cut = windows.cut

    def counted(outcome, window, tile):
        calls.append((tile.row, tile.col))
        return cut(outcome, window, tile)

    monkeypatch.setattr(windows, "cut", counted)
    return calls


# Methods with one fit for all pixels are fitted to each tile, which has to hold enough of them.
@pytest.mark.parametrize(
    ("method", "tile", "settings"),
    [
        ("local-regression", 32, {}),
        ("bicubic", 32, {}),
        ("regression", 96, {}),
        ("gsa", 96, {}),
        ("feinfn", 32, {"effort": "fast"}),
        ("feinfn", 32, {"steps": 30, "width": 8}),
    ],
)
def test_tiles_are_as_good_as_the_whole(tmp_path, method, tile, settings):
    made, hsi, msi = pair(tmp_path, scene() if tile == 32 else scene(192, 256))
    job = {"sensor": made.sensor, "method": method, "settings": settings}
    whole = fuse(made.hsi, made.msi, **job)
    result = fuse_tiles(hsi, msi, tmp_path / "out.tif", **job, tile=tile)
    tiled = read(tmp_path / "out.tif")
    assert result.windows == ((12, 12) if tile == 32 else (6, 6))
    assert psnr(made.reference.data, tiled.data) > psnr(made.reference.data, whole.data) - 0.1
    assert (tiled.transform, tiled.crs) == (whole.transform, whole.crs)
    assert tiled.attributes["sensor"] == "made"
    np.testing.assert_array_equal(tiled.wavelengths, whole.wavelengths)
    assert tiled.history[-1]["tiles"]["tile"] == tile
    assert not list(tmp_path.glob(".*"))  # nothing remains next to it


def test_a_method_that_looks_no_farther_than_the_overlap_gives_the_very_same(tmp_path):
    made, hsi, msi = pair(tmp_path)
    whole = fuse(made.hsi, made.msi, sensor=made.sensor, method="bicubic")
    fuse_tiles(
        hsi, msi, tmp_path / "out.tif", sensor=made.sensor, method="bicubic",
        tile=TILE, overlap=OVERLAP,
    )  # fmt: skip
    np.testing.assert_allclose(read(tmp_path / "out.tif").data, whole.data, atol=2e-6)


def test_no_seams(tmp_path):
    made, hsi, msi = pair(tmp_path)
    fuse_tiles(hsi, msi, tmp_path / "out.tif", sensor=made.sensor, method="local-regression", tile=TILE)
    error = read(tmp_path / "out.tif").data - made.reference.data
    steps = np.abs(np.diff(error, axis=2)).mean(axis=(0, 1))
    seams = steps[[TILE - 1, 2 * TILE - 1, 3 * TILE - 1]]
    assert seams.mean() < 1.3 * np.median(steps)
    # The blends are no worse than what is between them.
    columns = np.sqrt((error**2).mean(axis=(0, 1)))
    blends = np.concatenate([columns[edge - 4 : edge + 4] for edge in (32, 64, 96)])
    assert blends.mean() < 1.2 * columns.mean()


def test_a_ratio_that_is_not_whole_and_a_partial_overlap(tmp_path):
    made, _, _ = pair(tmp_path, ratio=3.2)
    hsi, msi = made.hsi, made.msi.crop(0, 5, made.msi.rows, made.msi.cols - 20)
    sensor = made.sensor.replace(phase=(1.1, 1.1 - 5))
    write(tmp_path / "a.tif", hsi)
    write(tmp_path / "b.tif", msi)
    whole = fuse(hsi, msi, method="local-regression", sensor=sensor)
    fuse_tiles(tmp_path / "a.tif", tmp_path / "b.tif", tmp_path / "out.tif", method="local-regression", tile=TILE,
               sensor=sensor)  # fmt: skip
    tiled = read(tmp_path / "out.tif")
    assert tiled.data.shape == whole.data.shape
    np.testing.assert_allclose(tiled.transform, whole.transform)
    col = round((whole.transform.c - made.reference.transform.c) / 10)
    truth = made.reference.data[:, : whole.rows, col : col + whole.cols]
    assert psnr(truth, tiled.data) > psnr(truth, whole.data) - 0.1
    assert psnr(truth, tiled.data) > 35


@pytest.mark.parametrize("ending", [".tif", ".img", ".zarr"])
def test_gaps_and_formats(tmp_path, ending):
    if ending == ".zarr":
        pytest.importorskip("zarr")
    reference = scene()
    valid = np.ones(reference.data.shape, bool)
    valid[:, :40, :50] = False
    valid[:, 70:73, 90:100] = False
    valid[4] = False
    made, hsi, msi = pair(tmp_path, reference.replace(valid=valid, nodata=-1.0), ending=ending)
    mask = np.zeros((1, 96, 128), np.float32)
    mask[:, 90:, 120:] = 1
    write(tmp_path / "mask.tif", Cube(data=mask))
    whole = fuse(made.hsi, made.msi, sensor=made.sensor, method="regression", mask=mask[0] > 0)
    fuse_tiles(hsi, msi, tmp_path / f"out{ending}", sensor=made.sensor, method="regression", tile=TILE,
               mask=tmp_path / "mask.tif")  # fmt: skip
    tiled = read(tmp_path / f"out{ending}")
    np.testing.assert_array_equal(tiled.valid, whole.valid)
    np.testing.assert_array_equal(tiled.good_bands, whole.good_bands)
    assert tiled.nodata == whole.nodata == -1.0
    assert tiled.transform == whole.transform
    seen = tiled.valid[0]
    error = np.abs(np.where(seen, tiled.data[0] - whole.data[0], 0))
    assert error.max() < 0.1
    assert np.sqrt((error**2).mean()) < 0.005


def test_integers_and_cog(tmp_path):
    made, _, msi = pair(tmp_path)
    write(tmp_path / "coded.tif", made.hsi.replace(scale=1e-4), dtype="int16")
    fuse_tiles(tmp_path / "coded.tif", msi, tmp_path / "out.tif", sensor=made.sensor, method="regression", tile=TILE,
               dtype="int16", cog=True)  # fmt: skip
    import rasterio

    with rasterio.open(tmp_path / "out.tif") as file:
        assert file.dtypes[0] == "int16"
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert psnr(made.reference.data, read(tmp_path / "out.tif").data) > 30


def test_empty_tiles_are_not_fused(tmp_path, monkeypatch):
    reference = scene(rows=128, cols=256)
    valid = np.zeros(reference.data.shape, bool)
    valid[:, 32:64, 64:96] = True
    made, hsi, msi = pair(tmp_path, reference.replace(valid=valid, nodata=-1.0))
    calls = count_calls(monkeypatch)
    result = fuse_tiles(hsi, msi, tmp_path / "out.tif", sensor=made.sensor, method="regression", tile=TILE, overlap=1)
    # The tile with the data, and those around whose blends reach into it.
    assert {(1, 2)} <= set(calls) <= {(row, col) for row in (0, 1, 2) for col in (1, 2, 3)}
    assert result.windows[0] == 32
    fused = read(tmp_path / "out.tif")
    np.testing.assert_array_equal(fused.valid[0], valid[0])


def test_blocks_that_a_sparse_file_leaves_out_are_not_read(tmp_path, monkeypatch):
    import rasterio

    from hyperfuse.io.formats.raster import RasterImage

    made, _, msi = pair(tmp_path, scene(rows=256, cols=1024))
    profile = {"driver": "GTiff", "count": 6, "dtype": "float32", "nodata": -1.0, "tiled": True, "sparse_ok": True}
    with rasterio.open(
        tmp_path / "sparse.tif", "w", height=64, width=256, blockxsize=16, blockysize=16, **profile,
        crs="EPSG:32633", transform=rasterio.Affine(*made.hsi.transform),
    ) as file:  # fmt: skip
        file.write(made.hsi.data[:, 16:32, 32:48], window=((16, 32), (32, 48)))
    windows = []
    load = RasterImage.read
    monkeypatch.setattr(RasterImage, "read", lambda self, *window: windows.append(window) or load(self, *window))
    result = fuse_tiles(tmp_path / "sparse.tif", msi, tmp_path / "out.tif", sensor=made.sensor, method="regression",
                        tile=64, overlap=1)  # fmt: skip
    assert result.windows[0] == 64
    assert len(windows) < 40
    fused = read(tmp_path / "out.tif")
    assert fused.valid[0, 64:128, 128:192].all()
    assert fused.valid[0].sum() == 64 * 64
    # In the result, too, empty blocks take no space.
    assert (tmp_path / "out.tif").stat().st_size < fused.data.nbytes / 2


@contextmanager
def interrupted_after(count, monkeypatch):
    """Make Ctrl-C come when ``count`` tiles are done."""
    fuse_tile = windows.FuseTile.__call__
    done = []

    def until(task, tile):
        if len(done) == count:
            raise KeyboardInterrupt
        done.append(tile.name)
        return fuse_tile(task, tile)

    with monkeypatch.context() as patch:
        patch.setattr(windows.FuseTile, "__call__", until)
        with pytest.raises(KeyboardInterrupt):
            yield


def test_an_interrupted_job_resumes_with_what_is_left(tmp_path, monkeypatch):
    made, hsi, msi = pair(tmp_path)
    job = {"sensor": made.sensor, "method": "local-regression", "tile": TILE}
    fuse_tiles(hsi, msi, tmp_path / "whole.tif", **job)
    with interrupted_after(5, monkeypatch):
        fuse_tiles(hsi, msi, tmp_path / "out.tif", **job)
    assert not (tmp_path / "out.tif").exists()
    with pytest.raises(InputError, match="resume=True resumes it"):
        fuse_tiles(hsi, msi, tmp_path / "out.tif", **job)
    with pytest.raises(InputError, match=r"another job \(other settings\)"):
        fuse_tiles(hsi, msi, tmp_path / "out.tif", **job, settings={"ridge": 0.1}, resume=True)
    calls = count_calls(monkeypatch)
    fuse_tiles(hsi, msi, tmp_path / "out.tif", **job, resume=True)
    assert len(calls) == 12 - 5
    assert (tmp_path / "out.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_what_was_learnt_of_the_scene_is_not_learnt_again(tmp_path, monkeypatch):
    made, hsi, msi = pair(tmp_path)
    job = {"sensor": made.sensor, "method": "feinfn", "settings": {"steps": 5, "width": 8}, "tile": TILE}
    fuse_tiles(hsi, msi, tmp_path / "whole.tif", **job)
    with interrupted_after(5, monkeypatch):
        fuse_tiles(hsi, msi, tmp_path / "out.tif", **job)
    with monkeypatch.context() as patch:
        patch.setattr("hyperfuse.scenes.pipeline.fit_scene", lambda *_: pytest.fail("learnt again"))
        fuse_tiles(hsi, msi, tmp_path / "out.tif", **job, resume=True)
    assert (tmp_path / "out.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()


def damage(path, how):
    data = path.read_bytes()
    changed = {
        "cut off": data[: len(data) // 2],
        "empty": b"",
        "of one bit": data[:200] + bytes([data[200] ^ 1]) + data[201:],
        "of the end": data[:-1] + b"\x00",
        "foreign": b"PK\x03\x04 something else",
    }
    path.write_bytes(changed[how])


@pytest.mark.parametrize("how", ["cut off", "empty", "of one bit", "foreign"])
def test_what_is_damaged_of_an_interrupted_job_is_computed_again(tmp_path, monkeypatch, how):
    made, hsi, msi = pair(tmp_path)
    job = {"sensor": made.sensor, "method": "local-regression", "tile": TILE}
    fuse_tiles(hsi, msi, tmp_path / "whole.tif", **job)
    with interrupted_after(5, monkeypatch):
        fuse_tiles(hsi, msi, tmp_path / "out.tif", **job)
    folder = tmp_path / ".out.tif.tiles"
    tiles = sorted(folder.glob("tile-*.npy"))
    damage(tiles[0], how)
    damage(tiles[3], how)
    damage(folder / "model.pt", how)
    (folder / "tile-00009-00009.npy.1234.part").touch()
    calls = count_calls(monkeypatch)
    result = fuse_tiles(hsi, msi, tmp_path / "out.tif", **job, resume=True)
    assert len(calls) == 12 - 5 + 2
    assert "of the interrupted job 2 tiles were damaged and are fused again" in result.notes
    assert any("had learnt of the scene was damaged" in note for note in result.notes)
    assert (tmp_path / "out.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"tile": "many"}', "[" * 100_000, "\x00"])
def test_a_job_of_which_the_description_is_damaged_is_refused_and_can_be_restarted(tmp_path, monkeypatch, text):
    made, hsi, msi = pair(tmp_path)
    job = {"sensor": made.sensor, "method": "bicubic", "tile": TILE}
    with interrupted_after(2, monkeypatch):
        fuse_tiles(hsi, msi, tmp_path / "out.tif", **job)
    (tmp_path / ".out.tif.tiles" / "job.json").write_text(text)
    del job["tile"]
    with pytest.raises(InputError, match=r"its job\.json is damaged; remove the tiles by overwrite=True"):
        fuse_tiles(hsi, msi, tmp_path / "out.tif", **job, resume=True)
    fuse_tiles(hsi, msi, tmp_path / "out.tif", **job, tile=TILE, overwrite=True)
    assert not list(tmp_path.glob(".*"))


def test_what_was_learnt_is_no_code(tmp_path, monkeypatch):
    made, hsi, msi = pair(tmp_path)
    job = {"sensor": made.sensor, "method": "local-regression", "tile": TILE}
    with interrupted_after(2, monkeypatch):
        fuse_tiles(hsi, msi, tmp_path / "out.tif", **job)
    store = TileStore.next_to(tmp_path / "out.tif")
    for state in ({"learned": subprocess.Popen, "samples": 1}, {"match": 1}, {}):
        store.put_model(state)
        with pytest.raises(InputError, match=r"model\.pt is damaged; remove the folder"):
            fuse_tiles(hsi, msi, tmp_path / "out.tif", **job, resume=True)


def test_a_copy_of_an_input_that_is_damaged_is_made_again(tmp_path, monkeypatch):
    made, hsi, msi = pair(tmp_path, ending=".npz")
    job = {"sensor": made.sensor, "method": "local-regression", "tile": TILE}
    with interrupted_after(5, monkeypatch):
        fuse_tiles(hsi, msi, tmp_path / "out.tif", **job)
    damage(tmp_path / ".out.tif.inputs" / "hsi.tif", "of one bit")
    damage(tmp_path / ".out.tif.inputs" / "msi.json", "empty")
    fuse_tiles(hsi, msi, tmp_path / "out.tif", **job, resume=True)
    fuse_tiles(hsi, msi, tmp_path / "whole.tif", **job)
    assert (tmp_path / "out.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_two_processes_do_not_write_one_output(tmp_path, monkeypatch):
    made, hsi, msi = pair(tmp_path)
    job = {"sensor": made.sensor, "method": "local-regression", "tile": TILE}
    store = TileStore.next_to(tmp_path / "out.tif")
    with interrupted_after(2, monkeypatch):
        fuse_tiles(hsi, msi, tmp_path / "out.tif", **job)
    with store.locked():  # as the other process does
        for how in ({"resume": True}, {"overwrite": True}):
            with pytest.raises(InputError, match=r"out\.tif: another process is writing it"):
                fuse_tiles(hsi, msi, tmp_path / "out.tif", **job, **how)
    assert len(list(store.folder.glob("*.npy"))) == 2
    store.folder.with_name(f"{store.folder.name}.lock").touch()  # of a process that was killed
    store.folder.with_name(f"{store.folder.name}.77").mkdir()
    fuse_tiles(hsi, msi, tmp_path / "out.tif", **job, resume=True)
    assert not list(tmp_path.glob(".*"))


def test_a_job_that_is_complete_has_nothing_to_resume(tmp_path):
    made, hsi, msi = pair(tmp_path)
    job = {"sensor": made.sensor, "method": "bicubic"}
    fuse_tiles(hsi, msi, tmp_path / "out.tif", **job, tile=TILE)
    before = (tmp_path / "out.tif").read_bytes()
    with pytest.raises(FinishedError, match=r"out\.tif: is complete, there is nothing to resume") as caught:
        fuse_tiles(hsi, msi, tmp_path / "out.tif", **job, resume=True)
    assert caught.value.exit_code == 0
    for other in ({"method": "regression"}, {"sensor": made.sensor.replace(phase=0.0)}):
        with pytest.raises(InputError, match="exists already"):
            fuse_tiles(hsi, msi, tmp_path / "out.tif", **{**job, **other}, resume=True)
    assert (tmp_path / "out.tif").read_bytes() == before
    os.utime(msi)
    with pytest.raises(InputError, match="exists already"):
        fuse_tiles(hsi, msi, tmp_path / "out.tif", **job, resume=True)


def test_a_pair_that_is_refused_leaves_nothing_behind(tmp_path):
    made, hsi, _ = pair(tmp_path)
    write(tmp_path / "other.tif", made.msi.replace(data=made.msi.data * 10_000))
    with pytest.raises(InputError, match="one is scaled"):
        fuse_tiles(hsi, tmp_path / "other.tif", tmp_path / "out.tif", method="cnmf", sensor=made.sensor, tile=TILE)
    assert not list(tmp_path.glob(".*"))


def test_the_uncertainty_in_tiles_is_that_of_the_whole(tmp_path):
    made, hsi, msi = pair(tmp_path)
    job = {"sensor": made.sensor, "method": "feinfn"}
    settings = {"effort": "fast", "uncertainty": True}
    whole = fuse(made.hsi, made.msi, **job, settings=settings, return_details=True).uncertainty
    result = fuse_tiles(
        hsi, msi, tmp_path / "out.tif", **job, settings={"effort": "fast"}, tile=64, uncertainty=tmp_path / "error.tif"
    )
    tiled = read(tmp_path / "error.tif")
    assert result.uncertainty.history == tiled.history
    ratio = tiled.data.mean(axis=(1, 2)) / whole.data.mean(axis=(1, 2))
    assert ((ratio > 0.7) & (ratio < 1.4)).all()
    # Blended like the image: no step where tiles meet.
    steps = np.abs(np.diff(tiled.data, axis=2)).mean(axis=(0, 1))
    assert steps[63] < 2 * np.median(steps)
    assert not list(tmp_path.glob(".*"))


def test_a_part_to_show_is_what_was_read_and_fused(tmp_path):
    reference = scene(128, 160)
    valid = np.ones(reference.data.shape, bool)
    valid[:, :, :40] = False
    made, hsi, msi = pair(tmp_path, reference.replace(valid=valid, nodata=-1.0))
    result = fuse_tiles(hsi, msi, tmp_path / "out.tif", sensor=made.sensor, method="bicubic", tile=TILE, preview=64)
    part = result.preview
    fused = part.fused
    row, col, rows, cols = part.window
    assert (fused.rows, fused.cols) == (part.msi.rows, part.msi.cols) == (rows, cols)
    assert part.hsi.valid_pixels.all()
    np.testing.assert_array_equal(fused.data, read(tmp_path / "out.tif").data[:, row : row + rows, col : col + cols])
    np.testing.assert_allclose(part.msi.data, made.msi.data[:, row : row + rows, col : col + cols])
    whole = fuse(part.hsi, part.msi, sensor=part.sensor, method="bicubic")
    np.testing.assert_allclose(fused.data[:, 8:-8, 8:-8], whole.data[:, 8:-8, 8:-8], atol=1e-5)
    assert f"the whole has {made.msi.rows} x {made.msi.cols}" in part.note


def test_an_input_that_changed_is_not_resumed(tmp_path, monkeypatch):
    made, hsi, msi = pair(tmp_path)
    job = {"sensor": made.sensor, "method": "regression", "tile": TILE}
    with interrupted_after(5, monkeypatch):
        fuse_tiles(hsi, msi, tmp_path / "out.tif", **job)
    os.utime(hsi, (1, 1))
    with pytest.raises(InputError, match="other inputs"):
        fuse_tiles(hsi, msi, tmp_path / "out.tif", **job, resume=True)
    fuse_tiles(hsi, msi, tmp_path / "out.tif", **job, overwrite=True)
    assert read(tmp_path / "out.tif").data.shape == made.reference.data.shape


KILLED = """
    import os, sys
    from hyperfuse.scenes.fuse import fuse_tiles
    from hyperfuse.scenes.windows import FuseTile
    from hyperfuse.sensor.model import Sensor

    folder = sys.argv[1]
    fuse_tile, done = FuseTile.__call__, []

    def until(task, tile):
        if len(done) == 4:
            os.kill(os.getpid(), 9)
        done.append(fuse_tile(task, tile))
        return done[-1]

    FuseTile.__call__ = until
    fuse_tiles(f"{folder}/hsi.tif", f"{folder}/msi.tif", f"{folder}/out.tif", method="regression", tile=32,
               sensor=Sensor.load(f"{folder}/sensor.yaml"))
"""


@pytest.mark.slow
def test_a_killed_job_resumes_with_the_same_file(tmp_path):
    made, hsi, msi = pair(tmp_path)
    made.sensor.save(tmp_path / "sensor.yaml")
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    (state,) = tmp_path.glob(".*.tiles")
    assert len(list(state.glob("*.npy"))) == 4
    job = {"sensor": made.sensor, "method": "regression", "tile": TILE}
    fuse_tiles(hsi, msi, tmp_path / "out.tif", **job, resume=True)
    fuse_tiles(hsi, msi, tmp_path / "whole.tif", **job)
    assert (tmp_path / "out.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()


def test_a_kill_while_tiles_are_joined_loses_no_tile(tmp_path, monkeypatch):
    from hyperfuse.scenes import pipeline

    made, hsi, msi = pair(tmp_path)
    job = {"sensor": made.sensor, "method": "regression", "tile": TILE}
    with monkeypatch.context() as patch:
        patch.setattr(
            pipeline, "assemble", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left on device"))
        )
        with pytest.raises(HyperfuseError, match="no space left"):
            fuse_tiles(hsi, msi, tmp_path / "out.tif", **job)
    assert not (tmp_path / "out.tif").exists()
    calls = count_calls(monkeypatch)
    fuse_tiles(hsi, msi, tmp_path / "out.tif", **job, resume=True)
    assert calls == []
    assert (tmp_path / "out.tif").exists()


@pytest.mark.slow
def test_two_workers_give_what_one_gives(tmp_path):
    made, hsi, msi = pair(tmp_path)
    job = {"sensor": made.sensor, "method": "local-regression", "tile": TILE}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        fuse_tiles(hsi, msi, tmp_path / "one.tif", **job)
        fuse_tiles(hsi, msi, tmp_path / "two.tif", **job, workers=2)
    finally:
        torch.set_num_threads(threads)
    assert (tmp_path / "one.tif").read_bytes() == (tmp_path / "two.tif").read_bytes()


def test_what_cannot_be_done_in_tiles_is_reported(tmp_path):
    made, hsi, msi = pair(tmp_path)
    sensor = {"sensor": made.sensor}
    for job, message in (
        ((hsi, msi, tmp_path / "out.npy", {"tile": TILE}), "is written whole"),
        ((hsi, msi, tmp_path / "out.tif", {"tile": 2}), "smaller than one HSI pixel"),
        ((hsi, msi, tmp_path / "out.tif", {"tile": 0}), "1 or more"),
        ((hsi, msi, tmp_path / "out.tif", {"settings": {"uncertainty": True}}), "written to a file; name it"),
        ((hsi, msi, tmp_path / "out.tif", {"uncertainty": tmp_path / "error.npy", "tile": TILE}), "is written whole"),
        ((hsi, msi, tmp_path / "out.tif", {"workers": 2, "scheduler": "tcp://x:1"}), "pass one of them"),
        ((hsi, msi, tmp_path / "out.tif", {"mask": hsi}), "a mask has one band, this file has 6"),
    ):
        *files, more = job
        with pytest.raises(InputError, match=message):
            fuse_tiles(*files, **sensor, **more)
    assert not list(tmp_path.glob(".*"))


def test_other_units_are_refused_where_a_sensor_ties_the_values(tmp_path):
    made, hsi, _ = pair(tmp_path)
    write(tmp_path / "scaled.tif", made.msi.replace(data=made.msi.data * 10_000))
    with pytest.raises(InputError, match="one is scaled"):
        fuse_tiles(hsi, tmp_path / "scaled.tif", tmp_path / "out.tif", method="cnmf", sensor=made.sensor, tile=TILE)


def test_a_scene_goes_in_tiles_where_the_whole_would_take_too_much_memory(tmp_path):
    made, hsi, msi = pair(tmp_path)
    job = {"sensor": made.sensor, "method": "bicubic", "overwrite": True}
    needed = 6 * 4 * 6 * 96 * 128 / 1e9
    whole = fuse_tiles(hsi, msi, tmp_path / "out.tif", **job, memory_gb=1.01 * needed)
    assert whole.windows == (1, 1)
    assert "tiles" not in whole.image.history[-1]
    tiled = fuse_tiles(hsi, msi, tmp_path / "out.tif", **job, memory_gb=0.99 * needed)
    assert tiled.windows == (4, 4)  # as small as is sensible
    # A format that is written whole leaves no choice.
    assert fuse_tiles(hsi, msi, tmp_path / "out.npz", **job, memory_gb=0.99 * needed).windows == (1, 1)


def test_a_shift_that_nothing_states_is_found_on_samples(tmp_path):
    made, _, msi = pair(tmp_path, scene(256, 256))
    a, b, c, d, e, f = six_numbers(made.hsi.transform)
    write(tmp_path / "moved.tif", made.hsi.replace(transform=(a, b, c + 13.0, d, e, f + 7.0)))
    fuse_tiles(tmp_path / "moved.tif", msi, tmp_path / "out.tif", method="local-regression", tile=64)
    fused = read(tmp_path / "out.tif")
    assert any("shifted by" in note for note in fused.history[-1]["notes"])
    # By the metadata one column of the HSI leaves the MSI; where it was found to lie, none does.
    assert fused.data.shape == made.reference.data.shape
    known = fuse(made.hsi, made.msi, sensor=made.sensor, method="local-regression")
    assert psnr(made.reference.data, fused.data) > psnr(made.reference.data, known.data) - 1


def test_tiles_follow_from_the_memory_and_the_workers(tmp_path):
    made, hsi, msi = pair(tmp_path)
    cases = [(workers, memory) for workers in (1, 2, 4) for memory in (0.4, 2.0, 8.0)]
    sizes = {case: tile_side(6 * 40 + 3 * 110, 4.0, 4, *case) for case in cases}
    assert tile_side(6 * 22 + 3 * 110, 4.0, 4, 4, 2.0) > sizes[4, 2.0]
    assert all(64 <= size <= 1024 for size in sizes.values())
    assert sizes[1, 0.4] == 64
    assert sizes[1, 2.0] >= sizes[2, 2.0] > sizes[4, 2.0]
    assert sizes[4, 8.0] > sizes[4, 2.0]
    with pytest.raises(InputError, match="memory_gb is more than 0"):
        fuse_tiles(hsi, msi, tmp_path / "out.tif", sensor=made.sensor, memory_gb=0)


def test_a_container_has_the_memory_of_its_limit(tmp_path, groups):
    made, hsi, msi = pair(tmp_path)
    job = {"sensor": made.sensor, "method": "bicubic"}
    needed = 6 * 4 * 6 * 96 * 128
    groups(["0::/box"], {"box/memory.max": str(int(2 * 1.01 * needed)), "box/memory.current": "0"})
    assert fuse_tiles(hsi, msi, tmp_path / "whole.tif", **job).windows == (1, 1)
    (tmp_path / "fs" / "box" / "memory.max").write_text(str(int(2 * 0.99 * needed)))
    assert fuse_tiles(hsi, msi, tmp_path / "tiles.tif", **job).windows == (4, 4)
    (tmp_path / "fs" / "box" / "memory.max").write_text(str(10**9))
    assert default_memory_gb() == 0.8
    with pytest.raises(InputError, match=r"9 workers take .* GB are free; choose at most \d"):
        fuse_tiles(hsi, msi, tmp_path / "out.tif", **job, workers=9)
    (tmp_path / "fs" / "box" / "memory.max").write_text("max")
    assert default_memory_gb() == 2.0
