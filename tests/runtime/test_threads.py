import os
import subprocess
import sys

import pytest
import torch

from hyperfuse.errors import InputError
from hyperfuse.runtime.threads import (
    check_threads,
    environment,
    limit,
    limit_children,
    limit_to_quota,
    usable_cores,
    usable_threads,
)

NAMES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "GDAL_NUM_THREADS")


def test_a_limit_holds_inside_and_is_taken_back(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = torch.get_num_threads()

    def fail():
        with limit(1):
            assert torch.get_num_threads() == 1
            assert [os.environ[name] for name in NAMES] == ["1"] * 4
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert torch.get_num_threads() == before
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def test_no_limit_changes_nothing(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    with limit(None):
        assert torch.get_num_threads() == before
        assert "OMP_NUM_THREADS" not in os.environ


def test_children_are_limited_without_this_process():
    before = torch.get_num_threads()
    with limit_children(before + 1):
        assert torch.get_num_threads() == before
        done = subprocess.run(
            [sys.executable, "-c", "import os; print(os.environ['OMP_NUM_THREADS'])"], capture_output=True, text=True
        )
    assert int(done.stdout) == before + 1
    assert environment(3)["GDAL_NUM_THREADS"] == "3"


def test_usable_threads_are_the_limit_or_the_cores(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = usable_threads()
    assert 1 <= cores <= (os.cpu_count() or 1)
    with limit(1):
        assert usable_threads() == 1


@pytest.mark.parametrize(
    ("first", "policy", "pool"),
    [("hyperfuse", None, False), ("torch", None, True), ("torch", "active", False), ("hyperfuse", "active", False)],
)
def test_idle_threads_do_not_spin_whichever_package_is_loaded_first(first, policy, pool):
    code = f"""
import {first}, os, threading, hyperfuse
if {first!r} == "hyperfuse":
    assert os.environ["OMP_WAIT_POLICY"] == {policy or "passive"!r}
import torch
from hyperfuse.runtime.threads import let_idle_threads_sleep
let_idle_threads_sleep()
let_idle_threads_sleep()
names = [thread.name for thread in threading.enumerate()]
assert names.count("hyperfuse-idle-pool") == {int(pool)}, names
"""
    variables = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    variables |= {} if policy is None else {"OMP_WAIT_POLICY": policy}
    subprocess.run([sys.executable, "-c", code], check=True, env=variables, timeout=120)


@pytest.mark.parametrize(
    ("lines", "files", "cores"),
    [
        (["0::/a"], {"a/cpu.max": "200000 100000\n"}, 2),
        (["0::/a/b"], {"a/b/cpu.max": "max 100000", "a/cpu.max": "150000 100000"}, 2),
        (
            ["3:cpu,cpuacct:/x"],
            {"cpu,cpuacct/x/cpu.cfs_quota_us": "50000", "cpu,cpuacct/x/cpu.cfs_period_us": "100000"},
            1,
        ),
        (["3:cpu:/host/path"], {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        (["3:cpu:/"], {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        (["0::/"], {"cpu.max": "nonsense"}, 8),
        ([], {}, 8),
    ],
)
def test_the_processors_of_a_container_count(groups, monkeypatch, lines, files, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    groups(lines, files)
    assert usable_cores() == cores
    assert usable_threads() == cores
    with monkeypatch.context() as patch:
        for name in NAMES:
            patch.setenv(name, "")
            patch.delenv(name)
        limit_to_quota()
        assert os.environ.get("OMP_NUM_THREADS") == (None if cores == 8 else str(cores))
        patch.delenv("OMP_NUM_THREADS", raising=False)


@pytest.mark.parametrize("threads", [0, -1, 99_999, 10**30])
def test_threads_that_no_machine_has_are_refused(threads):
    with pytest.raises(InputError, match=r"this machine takes 1 to \d+ threads, got") as caught:
        check_threads(threads)
    assert caught.value.parameter == "threads"
    check_threads(None)
    check_threads(64)
