"""Train the paper's rows and its ablations from scratch on packed scenes, in folds, for a given wall time.

    python benchmarks/paper_rows.py scenes.pack OUT --seconds 380

Rows: `feinfn` and `feinfn-release`, full width, x4 and x8 (CAVE, preset `uestc`, Nikon D700), on crops of 64x64 of
the 16 scenes that a fold does not keep out, in eight orientations. Ablations: narrow networks, x4, fold 0, one common
number of patches, three seeds. Several processes share the device, each with a queue; a row trains for its part of the
time. Whole scenes of the fold are scored in float32 at the end. OUT gets `rows.json` (all records: scores, patches,
time, machine, log) and `weights-xRATIO.safetensors` (the rows of fold 0, half precision). State is kept in --state: a
second call continues, and leaves out what `rows.json` holds as finished; with --device cpu, smaller ones (--width 32).
`paper_pages.py` writes the pages of results.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from hyperfuse.datasets.packed import read_index
from hyperfuse.io.encoding.atomic import replacing
from hyperfuse.networks import create_network
from network_training import (
    BANDS,
    LOSS,
    MSI_BANDS,
    PATCH,
    Scenes,
    Trainer,
    bicubic,
    exact_products,
    fused_images,
    make_pairs,
    psnr_of,
    read_scenes,
    scores_of,
)
from paper_entries import Entry, ablation, held_out, queues, rows, seconds_of
from recording import source

RECORDS = "rows.json"
# Of the fold whose weights are kept.
KEPT_FOLD = 0


class Worker:
    """Trains a queue of entries one after the other on scenes that stay on the device.

    Args:
        args: of the call.
        until: when to end, seconds since 1970.
    """

    def __init__(self, args: argparse.Namespace, until: float) -> None:
        self.args, self.until = args, until
        self.device = torch.device(args.device)
        self.on_gpu = self.device.type == "cuda"
        self.names = sorted(read_index(args.data).scenes)[: args.scenes]
        self.scenes: Scenes | None = None
        self.pool = ThreadPoolExecutor(1)
        self.scoring: list[Future[None]] = []
        self.interpolated: dict[tuple[int, int], dict[str, dict[str, float]]] = {}  # scores by ratio and fold

    def run(self, entries: Sequence[Entry]) -> int:
        """Train and score; return how many trainings failed."""
        failed = 0
        for number, entry in enumerate(entries):
            if read_record(self.args.state, entry.name).get("finished"):
                print(f"{entry.name}: finished before", flush=True)
                continue
            remaining = self.until - time.time() - self.args.reserve
            if remaining < 1:
                print(f"{entry.name}: no time", flush=True)
                continue
            torch.cuda.empty_cache()
            try:
                self.train(entry, seconds_of(entry, entries[number + 1 :], remaining))
            except Exception:  # whatever it is, the others are trained
                traceback.print_exc()
                failed += 1
        self.pool.shutdown()
        for job in self.scoring:
            job.result()
        return failed

    def pairs(self, ratio: int) -> Scenes:
        """Return all scenes at a ratio; those of another ratio are freed."""
        if self.scenes is None or self.scenes.ratio != ratio:
            self.scenes = None
            start = time.monotonic()
            cubes = read_scenes(self.args.data, self.names, self.args.side)
            with exact_products():
                self.scenes = make_pairs(list(cubes.values()), ratio, self.device, self.args.orientations)
            print(f"x{ratio}: {self.scenes.gibibytes:.1f} GiB in {time.monotonic() - start:.1f} s", flush=True)
        return self.scenes

    def train(self, entry: Entry, seconds: float) -> None:
        """Train one network for a number of seconds, or until it saw its patches."""
        args, scenes = self.args, self.pairs(entry.ratio)
        out = held_out(self.names, entry.fold)
        turns = args.orientations
        numbers = [n for n, name in enumerate(self.names) if name not in out for n in range(n * turns, (n + 1) * turns)]
        chosen = torch.tensor(numbers, device=self.device)
        upright = [self.names.index(name) * turns for name in out]
        validation = Scenes(*(x[upright] for x in (scenes.reference, scenes.msi, scenes.hsi)), scenes.ratio)
        torch.manual_seed(entry.seed)
        precision = "bfloat16" if self.on_gpu else "float32"
        network = create_network(
            entry.network, hsi_bands=BANDS, msi_bands=MSI_BANDS, **(entry.options | {"precision": precision})
        )
        network = network.to(self.device)
        network.zero_output_layer()
        batch, rate = (args.batch, args.rate) if entry.part == "rows" else (args.narrow_batch, args.narrow_rate)
        trainer = Trainer(network, rate, args.decay)
        record = read_record(args.state, entry.name)
        state_file = args.state / f"{entry.name}.pt"
        if record and state_file.is_file():
            if record["entry"] != entry.described() or record["batch"] != batch:
                raise SystemExit(f"{state_file}: of another training; choose another --state")
            trainer.restore(torch.load(state_file, map_location=self.device, weights_only=True))
        else:
            record = self.begin(entry, out, {"batch": batch, "rate": rate, "precision": precision}, seconds)
        planned, before = record["planned"], record["seconds"]
        total = None if entry.patches is None else max(1, entry.patches // batch)
        print(f"{entry.name}: {total or ''} {'steps' if total else f'{planned:.0f} s'}, at {trainer.steps}", flush=True)

        began = saved = time.monotonic()
        losses: list[torch.Tensor] = []

        def elapsed() -> float:
            return before + time.monotonic() - began

        def note(trainer: Trainer) -> None:
            """Wait for the device, look at the loss, and count."""
            if losses:
                taken = torch.stack(losses)
                mean = float(taken[taken.isfinite()].mean())  # the others changed nothing; without any it is NaN
                losses.clear()
                record["loss"] = mean
                if not trainer.keep(mean):
                    record["restored"].append(trainer.steps)
                    print(f"{entry.name}, step {trainer.steps}: loss {mean:.3g}; back to good weights", flush=True)
            record.update(patches=trainer.steps * batch, seconds=elapsed())

        while (trainer.steps < total) if total else (elapsed() < planned):
            done = trainer.steps / total if total else elapsed() / max(planned, 1e-9)
            losses.append(trainer.step(scenes.crops(batch, chosen), done))
            if len(losses) >= args.check:
                note(trainer)
                if time.time() > self.until:
                    break
                if time.monotonic() - saved > args.every:
                    psnr = psnr_of(trainer.averaged(), validation)
                    record["log"].append(
                        {key: record[key] for key in ("seconds", "patches", "loss")} | {"psnr_db": psnr}
                    )
                    self.save(entry, record, trainer)
                    saved = time.monotonic()
                    print(f"{entry.name} {record['patches']} patches: {psnr:.2f} dB", flush=True)
        note(trainer)
        complete = not total or trainer.steps >= total
        if self.on_gpu:
            record["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
        self.save(entry, record, trainer)
        speed = record["patches"] / max(record["seconds"], 1e-9)
        print(f"{entry.name}: {record['patches']} patches, {speed:.0f}/s, loss {record.get('loss', 0):.3g}", flush=True)
        if not complete:
            return
        exact = trainer.averaged("float32")
        self.keep_weights(entry, exact)
        with exact_products():
            images = fused_images(exact, validation)
        validation = Scenes(*(x.cpu() for x in (validation.reference, validation.msi, validation.hsi)), entry.ratio)

        def score() -> None:
            key = entry.ratio, entry.fold
            if key not in self.interpolated:
                self.interpolated[key] = scores_of(fused_images(bicubic, validation), validation, out)
            scores = {"network": scores_of(images, validation, out), "bicubic": self.interpolated[key]}
            write_record(args.state, entry.name, record | {"scores": scores, "finished": True})
            mean = sum(one["psnr_db"] for one in scores["network"].values()) / len(out)
            print(f"{entry.name}: {mean:.2f} dB on scenes kept out", flush=True)

        self.scoring.append(self.pool.submit(score))

    def begin(self, entry: Entry, out: Sequence[str], settings: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Return the record of a new training."""
        machine = torch.cuda.get_device_name() if self.on_gpu else f"CPU, {torch.get_num_threads()} thread(s)"
        return {
            "entry": entry.described(),
            "held_out": list(out),
            "training": [name for name in self.names if name not in out],
            "machine": machine,
            "source": source(),
            "torch": torch.__version__,
            **settings,
            "patch": PATCH,
            "orientations": self.args.orientations,
            "side": self.args.side,
            "loss_terms": LOSS,
            "planned": seconds,
            "seconds": 0.0,
            "patches": 0,
            "restored": [],
            "log": [],
            "finished": False,
        }

    def save(self, entry: Entry, record: dict[str, Any], trainer: Trainer) -> None:
        """Write record and state; a full disk or the like must not end the training."""
        try:
            with replacing(self.args.state / f"{entry.name}.pt") as scratch:
                torch.save(trainer.state(), scratch)
            write_record(self.args.state, entry.name, record)
        except Exception as error:  # whatever it is, what was trained goes on
            print(f"saving failed: {error}", flush=True)

    def keep_weights(self, entry: Entry, network: Any) -> None:
        """Write the weights in half precision, where they are to be kept."""
        if entry.part == "rows" and entry.fold == KEPT_FOLD:
            with replacing(self.args.state / f"{entry.name}.safetensors") as scratch:
                half = {name: value.half().contiguous().cpu() for name, value in network.state_dict().items()}
                save_file(half, str(scratch))


