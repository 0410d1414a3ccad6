import json
import os
import pkgutil
import signal
import subprocess
import sys
import time

import pytest

import hyperfuse.benchmark.runner as runner
import hyperfuse.runtime.processes as processes
from hyperfuse.benchmark import make_plan, method_entry, network_entry, run_plan
from hyperfuse.benchmark.plan import Pairs
from hyperfuse.benchmark.records import JOBS, Record, write_record
from hyperfuse.benchmark.runner import estimate_bytes
from hyperfuse.benchmark.worker import run_job
from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.methods.contract.registry import get_method
from hyperfuse.networks import create_network
from hyperfuse.networks.pretrained import save_pretrained
from hyperfuse.runtime.locks import exclusive
from hyperfuse.runtime.processes import Child
from hyperfuse.scenes.fuse import fuse
from hyperfuse.scenes.simulate import simulate


@pytest.fixture
def counted(monkeypatch):
    """Jobs that were really done."""
    done = []

    def count(job, **options):
        done.append(job.file)
        return run_job(job, **options)

    monkeypatch.setattr(runner, "run_job", count)
    return done


def test_scores_are_those_of_the_pipeline_by_hand(cave, plan, tmp_path):
    from hyperfuse import evaluate
    from hyperfuse.datasets import open_dataset

    records = run_plan(plan, tmp_path, workers=0)
    assert [record.job for record in records] == list(plan.jobs)
    cube = open_dataset("cave", cave).load("paints")
    pair = simulate(cube, ratio=4, preset="uestc", srf="nikon-d700")
    by_hand = evaluate(pair.reference, fuse(pair.hsi, pair.msi, method="regression", sensor=pair.sensor), 4)
    found = next(one for one in records if (one.job.scene, one.job.entry.name) == ("paints", "regression"))
    assert found.scores == by_hand
    assert found.seconds > 0
    assert found.peak_memory is None  # not measured in a process that does other things too


def test_resume_does_what_is_missing_and_nothing_else(plan, tmp_path, counted):
    first = run_plan(plan, tmp_path, workers=0)
    assert len(counted) == 4
    (tmp_path / JOBS / plan.jobs[2].file).unlink()
    (tmp_path / JOBS / plan.jobs[3].file).write_text('{"format": 2, "cond')  # as a kill could leave it, were it not
    counted.clear()
    again = run_plan(plan, tmp_path, workers=0, resume=True)
    assert counted == [plan.jobs[2].file, plan.jobs[3].file]
    assert [record.reused for record in again] == [True, True, False, False]
    assert [record.scores for record in again] == [record.scores for record in first]


def test_another_seed_is_done_again_and_failures_too(cave, plan, tmp_path, counted):
    run_plan(plan, tmp_path, workers=0)
    write_record(tmp_path, Record(plan.jobs[0], failure="no space left"))
    counted.clear()
    run_plan(plan, tmp_path, workers=0, resume=True)
    assert counted == [plan.jobs[0].file]
    counted.clear()
    other = make_plan(plan.entries, plan.ratios, Pairs("cave", cave, seed=1))
    run_plan(other, tmp_path, workers=0, resume=True)
    assert len(counted) == 4


def test_results_are_not_replaced_unasked(plan, tmp_path, counted):
    run_plan(plan, tmp_path, workers=0)
    with pytest.raises(InputError, match="already; resume=True continues it, overwrite=True restarts it"):
        run_plan(plan, tmp_path, workers=0)
    with pytest.raises(InputError, match="not both"):
        run_plan(plan, tmp_path, workers=0, resume=True, overwrite=True)
    stray = tmp_path / JOBS / "old.json"
    stray.write_text("{}")
    outdated = tmp_path / JOBS / "x4-paints-gsa-0123ab.json"
    outdated.write_text("{}")
    run_plan(plan, tmp_path, workers=0, overwrite=True)
    assert len(counted) == 8
    assert stray.exists()  # it is not a record, and belongs to somebody else
    assert not outdated.exists()


def test_a_foreign_folder_of_jobs_is_left_alone(plan, tmp_path):
    (tmp_path / JOBS / "x").mkdir(parents=True)
    (tmp_path / JOBS / "x" / "thesis.json").write_text("{}")
    (tmp_path / JOBS / "x4-notes.json").write_text("{}")
    run_plan(plan, tmp_path, workers=0, overwrite=True)
    assert (tmp_path / JOBS / "x" / "thesis.json").exists()
    assert (tmp_path / JOBS / "x4-notes.json").exists()


def test_two_benchmarks_do_not_write_to_one_folder(plan, tmp_path):
    with exclusive(tmp_path / ".lock", "held"), pytest.raises(InputError, match="another benchmark writes to it"):
        run_plan(plan, tmp_path, workers=0)
    assert not (tmp_path / JOBS).exists()


def test_threads_that_no_machine_has_are_refused(plan, tmp_path):
    with pytest.raises(InputError, match=r"takes 1 to \d+ threads"):
        run_plan(plan, tmp_path / "out", threads=99_999)
    assert not (tmp_path / "out").exists()


def test_what_fails_is_recorded_and_the_rest_goes_on(cave, made, tmp_path, monkeypatch):
    folder = tmp_path / "scenes"
    folder.mkdir()
    made.scene(folder / "paints.mat", 1)
    (folder / "balloons.mat").write_bytes(b"MATLAB 5.0 MAT-file, cut off")
    wrong = save_pretrained(create_network("feinfn", hsi_bands=4, msi_bands=3, width=4), tmp_path / "four")

    def explode(*args):
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(type(get_method("gsa")), "fuse", _breaking(get_method("gsa").name, explode))
    entries = [method_entry("bicubic"), method_entry("gsa"), network_entry(wrong)]
    records = run_plan(make_plan(entries, [4], Pairs("cave", folder)), tmp_path / "out", workers=0)
    failures = {(one.job.scene, one.job.entry.name): one.failure for one in records}
    assert failures["paints", "bicubic"] is None
    assert failures["paints", "gsa"] == "unexpected RuntimeError: unforeseen"
    assert failures["paints", "four"].startswith("hsi has 31 bands, but this network was built for 4")
    for name in ("bicubic", "gsa", "four"):
        assert failures["balloons", name].startswith("the scene balloons of CAVE: ")


