"""One pipeline: what is recorded, estimated and refused is the same for one window and for many."""

import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from affine import Affine
from scipy.ndimage import gaussian_filter, map_coordinates

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.io import read, write
from hyperfuse.methods import get_method
from hyperfuse.methods.feinfn.method import FeinfnSettings
from hyperfuse.scenes import pipeline
from hyperfuse.scenes.fuse import fuse, fuse_tiles
from hyperfuse.scenes.job import FusionJob
from hyperfuse.scenes.simulate import simulate
from hyperfuse.sensor.estimation.sampling import lr_positions, sample_through
from hyperfuse.sensor.estimation.views import Motion
from hyperfuse.sensor.geometry import PairGeometry

GRID = Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 4_100_000.0)
# So little that samples are parts of the scene.
LITTLE = 0.1


def scene(rows, cols, bands=8, seed=0):
    """A scene of six materials with detail at every scale, with georeferencing."""
    rng = np.random.default_rng(seed)
    fields = sum(gaussian_filter(rng.normal(size=(6, rows, cols)), (0, s, s)) * s for s in (1.0, 3.0, 9.0))
    abundances = np.exp(fields / fields.std())
    spectra = np.cumsum(rng.normal(size=(bands, 6)), axis=0) / 8 + rng.uniform(0.5, 1.0, 6)
    data = np.einsum("bk,krc->brc", spectra, abundances / abundances.sum(axis=0))
    return Cube(
        data=data.astype(np.float32), wavelengths=np.linspace(450, 900, bands), transform=GRID, crs="EPSG:32633"
    )


def files(folder, hsi, msi):
    write(folder / "hsi.tif", hsi)
    write(folder / "msi.tif", msi)
    return folder / "hsi.tif", folder / "msi.tif", folder / "out.tif"


def psnr(reference, fused):
    inner = np.s_[:, 8:-8, 8:-8]
    return -10 * np.log10(np.nanmean((reference - fused)[inner] ** 2))


def test_the_record_of_tiles_is_that_of_the_whole(tmp_path):
    reference = scene(96, 128)
    made = simulate(reference, ratio=4, srf="gaussian:480/60,560/60,640/60")
    msi = made.msi.replace(data=np.minimum(made.msi.data, np.quantile(made.msi.data, 0.97)))  # saturated
    job = {"method": "feinfn", "settings": {"effort": "fast", "steps": 5, "width": 8}, "psf": "mtf:0.3"}
    whole = fuse(made.hsi, msi, **job, return_details=True)
    tiled = fuse_tiles(*files(tmp_path, made.hsi, msi), **job, tile=32)
    steps = [fusion.image.history[-1] for fusion in (whole, tiled)]
    assert steps[1].pop("tiles")["tile"] == 32
    assert steps[0].keys() == steps[1].keys()
    assert steps[0] == steps[1]
    notes = " ".join(steps[1]["notes"])
    assert "of the MSI's pixels are saturated" in notes
    assert "outside the spectral coverage of the MSI" in notes
    assert "RMSE at held-out LR pixels" in notes
    assert 0 < steps[1]["run"]["steps"] <= 5  # fewer where they teach nothing
    np.testing.assert_equal(asdict(tiled.match.alignment), asdict(whole.match.alignment))
    error = np.abs(read(tmp_path / "out.tif").data - whole.image.data)
    assert np.sqrt((error**2).mean()) < 1e-3


def rotated(degrees):
    return GRID @ Affine.translation(-30, -10) @ Affine.rotation(degrees)


