"""What the paper's rows and ablations are trained on, in which order, and what their pages say of it."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import hyperfuse as hf
from hyperfuse.benchmark.reproduce import ablations, leakage
from hyperfuse.datasets.packed import write_packed
from hyperfuse.networks import create_network
from hyperfuse.networks.registry import parse_options

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
NAMES = [f"scene{letter}" for letter in "abcdefghijklmnopqrst"]
# Distinguishable digits of each metric.
SCORES = {"psnr_db": 41.0, "sam_degrees": 2.0, "ergas": 1.5, "ssim": 0.99}


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)


@pytest.fixture
def entries():
    return importlib.import_module("paper_entries")


@pytest.fixture
def pages(monkeypatch, tmp_path):
    module = importlib.import_module("paper_pages")
    stored = {name: {"linear": {**SCORES, "psnr_db": 52.0}, "default": {**SCORES, "psnr_db": 53.0}} for name in NAMES}
    for ratio in (4, 8):
        (tmp_path / f"default-cave20-x{ratio}.json").write_text(json.dumps(stored))
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    return module


def record(entry, psnr, names=NAMES, **changed):
    """The record of a training that gave every scene the same scores."""
    out = names[entry.fold :: 5]
    return {
        "entry": entry.described(), "name": entry.name, "held_out": out, "machine": "GPU", "source": "hyperfuse 1",
        "torch": "2", "batch": 16, "rate": 1e-3, "precision": "bfloat16", "orientations": 8, "patches": 32000,
        "seconds": 60.0, "finished": True,
        "scores": {what: {name: {**SCORES, "psnr_db": value} for name in out}
                   for what, value in (("network", psnr), ("bicubic", 33.0))},
    } | changed  # fmt: skip


def test_folds_part_the_scenes(entries):
    folds = [entries.held_out(NAMES[::-1], fold) for fold in range(entries.FOLDS)]
    assert sorted(name for fold in folds for name in fold) == NAMES
    assert [len(fold) for fold in folds] == [4] * 5
    assert folds[0] == ["scenea", "scenef", "scenek", "scenep"]


def test_each_network_and_ratio_is_trained_in_each_fold(entries):
    rows = entries.rows({"width": 8})
    assert {(one.network, one.ratio, one.fold) for one in rows} == {
        (network, ratio, fold) for network in ("feinfn", "feinfn-release") for ratio in (4, 8) for fold in (0, 1)
    }
    narrow = entries.ablation(1000)
    assert len({one.name for one in [*rows, *narrow]}) == len(rows) + len(narrow)
    assert len(narrow) == 3 * 11
    for one in [*rows, *narrow]:
        parse_options(one.network, dict(one.options))


def test_ablations_are_those_of_reproduce(entries):
    theirs = {
        "domains": ablations.DOMAINS.networks, "activation": ablations.ACTIVATION.networks,
        "upsampling": ablations.UPSAMPLING.networks, "phase kernel": leakage.leakage.networks,
    }  # fmt: skip
    for table, networks in theirs.items():
        assert list(entries.TABLES[table]) == [one.name for one in networks]
        for switches, one in zip(entries.TABLES[table].values(), networks, strict=True):
            assert parse_options("feinfn", dict(switches)) == parse_options("feinfn", dict(one.switches))


def test_queues_hold_each_training_once_and_rows_of_one_ratio(entries):
    every = [*entries.rows(), *entries.ablation(1000)]
    queues = entries.queues(every, 2)
    assert sorted(one.name for queue in queues for one in queue) == sorted(one.name for one in every)
    assert [len(queue) for queue in queues] == [4, 4, 17, 16]
    assert {one.ratio for one in queues[0]} == {4}
    assert {one.ratio for one in queues[1]} == {8}
    # Whatever is cut off, first seeds and folds are whole.
    assert [one.seed for one in queues[2]] == sorted(one.seed for one in queues[2])
    assert [one.fold for one in queues[0]] == [0, 0, 1, 1]
    assert entries.queues(every, 0) == [every]


def test_rows_divide_the_time_that_remains(entries):
    waiting = list(entries.queues(entries.rows(), 1)[0])
    remaining, taken = 100.0, []
    while waiting:
        first = waiting.pop(0)
        taken.append(entries.seconds_of(first, waiting, remaining))
        remaining -= taken[-1]
    assert taken == pytest.approx([25.0] * 4)
    assert entries.seconds_of(entries.rows()[0], [], -1.0) == 0.0


def test_pairs_are_those_of_simulate():
    training = importlib.import_module("network_training")
    cube = np.random.default_rng(0).random((31, 64, 72), np.float32)
    scenes = training.make_pairs([cube], 4, torch.device("cpu"), 1)
    pair = hf.simulate(hf.Cube(data=cube), ratio=4, preset="uestc", srf="nikon-d700")
    hsi, msi, reference = scenes.pair(0)
    np.testing.assert_allclose(hsi[0].numpy(), pair.hsi.data, rtol=0, atol=1e-6)
    np.testing.assert_allclose(msi[0].numpy(), pair.msi.data, rtol=0, atol=1e-6)
    assert (reference[0].numpy() == cube).all()
    torch.manual_seed(0)
    hsi, msi, reference = scenes.crops(5, torch.tensor([0]), patch=16)
    assert (hsi.shape, msi.shape, reference.shape) == ((5, 31, 4, 4), (5, 3, 16, 16), (5, 31, 16, 16))
    found = np.lib.stride_tricks.sliding_window_view(cube, (16, 16), (1, 2))[:, ::4, ::4]
    assert any((reference[0].numpy() == found[:, y, x]).all() for y in range(13) for x in range(15))


def test_a_loss_that_jumps_restores_the_last_good_weights():
    training = importlib.import_module("network_training")
    torch.manual_seed(0)
    network = create_network("feinfn", hsi_bands=31, msi_bands=3, width=4, encoder_blocks=0, decoder_width=4)
    trainer = training.Trainer(network, 1e-3, 0.9)
    crops = torch.rand(1, 31, 4, 4), torch.rand(1, 3, 16, 16), torch.rand(1, 31, 16, 16)
    trainer.step(crops, 0.5)
    assert trainer.keep(0.1)
    good = [p.clone() for p in trainer.average]
    trainer.step(crops, 0.5)
    assert not trainer.keep(float("nan"))
    assert all((p == q).all() for p, q in zip(trainer.parameters, good, strict=True))
    assert trainer.rate == 5e-4
    again = training.Trainer(
        create_network("feinfn", hsi_bands=31, msi_bands=3, **network.options.model_dump()), 1, 0.9
    )
    again.restore(trainer.state())
    first, second = (one.step(crops, 0.5) for one in (trainer, again))
    assert first == second
    assert (again.steps, again.rate) == (3, 5e-4)


def test_the_page_of_rows_names_patches_published_figures_and_what_needs_no_training(entries, pages):
    found = {one.name: record(one, 40.0 + one.fold) for one in entries.rows()}
    found["feinfn-release-x8-fold1"]["finished"] = False
    text = "\n".join(pages.rows_page(found))
    row = next(line for line in text.splitlines() if line.startswith("| feinfn | x4 | 1 |"))
    assert row == (
        "| feinfn | x4 | 1 | trained here: 32,000 patches in 60 s | 41.00 / 2.000 / 1.500 / 0.9900 "
        "| 33.00 / 2.000 / 1.500 / 0.9900 | 52.00 / 2.000 / 1.500 / 0.9900 | 53.00 / 2.000 / 1.500 / 0.9900 "
        "| 52.47 / 1.91 / 0.98 / 0.998 |"
    )
    assert "Cut off, and in no table: feinfn-release-x8-fold1." in text
    assert "Each network lies 11.0 to 12.0 dB below the linear part" in text
    assert "Fold 1 keeps out sceneb, sceneg, scenel, sceneq." in text
    assert "| sceneb | x8 | 41.00 / 2.000 / 1.500 / 0.9900 | - | 33.00" in text


def test_the_page_of_ablations_has_mean_and_deviation_over_seeds(entries, pages):
    found = {one.name: record(one, 40.0 + one.seed) for one in entries.ablation(32000)}
    found["relu-seed2"]["finished"] = False
    found["proposed-seed0"]["scores"]["network"] = {
        name: {**SCORES, "psnr_db": 41.5} for name in found["proposed-seed0"]["held_out"]
    }
    text = "\n".join(pages.ablation_page(found))
    assert "| spatial | 41.00 ± 1.00 | 2.000 ± 0.000 | 1.500 ± 0.000 | 0.9900 ± 0.0000 |" in text
    # Without the third seed of one variant, the others of its table go without it too.
    assert "| ReLU | 40.50 ± 0.71 |" in text
    assert "| GELU | 40.50 ± 0.71 |" in text
    assert "(both above spatial): not decided, difference 0.50 dB, deviation 0.87 dB." in text
    assert "32 of 33 trainings were finished" in text
    assert "Cut off, and in no table: relu-seed2." in text
    assert "on 32,000 crops of 64x64" in text


def test_networks_that_learnt_nothing_are_named_and_machines_with_their_seeds(entries, pages):
    found = {one.name: record(one, 40.0 + one.seed) for one in entries.ablation(32000)}
    for name, one in found.items():
        if name.endswith("-seed2"):
            one["machine"] = "CPU, 1 thread(s)"
    found["spatial-seed1"]["scores"]["network"] = found["spatial-seed1"]["scores"]["bicubic"]
    text = "\n".join(pages.ablation_page(found))
    assert "learnt nothing (within 0.1 dB of the start): spatial-seed1." in text
    assert "| frequency | 41.00 ± 1.41 |" in text  # seeds 0 and 2
    assert "33 of 33 trainings were finished" in text
    (cpu,) = (line for line in text.splitlines() if line.startswith("- CPU"))
    assert cpu.endswith("(seed 2)")


@pytest.mark.slow
def test_a_training_is_scored_and_a_second_call_leaves_it(tmp_path):
    numbers = np.random.default_rng(0)
    scenes = {f"s{n}": hf.Cube(data=numbers.random((31, 64, 64), np.float32)) for n in range(6)}
    write_packed(scenes.items(), tmp_path / "scenes.pack", error=1e-2)
    call = [
        sys.executable, str(BENCHMARKS / "paper_rows.py"), str(tmp_path / "scenes.pack"), str(tmp_path / "out"),
        "--device", "cpu", "--part", "rows", "--folds", "0", "--width", "4", "--batch", "1", "--check", "1",
        "--ablation-workers", "0", "--seconds", "24", "--reserve", "4",
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(call, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    records = json.loads((tmp_path / "out" / "rows.json").read_text())
    first = records["feinfn-x4-fold0"]
    assert first["finished"]
    assert first["patches"] > 0
    assert list(first["scores"]["network"]) == ["s0", "s5"]
    assert (tmp_path / "out" / "weights-x4.safetensors").is_file()
    again = subprocess.run(call, capture_output=True, text=True, env=environment)
    assert "feinfn-x4-fold0: finished before" in again.stdout
    assert json.loads((tmp_path / "out" / "rows.json").read_text())["feinfn-x4-fold0"] == first
