"""Train feature maps for the regression of residuals on scenes in folds, and score them on the scenes left out.

    python benchmarks/feature_training.py DATA OUT --seconds 400

DATA is a folder of CAVE or a file of packed scenes (`hyperfuse data pack`). Every fifth scene in alphabetical order
makes a fold, with an offset of the fold's number. In this order, each part continued where it was stopped:

1. Every scene is degraded and fused by the default without trained features, in parallel processes.
2. For each fold, and once for all scenes: `--members` networks, each from other weights, are trained on what the
   default's image lacks of the reference, in units of each band's residual (feature_learning.py), by the features' own
   prediction (`--shared`) and by weights that are drawn to it for each scene of a batch (`--solved`). Gain, spectral
   curve, contrast and orientation are random. Checkpoints in OUT/fold-N-MEMBER.pt, features in OUT/fold-N.safetensors.
3. The scenes left out are fused with these features, and with those of weights that were not trained.

OUT gets `features.safetensors` (trained on all scenes; `--set features=FILE` of the method feinfn reads it) and the
scores as JSON, `--record FILE` a page of them. `--also 8-uestc` scores what was trained on another degradation, too. On
a core without other work, 100 seconds are 12 million pixels.
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

from feature_learning import restored, train, untrained
from feature_scenes import Task, prepare, scene_names, score
from hyperfuse.methods.feinfn.pretrained import save_features
from hyperfuse.methods.feinfn.trained_features import FeatureNetwork
from recording import made_by

FOLDS, ALL = 5, "all"


def page(folder: Path) -> list[str]:
    """Return a page of what features gain by scene and degradation, by the scores in a folder."""
    found = {file.stem.removeprefix("scores-"): json.loads(file.read_text()) for file in folder.glob("scores-*.json")}
    ordered = sorted(found, key=lambda name: (not name.endswith("uestc"), name))
    scores = {name: found[name]["scores"] for name in ordered}
    titles = [f"{name.replace('-', ', ')} (dB) | gain" for name in scores]
    lines = [
        "# Features from other scenes",
        "",
        "PSNR of the default without features, before data consistency, and what features gain that were trained on",
        "scenes of the other folds, with the first of these degradations alone.",
        "",
        f"| scene | fold | {' | '.join(titles)} |",
        "| --- | --- |" + " --- | --- |" * len(titles),
    ]
    for scene, first in next(iter(scores.values())).items():
        rows = [some.get(scene) for some in scores.values()]
        cells = [
            "- | -" if row is None else f"{row['default']:.2f} | {row['trained'] - row['default']:+.3f}" for row in rows
        ]
        lines.append(f"| {scene} | {first['fold']} | {' | '.join(cells)} |")
    for title, part in (("mean", "trained"), ("mean with random weights", "untrained")):
        means = [
            f"{np.mean([row['default'] for row in some.values()]):.2f} | "
            f"{np.mean([row[part] - row['default'] for row in some.values()]):+.3f}"
            for some in scores.values()
        ]
        lines.append(f"| {title} | | {' | '.join(means)} |")
    return [
        *lines,
        *made_by("python benchmarks/feature_training.py CAVE OUT --also 8-uestc --also 4-dhif --record FILE", 1),
    ]


def parsed() -> argparse.Namespace:
    """Return the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder of CAVE, or a file of packed scenes")
    parser.add_argument("output", type=Path, help="a folder")
    parser.add_argument("--prepared", type=Path, help="a folder for prepared scenes, 130 MB each [OUT/prepared]")
    parser.add_argument("--seconds", type=float, default=500, help="of training for each member [500]")
    parser.add_argument("--members", type=int, default=2, help="networks whose features stand side by side [2]")
    parser.add_argument(
        "--fold", action="append", choices=[*map(str, range(FOLDS)), ALL], help="repeatable [all of them]"
    )
    parser.add_argument("--score-only", action="store_true", help="with the checkpoints that are there")
    parser.add_argument("--record", type=Path, help="a page of all scores in OUT, of any degradation")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that prepare scenes [cores]")
    parser.add_argument("--ratio", type=int, default=4)
    parser.add_argument("--preset", default="uestc", choices=["uestc", "dhif", "mtf"])
    parser.add_argument(
        "--also", action="append", default=[], metavar="RATIO-PRESET", help="scored as well, not trained on; repeatable"
    )
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--features", type=int, default=96)
    parser.add_argument("--batch", type=int, default=8192, help="pixels, of four scenes [8192]")
    parser.add_argument("--pixels", type=int, default=60000, help="of each scene [60000]")
    parser.add_argument("--rate", type=float, default=2e-3, help="the highest learning rate [2e-3]")
    parser.add_argument("--decay", type=float, default=1e-2, help="of the weights [1e-2]")
    parser.add_argument("--shared", type=float, default=1.0, help="weight of the loss of the output layer [1]")
    parser.add_argument("--solved", type=float, default=1.0, help="weight of the loss of solved layers [1]")
    parser.add_argument("--gain", type=float, default=0.2, help="deviation of the logarithm of the radiance [0.2]")
    parser.add_argument("--curve", type=float, default=0.1, help="deviation of slope and bend of spectra [0.1]")
    parser.add_argument("--seed", type=int, default=0, help="of the first member [0]")
    parser.add_argument("--save-every", type=float, default=60, help="seconds [60]")
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
    names = scene_names(args.data)[: args.scenes]
    degradations = [(args.ratio, args.preset)]
    degradations += [(int(ratio), preset) for ratio, preset in (one.split("-") for one in args.also)]
    tasks = [[Task(args.data, name, *one, args.side, folder) for name in names] for one in degradations]
    scores: list[dict[str, Any]] = [{} for _ in degradations]
    seeds = range(args.seed, args.seed + args.members)
    random = FeatureNetwork.joined([untrained(args.width, args.features, seed) for seed in seeds])
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
        for line in pool.map(prepare, [one for some in tasks for one in some]):
            print(line, flush=True)
        for fold in args.fold or [*map(str, range(FOLDS)), ALL]:
            outside = [] if fold == ALL else names[int(fold) :: FOLDS]
            learnt_from = [one for one in tasks[0] if one.name not in outside]
            checkpoints = {seed: args.output / f"fold-{fold}-{seed}.pt" for seed in seeds}
            if args.score_only:
                members = [restored(checkpoint, args) for checkpoint in checkpoints.values()]
            else:
                files = [one.file for one in learnt_from]
                members = [train(files, checkpoint, args, seed) for seed, checkpoint in checkpoints.items()]
            network = FeatureNetwork.joined(members)
            name = "features" if fold == ALL else f"fold-{fold}"
            save_features(network, args.output / f"{name}.safetensors", [one.name for one in learnt_from])
            for some, found in zip(tasks, scores, strict=True):
                left_out = [one for one in some if one.name in outside]
                jobs = [pool.submit(score, one.file, {"trained": network, "untrained": random}) for one in left_out]
                for task, job in zip(left_out, jobs, strict=True):
                    found[task.name] = {"fold": fold, **job.result()}
                    print(task.file.stem, found[task.name], flush=True)
    for (ratio, preset), found in zip(degradations, scores, strict=True):
        if found:
            record = {"arguments": {key: str(value) for key, value in vars(args).items()}, "scores": found}
            (args.output / f"scores-x{ratio}-{preset}.json").write_text(json.dumps(record, indent=1) + "\n")
    if not any(scores):
        return
    lines = page(args.output)
    print("\n".join(lines))
    if args.record:
        args.record.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