@pytest.mark.parametrize("memory", [2.0, LITTLE])
def test_an_msi_on_another_grid_is_fused_in_tiles_as_in_the_whole(tmp_path, memory):
    made = simulate(scene(128, 160), ratio=4, srf="boxes:3")
    rows, cols = np.indices((200, 220))
    grid = rotated(7.0)
    x, y = ~GRID @ (grid @ (cols + 0.5, rows + 0.5))
    data = np.stack([map_coordinates(band, (y - 0.5, x - 0.5), order=3, cval=np.nan) for band in made.msi.data])
    msi = Cube(data=data.astype(np.float32), valid=np.isfinite(data), transform=grid, crs="EPSG:32633")
    job = {"method": "regression", "psf": "mtf:0.3", "align": False}
    whole = fuse(made.hsi, msi, **job)
    result = fuse_tiles(*files(tmp_path, made.hsi, msi), **job, tile=64, overlap=8, memory_gb=memory)
    tiled = read(tmp_path / "out.tif")
    assert any("onto a grid parallel to the HSI's" in note for note in result.notes)
    assert tiled.transform == whole.transform
    np.testing.assert_array_equal(tiled.valid, whole.valid)
    known = whole.valid[0]
    error = np.abs(tiled.data - whole.data)[:, known]
    assert np.sqrt((error**2).mean()) < 0.01 * whole.data[:, known].std()


def test_a_rotation_is_found_on_parts_of_a_scene_in_tiles(tmp_path):

    made = simulate(scene(512, 512, bands=6), ratio=4, srf="boxes:3")
    positions = lr_positions(made.sensor, np.argwhere(np.ones((128, 128), np.bool_)))
    motion = Motion((0.8, -0.6), math.radians(0.15), 0.0, (255.5, 255.5))
    seen = sample_through(torch.from_numpy(made.reference.data), motion.apply(positions), made.sensor.psf)
    hsi = made.hsi.replace(data=np.asarray(seen).T.reshape(6, 128, 128).astype(np.float32))
    job = {"method": "regression", "psf": "mtf:0.3"}
    result = fuse_tiles(*files(tmp_path, hsi, made.msi), **job, tile=128, memory_gb=LITTLE)
    whole = fuse(hsi, made.msi, **job, return_details=True)
    assert any("parts of the scene" in note for note in result.notes)
    true = motion.apply(positions)
    for match in (result.match, whole.match):
        assert match.registration.model == "affine"
        grid = np.argwhere(np.ones(match.hsi[2:], np.bool_))
        at = lr_positions(match.sensor, grid) + np.array(match.msi[:2])
        expected = true.reshape(128, 128, 2)[tuple((grid + np.array(match.hsi[:2])).T)]
        assert np.abs(at - expected).max() < 0.1


@pytest.mark.parametrize(("method", "settings"), [("local-regression", {}), ("feinfn", {"effort": "fast"})])
def test_samples_that_are_parts_of_the_scene_serve_all_of_it(tmp_path, method, settings):
    made = simulate(scene(320, 640), ratio=4, srf="boxes:3")
    job = {"method": method, "settings": settings, "sensor": made.sensor}
    whole = fuse(made.hsi, made.msi, **job)
    result = fuse_tiles(*files(tmp_path, made.hsi, made.msi), **job, tile=160, memory_gb=LITTLE)
    assert any("samples of it" in note for note in result.notes)
    assert psnr(made.reference.data, read(tmp_path / "out.tif").data) > psnr(made.reference.data, whole.data) - 0.05


def test_details_are_returned_when_requested():
    made = simulate(scene(32, 32), ratio=4, srf="boxes:3")
    geometry = PairGeometry(sensor=made.sensor)
    settings = FeinfnSettings(effort="fast", uncertainty=True)
    fusion = fuse(made.hsi, made.msi, geometry=geometry, settings=settings, return_details=True)
    assert fusion.uncertainty.data.shape == fusion.image.data.shape == fusion.preview.fused.data.shape
    assert fusion.uncertainty.history[-1]["quantity"] == "standard deviation of the expected error"
    assert fusion.windows == (1, 1)
    assert fusion.model.state()["settings"]["effort"] == "fast"
    assert fusion.notes == tuple(fusion.image.history[-1]["notes"])
    np.testing.assert_array_equal(fusion.preview.hsi.data, made.hsi.data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"settings": {"uncertainty": True}}, "return_details=True"),
        ({"settings": {"uncertainty": True}, "method": "gsa"}, "the method gsa predicts no uncertainty; choose feinfn"),
        ({"geometry": PairGeometry(ratio=4), "ratio": 4}, "pass one of them"),
    ],
)
def test_what_would_be_computed_in_vain_or_contradicts_is_refused(options, message):
    made = simulate(scene(32, 32), ratio=4, srf="boxes:3")
    with pytest.raises(InputError, match=message):
        fuse(made.hsi, made.msi, **options)


