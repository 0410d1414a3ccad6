"""Signals end a command in one line with the exit code of shells, and what is closed or narrow prints no traceback."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hyperfuse.cli import app, main
from hyperfuse.cli.signals import Interrupted, signals_raised, signals_restored

NAMES = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
ENDS = {"SIGINT": (130, "interrupted"), "SIGTERM": (143, "terminated"), "SIGHUP": (129, "the terminal was closed")}


@pytest.fixture(autouse=True)
def default_signals():
    """Handle signals as a terminal's processes do, wherever tests run and whatever ran before."""
    with signals_restored():
        for name in NAMES:
            signal.signal(getattr(signal, name), signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL)
        yield


@pytest.mark.parametrize("name", NAMES)
def test_a_signal_ends_a_command_in_one_line_and_is_handled_as_before_afterwards(name, run, monkeypatch):
    cleaned = []

    def work(words, session):
        try:
            os.kill(os.getpid(), getattr(signal, name))
            time.sleep(10)
        finally:
            if name != "SIGINT":
                os.kill(os.getpid(), getattr(signal, name))  # a second one does not disturb the cleaning
            cleaned.append(True)

    before = signal.getsignal(getattr(signal, name))
    monkeypatch.setattr(app, "run_words", work)
    assert run("methods") == (ENDS[name][0], "", f"error: {ENDS[name][1]}\n")
    assert cleaned == [True]
    assert signal.getsignal(getattr(signal, name)) == before


def test_a_signal_that_the_caller_ignores_stays_ignored():
    with signals_restored():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        with signals_raised():
            os.kill(os.getpid(), signal.SIGHUP)
            with pytest.raises(Interrupted) as caught:
                os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.exit_code == 143


def hyperfuse(*words, **options):
    return subprocess.run(
        [sys.executable, "-m", "hyperfuse", *map(str, words)], stderr=subprocess.PIPE, text=True, check=False, **options
    )


def test_results_for_a_closed_stdout_end_in_one_line(files):
    ended = hyperfuse("info", files / "hsi.tif", preexec_fn=lambda: os.close(1))
    assert (ended.returncode, ended.stderr) == (1, "error: stdout is closed, and results have nowhere to go\n")


def test_results_for_a_full_stdout_end_in_one_line(files):
    with Path("/dev/full").open("w") as full:
        ended = hyperfuse("info", files / "hsi.tif", stdout=full)
    assert ended.returncode == 1
    assert ended.stderr == "error: no space left on the device; free some or write elsewhere (no output was written)\n"


def test_a_closed_stderr_changes_nothing(files):
    words = ("fuse", files / "hsi.tif", files / "msi.tif", files / "out.tif", "--method", "bicubic", "--ratio", "3")
    ended = hyperfuse(*words, "--no-align", "--psf", "mtf:0.3", preexec_fn=lambda: [os.close(n) for n in (0, 1, 2)])
    assert ended.returncode == 0
    assert (files / "out.tif").exists()


@pytest.mark.parametrize("words", [["info"], ["info", "--json"]])
def test_an_ascii_terminal_gets_escapes(files, words):
    path = (files / "hsi.tif").rename(files / "h\u00e4nge\u2192.tif")
    plain = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ended = hyperfuse(*words, path, stdout=subprocess.PIPE, env=plain)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.isascii()


def test_a_file_name_that_is_not_utf_8_is_refused_in_one_line(files):
    path = os.fsencode(files / "h") + b"\xff.tif"
    os.rename(files / "hsi.tif", path)  # noqa: PTH104
    ended = subprocess.run([sys.executable, "-m", "hyperfuse", "info", path], capture_output=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.count(b"\n") == 1
    assert b"not UTF-8" in ended.stderr


def test_help_needs_no_unicode(capsys):
    assert main(["--help"]) == 0
