"""Fixtures of all tests."""

import pytest


@pytest.fixture
def quick(monkeypatch):
    """Fit the network of the default method for 2 steps: for tests that fuse by default and judge something else."""
    from hyperfuse.methods.feinfn import method

    monkeypatch.setitem(method._STEPS, "normal", 2)


@pytest.fixture
def one_thread():
    """Compute on one thread while a test runs."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
