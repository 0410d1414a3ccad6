"""``--progress json``: what a program that runs a command reads on stderr."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest

from hyperfuse.cli.events import EventLines
from hyperfuse.errors import warn

FUSING = ("--ratio", "3", "--no-align", "--psf", "mtf:0.3")


def events_of(text):
    return [json.loads(line) for line in text.splitlines()]


def check_events(events):
    """Check that progress never falls and ends at 1, and that all is of the stated form; return the kinds."""
    steps = [event for event in events if event["event"] == "progress"]
    fractions = [step["progress"] for step in steps]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert all(set(step) == {"event", "progress", "message", "eta_s"} for step in steps)
    assert all(step["message"] and (step["eta_s"] is None or step["eta_s"] >= 0) for step in steps)
    assert events[-1]["event"] == "result"
    return {event["event"] for event in events}


@pytest.fixture
def lines(capsys):
    """Return a function that gives all events that were written to stderr."""
    written = []

    def read():
        written.extend(events_of(capsys.readouterr().err))
        return written

    return read


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self):
        return self.now


def test_a_fusion_in_its_own_process(files):
    words = ["fuse", files / "hsi.tif", files / "msi.tif", files / "out.tif", "--report", files / "out.html", *FUSING]
    command = [sys.executable, "-m", "hyperfuse", *map(str, words)]
    ended = subprocess.run([*command, "--progress", "json"], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "")
    events = events_of(ended.stderr)
    assert check_events(events) == {"progress", "note", "result"}
    assert events[-1] == {"event": "result", "files": [str(files / "out.tif"), str(files / "out.html")]}
    assert all(event["message"] for event in events if event["event"] == "note")
    plain = subprocess.run([*command, "--overwrite"], capture_output=True, text=True, check=False)
    notes = [event["message"] for event in events if event["event"] == "note"]
    assert [line.removeprefix("note: ").split(" in ")[0] for line in plain.stderr.splitlines()] == [
        note.split(" in ")[0] for note in notes
    ]


@pytest.mark.parametrize(
    ("words", "written"),
    [
        (("simulate", "reference.tif", "pair", "--ratio", "3", "--srf", "boxes:3"), ["hsi.tif", "msi.tif"]),
        (("simulate", "reference.tif", "pair", "--ratio", "3", "--srf", "boxes:3", "--format", "img"), None),
        (("evaluate", "reference.tif", "reference.tif", "--ratio", "3"), []),
        (("info", "hsi.tif"), []),
        (("align", "hsi.tif", "msi.tif", "out.tif", "--ratio", "3"), ["out.tif"]),
    ],
)
def test_commands_end_at_one_with_their_files(run, files, words, written):
    named = [str(files / word) if word.endswith((".tif", "pair")) else word for word in words]
    code, _, err = run(*named, "--progress", "json")
    assert code == 0, err
    events = events_of(err)
    check_events(events)
    paths = events[-1]["files"]
    folder = files / "pair" if words[0] == "simulate" else files
    if written is None:
        written = ["hsi.hdr", "hsi.img", "msi.hdr", "msi.img"]
    expected = [*written, "sensor.yaml"] if words[0] == "simulate" else written
    assert paths == [str(folder / name) for name in expected]
    assert {str(path) for path in folder.iterdir()} >= set(paths)


@pytest.mark.parametrize("extension", ["tif", "img"])
def test_a_style_is_an_output_like_others(run, files, extension):
    out = files / f"out.{extension}"
    words = ("fuse", files / "hsi.tif", files / "msi.tif", out, "--method", "bicubic", *FUSING)
    code, _, err = run(*words, "--style", "qgis", "--progress", "json")
    assert code == 0, err
    assert str(files / "out.qml") in events_of(err)[-1]["files"]
    assert "multibandcolor" in (files / "out.qml").read_text()
    for path in (out, out.with_suffix(".hdr")):
        path.unlink(missing_ok=True)
    code, _, err = run(*words, "--style", "qgis")
    assert code == 2
    assert f"{files / 'out.qml'}: exists already" in err
    assert run(*words, "--style", "qgis", "--overwrite")[0] == 0


def test_a_style_for_another_format_is_refused_before_any_work(run, files):
    words = ("fuse", files / "hsi.tif", files / "msi.tif", files / "out.nc", "--method", "bicubic", *FUSING)
    code, _, err = run(*words, "--style", "qgis")
    assert code == 2
    assert err.startswith("error: --style: ")
    assert not (files / "out.nc").exists()


def test_a_batch_is_one_progress_and_its_failures_are_warnings(run, files):
    for name in ("a", "b"):
        (files / name).mkdir()
        for kind in ("hsi", "msi"):
            (files / name / f"{kind}.tif").write_bytes((files / f"{kind}.tif").read_bytes())
    for kind in ("hsi", "msi", "reference"):
        (files / f"{kind}.tif").unlink()
    (files / "b" / "msi.tif").write_bytes(b"")
    code, _, err = run("batch", files, files / "out", "--method", "bicubic", *FUSING, "--progress=json")
    assert code == 1
    events = events_of(err)
    assert [event["message"] for event in events if event["event"] == "warning"][-1].startswith("failed: b: ")
    assert events[-2] == {"event": "result", "files": [str(files / "out" / "a.tif")]}
    assert events[-1] == {"event": "error", "message": "1 of 2 pairs failed: b"}
    steps = [event for event in events if event["event"] == "progress"]
    assert max(step["progress"] for step in steps) == 0.5


@pytest.mark.parametrize("option", [("--progress", "json"), ("--progress=json",)])
def test_errors_of_calls_and_inputs_are_one_event(run, files, option):
    missing = files / "missing.tif"
    for words in (("info", missing), ("fuse", missing), ("no-command",)):
        code, out, err = run(*words, *option)
        assert (code, out) == (2, "")
        (event,) = [event for event in events_of(err) if event["event"] == "error"]
        assert event["message"]
        assert "error:" not in event["message"]
    assert run("info", files / "hsi.tif", "--progress", "xml")[0] == 2


def test_debug_puts_the_traceback_into_the_error(run, files):
    _, _, err = run("info", files / "missing.tif", "--progress", "json", "--debug")
    assert "Traceback" in events_of(err)[-1]["traceback"]


def test_warnings_are_events(run, files, monkeypatch):
    from hyperfuse.io import describe

    whole = describe.whole_header
    monkeypatch.setattr(describe, "whole_header", lambda cube: warn("the sun is too low") or whole(cube))
    _, _, err = run("info", files / "hsi.tif", "--progress", "json")
    assert {"event": "warning", "message": "the sun is too low"} in events_of(err)


def test_quiet_leaves_warnings_errors_and_the_result(run, files):
    words = ("fuse", files / "hsi.tif", files / "msi.tif", files / "out.tif", "--method", "bicubic", *FUSING)
    code, _, err = run(*words, "--progress", "json", "--quiet")
    assert code == 0
    assert events_of(err) == [{"event": "result", "files": [str(files / "out.tif")]}]


def test_an_interrupt_is_an_error(run, files, monkeypatch):
    from hyperfuse.scenes import fuse as module

    def interrupted(*arguments, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "fuse_files", interrupted)
    code, _, err = run("fuse", files / "hsi.tif", files / "msi.tif", files / "out.tif", "--progress", "json")
    assert code == 130
    assert events_of(err)[-1] == {"event": "error", "message": "interrupted"}


def test_at_most_ten_lines_a_second_and_the_last_names_the_present_step(lines):
    clock = Clock()
    report = EventLines(clock).progress("fusing")
    for step in range(3000):  # 3 seconds
        clock.now = step / 1000
        report(step / 6000, f"step {step // 400}")
    steps = list(lines())
    assert 12 <= len(steps) <= 3 * 10
    assert steps[-1]["message"] == "fusing: step 7"
    clock.now = 3.0
    report(0.2, "earlier")
    assert lines()[-1]["progress"] >= steps[-1]["progress"]


def test_a_burst_of_messages_is_held_to_the_rate(lines):
    report = EventLines(Clock()).progress("fusing")
    for step in range(100):
        report(step / 100, f"step {step}")
    assert len(lines()) == 10


def test_the_time_remaining_is_that_of_the_speed_so_far(lines):
    clock = Clock()
    report = EventLines(clock).progress("fusing", (0.5, 1.0))
    clock.now = 30.0
    report(0.5)
    assert lines()[-1] == {"event": "progress", "progress": 0.75, "message": "fusing", "eta_s": 10.0}


def test_a_closed_stderr_does_not_end_the_work(monkeypatch):
    stream = io.StringIO()
    stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    EventLines().progress("fusing")(0.5, "step")
    monkeypatch.setattr(sys, "stderr", None)
    EventLines().finish([])


CONFIG = """
output: run
length: 3
device: cpu
network: {options: {width: 4, encoder_blocks: 0, hidden: [4], latent: 4, decoder_width: 4}}
data: {kind: folder, folder: scenes, train: [a], validation: [b], patch: 8, stride: 8, srf: "boxes:2"}
degradation: {preset: uestc, ratios: [2]}
log: {every: 1, tensorboard: false}
"""


@pytest.mark.parametrize(
    ("line", "written"),
    [
        ("train train.yaml", ["run", "run/best"]),
        ("data pack scenes all.pack --kind folder --error 1e-3", ["all.pack"]),
        (
            "benchmark --data scenes --kind folder --srf boxes:2 --ratio 2 --out out --methods bicubic",
            ["out/benchmark.md", "out/summary.csv"],
        ),
    ],
)
def test_commands_on_data_sets_report_progress(run, tmp_path, monkeypatch, line, written):
    import hyperfuse.benchmark

    work = hyperfuse.benchmark.run_plan

    def run_here(plan, folder, *, workers, threads, **options):
        return work(plan, folder, workers=0, **options)

    monkeypatch.setattr(hyperfuse.benchmark, "run_plan", run_here)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.yaml").write_text(CONFIG)
    (tmp_path / "scenes").mkdir()
    for seed, name in enumerate(("a", "b")):
        np.save(tmp_path / "scenes" / f"{name}.npy", np.random.default_rng(seed).random((3, 16, 16), np.float32))
    code, _, err = run(*line.split(), "--progress", "json")
    assert code == 0, err
    events = events_of(err)
    assert check_events(events) == {"progress", "note", "result"}
    files = events[-1]["files"]
    assert set(written) <= set(files)
    assert all((tmp_path / file).exists() for file in files)
