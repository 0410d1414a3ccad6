"""FeINFN on a GPU against the literal form of the released program, in one run; `feinfn.py --device cuda` calls this.

The literal form (tests/reference/plain_feinfn.py) equals the authors' program number for number. Every entry is timed
by device events after a warm-up, its peak memory is what the allocator held at most. A part that fails is reported and
the rest goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "reference"))

import plain_feinfn as plain

from hyperfuse.networks import create_network

BANDS, MSI_BANDS, RATIO = 31, 3, 4
LITERAL, RELEASE, OURS = "literal form of the released program", "feinfn-release", "feinfn"
PRECISIONS = ("float32", "TF32", "bfloat16")


class Operations(TorchDispatchMode):
    """Counts the operations that reach the dispatcher while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count and call."""
        self.counts[str(func)] += 1
        return func(*args, **(kwargs or {}))


class Bench:
    """Times calls on a device.

    Args:
        device: where to.
        seconds: to spend on each entry, after its warm-up.
        options: of the networks.
    """

    def __init__(self, device: str, seconds: float, options: dict[str, Any]) -> None:
        self.device, self.seconds, self.options = torch.device(device), seconds, options
        self.on_gpu = self.device.type == "cuda"

    def pair(self, size: int, batch: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a random pair in [0, 1]."""
        torch.manual_seed(0)
        hsi = torch.rand(batch, BANDS, size // RATIO, size // RATIO, device=self.device)
        return hsi, torch.rand(batch, MSI_BANDS, size, size, device=self.device)

    def network(self, name: str, precision: str) -> Any:
        """Build a network with seeded weights and set the precision of float32 products."""
        self.set_tf32(precision == "TF32")
        torch.manual_seed(0)
        in_bfloat16 = "bfloat16-forced" if precision == "bfloat16" else "float32"
        network = create_network(name, hsi_bands=BANDS, msi_bands=MSI_BANDS, precision=in_bfloat16, **self.options)
        return network.to(self.device)

    @staticmethod
    def set_tf32(wanted: bool) -> None:
        """Let float32 products run in TF32, or not."""
        torch.set_float32_matmul_precision("high" if wanted else "highest")
        torch.backends.cudnn.allow_tf32 = wanted

    def time(self, run: Callable[[], object], warm_up: int = 3) -> tuple[float, float]:
        """Return the median time of a call in milliseconds, and its peak memory in GiB."""
        for _ in range(warm_up):
            run()
        if self.on_gpu:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        times: list[float] = []
        start = time.perf_counter()
        while len(times) < 3 or time.perf_counter() - start < self.seconds:
            if self.on_gpu:
                before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                before.record()
                run()
                after.record()
                torch.cuda.synchronize()
                times.append(before.elapsed_time(after))
            else:
                began = time.perf_counter()
                run()
                times.append(1e3 * (time.perf_counter() - began))
        peak = torch.cuda.max_memory_allocated() / 2**30 if self.on_gpu else float("nan")
        return statistics.median(times), peak

    def forward(self, program: str, precision: str, size: int) -> Callable[[], torch.Tensor]:
        """Return a call of a forward pass without gradients."""
        network = self.network(RELEASE if program == LITERAL else program, precision)
        hsi, msi = self.pair(size)
        weights = dict(network.named_parameters())

        def run() -> torch.Tensor:
            with torch.no_grad():
                if program != LITERAL:
                    return network(hsi, msi)
                with self.device:  # the literal form makes its coordinates on the default device
                    return plain.feinfn_release(weights, hsi, msi)

        return run

    def step(self, program: str, precision: str, patches: int, *, compiled: bool = False) -> Callable[[], torch.Tensor]:
        """Return a call of a training step on patches of 64x64."""
        network = self.network(RELEASE if program == LITERAL else program, precision)
        (hsi, msi), weights = self.pair(64, patches), dict(network.named_parameters())
        target = torch.rand(patches, BANDS, 64, 64, device=self.device)
        optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=self.on_gpu)

        def loss() -> torch.Tensor:
            if program != LITERAL:
                return torch.nn.functional.l1_loss(network(hsi, msi), target)
            with self.device:
                return torch.nn.functional.l1_loss(plain.feinfn_release(weights, hsi, msi), target)

        call = torch.compile(loss, fullgraph=True, dynamic=False) if compiled else loss

        def run() -> torch.Tensor:
            optimiser.zero_grad()
            value = call()
            value.backward()
            optimiser.step()
            return value

        return run


