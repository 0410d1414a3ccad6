"""Fixtures of all tests."""

import signal

import pytest

from hyperfuse.cli.signals import signals_restored


@pytest.fixture(autouse=True)
def signals_as_before():
    """Fail a test that leaves signals handled otherwise: processes that later tests start inherit what is ignored."""
    watched = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = [signal.getsignal(number) for number in watched]
    with signals_restored():
        yield
        after = [signal.getsignal(number) for number in watched]
    assert after == before


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Keep what tests would put into the user's cache folder, in one that all tests of a process share."""
    folder = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("HYPERFUSE_CACHE", str(folder))


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


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Make control groups: lines of /proc/self/cgroup, and files below /sys/fs/cgroup; the machine has 64 GB."""
    import psutil

    from hyperfuse.runtime import cgroups

    def make(lines, files):
        (tmp_path / "self").mkdir()
        (tmp_path / "self" / "cgroup").write_text("".join(f"{line}\n" for line in lines))
        for name, text in files.items():
            path = tmp_path / "fs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        monkeypatch.setattr(cgroups, "_SELF", tmp_path / "self")
        monkeypatch.setattr(cgroups, "_CGROUPS", tmp_path / "fs")
        machine = type("Memory", (), {"total": 64 * 2**30, "available": 32 * 2**30})
        monkeypatch.setattr(psutil, "virtual_memory", lambda: machine)

    return make


@pytest.fixture(scope="session")
def chromium():
    """The browser of all tests that need one."""
    from browser import BROWSER

    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium):
    """A page of its own; a request that leaves the origin of what it opened fails the test."""
    from browser import Tab

    opened = Tab(chromium)
    yield opened
    opened.close()
    assert opened.outside == []
