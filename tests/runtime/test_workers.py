"""Worker processes: results, exceptions, deaths, a hostile working folder, and the end with their parent."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import psutil
import pytest

from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.runtime.processes import Child
from hyperfuse.runtime.workers import WorkersKilledError, run_in_workers


@pytest.fixture(autouse=True)
def tests_are_found(monkeypatch):
    """Worker processes import the functions of this file by its name, which is relative to the repository."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2])


def settings_of(name):
    import torch

    return os.environ.get(name), torch.get_num_threads(), os.getpid()


def refuse(item):
    raise InputError(f"{item} is refused", parameter="item")


def kill_once(marker, item):
    if item == 2 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def write_and_raise_what_cannot_be_pickled(item):
    os.write(1, b"printed by a library")

    class LocalError(Exception):
        pass

    raise LocalError(item)


def test_every_item_is_done_once_with_the_threads_and_variables_that_are_set():
    found = list(run_in_workers(settings_of, ["MADE"] * 5, workers=2, threads=2, MADE="up"))
    assert [one[:2] for one in found] == [("up", 2)] * 5
    assert 1 <= len({one[2] for one in found}) <= 2
    assert os.getpid() not in {one[2] for one in found}


def test_an_exception_comes_as_it_is_with_the_traceback_of_its_process():
    with pytest.raises(InputError, match="3 is refused") as caught:
        list(run_in_workers(refuse, [3], workers=1, threads=1))
    assert caught.value.parameter == "item"
    assert "in refuse" in str(caught.value.__cause__)
    with pytest.raises(RuntimeError, match="LocalError: 7"):
        list(run_in_workers(write_and_raise_what_cannot_be_pickled, [7], workers=1, threads=1))


def test_the_item_of_a_killed_worker_is_done_by_another(tmp_path):
    task = partial(kill_once, tmp_path / "marker")
    assert sorted(run_in_workers(task, range(5), workers=2, threads=1)) == [0, 1, 2, 3, 4]


def test_workers_that_die_again_and_again_are_given_up():
    with pytest.raises(WorkersKilledError, match=r"again and again \(its process ended with exit code 3\)"):
        list(run_in_workers(os._exit, [3, 3, 3, 3], workers=2, threads=1))
    assert issubclass(WorkersKilledError, HyperfuseError)


def test_workers_end_when_their_results_are_no_longer_asked_for():
    with closing(run_in_workers(settings_of, ["A"] * 9, workers=2, threads=1)) as results:
        process = psutil.Process(next(results)[2])
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_python_files_of_the_working_folder_are_not_run(tmp_path, monkeypatch):
    for name in ("torch", "numpy", "json", "pickle", "hyperfuse", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'was_run')!r}, 'a').write({name!r})\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep + os.environ.get("PYTHONPATH", ""))  # an empty entry is the folder
    nested = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import json'], check=True)"
    assert list(run_in_workers(exec, [nested], workers=1, threads=1)) == [None]
    child = Child("json:loads", "{}", 1)
    while not child.ended:
        time.sleep(0.01)
    assert child.failure() is None
    assert not (tmp_path / "was_run").exists()


PARENT = """
    import sys, time
    from hyperfuse.runtime.processes import Child
    from hyperfuse.runtime.workers import run_in_workers

    if __name__ == "__main__":
        child = Child("ctypes:PyDLL", "{}", 1) if sys.argv[1] == "starting" else Child("time:gmtime", "{}", 1)
        code = "import ctypes, os, pathlib; pathlib.Path(f'at-work-{os.getpid()}').touch(); "
        # A call into C that holds Python's lock: no thread of that process runs meanwhile.
        code += "ctypes.PyDLL(None).sleep(60)" if sys.argv[1] == "deaf" else "import time; time.sleep(60)"
        for _ in run_in_workers(exec, [code, code], workers=2, threads=1):
            pass
"""


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["starting", "working", "deaf"])
@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM"])
def test_no_process_outlives_its_parent(tmp_path, moment, how):
    (tmp_path / "parent.py").write_text(textwrap.dedent(PARENT))
    parent = subprocess.Popen([sys.executable, tmp_path / "parent.py", moment], cwd=tmp_path)
    found, end = {}, time.monotonic() + 60
    while time.monotonic() < end:
        found |= {child.pid: child for child in psutil.Process(parent.pid).children(recursive=True)}
        if found and (moment == "starting" or len(list(tmp_path.glob("at-work-*"))) == 2):
            break
        time.sleep(0.02)
    else:
        pytest.fail("the workers did not start")
    time.sleep(0.0 if moment == "starting" else 0.5)
    parent.send_signal(getattr(signal, how))
    parent.wait()
    _, alive = psutil.wait_procs(found.values(), timeout=20)
    for one in alive:
        one.kill()
    assert found
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]
