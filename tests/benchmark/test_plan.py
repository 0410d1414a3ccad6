from dataclasses import replace

import pytest

from hyperfuse.benchmark import worker
from hyperfuse.benchmark.entries import Entry, method_entry, network_entry
from hyperfuse.benchmark.plan import Pairs, make_plan
from hyperfuse.errors import InputError
from hyperfuse.networks import create_network
from hyperfuse.networks.pretrained import save_pretrained

SMALL = {"width": 4, "encoder_blocks": 0, "hidden": [4], "latent": 4, "decoder_width": 4}


def save(folder, **options):
    return save_pretrained(create_network("feinfn", hsi_bands=31, msi_bands=3, **SMALL, **options), folder)


def test_every_entry_meets_every_scene_at_every_ratio(cave):
    plan = make_plan([method_entry("bicubic"), method_entry("gsa")], [4, 8], Pairs("cave", cave))
    met = {(job.entry.name, job.scene, job.ratio) for job in plan.jobs}
    assert len(plan.jobs) == len(met) == 2 * 2 * 2
    assert plan.scenes == ("balloons", "paints")
    assert plan.jobs[0].shape == (31, 24, 24)


def test_files_of_jobs_differ_even_where_names_become_equal(plan):
    job = plan.jobs[0]
    jobs = [*plan.jobs, *(replace(job, scene=name) for name in ("a/b", "a_b", "a b", "ä" * 300))]
    files = [one.file for one in jobs]
    assert len(set(files)) == len(files)
    assert all(len(file) < 200 and "/" not in file for file in files)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"entries": []}, "there is nothing to compare"),
        ({"entries": [method_entry("gsa")] * 2}, "two of the methods and networks are called 'gsa'"),
        ({"ratios": []}, "name at least one ratio"),
        ({"ratios": [4, 4]}, "name at least one ratio, each once"),
        ({"preset": "uetsc"}, "uetsc"),
        ({"kind": "cav"}, "no kind of dataset 'cav'"),
        ({"split": "uestc-test"}, "scenes of the split uestc-test are not in"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(cave, change, message):
    values = {"entries": [method_entry("gsa")], "ratios": [4], "kind": "cave", "preset": "uestc", "split": None}
    values |= change
    pairs = Pairs(values["kind"], cave, values["preset"])
    with pytest.raises(InputError, match=message):
        make_plan(values["entries"], values["ratios"], pairs, values["split"])


def test_a_scene_that_changed_has_another_stamp(made, tmp_path):
    made.scene(tmp_path / "paints.mat", 1)
    first = make_plan([method_entry("gsa")], [4], Pairs("cave", tmp_path)).jobs[0]
    made.scene(tmp_path / "paints.mat", 2)
    second = make_plan([method_entry("gsa")], [4], Pairs("cave", tmp_path)).jobs[0]
    assert first.stamp != second.stamp


def test_settings_are_complete_and_the_seed_is_the_benchmarks():
    plain, set_ = method_entry("local-regression"), method_entry("local-regression", {"window": 2.0})
    assert plain.settings["consistency"] is True
    assert set_.name == "local-regression (window=2.0)"
    assert plain.conditions() != set_.conditions()
    assert "seed" not in method_entry("feinfn").settings
    assert method_entry("feinfn", {"seed": 3}).settings["seed"] == 3
    with pytest.raises(InputError, match="no setting 'windw'"):
        method_entry("local-regression", {"windw": 2})


def test_a_network_is_known_by_its_weights_not_by_its_path(tmp_path):
    first = network_entry(save(tmp_path / "run" / "best"))
    assert (first.name, first.weights) == ("run", tmp_path / "run" / "best")
    (tmp_path / "run").rename(tmp_path / "moved")
    moved = network_entry(tmp_path / "moved" / "best", "mine")
    assert (moved.name, moved.conditions()) == ("mine", first.conditions())
    other = network_entry(save(tmp_path / "other", activation="relu"))
    assert other.conditions() != first.conditions()
    assert first.parameters == sum(p.numel() for p in create_network("feinfn", hsi_bands=31, msi_bands=3, **SMALL)
                                   .parameters())  # fmt: skip


def test_jobs_travel_as_json(plan, tmp_path, monkeypatch):
    sent = []
    monkeypatch.setattr(worker, "run_job", lambda job, **_: sent.append(job))
    monkeypatch.setattr(worker, "write_record", lambda *_: None)
    for entry in (method_entry("feinfn"), network_entry(save(tmp_path / "net"))):
        worker.do_job(worker.job_line(replace(plan.jobs[0], entry=entry), tmp_path, at_once=2))
        assert sent.pop() == replace(plan.jobs[0], entry=entry)


def test_an_unknown_method_is_refused_with_the_nearest_name():
    with pytest.raises(InputError, match="did you mean 'bicubic'"):
        method_entry("bicubik")
    assert Entry("x", method="bicubic").uses_network is False
