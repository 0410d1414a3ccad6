import os
import subprocess
import sys

import pytest
import torch

from hyperfuse.runtime.threads import environment, limit, limit_children, usable_threads

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
