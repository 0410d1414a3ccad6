import csv

import numpy as np
import pytest

from hyperfuse.benchmark.plan import scoring_convention
from hyperfuse.benchmark.summary import summarise, summary_table, write_tables
from hyperfuse.tables.markdown import render_markdown
from hyperfuse.version import __version__


@pytest.fixture
def written(plan, tmp_path):
    """Write the files of records and return their texts by name."""

    def write(records):
        return {path.name: path.read_text("utf-8") for path in write_tables(tmp_path / "out", plan, records)}

    return write


@pytest.fixture
def records(plan, made):
    return [
        made.record(plan, "bicubic", "balloons", 30.0, seconds=1.0, peak_memory=3_000_000),
        made.record(plan, "regression", "balloons", 40.0, seconds=2.0),
        made.record(plan, "bicubic", "paints", 33.0, seconds=3.0, peak_memory=5_000_000),
        made.record(plan, "regression", "paints", 47.0, seconds=4.0),
    ]


def test_mean_and_deviation_are_numpys(records):
    bicubic, regression = summarise(records)
    assert (bicubic.name, regression.name) == ("bicubic", "regression")
    for one, values in ((bicubic, [30.0, 33.0]), (regression, [40.0, 47.0])):
        assert one.mean["psnr_db"] == pytest.approx(np.mean(values))
        assert one.std["psnr_db"] == pytest.approx(np.std(values))
    assert (bicubic.seconds, bicubic.peak_memory, bicubic.scored, bicubic.complete) == (2.0, 5_000_000, 2, True)


def test_best_is_bold_and_second_underlined(records):
    bicubic, regression = render_markdown(summary_table(summarise(records))).splitlines()[-2:]
    assert "**43.50** ± 3.50" in regression
    assert "<ins>31.50</ins> ± 1.50" in bicubic


def test_a_mean_over_fewer_scenes_is_reported_and_not_ranked(plan, made, records, written):
    records[1] = made.record(plan, "regression", "balloons", failure="broken | on purpose")
    bicubic, regression = summarise(records)
    assert (regression.scored, regression.complete) == (1, False)
    assert regression.failures == ("balloons: broken | on purpose",)
    texts = written(records)
    text = texts["benchmark.md"]
    row = next(line for line in text.splitlines() if line.startswith("| `regression` | 47.00"))
    assert "1 of 2, the rest failed" in row
    assert "**" not in row
    assert "**31.50**" in text
    assert "- regression, x4, balloons: broken \\| on purpose" in text
    assert "| balloons | `regression` | failed: broken \\| on purpose |" in text
    assert "regression failed on 1 of 2 scenes" in texts["benchmark.tex"]
    assert bicubic.complete


def test_an_entry_that_never_worked_is_in_every_table(plan, made, records, written):
    for index, scene in ((1, "balloons"), (3, "paints")):
        records[index] = made.record(plan, "regression", scene, failure="no")
    texts = written(records)
    assert "| `regression` | failed | failed | failed | failed |" in texts["benchmark.md"]
    assert "failed & failed" in texts["benchmark.tex"]
    assert [row["psnr_db_mean"] for row in csv.DictReader(texts["summary.csv"].splitlines())] == ["31.5", ""]


def test_latex_is_a_plain_tabular_with_marks(records, written):
    text = written(records)["benchmark.tex"]
    assert r"\textbf{43.50} $\pm$ 3.50" in text
    assert r"\underline{31.50} $\pm$ 1.50" in text
    assert text.count(r"\begin{tabular}{lrrrrrr}") == 1
    assert "toprule" not in text
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") for line in body} == {6}


def test_the_files_state_version_convention_and_seed(plan, records, tmp_path):
    written = write_tables(tmp_path / "out", plan, records)
    assert [path.name for path in written] == ["benchmark.md", "benchmark.tex", "summary.csv", "scenes.csv"]
    for path in written[:2]:
        text = path.read_text()
        assert f"hyperfuse {__version__}" in text
        assert scoring_convention() in text
        assert "seed 0" in text
    assert "Seconds: wall time of one fusion in a fresh process, mean over scenes, 1 thread each" in (
        written[0].read_text()
    )
    for path in written[2:]:
        for row in csv.DictReader(path.open(newline="")):
            assert (row["version"], row["convention"], row["seed"]) == (__version__, scoring_convention(), "0")
    rows = {row["method"]: row for row in csv.DictReader(written[2].open(newline=""))}
    assert float(rows["regression"]["psnr_db_mean"]) == 43.5
    assert [row["psnr_db"] for row in csv.DictReader(written[3].open(newline=""))] == ["30.0", "40.0", "33.0", "47.0"]


def test_threads_of_several_parts_are_reported_as_a_span(plan, made, records, written):
    records[0] = made.record(plan, "bicubic", "balloons", 30.0, threads=4, at_once=2)
    assert "1 to 4 threads each, 1 to 2 jobs at a time" in written(records)["benchmark.md"]