def read_record(state: Path, name: str) -> dict[str, Any]:
    """Return the record of a training, empty where there is none."""
    file = state / f"{name}.json"
    return json.loads(file.read_text("utf-8")) if file.is_file() else {}


def write_record(state: Path, name: str, record: dict[str, Any]) -> None:
    """Write the record of a training."""
    with replacing(state / f"{name}.json") as scratch:
        scratch.write_text(json.dumps(record), "utf-8")


def gather(entries: Sequence[Entry], state: Path, out: Path) -> int:
    """Write what there is of all trainings to OUT; return the number of those that are finished."""
    known = json.loads((out / RECORDS).read_text("utf-8")) if (out / RECORDS).is_file() else {}
    records = known | {entry.name: record for entry in entries if (record := read_record(state, entry.name))}
    with replacing(out / RECORDS) as scratch:
        scratch.write_text(json.dumps(records, indent=1) + "\n", "utf-8")
    for ratio in sorted({entry.ratio for entry in entries}):
        files = {one.name: state / f"{one.name}.safetensors" for one in entries if one.ratio == ratio}
        weights = {
            f"{name}/{key}": value
            for name, file in files.items()
            if file.is_file()
            for key, value in load_file(file).items()
        }
        if weights:
            with replacing(out / f"weights-x{ratio}.safetensors") as scratch:
                save_file(weights, str(scratch))
    return sum(bool(records.get(entry.name, {}).get("finished")) for entry in entries)