def _breaking(name, explode):
    work = type(get_method("gsa")).fuse
    return lambda self, *args: explode() if self.name == name else work(self, *args)


def test_jobs_run_at_the_same_time_as_far_as_memory_goes(plan, tmp_path, monkeypatch, made):
    """Three jobs may run at a time, memory is there for two."""
    alive, counts = [], []

    class Pretended:
        def __init__(self, module, line, threads):
            sent, *_ = json.loads(line)
            names = sent["scene"], sent["entry"]["name"]
            self.job = next(job for job in plan.jobs if (job.scene, job.entry.name) == names)
            self.turns = 3
            alive.append(self)
            counts.append(len(alive))

        @property
        def ended(self):
            self.turns -= 1
            return self.turns < 0

        def failure(self):
            alive.remove(self)
            write_record(tmp_path, Record(self.job, scores=made.scores(40.0), seconds=1.0, peak_memory=1))

        def kill(self):
            raise AssertionError("nothing is to be killed")

    one = estimate_bytes((31, 24, 24), network=False)
    monkeypatch.setattr(runner, "Child", Pretended)
    monkeypatch.setattr(runner, "free_bytes", lambda: 2.5 * one / runner._MEMORY_FRACTION)
    monkeypatch.setattr(processes, "_POLL_SECONDS", 0.0)
    records = run_plan(plan, tmp_path, workers=3)
    assert max(counts) == 2
    assert not any(record.failure for record in records)
    # Where memory is short of even one, it is tried all the same.
    counts.clear()
    monkeypatch.setattr(runner, "free_bytes", lambda: 1.0)
    run_plan(plan, tmp_path, workers=3, overwrite=True)
    assert (max(counts), len(counts)) == (1, 4)


def test_a_process_that_dies_is_a_failed_job(plan, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "_WORKER", "hyperfuse.no_such_worker:do_job")
    records = run_plan(plan, tmp_path, workers=2)
    assert all(record.failure.startswith("its process ended with exit code 1: ") for record in records)
    assert "No module named 'hyperfuse.no_such_worker'" in records[0].failure
    assert len(list((tmp_path / JOBS).iterdir())) == 4


def test_the_signal_that_ended_a_process_is_reported():
    child = Child("time:sleep", "{}", 1)
    os.kill(child._process.pid, signal.SIGKILL)
    while not child.ended:
        time.sleep(0.01)
    assert child.failure().startswith("its process ended by signal 9 (out of memory?)")


def test_a_network_takes_more_memory_than_a_method():
    assert estimate_bytes((31, 512, 512), network=True) > estimate_bytes((31, 512, 512), network=False)


@pytest.mark.slow
def test_processes_of_their_own_give_the_same_scores_and_measure_memory(plan, tmp_path):
    apart = run_plan(plan, tmp_path / "apart", workers=2, threads=2)
    here = run_plan(plan, tmp_path / "here", workers=0)
    for one, other in zip(apart, here, strict=True):
        assert one.scores == other.scores
        assert one.peak_memory > 50e6
        assert (one.threads, one.at_once, one.reused) == (1, 2, False)


@pytest.mark.slow
def test_a_benchmark_that_is_killed_resumes_where_it_was(cave, plan, tmp_path):
    words = ["benchmark", "--data", cave, "--methods", "bicubic,regression", "--ratio", "4", "--out", tmp_path / "out",
             "--workers", "1", "--threads", "1"]  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", "hyperfuse", *map(str, words)], stderr=subprocess.DEVNULL)
    jobs = tmp_path / "out" / JOBS
    end = time.monotonic() + 60
    while not (jobs.is_dir() and list(jobs.glob("*.json"))) and time.monotonic() < end:
        time.sleep(0.05)
    process.kill()
    process.wait()
    records = {path.name: path.stat().st_mtime_ns for path in jobs.glob("*.json")}
    assert 1 <= len(records) < 4
    done = subprocess.run(
        [sys.executable, "-m", "hyperfuse", *map(str, words), "--resume"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"({len(records)} of 4 jobs were done before)" in done.stderr
    assert {name: (jobs / name).stat().st_mtime_ns for name in records} == records
    table = (tmp_path / "out" / "benchmark.md").read_text()
    assert [table.count(f"| {scene} | `bicubic` |") for scene in ("balloons", "paints")] == [1, 1]


def test_the_function_of_the_worker_is_there():
    assert callable(pkgutil.resolve_name(runner._WORKER))


def test_an_interrupted_benchmark_leaves_no_process_behind(plan, tmp_path, monkeypatch):
    killed = []

    class Endless:
        def __init__(self, *args):
            self.ended = False

        def kill(self):
            killed.append(self)

    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "Child", Endless)
    monkeypatch.setattr(processes.time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_plan(plan, tmp_path, workers=2)
    assert len(killed) == 2


def test_a_record_that_cannot_be_written_ends_the_benchmark(plan, tmp_path, monkeypatch):
    def full(folder, record):
        raise HyperfuseError("no space left on the disk")

    monkeypatch.setattr(runner, "write_record", full)
    with pytest.raises(HyperfuseError, match="no space left"):
        run_plan(plan, tmp_path, workers=0)
