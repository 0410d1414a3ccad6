"""Signals end a command in one line with the exit code of shells, and what is closed or narrow prints no traceback."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hyperfuse.cli import app, main
from hyperfuse.cli.signals import Interrupted, signals_raised, signals_restored
from hyperfuse.io.encoding.scratch import scratch_folder
from hyperfuse.runtime.interruption import uninterrupted

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


class Dropping:
    """Gets a signal where Python drops exceptions."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_in_a_finaliser_is_not_lost(run, monkeypatch):
    reached = []

    def work(words, session):
        one = Dropping()
        del one
        reached.append(True)
        time.sleep(10)

    monkeypatch.setattr(app, "run_words", work)
    start = time.monotonic()
    assert run("methods") == (143, "", "error: terminated\n")
    assert reached
    assert time.monotonic() - start < 5


def test_a_signal_waits_for_a_block_that_is_not_broken(run, monkeypatch):
    done = []

    def work(words, session):
        with uninterrupted():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("made")
        done.append("never")

    monkeypatch.setattr(app, "run_words", work)
    assert run("methods") == (143, "", "error: terminated\n")
    assert done == ["made"]


def test_a_signal_before_the_cleaning_up_of_a_block_leaves_nothing(run, files, monkeypatch):
    """As between the end of a block and the first line of what cleans up after it."""

    def work(words, session):
        scratch = scratch_folder(files, "out")
        (scratch.__enter__() / "new" / "part").write_text("half")
        kept.append(scratch)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)

    kept = []
    before = leftovers(files, ())
    monkeypatch.setattr(app, "run_words", work)
    assert run("methods") == (143, "", "error: terminated\n")
    assert leftovers(files, ()) == before


@pytest.mark.parametrize(
    ("option", "line"),
    [((), "error: terminated"), (("--progress", "json"), '{"event": "error", "message": "terminated"}')],
)
def test_a_signal_while_the_command_loads_ends_it_in_one_line(option, line):
    code = (
        "import os, signal; from hyperfuse.cli import signals; signals.signals_end_at_once(); os.kill(os.getpid(), 15)"
    )
    ended = subprocess.run([sys.executable, "-c", code, *option], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (143, "", line + "\n")


def leftovers(folder, inputs):
    return sorted(path.name for path in folder.iterdir() if path.name not in inputs)


@pytest.mark.parametrize("how", [(), ("--tile", "12", "--discard-tiles")], ids=["whole", "tiles"])
def test_random_moments_leave_no_file(run, files, how, monkeypatch):
    """SIGTERM at 20 moments of a fusion: it ends in one line, with nothing written, or it had ended before."""
    inputs = leftovers(files, ())
    words = ["fuse", files / "hsi.tif", files / "msi.tif", files / "out.img", "--method", "local-regression", *how]
    words += ["--psf", "mtf:0.3", "--no-align", "--style", "qgis", "--quiet"]
    assert run(*words)[0] == 0
    outputs = leftovers(files, inputs)
    start = time.monotonic()
    assert run(*words, "--overwrite")[0] == 0
    whole = time.monotonic() - start
    moments, codes = random.Random(len(how)), []
    for _ in range(20):
        for name in outputs:
            (files / name).unlink(missing_ok=True)
        timer = threading.Timer(moments.uniform(0, whole), os.kill, (os.getpid(), signal.SIGTERM))
        with signals_restored():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # where it comes too late

            def fuse_with(words, session, start=timer.start, run_words=app.run_words):
                start()
                run_words(words, session)

            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            with monkeypatch.context() as patch:
                patch.setattr(app, "run_words", fuse_with)
                code, _, err = run(*words)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            timer.join()
        codes.append(code)
        assert (code, err) in ((143, "error: terminated\n"), (0, ""))
        left = leftovers(files, inputs)
        # Image and header are there together; a style follows.
        assert left in ([outputs] if code == 0 else [[], ["out.hdr", "out.img"], outputs])
    assert codes.count(143) >= 3  # the others had ended before, where the machine was busy while they were timed


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
