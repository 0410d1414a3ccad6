"""Train feature maps for the regression of residuals on scenes in folds, and score them on the scenes left out.

    python benchmarks/feature_training.py DATA OUT --seconds 400

DATA is a folder of CAVE or a file of packed scenes (`hyperfuse data pack`). Every fifth scene in alphabetical order
makes a fold, with an offset of the fold's number. In this order, each part continued where it was stopped:

1. Every scene is degraded and fused by the default without trained features, in parallel processes.
2. For each fold, and once for all scenes: two layers are trained on what the default's image lacks of the reference, in
   units of each band's residual. The loss is that of an output layer for all scenes (`--shared`), and of one that ridge
   regression solves for each scene in a batch from two thirds of its pixels, at the others, with the gradient through
   the solution (`--solved`; Bertinetto et al., Meta-learning with differentiable closed-form solvers, ICLR 2019). Gain,
   spectral curve, contrast and orientation are random. Checkpoints in OUT/fold-N.pt.
3. The scenes left out are fused with these features, and with those of weights that were not trained.

OUT gets `features.safetensors` (trained on all scenes; `--set features=FILE` of the method feinfn reads it), and the
scores as JSON and Markdown. `--score-only` with `--ratio 8` or `--preset dhif` scores what was trained on other
degradations. On a core without other work, 100 seconds are 11 million pixels.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))

import hyperfuse as hf
from feature_learning import Features, restored, train
from hyperfuse.datasets.packed import read_index, read_packed
from hyperfuse.methods.contract.method import PairTensors
from hyperfuse.methods.feinfn.linear_part import LinearModel
from hyperfuse.methods.feinfn.pretrained import save_features
from hyperfuse.methods.feinfn.residual_regression import ResidualRegression
from hyperfuse.methods.feinfn.trained_features import FeatureWeights
from hyperfuse.methods.local_linear.predictors import pooled_noise
from hyperfuse.progress import silent
from hyperfuse.sensor.presets import create_sensor
from hyperfuse.sensor.srf.names import create_srf

SRF = "nikon-d700"
FOLDS, ALL = 5, "all"


@dataclass(frozen=True)
class Task:
    """A scene and how it is degraded."""

    data: Path
    name: str
    ratio: int
    preset: str
    side: int | None
    folder: Path

    @property
    def file(self) -> Path:
        """Where it is kept."""
        return self.folder / f"{self.name}-x{self.ratio}-{self.preset}.pt"


def prepare(task: Task) -> str:
    """Fuse a scene by the default without trained features, and keep what training and scoring need."""
    if task.file.exists():
        return f"{task.name}: kept"
    torch.set_num_threads(1)
    start, packed = time.process_time(), task.data.is_file()
    scene = read_packed(task.data, task.name) if packed else hf.open_dataset("cave", task.data).load(task.name)
    if task.side is not None:
        scene = scene.replace(data=np.ascontiguousarray(scene.data[:, : task.side, : task.side]))
    # Neither hf.simulate nor, for a packed file, hf.open_dataset: they need libraries of formats, which a machine with
    # a GPU may lack.
    srf = create_srf(SRF, scene.bands, wavelengths=np.linspace(400.0, 700.0, scene.bands))
    sensor, image = create_sensor(task.preset, task.ratio, srf), torch.tensor(np.ascontiguousarray(scene.data))
    pair = PairTensors(sensor.degrade(image), sensor.respond(image), sensor)
    model, fused = LinearModel.fit([pair], silent, regress=True)
    assert fused is not None
    # What scoring starts from: everything up to the regression.
    linear = fused if model.regression is None else replace(model, regression=None).apply(pair)
    agreeing = model.agreeing(pair)
    held_out = linear.held_out()
    kept = {
        "reference": image,
        "default": fused.image,
        "guided": linear.guided(),
        "held_out": held_out,
        "hsi": linear.hsi,
        "noise": pooled_noise([agreeing.hsi]),
        "noisy": model.with_noise(agreeing, linear.predictors, linear.hsi),
    }
    partial = task.file.with_suffix(".part")
    torch.save(kept, partial)
    partial.replace(task.file)
    gain = psnr(kept["default"], kept["reference"]) - psnr(linear.image, kept["reference"])
    return f"{task.name}: the regression adds {gain:.3f} dB, {time.process_time() - start:.0f} s"


def psnr(image: torch.Tensor, reference: torch.Tensor) -> float:
    """Return the mean over bands, in dB, for values in [0, 1]."""
    return float((-10 * (image.clamp(0, 1) - reference).square().mean((1, 2)).log10()).mean())


def score(file: Path, weights: FeatureWeights, random: FeatureWeights) -> dict[str, float]:
    """Return the PSNR of the default's image without trained features and with them, before data consistency."""
    torch.set_num_threads(1)
    kept = torch.load(file, weights_only=False)
    guided, reference = kept["guided"], kept["reference"]
    found = {"default": psnr(kept["default"], reference)}
    for name, some in (("trained", weights), ("untrained", random)):
        fitted = ResidualRegression.fit([kept["held_out"]], [kept["hsi"]], kept["noise"], kept["noisy"], some)
        found[name] = psnr(guided.image if fitted is None else fitted.predict(guided) + guided.image, reference)
    return found


