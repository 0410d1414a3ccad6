"""Where FeINFN's time goes: fraction of each part, its operations, and how near it comes to the machine's ceilings.

    python benchmarks/feinfn_profile.py --scenario "training 4x64 x4" --program feinfn --markdown profile.md

The network runs under torch.profiler, in turn with a large convolution and a large matrix product of the same type,
whose speed is the ceiling. An operation belongs to the innermost part whose method is running; one of
the backward pass to the part whose operation it differentiates (the profiler numbers both alike). Convolutions and
matrix products are counted from their shapes; all else (sums, activations, copies, transforms) is given in seconds
only.
"""

from __future__ import annotations

import argparse
import functools
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch.profiler import ProfilerActivity, profile, record_function

import feinfn as benchmark
from hyperfuse.networks import FusionNetwork, create_network, feinfn, feinfn_release

MARK = "part: "
Events = list[Any]


def named(method: Callable[..., Any], part: str) -> Callable[..., Any]:
    """Return ``method`` that says while it runs that it is ``part``."""

    @functools.wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        with record_function(MARK + part):
            return method(*args, **kwargs)

    return run


@contextmanager
def parts_named(network: FusionNetwork) -> Iterator[None]:
    """Name the parts of a FeINFN while the context lasts."""
    spatial, frequency = network.spatial_fusion, network.frequency_fusion
    methods = [
        (network.spatial_encoder, ["forward"], "HR encoder"),
        (network.spectral_encoder, ["forward"], "LR encoder"),
        (spatial, ["first_layer", "forward", "evaluate"], "spatial function"),
        (frequency.amplitude, ["first_layer", "forward", "evaluate"], "amplitude function"),
        (frequency.phase, ["first_layer", "forward"], "phase function"),
        (network.decoder, ["forward"], "decoder"),
        (frequency, ["forward"], "transforms, amplitudes, phases"),
        (frequency, ["fuse_phases"], "phase function"),
        (feinfn, ["resample"], "bicubic"),
        (feinfn_release, ["resample"], "bicubic"),
    ]
    patches = [
        mock.patch.object(owner, name, named(getattr(owner, name), part))
        for owner, names, part in methods
        for name in names
        if hasattr(owner, name)
    ]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


def operations(event: Any) -> float:
    """Count multiplications and additions of a convolution or matrix product from the shapes of its arguments."""
    shapes = event.input_shapes
    if event.name in ("aten::mm", "aten::bmm"):
        return 2.0 * math.prod(shapes[0]) * shapes[1][-1]
    if event.name in ("aten::addmm", "aten::baddbmm", "aten::baddbmm_"):
        return 2.0 * math.prod(shapes[1]) * shapes[2][-1]
    if event.name == "aten::mkldnn_convolution":
        x, weight = shapes[:2]
        return 2.0 * x[0] * math.prod(x[2:]) * math.prod(weight)  # padded by one: as many outputs as inputs
    if event.name == "aten::convolution_backward":
        slope, x, weight = shapes[:3]
        gradients = 2 if x[1] == weight[0] else 1  # that of the image, which the first layer of an encoder leaves out
        return 2.0 * gradients * slope[0] * math.prod(slope[2:]) * math.prod(weight)
    return 0.0


def kind_of(event: Any) -> str:
    """Tell convolutions and matrix products from all else."""
    return "products" if operations(event) else "rest"


def times_by_part(events: Events) -> dict[tuple[str, str], tuple[float, float]]:
    """Return (seconds, operations) by part and kind."""
    numbered: dict[int, str] = {}
    sums: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])

    def visit(event: Any, part: str) -> None:
        if event.name.startswith(MARK):
            part = event.name.removeprefix(MARK)
        elif event.name.startswith("Optimizer"):
            part = "optimiser"
        elif event.name.startswith("autograd::engine::evaluate_function"):
            part = numbered.get(event.sequence_nr, "loss, sums") + " (backward)"
        elif event.sequence_nr >= 0 and "(backward)" not in part:
            numbered[event.sequence_nr] = part
        entry = sums[part, kind_of(event)]
        entry[0] += event.self_cpu_time_total / 1e6
        entry[1] += operations(event)
        for child in event.cpu_children:
            visit(child, part)

    for event in sorted((e for e in events if e.cpu_parent is None), key=lambda e: e.time_range.start):
        visit(event, "loss, sums")
    return {key: (values[0], values[1]) for key, values in sums.items()}


def measure(scenario: benchmark.Scenario, program: str, repeats: int) -> list[list[str]]:
    """Return the rows of the table."""
    made: list[FusionNetwork] = []

    def keep(*args: Any, **kwargs: Any) -> FusionNetwork:
        made.append(create_network(*args, **kwargs))
        return made[-1]

    with mock.patch.object(benchmark, "create_network", keep):
        run = benchmark.make(program, scenario)
    precision = "bfloat16" if program.endswith("bf16") else "float32"
    tops = {name: top for name, top in benchmark.ceilings().items() if name.endswith(precision)}
    times: dict[str, list[float]] = defaultdict(list)
    collected: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for turn in range(repeats + 1):
        for name, (top, _) in tops.items():
            times[name].append(benchmark.seconds(top))
        times["bare"].append(benchmark.seconds(run))
        with parts_named(made[0]), profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiled:
            run()
        if turn:
            for key, value in times_by_part(list(profiled.events())).items():
                collected[key].append(value)
    speed = {name: count / statistics.median(times[name][1:]) for name, (_, count) in tops.items()}
    ceiling = max(speed.values())
    middle = {key: (statistics.median(v[0] for v in values), values[0][1]) for key, values in collected.items()}
    total = sum(seconds for seconds, _ in middle.values())
    nothing = (0.0, 0.0)

    def row(part: str, products: float, rest: float, count: float) -> list[str]:
        near = f"{100 * count / products / ceiling:.0f} %" if count else ""
        fraction = f"{100 * (products + rest) / total:.1f} %"
        return [part, fraction, f"{products:.3f}", f"{rest:.3f}", f"{count / 1e9:.1f}", near]

    rows = []
    for part in {part for part, _ in middle}:
        products, count = middle.get((part, "products"), nothing)
        rows.append(row(part, products, middle.get((part, "rest"), nothing)[0], count))
    rows.sort(key=lambda cells: -float(cells[2]) - float(cells[3]))
    products, count = (sum(v[i] for (_, kind), v in middle.items() if kind == "products") for i in (0, 1))
    rows.append(row("all", products, total - products, count))
    rows.append(["without the profiler", "", f"{statistics.median(times['bare'][1:]):.3f}", "", "", ""])
    rows.extend([name, "", "", "", "", f"{v / 1e9:.0f} GFLOP/s"] for name, v in speed.items())
    return rows


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scenario", choices=list(benchmark.SCENARIOS), default="training 4x64 x4")
    parser.add_argument("--program", choices=benchmark.PROGRAMS[1:], default="feinfn")
    parser.add_argument("--markdown", type=Path, help="also append the table to this file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    head = [
        "part",
        "fraction",
        "seconds in products",
        "seconds in all else",
        "GFLOP of products",
        "fraction of the ceiling",
    ]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    rows = measure(benchmark.SCENARIOS[args.scenario], args.program, args.repeats)
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    print("\n".join(lines))
    if args.markdown:
        title = f"{args.scenario}, {args.program}, {args.threads} threads, torch {torch.__version__}"
        with args.markdown.open("a") as file:
            file.write(f"{title}\n\n" + "\n".join(lines) + "\n\n")


if __name__ == "__main__":
    main()
