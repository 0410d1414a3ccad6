"""The compared networks and FeINFN, trained on the same scenes for the same time, and scored on scenes kept out.

    python benchmarks/compared_training.py CAVE RUNS --minutes 10
    python benchmarks/compared_training.py CAVE RUNS --score

CAVE holds the 20 training scenes as they are distributed (NAME_ms/NAME_ms/NAME_ms_01.png to _31.png), RUNS gets the
folder of each run. Four scenes are kept out for the scores and one for the configuration, 15 are trained on. Recipes
are those of configs/NAME-cave-x4.yaml (loss, patch, augmentation, optimiser) but for batches of 4, a learning rate of
4e-4 where theirs is lower, gradients of at most 1 and a moving average of the weights, as theirs are made for days on a
GPU. Nothing is chosen: the last average is scored.

Each network trains until its processes used --minutes of processor time in all, a part of --part minutes at a time, all
networks in turn. A run that was killed, or whose minutes were raised, goes on from its last checkpoint. --score fuses
the middle 256x256 pixels of each kept scene and writes benchmarks/results/compared-training.md; scores are kept in RUNS
and made again for a network that was trained on.
"""
# ruff: noqa: E402  (the number of threads must be set before any numeric library is loaded)

from __future__ import annotations

import argparse
import os

_parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
_parser.add_argument("cave", help="folder of the scenes")
_parser.add_argument("runs", help="folder of the runs")
_parser.add_argument("--minutes", type=float, default=10, help="processor minutes of training of each network, in all")
_parser.add_argument("--part", type=float, default=5, help="minutes of one network before the next has its turn")
_parser.add_argument("--networks", nargs="+", help="default: all that have a recipe")
_parser.add_argument("--threads", type=int, default=1)
_parser.add_argument("--device", default="cpu", help="with cuda, minutes are those of the clock")
_parser.add_argument("--score", action="store_true", help="fuse and score, no training")
_parser.add_argument("--train-one", help=argparse.SUPPRESS)
_arguments = _parser.parse_args()
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = str(_arguments.threads)

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

import hyperfuse as hf
from hyperfuse.cli.train import open_scenes
from hyperfuse.datasets import open_dataset
from hyperfuse.networks.pretrained import from_pretrained
from hyperfuse.training.checkpoints import latest_checkpoint, read_state
from hyperfuse.training.configuration import TrainingConfig, load_config
from hyperfuse.training.loop import train
from recording import RESULTS, made_by

KEPT = ("paints", "sponges", "fake_and_real_sushi", "oil_painting")
# A configuration names a validation scene, whose scores would choose the weights; here none is ever computed.
SPARE = "beads"
TRAINED = (
    "cloth, egyptian_statue, face, fake_and_real_food, fake_and_real_lemons, fake_and_real_peppers, "
    "fake_and_real_strawberries, glass_tiles, photo_and_face, pompoms, real_and_fake_apples, real_and_fake_peppers, "
    "stuffed_toys, superballs, thread_spools"
)
BATCH, RATE, SIDE, RATIO = 4, 4e-4, 256, 4
SCORES = {"psnr_db": 2, "sam_degrees": 3, "ergas": 3, "ssim": 4}
_OTHERS = ("bicubic", "local-regression", "feinfn")
_CONFIGS = Path(__file__).parents[1] / "configs"
_RUNS = Path(_arguments.runs)


class _TimeUsedError(Exception):
    """The part of the time that this process has is over."""


def names() -> list[str]:
    """Return the networks that have a recipe."""
    return _arguments.networks or sorted(file.name.removesuffix("-cave-x4.yaml") for file in _CONFIGS.glob("*-x4.yaml"))


def configuration(name: str) -> TrainingConfig:
    """Return the recipe of a network with what differs here."""
    file = _CONFIGS / f"{name}-cave-x4.yaml"
    rate = max(RATE, load_config(file, []).optimiser.learning_rate)
    words = [
        f"data.folder={_arguments.cave}",
        f"data.train=[{TRAINED}]",
        f"data.validation=[{SPARE}]",
        f"data.test=[{', '.join(KEPT)}]",
        "data.hold_out=0",
        f"output={_RUNS / name}",
        f"batch={BATCH}",
        "accumulation=1",
        "precision=float32",
        "workers=0",
        f"device={_arguments.device}",
        f"degradation={{preset: uestc, ratios: [{RATIO}]}}",
        f"optimiser.learning_rate={rate}",
        "optimiser.gradient_norm=1",
        "schedule={name: constant}",
        "average={decay: 0.998}",
        "length=100000000",
        "validation.every=100000000",
        "checkpoints={every: 10, keep: 1}",
        "log={every: 10, tensorboard: false}",
        "resume=true",
    ]
    return load_config(file, words)


def seconds_spent() -> float:
    """Return the time that counts: the processor's, of all threads, or the clock's on a GPU."""
    return time.process_time() if _arguments.device == "cpu" else time.monotonic()


def train_part(name: str, seconds: float) -> None:
    """Train a network until this process has used its time; the last step after a checkpoint is taken again later."""
    torch.set_num_threads(_arguments.threads)
    config, scenes = open_scenes(configuration(name))
    start: list[float] = []

    def enough(fraction: float, message: str = "") -> None:
        start[:] = start or [seconds_spent()]  # reading scenes is no training
        step = round(fraction * 100_000_000)
        if seconds_spent() - start[0] > seconds and step % 10 == 1:
            raise _TimeUsedError

    try:
        train(config, scenes, progress=enough)
    except _TimeUsedError:
        spent = seconds_spent() - start[0]
        record = read_record(name)
        record["seconds"] = record.get("seconds", 0.0) + spent
        write_record(name, record)


