"""Train feature maps for the regression of residuals on scenes in folds, and score them on the scenes left out.

    python benchmarks/feature_training.py DATA OUT --seconds 400

DATA is a folder of CAVE or a file of packed scenes (`hyperfuse data pack`). Every fifth scene in alphabetical order
makes a fold, with an offset of the fold's number. Each part is continued where it was stopped, from a folder of state:

1. Every scene is degraded in several ways and fused by the default without trained features, in parallel processes.
2. For each fold, and once for all scenes, a network is trained (feature_learning.py): on a GPU side by side, on a
   processor one after the other.
3. The scenes left out are fused with these features, and with those of weights that were not trained.

OUT gets `networks.pt` (of each fold what every check had reached, and the gains of scenes left out),
`features.safetensors` (trained on all scenes; `--set features=FILE` of the method feinfn reads it), and the scores as
JSON and Markdown. `--part score` with `--degradation dhif-x4` scores what was trained on other degradations.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))

from feature_learning import train
from feature_scenes import DEGRADATIONS, Task, prepare, save, scene_names, score
from hyperfuse.methods.feinfn.pretrained import save_features
from hyperfuse.methods.feinfn.trained_features import FeatureNetwork

FOLDS, ALL = 5, "all"
PARTS = ("prepare", "train", "score")


def reached(histories: dict[str, Any], fold: str, seconds: float | None) -> FeatureNetwork:
    """Return the last network of a fold, or that of the check nearest to a time."""
    if fold not in histories:
        raise SystemExit(f"fold {fold} was not trained: leave out --part score, and it is")
    history = histories[fold]
    entry = history[-1] if seconds is None else min(history, key=lambda one: abs(one["seconds"] - seconds))
    return FeatureNetwork(**{name: value.float() for name, value in entry["network"].items()})


def untrained(args: argparse.Namespace) -> FeatureNetwork:
    """Return a network of which nothing was trained."""
    torch.manual_seed(args.seed)
    return FeatureNetwork.untrained(args.hidden, args.features, args.blocks)


def table(scores: dict[str, Any]) -> list[str]:
    """Return the scores as Markdown."""
    lines = [
        "| scene | fold | default (dB) | trained features | the same, not trained |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, row in scores.items():
        gains = [f"{row[part] - row['default']:+.3f}" for part in ("trained", "untrained")]
        lines.append(f"| {name} | {row['fold']} | {row['default']:.3f} | {' | '.join(gains)} |")
    gains = {part: [row[part] - row["default"] for row in scores.values()] for part in ("trained", "untrained")}
    means = " | ".join(f"{np.mean(some):+.3f} ({min(some):+.3f} to {max(some):+.3f})" for some in gains.values())
    return [*lines, f"| mean | | {np.mean([row['default'] for row in scores.values()]):.3f} | {means} |"]


def parsed() -> argparse.Namespace:
    """Return the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder of CAVE, or a file of packed scenes")
    parser.add_argument("output", type=Path, help="a folder")
    parser.add_argument(
        "--state", type=Path, help="a folder for prepared scenes, 50 MB each, and checkpoints [OUT/state]"
    )
    parser.add_argument("--seconds", type=float, default=400, help="of training each fold [400]")
    parser.add_argument(
        "--fold", action="append", choices=[*map(str, range(FOLDS)), ALL], help="repeatable [all of them]"
    )
    parser.add_argument(
        "--degradation", action="append", choices=DEGRADATIONS, help="repeatable; the first is scored [all of them]"
    )
    parser.add_argument("--checked", type=int, default=2, help="degradations of which gains are shown in training [2]")
    parser.add_argument("--part", choices=PARTS, action="append", help="repeatable [all of them]")
    parser.add_argument("--at", type=float, help="score, and keep, what was reached after so many seconds [the end]")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that prepare scenes [cores]")
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--scenes-per-step", type=int, default=4)
    parser.add_argument("--crops", type=int, default=6, help="of each scene in a step [6]")
    parser.add_argument("--crop", type=int, default=112, help="side in HR pixels [112]")
    parser.add_argument("--rate", type=float, default=2e-3, help="the highest learning rate [2e-3]")
    parser.add_argument("--decay", type=float, default=1e-2, help="of the weights [1e-2]")
    parser.add_argument("--gain", type=float, default=0.2, help="deviation of the logarithm of the radiance [0.2]")
    parser.add_argument("--contrast", type=float, default=0.2, help="deviation of the logarithm of the contrast [0.2]")
    parser.add_argument("--curve", type=float, default=0.1, help="deviation of slope and bend of spectra [0.1]")
    parser.add_argument("--overlap", type=float, default=0.3, help="largest share of others in a band of the MSI [0.3]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=float, default=60, help="seconds between checks [60]")
    parser.add_argument("--scenes", type=int, help="at most, to try this script out")
    parser.add_argument("--side", type=int, help="side of the part of a scene that is used, to try this script out")
    return parser.parse_args()


def main() -> None:
    """Prepare, train, score."""
    args = parsed()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    state, parts = args.state or args.output / "state", args.part or PARTS
    for one in (state, args.output):
        one.mkdir(parents=True, exist_ok=True)
    names, degradations = scene_names(args.data)[: args.scenes], args.degradation or list(DEGRADATIONS)
    scored = degradations[0] if "score" in parts else None
    tasks = {
        kind: [Task(args.data, name, kind, args.side, state, kind == scored) for name in names]
        for kind in (degradations if "score" not in parts or "train" in parts else degradations[:1])
    }
    folds = args.fold or [*map(str, range(FOLDS)), ALL]
    left_out = {fold: [] if fold == ALL else names[int(fold) :: FOLDS] for fold in folds}
    # A part that is left out was done before; what scoring needs is prepared with it.
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
        for line in pool.map(prepare, [one for some in tasks.values() for one in some]):
            print(line, flush=True)
    file = args.output / "networks.pt"
    histories = torch.load(file, map_location="cpu", weights_only=True) if file.exists() else {}
    if "train" in parts:
        side_by_side = len(folds) if torch.device(args.device).type == "cuda" else 1
        with ProcessPoolExecutor(side_by_side, mp_context=get_context("spawn")) as pool:
            jobs = {
                fold: pool.submit(train, tasks, left_out[fold], state / checkpoint_name(args, fold), args)
                for fold in folds
            }
            for fold, job in jobs.items():
                try:
                    histories[fold] = job.result()
                    save(file, histories)
                except Exception as error:  # one that fails must not stop the others
                    print(f"fold {fold} failed: {type(error).__name__}: {error}", flush=True)
        if ALL in histories:
            save_features(reached(histories, ALL, args.at), args.output / "features.safetensors")
    if "score" in parts:
        networks = {fold: reached(histories, fold, args.at) for fold in folds if fold != ALL}
        write_scores(args, tasks[degradations[0]], networks, left_out)


def checkpoint_name(args: argparse.Namespace, fold: str) -> str:
    """Return the name of a checkpoint: networks of other sizes may share the prepared scenes."""
    return f"fold-{fold}-{args.output.name}.pt"


def write_scores(
    args: argparse.Namespace, tasks: list[Task], networks: dict[str, FeatureNetwork], left_out: dict[str, list[str]]
) -> None:
    """Score the scenes left out, print and write the table."""
    scores: dict[str, Any] = {}
    plain = untrained(args)
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
        jobs = {
            task.name: (fold, pool.submit(score, task.pair, {"trained": networks[fold], "untrained": plain}))
            for fold, some in left_out.items()
            if fold in networks
            for task in tasks
            if task.name in some
        }
        for name, (fold, job) in jobs.items():
            scores[name] = {"fold": fold, **job.result()}
            print(name, scores[name], flush=True)
    if scores:
        record = {"arguments": {key: str(value) for key, value in vars(args).items()}, "scores": scores}
        (args.output / f"scores-{tasks[0].degradation}.json").write_text(json.dumps(record, indent=1) + "\n")
        lines = table(scores)
        (args.output / f"scores-{tasks[0].degradation}.md").write_text("\n".join(lines) + "\n")
        print("\n".join(lines))


if __name__ == "__main__":
    main()