def report(args: argparse.Namespace) -> None:
    """Measure, print a table as it grows, and write all numbers."""
    options = {} if args.width is None else {"width": args.width, "encoder_blocks": 2}
    bench = Bench(args.device, args.seconds, options)
    results: dict[str, Any] = {"entries": {}}
    where = torch.cuda.get_device_name() if bench.on_gpu else "CPU"
    print(f"{where}, torch {torch.__version__}, {BANDS} + {MSI_BANDS} bands, ratio {RATIO}", flush=True)

    def attempt(name: str, measure: Callable[[], Any]) -> None:
        try:
            value = measure()
            results["entries"][name] = value
            text = f"{value[0]:.2f} ms, {value[1]:.2f} GiB" if isinstance(value, tuple) else value
            print(f"| {name} | {text} |", flush=True)
        except Exception as error:  # one part must not stop the others
            results["entries"][name] = f"failed: {type(error).__name__}: {error}"
            print(f"| {name} | failed |", flush=True)
            traceback.print_exc(limit=6)
        if args.json is not None:  # now: a later part may be cut off
            args.json.write_text(json.dumps(results, indent=2))
        if bench.on_gpu:
            torch.cuda.empty_cache()

    print("| entry | time, peak memory |\n| --- | --- |", flush=True)
    if args.compiled:
        compiled_entries(bench, args, attempt)
    else:
        eager_entries(bench, args, attempt)


def eager_entries(bench: Bench, args: argparse.Namespace, attempt: Callable[[str, Callable[[], Any]], None]) -> None:
    """Measure the table of eager execution."""
    for name in (OURS, RELEASE):
        attempt(f"operations, {name}", lambda name=name: operation_counts(name))  # type: ignore[misc]
    for precision in reversed(PRECISIONS):
        for program in (OURS, RELEASE, LITERAL):
            if program == LITERAL and precision == "bfloat16":
                continue  # it has no such mode
            attempt(
                f"forward {args.size}x{args.size}, {precision}, {program}",
                lambda p=program, q=precision: bench.time(bench.forward(p, q, args.size)),  # type: ignore[misc]
            )
            attempt(
                f"training step, {args.patches} patches, {precision}, {program}",
                lambda p=program, q=precision: bench.time(bench.step(p, q, args.patches)),  # type: ignore[misc]
            )
    attempt(
        f"forward {args.large}x{args.large}, bfloat16, {OURS}",
        lambda: bench.time(bench.forward(OURS, "bfloat16", args.large)),
    )
    attempt("encoders", lambda: encoder_efficiency(bench, args.large))
    attempt("parity", lambda: parity(bench, 256 if args.size >= 256 else args.size))
    if args.profile is not None:
        attempt("profile", lambda: profile(bench, args))


def compiled_entries(bench: Bench, args: argparse.Namespace, attempt: Callable[[str, Callable[[], Any]], None]) -> None:
    """Measure compiled execution; the first call compiles."""
    attempt(
        f"compiled training step, {args.patches} patches, bfloat16, {OURS}",
        lambda: bench.time(bench.step(OURS, "bfloat16", args.patches, compiled=True)),
    )

    def forward(precision: str) -> tuple[float, float]:
        network = torch.compile(bench.network(OURS, precision), fullgraph=True, dynamic=False)
        hsi, msi = bench.pair(args.size)

        def run() -> torch.Tensor:
            with torch.no_grad():
                return network(hsi, msi)

        return bench.time(run)

    for precision in ("bfloat16", "float32"):
        attempt(f"compiled forward {args.size}x{args.size}, {precision}, {OURS}", lambda p=precision: forward(p))  # type: ignore[misc]


