"""Large scenes by the command line: killed and resumed, on a cluster, and in tiles by themselves where large."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from hyperfuse.io import read
from hyperfuse.scenes import execution

JOB = ("--method", "local-regression", "--ratio", "3", "--psf", "mtf:0.3", "--no-align", "--threads", "1")
TILES = ("--tile", "6")
ENDS = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "the terminal was closed"}


def call(files, out, *words):
    return ["fuse", files / "hsi.tif", files / "msi.tif", files / out, *JOB, *words]


@pytest.mark.slow
def test_a_killed_job_resumes_to_the_file_of_an_unbroken_one(run, fails, files):
    state = files / ".out.tif.tiles"
    command = [sys.executable, "-m", "hyperfuse", *map(str, call(files, "out.tif", *TILES))]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(list(state.glob("tile-*.npy"))) < 3:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    kept = {path.name: path.stat().st_mtime_ns for path in state.glob("tile-*.npy")}
    assert 3 <= len(kept) < 24
    assert not (files / "out.tif").exists()

    code, message = fails(*call(files, "out.tif", *TILES))
    assert code == 2
    assert "--resume resumes it" in message
    assert run(*call(files, "out.tif", *TILES, "--resume"))[0] == 0
    assert run(*call(files, "whole.tif", *TILES))[0] == 0
    assert (files / "out.tif").read_bytes() == (files / "whole.tif").read_bytes()
    assert not list(files.glob(".*"))


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["at the start of workers", "at work"])
@pytest.mark.parametrize(("how", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129), ("SIGKILL", -9)])
def test_a_signal_ends_all_workers_and_the_job_resumes(run, files, how, code, moment):
    state = files / ".out.tif.tiles"
    words = map(str, call(files, "out.tif", *TILES, "--workers", "2"))
    process = subprocess.Popen(
        [sys.executable, "-m", "hyperfuse", *words], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    children, end = {}, time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        children |= {one.pid: one for one in psutil.Process(process.pid).children(recursive=True)}
        if children and (moment != "at work" or list(state.glob("tile-*.npy"))):
            break
        time.sleep(0.005)
    # As a terminal does: to all processes of the group.
    os.killpg(process.pid, getattr(signal, how))
    assert process.wait(30) == code
    assert children
    _, alive = psutil.wait_procs(children.values(), timeout=20)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]
    lines = process.stderr.read().splitlines()
    assert [line for line in lines if not line.startswith(("note: ", "sensor: "))] == (
        [] if how == "SIGKILL" else [f"error: {ENDS[how]}"]
    )
    assert not (files / "out.tif").exists()
    assert run(*call(files, "out.tif", *TILES, "--resume"))[0] == 0
    assert run(*call(files, "whole.tif", *TILES))[0] == 0
    assert (files / "out.tif").read_bytes() == (files / "whole.tif").read_bytes()
    assert not list(files.glob(".*"))


def test_a_job_that_is_complete_has_nothing_to_resume(run, files):
    assert run(*call(files, "out.tif", *TILES))[0] == 0
    code, _, err = run(*call(files, "out.tif", *TILES, "--resume"))
    assert code == 0
    assert err == f"note: {files / 'out.tif'}: is complete, there is nothing to resume\n"
    assert run(*call(files, "out.tif", *TILES, "--resume", "--phase", "0"))[0] == 2


def test_a_job_resumes_with_its_own_tiles_and_other_workers(run, files, interrupt_after_a_tile):
    with interrupt_after_a_tile():
        assert run(*call(files, "out.tif", "--tile", "12"))[0] == 130
    code, _, err = run(*call(files, "out.tif", "--resume", "--memory", "64"))
    assert code == 0, err
    assert read(files / "out.tif").history[-1]["tiles"]["tile"] == 12


@pytest.mark.slow
def test_tiles_run_on_a_cluster(run, files):
    distributed = pytest.importorskip("distributed")
    assert run(*call(files, "here.tif", *TILES))[0] == 0
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0
    ) as cluster:
        code, _, err = run(*call(files, "out.tif", *TILES, "--scheduler", cluster.scheduler_address))
    assert code == 0, err
    assert "note: fused in tiles, 24 of 24 with data" in err
    np.testing.assert_allclose(read(files / "out.tif").data, read(files / "here.tif").data, atol=1e-5)


def test_a_scheduler_that_does_not_answer_is_reported(fails, files, monkeypatch):
    pytest.importorskip("distributed")
    import hyperfuse.scenes.tiling.cluster as module

    monkeypatch.setattr(module, "_CONNECT_SECONDS", 0.5)
    code, message = fails(*call(files, "out.tif", *TILES, "--scheduler", "tcp://127.0.0.1:1"))
    assert code == 2
    assert "no scheduler of dask.distributed responds at tcp://127.0.0.1:1" in message


def test_a_scene_above_the_memory_goes_in_tiles_by_itself(run, files):
    # 24 bands of 24 x 36 pixels, six times in float32: half a megabyte.
    code, _, err = run(*call(files, "whole.tif", "--memory", "0.001"))
    assert code == 0
    assert "fused in tiles" not in err
    code, _, err = run(*call(files, "tiles.tif", "--memory", "0.0001"))
    assert code == 0
    assert "note: fused in tiles" in err
    assert "tiles" in read(files / "tiles.tif").history[-1]
    error = read(files / "tiles.tif").data - read(files / "whole.tif").data
    assert np.abs(error).max() < 0.01


def test_half_of_the_machine_is_the_default_limit(run, files, monkeypatch):
    monkeypatch.setattr(execution, "total_bytes", lambda: 100 * 4096)
    code, _, err = run(*call(files, "out.tif"))
    assert code == 0
    assert "note: fused in tiles" in err


def test_a_large_scene_to_a_format_that_is_written_whole_is_fused_whole(run, files):
    code, _, err = run(*call(files, "out.npy", "--memory", "0.0001"))
    assert code == 0
    assert "fused in tiles" not in err
