"""What all tests share."""

import pytest


@pytest.fixture(autouse=True)
def a_short_fit(monkeypatch):
    """Fit the default method's network for a few steps only, wherever a test says nothing else."""
    import hyperfuse.methods.feinfn.method

    monkeypatch.setitem(hyperfuse.methods.feinfn.method._STEPS, "normal", 2)


@pytest.fixture
def one_thread():
    """Compute on one thread while a test runs."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