def operation_counts(name: str) -> str:
    """Count the operations of a forward pass and of a training step on device meta, at the network's own size."""
    network = create_network(name, hsi_bands=BANDS, msi_bands=MSI_BANDS).to("meta")
    hsi, msi = torch.empty(1, BANDS, 128, 128, device="meta"), torch.empty(1, MSI_BANDS, 512, 512, device="meta")
    with Operations() as forward, torch.no_grad():
        network(hsi, msi)
    with Operations() as step:
        network(hsi, msi).sum().backward()
    return f"forward {forward.counts.total()}, forward and backward {step.counts.total()}"


def encoder_efficiency(bench: Bench, size: int) -> str:
    """Return the speed of the encoders in bfloat16 as a fraction of that of a large matrix product."""
    network = bench.network(OURS, "bfloat16")
    hsi, msi = bench.pair(size)

    def encode() -> None:
        with torch.no_grad():
            network.encode(hsi, msi, torch.bfloat16)

    milliseconds, _ = bench.time(encode)
    products = 0.0
    for encoder, pixels in ((network.spatial_encoder, size**2), (network.spectral_encoder, (size // RATIO) ** 2)):
        weights = sum(p.numel() for n, p in encoder.named_parameters() if n.endswith("weight"))
        products += 2.0 * weights * pixels
    n = 8192 if bench.on_gpu else 512
    a, b = (torch.randn(n, n, device=bench.device, dtype=torch.bfloat16) for _ in range(2))
    peak = 2.0 * n**3 / bench.time(lambda: a @ b)[0]
    speed = products / milliseconds
    return (
        f"{size}x{size}: {speed / 1e9:.0f} TFLOP/s, {100 * speed / peak:.0f} % of a matrix product's {peak / 1e9:.0f}"
    )


def parity(bench: Bench, size: int) -> str:
    """Return differences from the literal forms in float32, and of bfloat16 from float32."""
    hsi, msi = bench.pair(size)
    parts = []
    for name, literal in ((RELEASE, plain.feinfn_release), (OURS, plain.feinfn)):
        network = bench.network(name, "float32")
        with torch.no_grad():
            fused = network(hsi, msi)
            with bench.device:
                difference = fused - literal(dict(network.named_parameters()), hsi, msi)
            rounded = bench.network(name, "bfloat16")(hsi, msi) - fused
        parts.append(
            f"{name}: {float(difference.abs().max()):.1e} at most, {float(difference.square().mean().sqrt()):.1e} rms; "
            f"bfloat16 {float(rounded.square().mean().sqrt()):.1e} rms"
        )
    return "; ".join(parts)


def profile(bench: Bench, args: argparse.Namespace) -> str:
    """Write where the time of a forward pass and of a training step goes, by kernel."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if bench.on_gpu:
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    texts = []
    runs = {
        "forward, bfloat16": bench.forward(OURS, "bfloat16", args.size),
        "training step, bfloat16": bench.step(OURS, "bfloat16", args.patches),
    }
    for name, run in runs.items():
        bench.time(run)
        with torch.profiler.profile(activities=activities) as found:
            run()
            if bench.on_gpu:
                torch.cuda.synchronize()
        key = "self_cuda_time_total" if bench.on_gpu else "self_cpu_time_total"
        texts.append(f"{name}\n{found.key_averages().table(sort_by=key, row_limit=30, max_name_column_width=90)}")
    args.profile.write_text("\n\n".join(texts))
    return str(args.profile)


def main(arguments: list[str] | None = None) -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", type=int, default=512, help="side of the image, in HR pixels [512]")
    parser.add_argument("--large", type=int, default=1024, help="side of the large image [1024]")
    parser.add_argument("--patches", type=int, default=16, help="patches of 64x64 in a training step [16]")
    parser.add_argument("--seconds", type=float, default=1.0, help="to spend on each entry [1]")
    parser.add_argument("--width", type=int, help="of a small network, to try this script out")
    parser.add_argument("--compiled", action="store_true", help="measure compiled in place of eager execution")
    parser.add_argument("--profile", type=Path, help="write a profile by kernel to this file")
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    args = parser.parse_args(arguments)
    report(args)


if __name__ == "__main__":
    main()
