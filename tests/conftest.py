"""What all tests share."""

import pytest


@pytest.fixture(autouse=True)
def a_short_fit(monkeypatch):
    """Fit the default method's network for a few steps only, wherever a test says nothing else."""
    import hyperfuse.methods.feinfn

    monkeypatch.setitem(hyperfuse.methods.feinfn._STEPS, "normal", 2)