def read_record(name: str) -> dict[str, Any]:
    """Return what is known of a network: seconds of training, scores and the step that they are of."""
    file = _RUNS / f"{name}.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return found


def write_record(name: str, record: dict[str, Any]) -> None:
    """Write it whole or not at all."""
    scratch = _RUNS / f"{name}.json.part"
    scratch.write_text(json.dumps(record, indent=1))
    scratch.replace(_RUNS / f"{name}.json")


def patches_seen(name: str) -> int:
    """Return how many patches a network was trained on."""
    checkpoint = latest_checkpoint(_RUNS / name)
    return 0 if checkpoint is None else read_state(checkpoint).step * BATCH


def train_all() -> None:
    """Give every network its turn until all have used their minutes."""
    _RUNS.mkdir(parents=True, exist_ok=True)
    level = _arguments.part
    while True:
        level = min(level, _arguments.minutes)
        for name in names():
            left = 60 * level - read_record(name).get("seconds", 0.0)
            if left > 5:
                own = ["--threads", str(_arguments.threads), "--device", _arguments.device]
                call = [sys.executable, __file__, _arguments.cave, str(_RUNS), "--train-one", f"{name}={left:.0f}"]
                done = subprocess.run([*call, *own], check=False)
                state = f"{patches_seen(name)} patches" if done.returncode == 0 else f"failed ({done.returncode})"
                print(f"{name}: {state}, {read_record(name).get('seconds', 0.0):.0f} s", flush=True)
        if level >= _arguments.minutes:
            return
        level += _arguments.part


def kept_pairs() -> dict[str, hf.Pair]:
    """Return the simulated pairs of the middle of each scene that nothing was trained on."""
    scenes, found = open_dataset("cave", _arguments.cave), {}
    for name in KEPT:
        data = scenes.load(name).data
        row, col = ((size - SIDE) // 2 for size in data.shape[1:])
        middle = hf.Cube(data=data[:, row : row + SIDE, col : col + SIDE])
        found[name] = hf.simulate(middle, ratio=RATIO, preset="uestc", srf="nikon-d700")
    return found


def scored(pair: hf.Pair, method: str, **settings: Any) -> dict[str, float]:
    """Return the four scores of the paper, and the processor seconds."""
    start = time.process_time()
    fused = hf.fuse(pair.hsi, pair.msi, method=method, sensor=pair.sensor, settings=settings)
    seconds = time.process_time() - start
    scores = hf.evaluate(pair.reference, fused, RATIO)
    return {**{key: float(scores[key]) for key in SCORES}, "seconds": seconds}


def score_all() -> None:
    """Score every network whose weights changed since, and write the table."""
    torch.set_num_threads(_arguments.threads)
    _RUNS.mkdir(parents=True, exist_ok=True)
    pairs = kept_pairs()
    rows = []
    for label, name in [(f"method {name}", name) for name in _OTHERS] + [(name, name) for name in names()]:
        record, checkpoint, settings = read_record(label), None, {}
        if label == name:
            checkpoint = latest_checkpoint(_RUNS / name)
            if checkpoint is None:
                print(f"{name}: not trained yet", flush=True)
                continue
            settings = {"weights": str(checkpoint)}
        of = checkpoint.name if checkpoint else hf.__version__
        if record.get("scores_of") != of:
            method = "network" if checkpoint else name
            record["scores"] = {scene: scored(pair, method, **settings) for scene, pair in pairs.items()}
            record["scores_of"] = of
            write_record(label, record)
        rows.append(row(label, record))
        print(rows[-1], flush=True)
    conditions = (
        f"CAVE, the middle {SIDE}x{SIDE} pixels of {', '.join(KEPT)}, preset `uestc`, ratio {RATIO}, Nikon D700. "
        "PSNR in dB / SAM in degrees / ERGAS / SSIM."
    )
    titles = ["network", "parameters", "patches seen", "training, min", *KEPT, "mean", "fusion of one, s"]
    lines = [
        "# The compared networks, trained alike",
        "",
        conditions,
        "",
        _cells(titles),
        _cells(["---"] * len(titles)),
    ]
    call = f"python benchmarks/compared_training.py CAVE RUNS --minutes {_arguments.minutes:g} (and --score)"
    what = (
        f"{len(TRAINED.split(','))} training scenes, batches of {BATCH}, one processor: the first minutes of a "
        "training that takes days on a GPU."
    )
    lines += [*rows, "", what, *made_by(call, 1)]
    (RESULTS / "compared-training.md").write_text("\n".join(lines) + "\n", "utf-8")


def row(label: str, record: dict[str, Any]) -> str:
    """Return a line of the table."""
    size = patches = minutes = "-"
    if "seconds" in record:
        checkpoint = latest_checkpoint(_RUNS / label)
        assert checkpoint is not None
        size = f"{sum(one.numel() for one in from_pretrained(checkpoint).parameters()):,}"
        patches, minutes = f"{patches_seen(label):,}", f"{record['seconds'] / 60:.1f}"
    scores: dict[str, dict[str, float]] = record["scores"]
    mean = {key: sum(one[key] for one in scores.values()) / len(scores) for key in (*SCORES, "seconds")}
    return _cells([label, size, patches, minutes, *map(_four, scores.values()), _four(mean), f"{mean['seconds']:.1f}"])


def _four(scores: dict[str, float]) -> str:
    return " / ".join(f"{scores[key]:.{digits}f}" for key, digits in SCORES.items())


def _cells(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    if _arguments.train_one:
        _name, _seconds = _arguments.train_one.rsplit("=", 1)
        train_part(_name, float(_seconds))
    elif _arguments.score:
        score_all()
    else:
        train_all()
