import csv
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperfuse import __version__
from hyperfuse.benchmark.latex_text import escape, latex
from hyperfuse.benchmark.markdown_text import escaped, markdown, summary_table
from hyperfuse.benchmark.plan import scoring_convention
from hyperfuse.benchmark.tables import COLUMNS, marks, summarise, write_tables

PSNR, SAM = COLUMNS[0], COLUMNS[1]


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
    bicubic, regression = summary_table(summarise(records))[2:]
    assert "**43.50** ± 3.50" in regression
    assert "<ins>31.50</ins> ± 1.50" in bicubic


def test_less_is_better_in_angle_and_error():
    assert marks([2.0, 1.0, 3.0], SAM) == ["second", "best", ""]
    assert marks([2.0, 1.0, 3.0], PSNR) == ["second", "", "best"]


def test_what_is_equal_as_it_is_shown_shares_its_mark():
    assert marks([40.004, 40.001, 39.0, None, math.nan], PSNR) == ["best", "best", "second", "", ""]
    assert marks([math.inf, 50.0], PSNR) == ["best", "second"]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=8))
@settings(max_examples=25, deadline=None)
def test_the_best_mark_is_where_the_largest_value_is(values):
    found = marks(values, PSNR)
    assert found[int(np.argmax(values))] == "best"
    assert all(values[place] <= max(values) + 1e-9 for place, mark in enumerate(found) if mark == "second")


def test_a_mean_over_fewer_scenes_is_told_and_not_ranked(plan, made, records):
    records[1] = made.record(plan, "regression", "balloons", failure="broken | on purpose")
    bicubic, regression = summarise(records)
    assert (regression.scored, regression.complete) == (1, False)
    assert regression.failures == ("balloons: broken | on purpose",)
    text = markdown(plan, records)
    row = next(line for line in text.splitlines() if line.startswith("| `regression` | 47.00"))
    assert "1 of 2, the rest failed" in row
    assert "**" not in row
    assert "**31.50**" in text
    assert "- regression, x4, balloons: broken \\| on purpose" in text
    assert "| balloons | `regression` | failed: broken \\| on purpose |" in text
    assert "regression failed on 1 of 2 scenes" in latex(plan, records)
    assert bicubic.complete


def test_a_contender_that_never_worked_is_in_every_table(plan, made, records):
    for place, scene in ((1, "balloons"), (3, "paints")):
        records[place] = made.record(plan, "regression", scene, failure="no")
    assert "| `regression` | failed | failed | failed | failed |" in markdown(plan, records)
    assert "failed & failed" in latex(plan, records)


def test_latex_escapes_what_are_commands():
    assert escape("a_b & 50% $x$ #1 {y} ~ ^ \\") == (
        r"a\_b \& 50\% \$x\$ \#1 \{y\} \textasciitilde{} \textasciicircum{} \textbackslash{}"
    )


def test_latex_is_a_plain_tabular_with_marks(plan, records):
    text = latex(plan, records)
    assert r"\textbf{43.50} $\pm$ 3.50" in text
    assert r"\underline{31.50} $\pm$ 1.50" in text
    assert text.count(r"\begin{tabular}{lrrrrrr}") == 1
    assert "toprule" not in text
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") for line in body} == {6}


def test_markdown_cannot_be_broken_by_names():
    assert escaped("a|b*c<d\\\ne") == "a\\|b\\*c&lt;d\\\\ e"


def test_the_files_tell_version_convention_and_seed(plan, records, tmp_path):
    written = write_tables(tmp_path / "out", plan, records)
    assert [path.name for path in written] == ["benchmark.md", "benchmark.tex", "summary.csv", "scenes.csv"]
    for path in written[:2]:
        text = path.read_text()
        assert f"hyperfuse {__version__}" in text
        assert scoring_convention() in text
        assert "seed 0" in text
    assert "Seconds: wall time of the one run of each fusion in a fresh process, mean over scenes, 1 thread each" in (
        written[0].read_text()
    )
    for path in written[2:]:
        for row in csv.DictReader(path.open(newline="")):
            assert (row["version"], row["convention"], row["seed"]) == (__version__, scoring_convention(), "0")
    rows = {row["method"]: row for row in csv.DictReader(written[2].open(newline=""))}
    assert float(rows["regression"]["psnr_db_mean"]) == 43.5
    assert [row["psnr_db"] for row in csv.DictReader(written[3].open(newline=""))] == ["30.0", "40.0", "33.0", "47.0"]


def test_threads_of_several_parts_are_told_as_a_span(plan, made, records):
    records[0] = made.record(plan, "bicubic", "balloons", 30.0, threads=4, at_once=2)
    assert "1 to 4 threads each, 1 to 2 jobs at a time" in markdown(plan, records)