def drive(args: argparse.Namespace, entries: Sequence[Entry]) -> int:
    """Run the queues in processes of their own; return how many of them failed."""
    until = time.time() + args.seconds
    for entry in entries:  # of an earlier call, elsewhere perhaps
        known = args.output / RECORDS
        record = json.loads(known.read_text("utf-8")).get(entry.name) if known.is_file() else None
        if record and record["finished"] and not read_record(args.state, entry.name):
            write_record(args.state, entry.name, record)
    base = [sys.executable, *sys.argv, "--until", str(until)]
    alone = {"OMP_NUM_THREADS": "1", **os.environ}
    children = [
        subprocess.Popen([*base, *(word for one in queue for word in ("--entry", one.name))], env=alone)
        for queue in queues(entries, args.ablation_workers)
    ]
    last = time.monotonic()
    while any(child.poll() is None for child in children):
        time.sleep(0.5)
        if time.monotonic() - last > args.every:
            last = time.monotonic()
            gather(entries, args.state, args.output)
        if time.time() > until + args.grace:
            print("a process did not end in time", flush=True)
            for child in children:
                child.kill()
            break
    finished = gather(entries, args.state, args.output)
    print(f"{finished} of {len(entries)} trainings are finished: {args.output / RECORDS}", flush=True)
    return sum(child.wait() != 0 for child in children)


def parsed() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a file of packed scenes (hyperfuse data pack)")
    parser.add_argument("output", type=Path, help="a folder")
    parser.add_argument("--seconds", type=float, default=380.0, help="wall time, reading and scoring included [380]")
    parser.add_argument("--state", type=Path, help="folder of what a second call continues from [OUT/state]")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--part", choices=["rows", "ablation"], action="append", help="repeatable [both]")
    parser.add_argument("--ablation-workers", type=int, default=2, help="processes; 0: one for everything [2]")
    parser.add_argument("--ablation-patches", type=int, default=12000, help="that each network sees [12000]")
    parser.add_argument("--folds", type=int, nargs="+", default=[0, 1], help="of the rows [0 1]")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the ablations [0 1 2]")
    parser.add_argument("--batch", type=int, default=8, help="of rows [8]")
    parser.add_argument("--rate", type=float, default=3e-4, help="the highest learning rate of rows [3e-4]")
    parser.add_argument("--narrow-batch", type=int, default=8, help="of ablations [8]")
    parser.add_argument("--narrow-rate", type=float, default=1e-3, help="the highest learning rate of ablations [1e-3]")
    parser.add_argument("--decay", type=float, default=0.998, help="of the moving average [0.998]")
    parser.add_argument("--every", type=float, default=20.0, help="seconds between checkpoints [20]")
    parser.add_argument("--check", type=int, default=50, help="steps between checks of the loss [50]")
    parser.add_argument("--reserve", type=float, default=10.0, help="seconds at the end for the last scores [10]")
    parser.add_argument("--grace", type=float, default=15.0, help="seconds after which processes are ended [15]")
    parser.add_argument("--orientations", type=int, help="of each scene in training [8; 1 on a CPU]")
    parser.add_argument("--width", type=int, help="of smaller networks in the rows")
    parser.add_argument("--scenes", type=int, help="scenes at most, to try this script out")
    parser.add_argument("--side", type=int, help="side of the part of a scene that is used, to try this script out")
    parser.add_argument("--entry", action="append", help=argparse.SUPPRESS)
    parser.add_argument("--until", type=float, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.state = args.state or args.output / "state"
    args.orientations = args.orientations or (1 if args.device == "cpu" else 8)
    return args


def main() -> int:
    """Train; print; write."""
    args = parsed()
    for folder in (args.output, args.state):
        folder.mkdir(parents=True, exist_ok=True)
    width = args.width
    size = {} if width is None else {"width": width, "hidden": [2 * width, width], "decoder_width": width}
    entries = [*rows(size, args.folds), *ablation(args.ablation_patches, seeds=args.seeds)]
    entries = [entry for entry in entries if args.part is None or entry.part in args.part]
    if args.entry is None:
        return min(1, drive(args, entries))
    torch.set_float32_matmul_precision("high")
    by_name = {entry.name: entry for entry in entries}
    return min(1, Worker(args, args.until).run([by_name[name] for name in args.entry]))


if __name__ == "__main__":
    sys.exit(main())
