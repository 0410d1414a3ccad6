"""Train feature maps for the regression of residuals on scenes in folds, and score them on the scenes left out.

    python benchmarks/feature_training.py DATA OUT --seconds 400

DATA is a folder of CAVE or a file of packed scenes (`hyperfuse data pack`). Every fifth scene in alphabetical order
makes a fold, with an offset of the fold's number. Each part is continued where it was stopped:

1. Every scene is degraded in several ways and fused by the default without trained features, in parallel processes.
2. For each fold, and once for all scenes, a network is trained (feature_learning.py). Checkpoints are OUT/fold-N.pt;
   on a GPU they are trained side by side, on a processor one after the other.
3. The scenes left out are fused with these features, and with those of weights that were not trained.

OUT gets `features.safetensors` (trained on all scenes; `--set features=FILE` of the method feinfn reads it), and the
scores as JSON and Markdown. `--score-only` with `--degradation dhif-x4` first scores what was trained on others.
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
from feature_scenes import DEGRADATIONS, Task, prepare, scene_names, score
from hyperfuse.methods.feinfn.pretrained import save_features
from hyperfuse.methods.feinfn.trained_features import FeatureNetwork

FOLDS, ALL = 5, "all"


def trained(checkpoint: Path, seconds: float | None) -> FeatureNetwork:
    """Return what a checkpoint holds: its last network, or that of the check nearest to a time."""
    if not checkpoint.exists():
        raise SystemExit(f"{checkpoint} does not exist: leave out --score-only, and it is trained")
    history = torch.load(checkpoint, map_location="cpu", weights_only=True)["history"]
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
    parser.add_argument("--prepared", type=Path, help="a folder for prepared scenes, 50 MB each [OUT/prepared]")
    parser.add_argument("--seconds", type=float, default=400, help="of training each fold [400]")
    parser.add_argument(
        "--fold", action="append", choices=[*map(str, range(FOLDS)), ALL], help="repeatable [all of them]"
    )
    parser.add_argument(
        "--degradation", action="append", choices=DEGRADATIONS, help="repeatable; the first is scored [all of them]"
    )
    parser.add_argument("--checked", type=int, default=2, help="degradations of which gains are shown in training [2]")
    parser.add_argument("--score-only", action="store_true", help="with the checkpoints that are there")
    parser.add_argument("--train-only", action="store_true", help="score another time")
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
    folder = args.prepared or args.output / "prepared"
    for one in (folder, args.output):
        one.mkdir(parents=True, exist_ok=True)
    names, degradations = scene_names(args.data)[: args.scenes], args.degradation or list(DEGRADATIONS)
    tasks = {
        kind: [
            Task(args.data, name, kind, args.side, folder, kind == degradations[0] and not args.train_only)
            for name in names
        ]
        for kind in (degradations[:1] if args.score_only else degradations)
    }
    folds = args.fold or [*map(str, range(FOLDS)), ALL]
    left_out = {fold: [] if fold == ALL else names[int(fold) :: FOLDS] for fold in folds}
    context = get_context("spawn")
    with ProcessPoolExecutor(args.workers, mp_context=context) as pool:
        for line in pool.map(prepare, [one for some in tasks.values() for one in some]):
            print(line, flush=True)
    if not args.score_only:
        side_by_side = len(folds) if torch.device(args.device).type == "cuda" else 1
        with ProcessPoolExecutor(side_by_side, mp_context=context) as pool:
            jobs = [pool.submit(train, tasks, left_out[one], args.output / f"fold-{one}.pt", args) for one in folds]
            for job in jobs:
                job.result()
    networks = {fold: trained(args.output / f"fold-{fold}.pt", args.at) for fold in folds}
    if ALL in networks:
        save_features(networks[ALL], args.output / "features.safetensors")
    if not args.train_only:
        write_scores(args, tasks[degradations[0]], networks, left_out)


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
