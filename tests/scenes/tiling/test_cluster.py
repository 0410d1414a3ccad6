"""Tiles on dask.distributed: the same image as here, also where a worker is killed in mid-job."""

import os
import signal

import numpy as np
import pytest
import torch

from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.io import read, write
from hyperfuse.runtime.peers import code_digest, missing_access
from hyperfuse.scenes.fuse import fuse_tiles
from hyperfuse.scenes.simulate import simulate
from hyperfuse.scenes.tiling import cluster as module

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


@pytest.fixture
def cluster():
    """A cluster of one worker in this process."""
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, memory_limit=0
    ) as made:
        yield made


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense", "", "http://127.0.0.1:80", "tcp://"])
def test_a_scheduler_that_does_not_answer_is_reported_before_any_work(tmp_path, job, monkeypatch, address):
    monkeypatch.setattr(module, "_CONNECT_SECONDS", 0.5)
    monkeypatch.setattr("hyperfuse.scenes.execution.fuse_windows", lambda *_: pytest.fail("learnt"))
    hsi, msi, options = job
    with pytest.raises(InputError, match=r"no scheduler .* responds at .*; write tcp://HOST:PORT") as caught:
        fuse_tiles(hsi, msi, tmp_path / "out.tif", **options, scheduler=address)
    assert caught.value.parameter == "scheduler"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hsi.tif", "msi.tif"]


def test_an_encrypted_address_without_certificates_is_refused(tmp_path, job):
    hsi, msi, options = job
    with pytest.raises(InputError, match="needs certificates") as caught:
        fuse_tiles(hsi, msi, tmp_path / "out.tif", **options, scheduler="tls://127.0.0.1:9")
    assert caught.value.parameter == "scheduler"


def test_a_scheduler_without_workers_is_reported(tmp_path):
    with (
        distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=None) as empty,
        pytest.raises(InputError, match=r"has no workers; start some by `dask worker inproc://|tcp://"),
    ):
        module.check_cluster(empty.scheduler_address, tmp_path, [])


@pytest.mark.parametrize(
    ("version", "digest", "said"), [("0.0.9", "x", "another version 0.1.0"), (None, "x", "another code of hyperfuse")]
)
def test_workers_of_another_version_are_refused(tmp_path, cluster, monkeypatch, version, digest, said):
    if version is not None:
        monkeypatch.setattr(module, "__version__", version)
    monkeypatch.setattr(module, "code_digest", lambda: digest)
    with pytest.raises(InputError, match=said):
        module.check_cluster(cluster.scheduler_address, tmp_path, [])
    monkeypatch.setattr(module, "_VERSION", "__import__('no_such_package')")
    with pytest.raises(InputError, match=r"has no hyperfuse, or one of another version \(No module named"):
        module.check_cluster(cluster.scheduler_address, tmp_path, [])


def test_workers_that_do_not_see_the_files_are_refused(tmp_path, cluster, monkeypatch):
    address = cluster.scheduler_address
    module.check_cluster(address, tmp_path, [])
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match=r"cannot read .*/absent.tif; inputs and output have to be"):
        module.check_cluster(address, tmp_path, [tmp_path / "absent.tif"])
    monkeypatch.setattr(module, "missing_access", elsewhere)
    with pytest.raises(InputError, match=r"cannot read .* \(No such file or directory\)"):
        module.check_cluster(address, tmp_path, [])
    assert not list(tmp_path.iterdir())


def elsewhere(mark, token, inputs):
    return missing_access(f"{mark}-on-another-machine", token, inputs)


def test_a_worker_that_hangs_is_not_waited_for(tmp_path, cluster, monkeypatch):
    monkeypatch.setattr(module, "_REPLY_SECONDS", 0.2)
    monkeypatch.setattr(module, "_VERSION", "__import__('time').sleep(2)")
    with pytest.raises(InputError, match=r"not all workers of the scheduler respond \(no reply within 0.2 s\)"):
        module.check_cluster(cluster.scheduler_address, tmp_path, [])


def test_a_cluster_that_lost_its_workers_ends_the_job(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_WATCH_SECONDS", 0.1)
    with (
        distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=None) as empty,
        pytest.raises(HyperfuseError, match="has no workers any more; start some, then resume"),
    ):
        list(module.run_on_scheduler(bool, [Named("tile")], empty.scheduler_address, "key"))


class Named(str):
    @property
    def name(self):
        return str(self)


def test_the_digest_is_that_of_the_code():
    assert code_digest() == code_digest.__wrapped__()
    assert len(code_digest()) == 16
