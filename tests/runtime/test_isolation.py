"""Calls in a child process: values, warnings and errors come back; crashes and endless loops are one line."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import HyperfuseError, HyperfuseWarning, InputError, warn
from hyperfuse.runtime import isolation
from hyperfuse.runtime.isolation import call, expect_bytes, is_child

pytestmark = pytest.mark.usefixtures("importable")


@pytest.fixture
def importable(monkeypatch):
    """The child finds this module."""
    folder = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")]))
    isolation._end_all()
    yield
    isolation._end_all()


def do(name, *arguments):
    return call(f"test_isolation:{name}", *arguments)


def twice(value):
    sys.stdout.write("noise of a library")
    warn("doubled")
    return value * 2


def refuse(cause):
    try:
        raise KeyError("of a library")
    except KeyError as error:
        raise InputError("bad\nvalue", "scale") from (error if cause else None)


def who():
    return os.getpid(), is_child(), str(Path.cwd())


def crash():
    ctypes.string_at(0)


def loop(announced):
    expect_bytes(announced)
    while True:
        pass


def odd():
    class OddError(Exception):
        pass

    raise OddError("not known elsewhere")


def test_values_warnings_and_errors_come_back(tmp_path, monkeypatch):
    with pytest.warns(HyperfuseWarning, match=r"^doubled$"):
        found = do("twice", np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(found, 2 * np.arange(6.0).reshape(2, 3))
    found[0, 0] = 1  # it is a plain array
    with pytest.raises(InputError, match=r"^bad value$") as caught:
        do("refuse", False)
    assert caught.value.parameter == "scale"
    with pytest.raises(HyperfuseError, match="unexpected OddError: not known elsewhere"):
        do("odd")
    monkeypatch.chdir(tmp_path)
    pid, child, folder = do("who")
    assert (pid != os.getpid(), child, folder, is_child()) == (True, True, str(tmp_path), False)


def test_a_cube_comes_back_as_it_was():
    cube = Cube(
        data=np.random.default_rng(0).random((3, 40, 50)),
        valid=np.arange(6000).reshape(3, 40, 50) % 7 > 0,
        crs="EPSG:32633",
    )
    back = call("copy:copy", cube)
    np.testing.assert_array_equal(back.data, cube.data)
    np.testing.assert_array_equal(back.valid, cube.valid)
    assert back.crs == cube.crs


def test_a_child_is_kept_until_a_library_failed_in_it():
    first = do("who")[0]
    assert do("who")[0] == first
    with pytest.raises(InputError):
        do("refuse", False)
    assert do("who")[0] == first
    with pytest.raises(InputError):
        do("refuse", True)
    assert do("who")[0] != first
    assert not psutil.pid_exists(first)


def test_a_crash_is_one_line():
    with pytest.raises(InputError, match=r"cannot be read: the reader was ended by SIGSEGV; the file is damaged"):
        do("crash")
    assert do("who")[1]


def test_what_never_returns_is_ended(monkeypatch):
    do("who")
    monkeypatch.setattr(isolation, "_SECONDS", 0.5)
    start = time.monotonic()
    with pytest.raises(InputError, match="its reader did not end within 0 s"):
        do("loop", 0)
    assert time.monotonic() - start < 5
    monkeypatch.setattr(isolation, "_SECONDS", 60.0)
    do("who")
    monkeypatch.setattr(isolation, "_SECONDS", 0.5)
    monkeypatch.setattr(isolation, "_BYTES_PER_SECOND", 1.0)
    with pytest.raises(InputError, match="its reader did not end within 2 s"):
        do("loop", 1.5)


def test_ctrl_c_ends_a_call_and_its_child():
    child = do("who")[0]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored where tests run in the background
    try:
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            do("loop", 0)
    finally:
        signal.signal(signal.SIGINT, before)
    assert child not in {one.pid for one in psutil.Process().children()}


def test_an_idle_child_ends_and_another_one_answers(monkeypatch):
    first = do("who")[0]
    os.kill(first, signal.SIGKILL)
    assert do("who")[0] != first
    isolation._end_all()
    child = isolation._Child()
    monkeypatch.setattr(isolation, "_take", lambda: child)
    child._process.kill()  # as one that ends just when it is called
    child._process.wait()
    assert do("who")[1]


def test_calls_of_many_threads():
    found = {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: call("operator:add", n, 1)})) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: n + 1 for n in range(6)}
    assert len(isolation._idle) == 1


def test_nothing_is_left_when_the_process_is_killed():
    code = (
        "import os, signal; from hyperfuse.runtime.isolation import call\n"
        "print(call('os:getpid'), flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    child = int(done.stdout)
    deadline = time.monotonic() + 10
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)