def test_images_that_are_read_whole_go_in_tiles_by_a_copy(tmp_path):
    made = simulate(scene(64, 64), ratio=4, srf="boxes:3")
    np.save(tmp_path / "hsi.npy", made.hsi.data)
    for name, row in (("north", 0), ("south", 32)):
        write(tmp_path / f"{name}.tif", made.msi.crop(row, 0, 32, 64))
    job = {"sensor": made.sensor, "method": "bicubic", "tile": 32, "same_ground": True}
    pair = (tmp_path / "hsi.npy", [tmp_path / "north.tif", tmp_path / "south.tif"])
    result = fuse_tiles(*pair, tmp_path / "out.tif", **job)
    assert sum("a copy lies in .out.tif.inputs" in note for note in result.notes) == 2
    expected = fuse(made.hsi, made.msi, sensor=made.sensor, method="bicubic")
    np.testing.assert_allclose(read(tmp_path / "out.tif").data, expected.data, atol=1e-5)
    assert not list(tmp_path.glob(".*"))


KILLED = """
    import sys
    from hyperfuse.scenes.fuse import fuse_tiles
    from hyperfuse.sensor.model import Sensor

    if __name__ == "__main__":
        folder = sys.argv[1]
        fuse_tiles(f"{folder}/hsi.tif", f"{folder}/msi.tif", f"{folder}/out.tif", method="cnmf", tile=32, workers=2,
                   sensor=Sensor.load(f"{folder}/sensor.yaml"))
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_workers_end_with_the_process_that_started_them(tmp_path):
    made = simulate(scene(128, 128), ratio=4, srf="boxes:3")
    files(tmp_path, made.hsi, made.msi)
    made.sensor.save(tmp_path / "sensor.yaml")
    (tmp_path / "job.py").write_text(textwrap.dedent(KILLED))
    process = subprocess.Popen([sys.executable, tmp_path / "job.py", str(tmp_path)], start_new_session=True)
    group = process.pid

    def alive():
        found = []
        for process in psutil.process_iter(["status"]):
            with suppress(psutil.Error, ProcessLookupError):
                if os.getpgid(process.pid) == group and process.info["status"] != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
        return found

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list(tmp_path.glob(".out.tif.tiles/tile-*.npy")):
        time.sleep(0.01)
    assert len(alive()) > 2
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and alive():
        time.sleep(0.1)
    assert alive() == []


def test_of_a_budget_matching_and_writing_are_subtracted_as_slow_as_the_machine_is(monkeypatch):
    scene = SimpleNamespace(hsi_header=SimpleNamespace(bands=100), match=SimpleNamespace(msi=(0, 0, 1000, 1500)))
    method = get_method("feinfn")
    job = FusionJob(
        method=method, settings=method.configure(budget_seconds=100), geometry=PairGeometry(), device="cpu", images=1,
        started=time.monotonic() - 20, computed=time.process_time() - 20,
    )  # fmt: skip
    idle = pipeline._fit_settings(job, scene).budget_seconds
    assert idle == pytest.approx(100 - 20 - 4, abs=0.5)  # 600 MB at 150 MB per second
    busy = pipeline._fit_settings(replace(job, computed=time.process_time() - 5), scene).budget_seconds
    assert busy == pytest.approx(100 - 20 - 16, abs=1)
