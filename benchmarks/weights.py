"""What the weights that ship are worth: balloons_half, x4 and x8, beside what they start from.

    hyperfuse train configs/feinfn-visible-rgb.yaml data.folder=DATA/cave
    python benchmarks/weights.py DATA --from runs/feinfn-visible-rgb --threads 2

DATA holds the folder `cave` that benchmarks/scenes.py names. With --from, the best weights of a run are first put into
src/hyperfuse/networks/weights/feinfn-visible-rgb in half precision. balloons_half is a scene that no training saw and
that chose nothing. Scored are local regression, the linear part of the default method, the weights on it, a fit to the
pair alone, and a fit that starts from the weights. Writes benchmarks/results/weights.md and the weights' model card.
"""
# ruff: noqa: E402  (the number of threads must be set before any numeric library is loaded)

from __future__ import annotations

import argparse
import os

_parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
_parser.add_argument("data", help="folder of the scenes")
_parser.add_argument("--from", dest="run", help="folder of a training run to take the weights from")
_parser.add_argument("--threads", type=int, default=2)
_arguments = _parser.parse_args()
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = str(_arguments.threads)

import json
import time
from pathlib import Path
from typing import Any

import torch

import hyperfuse as hf
from hyperfuse.networks.pretrained import SHIPPED, find_pretrained, from_pretrained, read_base, save_pretrained
from hyperfuse.training.configuration import load_config
from hyperfuse.training.run_log import read_log
from recording import made_by
from scenes import read_cave

_ROOT = Path(__file__).parents[1]
_NAME, _SCENE = "feinfn-visible-rgb", "balloons_half"
_VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "local regression": ("local-regression", {}),
    "linear part of the default": ("feinfn", {"effort": "fast"}),
    "the weights on it": ("feinfn", {"effort": "fast", "weights": _NAME}),
    "a fit to the pair": ("feinfn", {}),
    "the weights, then a fit": ("feinfn", {"weights": _NAME}),
}


def package(run: Path) -> None:
    """Put the best weights of a run where they ship, in half precision, with the facts of their training."""
    best = run / "best"
    save_pretrained(from_pretrained(best), SHIPPED / _NAME, dtype=torch.float16, base=read_base(best))
    config = load_config(run / "config.yaml")
    entries: list[dict[str, Any]] = list(read_log(run))
    losses = [entry for entry in entries if "patches_per_second" in entry]
    steps = [entry["step"] for entry in losses]
    before = [0, *steps[:-1]]
    seconds = sum(
        (step - last) * config.step_patches / entry["patches_per_second"]
        for step, last, entry in zip(steps, before, losses, strict=True)
    )
    facts = {
        "scenes": list(config.data.train),
        "hold_out": config.data.hold_out,
        "steps": steps[-1],
        "patches": steps[-1] * config.step_patches,
        "hours": seconds / 3600,
        "device": "one CPU core" if not torch.cuda.is_available() else torch.cuda.get_device_name(),
        "validation": json.loads((best / "scores.json").read_text("utf-8")),
        "first_validation": next(entry for entry in entries if "validation/psnr_db" in entry),
    }
    (SHIPPED / _NAME / "training.json").write_text(json.dumps(facts, indent=2) + "\n", "utf-8")


def table() -> list[str]:
    """Return the rows of scores, Markdown."""
    rows = ["| | x4: PSNR / SAM / ERGAS / SSIM | x8 | seconds, x4 |", "| --- | --- | --- | --- |"]
    cells: dict[str, list[str]] = {name: [] for name in _VARIANTS}
    taken: dict[str, float] = {}
    for ratio in (4, 8):
        pair = hf.simulate(read_cave(Path(_arguments.data), _SCENE), ratio=ratio, preset="uestc", srf="nikon-d700")
        for name, (method, settings) in _VARIANTS.items():
            start = time.monotonic()
            fused = hf.fuse(pair.hsi, pair.msi, method=method, sensor=pair.sensor, settings=settings)
            taken.setdefault(name, time.monotonic() - start)
            found = hf.evaluate(pair.reference, fused, ratio=ratio)
            cells[name].append(
                f"{found['psnr_db']:.2f} / {found['sam_degrees']:.3f} / {found['ergas']:.3f} / {found['ssim']:.4f}"
            )
            print(ratio, name, cells[name][-1], flush=True)
    return rows + [f"| {name} | {x4} | {x8} | {taken[name]:.0f} |" for name, (x4, x8) in cells.items()]


_CARD = """# {name}

FeINFN for 31 bands from 400 to 700 nm with an RGB camera, x4 and x8 in one network: {parameters:,} weights, in float16.
It improves the image of the linear part of hyperfuse's default method, which it also sees. With
`hyperfuse fuse HSI MSI OUT --weights {name}` the fit to the pair starts from it; `--effort fast` takes it as
it is. What it adds is weighed by hidden LR pixels of the pair: nothing is added where it does not help.

## Data

CAVE (Columbia; Yasuma et al., 2010): {scenes}. Values in [0, 1].

## Split

The bottom {hold_out:.0%} of each scene is held out and chose the weights. balloons, full or halved, took no part; the
scores below are its.

## Recipe

`configs/{name}.yaml`: {steps} steps, {patches} patches of 64x64, {hours:.1f} hours on {device}.
Held-out parts, mean over x4 and x8: {best[psnr_db]:.3f} dB and {best[sam_degrees]:.3f} degrees at step {best[step]};
{first[validation/psnr_db]:.3f} dB at step {first[step]}.

## Scores

balloons_half, preset `uestc`, Nikon D700, by `python benchmarks/weights.py DATA --threads {threads}`:

{rows}

## Licence

The weights are under Apache-2.0, as the program. CAVE is published for research: whoever needs to know whether weights
learnt from it may be used otherwise must ask its authors.
"""


def card(rows: list[str]) -> str:
    """Return the model card of the weights that ship."""
    folder = find_pretrained(_NAME)
    facts = json.loads((folder / "training.json").read_text("utf-8"))
    return _CARD.format(
        name=_NAME,
        parameters=sum(value.numel() for value in from_pretrained(folder).parameters()),
        scenes=", ".join(facts["scenes"]),
        best=facts["validation"],
        first=facts["first_validation"],
        rows="\n".join(rows),
        threads=_arguments.threads,
        **{key: facts[key] for key in ("hold_out", "steps", "patches", "hours", "device")},
    )


def main() -> None:
    """Package, score, and write."""
    torch.set_num_threads(_arguments.threads)
    if _arguments.run:
        package(Path(_arguments.run))
    rows = table()
    (SHIPPED / _NAME / "README.md").write_text(card(rows), "utf-8")
    lines = [
        "# The weights that ship",
        "",
        f"{_SCENE}, preset `uestc`, Nikon D700; the weights are `{_NAME}`.",
        "",
        *rows,
        *made_by(f"python benchmarks/weights.py DATA --threads {_arguments.threads}", _arguments.threads),
    ]
    (_ROOT / "benchmarks" / "results" / "weights.md").write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
