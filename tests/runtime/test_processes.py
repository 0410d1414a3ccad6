"""Several child processes at a time; what a single one does is tested with the benchmark that starts it."""

import subprocess
import sys
import time

import pytest

import hyperfuse.runtime.processes as processes
from hyperfuse.runtime.processes import run_children


def test_a_process_knows_how_long_it_has_been_alive():
    call = "from hyperfuse.runtime.processes import seconds_alive; print(seconds_alive())"
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, check=True)
    taken = time.monotonic() - start
    assert 0.01 < float(done.stdout) < taken + 0.1


class Finished:
    """A process that has ended when it is asked."""

    ended = True

    def __init__(self):
        self.killed = False

    def kill(self):
        self.killed = True


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch):
    monkeypatch.setattr(processes, "_POLL_SECONDS", 0.0)


def test_every_task_is_started_and_finished_once():
    started, finished = [], []

    def start(task):
        started.append(task)
        return Finished()

    run_children("abcde", start, lambda task, child: finished.append(task), workers=2)
    assert started == finished == list("abcde")


def test_a_task_that_does_not_fit_waits_and_others_go_first():
    started = []
    running = set()

    def start(task):
        started.append(task)
        running.add(task)
        return Finished()

    def fits(task, busy):
        assert set(busy) == running
        return task + sum(busy) <= 4

    run_children([3, 4, 1], start, lambda task, child: running.discard(task), workers=3, fits=fits)
    assert started == [3, 1, 4]


def test_processes_are_ended_where_a_task_fails():
    children = []

    class Endless(Finished):
        ended = False

    def start(task):
        children.append(Finished() if task == "fails" else Endless())
        return children[-1]

    def finish(task, child):
        raise RuntimeError(task)

    with pytest.raises(RuntimeError, match="fails"):
        run_children(["goes on", "fails", "waits"], start, finish, workers=2)
    assert [child.killed for child in children] == [True, False]
