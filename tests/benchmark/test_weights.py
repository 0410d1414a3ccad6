"""Weights that a folder holds: which network, which ratio, where from; and the networks that have none."""

import json

import pytest

from hyperfuse.benchmark.entries import method_entry
from hyperfuse.benchmark.plan import Pairs, make_plan
from hyperfuse.benchmark.summary import describe_weights, summarise_plan, summary_table
from hyperfuse.benchmark.weights import compared_networks, entries_of, find_weights, missing_networks
from hyperfuse.errors import InputError
from hyperfuse.networks.pretrained import save_pretrained
from hyperfuse.networks.released import read_training, save_converted
from hyperfuse.tables.markdown import render_markdown
from hyperfuse.training.configuration import TrainingConfig, to_yaml
from small_networks import small_network

TRAINING = {"patches": 62720, "seconds": 5400.0, "ratio": 4, "scenes": ["paints", "cloth"]}


def make_run(folder, network, ratio, patches):
    """A training run as `hyperfuse train` leaves it, whose best weights are those of step 20 of 30."""
    save_pretrained(network, folder / "best")
    (folder / "best" / "scores.json").write_text('{"step": 20, "psnr_db": 40.0}')
    data = {"kind": "cave", "folder": "data", "train": ["paints"], "validation": ["watercolors"]}
    values = {"output": folder, "length": 30, "data": data, "degradation": {"ratios": [ratio]}}
    (folder / "config.yaml").write_text(to_yaml(TrainingConfig.model_validate(values)))
    entries = [{"step": step, "patches": patches // 20 * step, "patches_per_second": 2.0} for step in (10, 20, 30)]
    (folder / "log.jsonl").write_text("".join(json.dumps(one) + "\n" for one in entries))


@pytest.fixture
def folder(tmp_path):
    """Weights of restfnet as a run (x4) and of tfnet as files: trained for x4, and of the authors for x8."""
    place = tmp_path / "weights"
    place.mkdir()
    make_run(place / "restfnet-cave-x4", small_network("restfnet", 31, 3), 4, 4000)
    save_converted(small_network("tfnet", 31, 3), place / "tfnet-mine.safetensors", TRAINING)
    save_converted(small_network("tfnet", 31, 3), place / "tfnet_x8.safetensors")
    (place / "notes.txt").write_text("other files are left alone")
    return place


def test_a_folder_states_network_ratio_and_origin(folder):
    found = {one.label: one for one in find_weights(folder)}
    assert {label: (one.network, one.ratio, one.origin, one.scenes) for label, one in found.items()} == {
        "restfnet-cave-x4": ("restfnet", 4, "trained here: 4,000 patches in 0.6 h", ("paints",)),
        "tfnet-mine": ("tfnet", 4, "trained here: 62,720 patches in 1.5 h", ("paints", "cloth")),
        "tfnet_x8": ("tfnet", 8, "weights of the authors", ()),
    }
    assert [one.label for one in find_weights(folder / "restfnet-cave-x4")] == ["restfnet-cave-x4"]
    assert read_training(folder / "tfnet-mine.safetensors") == TRAINING
    assert read_training(folder / "tfnet_x8.safetensors") is None


def test_each_is_called_by_its_network_and_takes_part_at_its_ratio(folder, cave):
    stored = find_weights(folder)
    entries = entries_of(stored)
    assert [(one.name, one.ratios) for one in entries] == [("restfnet", (4,)), ("tfnet", (4,)), ("tfnet", (8,))]
    plan = make_plan(entries, [4, 8], Pairs("cave", cave), missing=missing_networks(stored, [4, 8]))
    assert [(job.entry.name, job.ratio) for job in plan.jobs if job.scene == "paints"] == [
        ("restfnet", 4), ("tfnet", 4), ("tfnet", 8),
    ]  # fmt: skip
    lacking = {(one.name, one.ratio) for one in plan.missing}
    assert lacking == {(name, ratio) for name in compared_networks() for ratio in (4, 8)} - {
        ("restfnet", 4), ("tfnet", 4), ("tfnet", 8),
    }  # fmt: skip


def test_two_of_one_network_at_a_ratio_are_called_by_their_files(folder):
    save_converted(small_network("tfnet", 31, 3), folder / "tfnet-other-x4.safetensors")
    assert [one.name for one in entries_of(find_weights(folder))] == [
        "restfnet",
        "tfnet-mine",
        "tfnet-other-x4",
        "tfnet",
    ]


def test_scenes_that_weights_learnt_from_are_counted(folder):
    entry = next(one for one in entries_of(find_weights(folder)) if one.ratios == (4,) and one.name == "tfnet")
    scenes = ["balloons", "paints", "cloth_half[0:64,0:64]"]
    told = "trained here: 62,720 patches in 1.5 h; learnt from 2 of these 3 scenes"
    assert describe_weights(entry, scenes) == told
    assert describe_weights(entry, ["balloons"]) == "trained here: 62,720 patches in 1.5 h"


def test_scenes_that_the_features_of_a_method_learnt_from_are_counted():
    told = "features from other scenes; learnt from 1 of these 2 scenes"
    assert describe_weights(method_entry("feinfn"), ["balloons", "paints"]) == told
    assert describe_weights(method_entry("feinfn", {"features": None}), ["paints"]) is None


def test_networks_without_weights_are_rows_that_say_how_to_get_them(folder, cave, made):
    stored = find_weights(folder)
    plan = make_plan(entries_of(stored), [4], Pairs("cave", cave), missing=missing_networks(stored, [4]))
    records = [made.record(plan, job.entry.name, job.scene, 30.0) for job in plan.jobs]
    summaries = summarise_plan(plan, records)
    assert [one.name for one in summaries][:2] == ["restfnet", "tfnet"]
    assert {one.name for one in summaries[2:]} == set(compared_networks()) - {"restfnet", "tfnet"}
    text = render_markdown(summary_table(summaries))
    row = next(line for line in text.splitlines() if line.startswith("| `psrt`"))
    assert "no weights: hyperfuse train configs/psrt-cave-x4.yaml, or published: CAVE x4 and x8" in row
    assert "failed" not in row
    assert "learnt from 1 of these 2 scenes" in text


def test_what_is_no_folder_of_weights_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder; name one that holds files or training runs"):
        find_weights(tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds no weights; it is to hold files that `hyperfuse weights convert`"):
        find_weights(tmp_path)
    (tmp_path / "damaged.pth").write_bytes(b"no checkpoint")
    with pytest.raises(InputError, match=r"damaged.pth: not a checkpoint of plain weights"):
        find_weights(tmp_path)