def untrained(args: argparse.Namespace) -> FeatureWeights:
    """Return weights of which nothing was trained."""
    torch.manual_seed(args.seed)
    return Features(args.hidden, args.features, 1).weights()


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
    parser.add_argument("--prepared", type=Path, help="a folder for prepared scenes, 130 MB each [OUT/prepared]")
    parser.add_argument("--seconds", type=float, default=400, help="of training, over all folds and all scenes [400]")
    parser.add_argument(
        "--fold", action="append", choices=[*map(str, range(FOLDS)), ALL], help="repeatable [all of them]"
    )
    parser.add_argument("--score-only", action="store_true", help="with the checkpoints that are there")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that prepare scenes [cores]")
    parser.add_argument("--ratio", type=int, default=4)
    parser.add_argument("--preset", default="uestc", choices=["uestc", "dhif", "mtf"])
    parser.add_argument("--hidden", type=int, default=192)
    parser.add_argument("--features", type=int, default=96)
    parser.add_argument("--batch", type=int, default=8192, help="pixels, of four scenes [8192]")
    parser.add_argument("--pixels", type=int, default=60000, help="of each scene [60000]")
    parser.add_argument("--rate", type=float, default=2e-3, help="the highest learning rate [2e-3]")
    parser.add_argument("--decay", type=float, default=1e-2, help="of the weights [1e-2]")
    parser.add_argument("--shared", type=float, default=1.0, help="weight of the loss of the output layer [1]")
    parser.add_argument("--solved", type=float, default=1.0, help="weight of the loss of solved layers [1]")
    parser.add_argument("--gain", type=float, default=0.2, help="deviation of the logarithm of the radiance [0.2]")
    parser.add_argument("--curve", type=float, default=0.1, help="deviation of slope and bend of spectra [0.1]")
    parser.add_argument("--seed", type=int, default=0)
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
    packed = args.data.is_file()
    names = sorted(read_index(args.data).scenes if packed else hf.open_dataset("cave", args.data).names)[: args.scenes]
    tasks = [Task(args.data, name, args.ratio, args.preset, args.side, folder) for name in names]
    folds = args.fold or [*map(str, range(FOLDS)), ALL]
    scores: dict[str, Any] = {}
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
        for line in pool.map(prepare, tasks):
            print(line, flush=True)
        for fold in folds:
            left_out = [] if fold == ALL else tasks[int(fold) :: FOLDS]
            checkpoint = args.output / f"fold-{fold}.pt"
            if args.score_only:
                weights = restored(checkpoint, args)
            else:
                weights = train([one.file for one in tasks if one not in left_out], checkpoint, args, len(folds))
            if fold == ALL:
                save_features(weights, args.output / "features.safetensors")
            jobs = [pool.submit(score, one.file, weights, untrained(args)) for one in left_out]
            for task, job in zip(left_out, jobs, strict=True):
                scores[task.name] = {"fold": fold, **job.result()}
                print(task.name, scores[task.name], flush=True)
    if scores:
        record = {"arguments": {key: str(value) for key, value in vars(args).items()}, "scores": scores}
        suffix = f"x{args.ratio}-{args.preset}"
        (args.output / f"scores-{suffix}.json").write_text(json.dumps(record, indent=1) + "\n")
        lines = table(scores)
        (args.output / f"scores-{suffix}.md").write_text("\n".join(lines) + "\n")
        print("\n".join(lines))


if __name__ == "__main__":
    main()
