"""The server in a process and in this one: address, end, threads."""

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import pytest

import hyperfuse as hf
from hyperfuse.errors import InputError
from hyperfuse.io import write

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture
def started(cube, tmp_path):
    """A process of the command, and the address that it printed."""
    write(tmp_path / "c.tif", cube)
    words = [sys.executable, "-m", "hyperfuse", "view", "c.tif", "--no-browser", "--port", "0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    if os.name != "nt":  # a shell may have started this process with Ctrl-C ignored
        pipes["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(words, cwd=tmp_path, **pipes)
    yield process, process.stdout.readline().strip()
    process.kill()
    process.communicate()


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_the_command_serves_until_a_signal_ends_it(started, number, code):
    process, url = started
    assert url.startswith("http://127.0.0.1:")
    assert "hyperfuse view" in OPENER.open(url).read().decode()
    with pytest.raises(urllib.error.HTTPError, match="403"):
        OPENER.open(url.partition("?")[0])
    process.send_signal(number)
    begun = time.monotonic()
    assert process.wait(10) == code
    assert time.monotonic() - begun < 5
    assert "Traceback" not in process.stderr.read()


def test_the_server_listens_on_this_machine_alone(started):
    import psutil

    process, url = started
    (at,) = {one.laddr for one in psutil.Process(process.pid).net_connections("inet") if one.status == "LISTEN"}
    assert at.ip == "127.0.0.1"
    assert str(at.port) in url


def test_a_viewer_leaves_no_thread_and_no_socket(cube):
    before = set(threading.enumerate())
    with hf.view(cube, reference=cube.replace(data=np.nan_to_num(cube.data), valid=None)) as viewer:
        assert OPENER.open(viewer.url).status == 200
        frame = viewer._repr_html_()
        assert frame.startswith('<iframe src="http://127.0.0.1:')
        assert OPENER.open(frame.split('"')[1] + "api/scene").status == 200
    assert set(threading.enumerate()) == before
    assert repr(viewer) == "Viewer(closed)"
    with pytest.raises(OSError, match="refused"):
        OPENER.open(viewer.url)


def test_each_server_has_its_own_token(cube):
    with hf.view(cube) as one, hf.view(cube) as two:
        secret = one.url.partition("token=")[2]
        assert len(secret) > 40
        assert secret != two.url.partition("token=")[2]
        with pytest.raises(urllib.error.HTTPError, match="403"):
            OPENER.open(two.url.partition("token=")[0] + "token=" + secret)


def test_a_viewer_that_is_forgotten_ends(cube):
    before = set(threading.enumerate())
    hf.view(cube)
    assert set(threading.enumerate()) == before


def test_a_port_that_is_taken_is_an_error_in_one_line(cube, run, tmp_path):
    write(tmp_path / "c.tif", cube)
    with hf.view(cube) as viewer:
        port = viewer.url.split(":")[2].split("/")[0]
        code, out, err = run("view", tmp_path / "c.tif", "--no-browser", "--port", port)
        assert (code, out) == (2, "")
        assert err.startswith(f"error: --port {port} cannot be used (")
    with pytest.raises(InputError, match="port=70000 is not among"):
        hf.view(cube, port=70000)


def test_what_cannot_be_viewed_is_refused_in_one_line(run, tmp_path):
    assert run("view", tmp_path / "none.tif", "--no-browser")[2].endswith("none.tif: does not exist\n")
    np.save(tmp_path / "a.npy", np.ones((2, 3, 4)))
    found = run("view", tmp_path / "a.npy", "--axes", "rows", "--no-browser")
    assert found[0] == 2
    assert "axes" in found[2]
    with pytest.raises(InputError, match="no image"):
        hf.view()
    with pytest.raises(InputError, match="reference: "):
        hf.view(np.ones((2, 3, 4)), reference={})
