"""Tiles on dask.distributed: the same image as here, also where a worker is killed in mid-job."""

import os
import signal

import numpy as np
import pytest
import torch

from hyperfuse.errors import InputError
from hyperfuse.io import read, write
from hyperfuse.scenes.fuse import fuse_tiles
from hyperfuse.scenes.simulate import simulate

distributed = pytest.importorskip("distributed")

ROWS, COLS, TILE = 96, 256, 32


@pytest.fixture
def job(tmp_path):
    rng = np.random.default_rng(3)
    made = simulate(rng.random((6, ROWS, COLS), np.float32), ratio=4, srf="boxes:3")
    write(tmp_path / "hsi.tif", made.hsi)
    write(tmp_path / "msi.tif", made.msi)
    return tmp_path / "hsi.tif", tmp_path / "msi.tif", {"sensor": made.sensor, "method": "regression", "tile": TILE}


@pytest.mark.slow
def test_a_killed_worker_costs_its_tiles_and_nothing_else(tmp_path, job):
    hsi, msi, options = job
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        fuse_tiles(hsi, msi, tmp_path / "here.tif", **options)
    finally:
        torch.set_num_threads(threads)
    killed = []

    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.run(torch.set_num_threads, 1)
        pids = list(client.run(os.getpid).values())

        def kill_one(fraction, message=""):
            if message.startswith("tile 5 ") and not killed:
                killed.append(pids[0])
                os.kill(pids[0], signal.SIGKILL)

        fuse_tiles(hsi, msi, tmp_path / "out.tif", **options, scheduler=cluster.scheduler_address, progress=kill_one)
        assert killed
    np.testing.assert_allclose(read(tmp_path / "out.tif").data, read(tmp_path / "here.tif").data, atol=1e-5)
    assert not list(tmp_path.glob(".*"))


def test_a_scheduler_that_does_not_answer_is_reported(tmp_path, job, monkeypatch):
    import hyperfuse.scenes.tiling.cluster as module

    monkeypatch.setattr(module, "_TIMEOUT_SECONDS", 0.5)
    hsi, msi, options = job
    with pytest.raises(InputError, match=r"no scheduler .* answers at tcp://127.0.0.1:1;"):
        fuse_tiles(hsi, msi, tmp_path / "out.tif", **options, scheduler="tcp://127.0.0.1:1")
    assert not (tmp_path / "out.tif").exists()
