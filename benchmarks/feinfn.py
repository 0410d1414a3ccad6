"""Time and memory of FeINFN compared with the literal form of the released program and with the machine's ceilings.

    python benchmarks/feinfn.py --threads 2 --repeats 5 --markdown feinfn.md

Within a scenario all programs run in turn, and the median of the turns is printed, so that they share the state of the
machine. Peak memory is that of a separate process for each program (about 250 MiB of it is torch; needs Linux). The
fraction of the ceiling divides the operations that are computed (convolutions and matrix products only) by the time and
by the speed of a large float32 (bfloat16) matrix product of the same turns.

`--device cuda` prints the table of feinfn_gpu.py instead; further options are passed on to it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "reference"))

import plain_feinfn as plain

import feinfn_gpu
from hyperfuse.networks import create_network
from recording import made_by

BANDS, MSI_BANDS = 31, 3
PROGRAMS = ("plain", "feinfn", "feinfn bf16", "release", "release bf16")


@dataclass(frozen=True)
class Scenario:
    """One scenario: ``batch`` images of ``size`` x ``size`` pixels, LR ``ratio`` times smaller."""

    name: str
    size: int
    ratio: int
    batch: int = 1
    training: bool = False


SCENARIOS = {
    s.name: s
    for s in (
        Scenario("forward 64 x4", 64, 4),
        Scenario("forward 256 x4", 256, 4),
        Scenario("forward 512 x4", 512, 4),
        Scenario("forward 512 x8", 512, 8),
        Scenario("training 4x64 x4", 64, 4, batch=4, training=True),
    )
}


def make(program: str, scenario: Scenario) -> Callable[[], None]:
    """Return a function without arguments that runs ``program`` once on the scenario's data."""
    torch.manual_seed(0)
    name = "feinfn" if program.startswith("feinfn") else "feinfn-release"
    precision = "bfloat16" if program.endswith("bf16") else "float32"
    network = create_network(name, hsi_bands=BANDS, msi_bands=MSI_BANDS, precision=precision)
    small = scenario.size // scenario.ratio
    hsi = torch.rand(scenario.batch, BANDS, small, small)
    msi = torch.rand(scenario.batch, MSI_BANDS, scenario.size, scenario.size)
    weights = dict(network.named_parameters())

    def fuse() -> torch.Tensor:
        return plain.feinfn_release(weights, hsi, msi) if program == "plain" else network(hsi, msi)

    def forward() -> None:
        with torch.no_grad():
            fuse()

    if not scenario.training:
        return forward
    target = torch.rand(scenario.batch, BANDS, scenario.size, scenario.size)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-4, weight_decay=0.0)

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.l1_loss(fuse(), target).backward()
        optimizer.step()

    return step


def seconds(run: Callable[[], object]) -> float:
    """Time one run."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def ceilings() -> dict[str, tuple[Callable[[], object], float]]:
    """Return large products as (run, operations), by name."""
    n = 2048
    a, b = torch.rand(n, n), torch.rand(n, n)
    half_a, half_b = a.bfloat16(), b.bfloat16()
    x = torch.rand(1, 128, 256, 256).to(memory_format=torch.channels_last)
    w = torch.rand(128, 128, 3, 3)
    half_x, half_w = x.bfloat16(), w.bfloat16()

    def conv(image: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return torch.nn.functional.conv2d(image, weight, padding=1)

    conv_operations = 2.0 * 9 * 128 * 128 * 256 * 256
    return {
        "matmul float32": (lambda: a @ b, 2.0 * n**3),
        "matmul bfloat16": (lambda: half_a @ half_b, 2.0 * n**3),
        "conv 3x3 128 float32": (lambda: conv(x, w), conv_operations),
        "conv 3x3 128 bfloat16": (lambda: conv(half_x, half_w), conv_operations),
    }


def operations(program: str, scenario: Scenario) -> float:
    """Count multiplications and additions of the convolutions and matrix products of one run of ``program``."""
    run = make(program, scenario)
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops())


def peak_bytes(program: str, scenario: Scenario, threads: int) -> float:
    """Return peak memory of one run in a fresh process."""
    call = [sys.executable, __file__, "--threads", str(threads), "--device", "cpu", "--peak", program, scenario.name]
    done = subprocess.run(call, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def report_peak(program: str, scenario: Scenario) -> None:
    """Run once and print the peak of this process in bytes."""
    make(program, scenario)()
    # Not getrusage: a child's maximum there starts at that of its parent when it was forked.
    status = Path("/proc/self/status").read_text()
    print(1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))))


def measure(scenario: Scenario, programs: list[str], repeats: int, threads: int) -> list[list[str]]:
    """Return the rows of the scenario's table."""
    runs = {program: make(program, scenario) for program in programs}
    tops = ceilings()
    times: dict[str, list[float]] = {name: [] for name in (*runs, *tops)}
    for turn in range(repeats + 1):
        for name, run in (*runs.items(), *((name, top[0]) for name, top in tops.items())):
            elapsed = seconds(run)
            if turn:  # the first turn warms up
                times[name].append(elapsed)
    middle = {name: statistics.median(values) for name, values in times.items()}
    speed = {name: count / middle[name] for name, (_, count) in tops.items()}
    rows = []
    for program in programs:
        top = speed["matmul bfloat16" if program.endswith("bf16") else "matmul float32"]
        achieved = operations(program, scenario) / middle[program] if program != "plain" else 0.0
        against = middle["plain"] / middle[program] if "plain" in middle else float("nan")
        peak = peak_bytes(program, scenario, threads)
        fraction = f"{100 * achieved / top:.0f} %" if achieved else ""
        cells = [scenario.name, program, f"{middle[program]:.3f}", f"{against:.2f}", f"{peak / 2**20:.0f}", fraction]
        rows.append(cells)
    rows.extend(
        [scenario.name, name, f"{middle[name]:.3f}", "", "", f"{v / 1e9:.0f} GFLOP/s"] for name, v in speed.items()
    )
    return rows


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--scenario", action="append", choices=list(SCENARIOS), help="repeatable [all]")
    parser.add_argument("--program", action="append", choices=PROGRAMS, help="repeatable [all]")
    parser.add_argument("--markdown", type=Path, help="also write the table to this file")
    parser.add_argument("--peak", nargs=2, metavar=("PROGRAM", "SCENARIO"), help=argparse.SUPPRESS)
    args, rest = parser.parse_known_args()
    if args.device == "cuda":
        feinfn_gpu.main(["--device", "cuda", *rest])
        return
    if rest:
        parser.error(f"unknown: {' '.join(rest)}")
    torch.set_num_threads(args.threads)
    if args.peak:
        report_peak(args.peak[0], SCENARIOS[args.peak[1]])
        return
    head = ["scenario", "program", "seconds", "times faster than plain", "peak MiB", "fraction of matmul ceiling"]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    print("\n".join(lines), flush=True)
    for name in args.scenario or SCENARIOS:
        for row in measure(SCENARIOS[name], args.program or list(PROGRAMS), args.repeats, args.threads):
            lines.append("| " + " | ".join(row) + " |")
            print(lines[-1], flush=True)
    if args.markdown:
        call = f"python benchmarks/feinfn.py --threads {args.threads} --repeats {args.repeats}"
        call += "".join(f' --scenario "{name}"' for name in args.scenario or ())
        text = [f"CPU, medians of {args.repeats} turns, 31 and 3 bands", "", *lines, *made_by(call, args.threads)]
        args.markdown.write_text("\n".join(text) + "\n", "utf-8")


if __name__ == "__main__":
    main()
