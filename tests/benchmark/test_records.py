import json
import math
from dataclasses import replace

import pytest

import hyperfuse.benchmark.plan
from hyperfuse.benchmark.records import JOBS, read_record, write_record


@pytest.fixture
def kept(plan, made, tmp_path):
    one = made.record(plan, "bicubic", "paints", 41.5, scores={"ssim": math.nan, "ergas": math.inf})
    write_record(tmp_path, one)
    return one


def test_a_record_comes_back_as_it_was(kept, tmp_path):
    found = read_record(tmp_path, kept.job)
    assert found.reused
    assert found.scores["psnr_db"] == 41.5
    assert math.isnan(found.scores["ssim"])
    assert math.isinf(found.scores["ergas"])
    assert found.scores["convention"] == kept.scores["convention"]
    assert (found.seconds, found.threads, found.failure) == (1.0, 1, None)


def test_the_file_is_json_for_any_reader(kept, tmp_path):
    def refuse(text):
        raise AssertionError(text)

    (path,) = (tmp_path / JOBS).iterdir()
    values = json.loads(path.read_text(), parse_constant=refuse)
    assert values["conditions"]["seed"] == 0
    assert values["conditions"]["version"]
    assert values["conditions"]["convention"] == kept.scores["convention"]


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"preset": "dhif"}, {"srf": "boxes:3"}, {"device": "cuda:1"}, {"scale": 2.0}]
)
def test_another_condition_is_another_job(kept, tmp_path, change):
    assert read_record(tmp_path, replace(kept.job, pairs=replace(kept.job.pairs, **change))) is None


def test_settings_scenes_and_ratios_are_conditions(kept, tmp_path):
    job = kept.job
    settings = replace(job.entry, settings={"window": 3})
    for other in (replace(job, entry=settings), replace(job, stamp="changed"), replace(job, ratio=8.0)):
        assert read_record(tmp_path, other) is None


@pytest.mark.parametrize("what", ["__version__", "scoring_convention"])
def test_another_version_or_convention_is_another_job(kept, tmp_path, monkeypatch, what):
    monkeypatch.setattr(hyperfuse.benchmark.plan, what, "9.9" if what == "__version__" else lambda: "other")
    assert read_record(tmp_path, kept.job) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 99}'])
def test_a_damaged_record_counts_as_none(kept, tmp_path, text):
    (path,) = (tmp_path / JOBS).iterdir()
    path.write_text(text)
    assert read_record(tmp_path, kept.job) is None
