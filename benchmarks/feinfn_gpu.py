"""FeINFN on a GPU against the literal form of the released program, in one run; `feinfn.py --device cuda` calls this.

The literal form (tests/reference/plain_feinfn.py) equals the authors' program number for number. Every entry is timed
by device events after a warm-up, its peak memory is what the allocator held at most. A part that fails is reported and
the rest goes on. `--compiled FILE` compiles, waits until FILE exists, and only then measures: others may use the
GPU meanwhile. `feinfn_gpu_table.py` makes a page of the numbers.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch

sys.path.insert(0, str(Path(__file__).parent))

from gpu_calls import (
    BANDS,
    LITERAL,
    MIXED,
    MSI_BANDS,
    OURS,
    PRECISIONS,
    RATIO,
    RELEASE,
    Bench,
    Operations,
    plain,
    profile_text,
    whole_winograd,
)
from hyperfuse.networks import create_network, feinfn
from hyperfuse.networks.blocks import encoder
from hyperfuse.networks.kernels import few_passes

LAYOUTS = {"channels last": torch.channels_last, "channels first": torch.contiguous_format}
Attempt = Callable[[str, Callable[[], Any]], None]


def report(args: argparse.Namespace) -> None:
    """Measure, print a table as it grows, and write all numbers."""
    options = {} if args.width is None else {"width": args.width, "encoder_blocks": 2}
    bench = Bench(args.device, args.seconds, options)
    where = torch.cuda.get_device_name() if bench.on_gpu else "CPU"
    results: dict[str, Any] = {"device": where, "torch": torch.__version__, "entries": {}}
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
        gc.collect()  # what was recorded holds memory until then
        if bench.on_gpu:
            torch.cuda.empty_cache()

    print("| entry | time, peak memory |\n| --- | --- |", flush=True)
    if args.compiled is not None:
        compiled_entries(bench, args, attempt)
    else:
        eager_entries(bench, args, attempt)


def eager_entries(bench: Bench, args: argparse.Namespace, attempt: Attempt) -> None:
    """Measure the table of eager execution."""
    forward, step = f"forward {args.size}x{args.size}", f"training step, {args.patches} patches"
    for name in (OURS, RELEASE):
        attempt(f"operations, {name}", lambda name=name: operation_counts(name))  # type: ignore[misc]
    for precision in (MIXED, *reversed(PRECISIONS)):
        for program in (OURS, RELEASE, LITERAL):
            if program == LITERAL and precision.startswith("bfloat16"):
                continue  # it has no such mode
            how = program, precision
            attempt(f"{forward}, {precision}, {program}", lambda h=how: bench.time(bench.forward(*h, args.size)))  # type: ignore[misc]
            attempt(f"{step}, {precision}, {program}", lambda h=how: bench.time(bench.step(*h, args.patches)))  # type: ignore[misc]
            if program != LITERAL:
                attempt(
                    f"recorded {step}, {precision}, {program}",
                    lambda h=how: bench.time(bench.recorded_step(*h, args.patches), warm_up=6),  # type: ignore[misc]
                )
    attempt(
        f"forward {args.large}x{args.large}, bfloat16, {OURS}",
        lambda: bench.time(bench.forward(OURS, "bfloat16", args.large)),
    )
    attempt("encoders", lambda: encoder_efficiency(bench, args.large))
    attempt("parity", lambda: parity(bench, 256 if args.size >= 256 else args.size))
    with few_passes.differentiate_automatically():
        attempt(
            f"recorded {step}, {MIXED}, {OURS}, automatic differentiation",
            lambda: bench.time(bench.recorded_step(OURS, MIXED, args.patches), warm_up=6),
        )
    attempt("sums of rows", lambda: row_sums(bench, args.patches))
    winograd_entries(bench, args, attempt)
    layout_entries(bench, args, attempt)
    if args.profile is not None:
        attempt("profile", lambda: profile(profiled(bench, args), args.profile, bench))


def row_sums(bench: Bench, patches: int) -> str:
    """Compare the gradient of a bias as a sum and as a product with ones."""
    parts = []
    for rows, channels in ((4096 * patches, 128), (4 * 4096 * patches, 128)):
        for dtype in (torch.bfloat16, torch.float32):
            x = torch.randn(rows, channels, device=bench.device, dtype=dtype)
            by_sum, by_product = bench.time(lambda x=x: x.sum(0))[0], bench.time(lambda x=x: few_passes.sum_rows(x))[0]  # type: ignore[misc]
            parts.append(f"({rows}, {channels}) {str(dtype)[6:]}: {1e3 * by_sum:.0f} and {1e3 * by_product:.0f} us")
    return "; ".join(parts)


def layout_entries(bench: Bench, args: argparse.Namespace, attempt: Attempt) -> None:
    """Compare memory layouts of the encoders, with the library's choice of algorithms and with measured ones."""
    for measured in (False, True):
        for layout, memory_format in LAYOUTS.items():
            if layout == "channels last" and not measured:
                precisions: tuple[str, ...] = ("float32",)
            else:
                precisions = ("float32",) if layout == "channels first" else PRECISIONS
            torch.backends.cudnn.benchmark = measured
            with mock.patch.object(feinfn, "select_layout", lambda x, m=memory_format: m):
                for precision in precisions:
                    end = f"{layout}{', measured algorithms' if measured else ''}"
                    for name, make in layout_calls(bench, args, precision).items():
                        attempt(f"{name}, {end}", lambda m=make: bench.time(m(), warm_up=6))  # type: ignore[misc]
    torch.backends.cudnn.benchmark = False


def winograd_entries(bench: Bench, args: argparse.Namespace, attempt: Attempt) -> None:
    """Compare the library's float32 convolutions with Winograd's algorithm in operations on whole images."""

    def conv(layer: torch.nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        return whole_winograd(x, layer.weight, layer.bias)

    x = torch.randn(1, 128, args.size, args.size, device=bench.device).contiguous(memory_format=torch.channels_last)
    first = x.contiguous()
    layer = torch.nn.Conv2d(128, 128, 3, padding=1, device=bench.device)
    bench.set_tf32(False)
    with torch.no_grad():
        attempt("convolution, float32, channels last", lambda: bench.time(lambda: layer(x)))
        attempt("convolution, float32, channels first", lambda: bench.time(lambda: layer(first)))
        attempt("convolution, float32, whole Winograd", lambda: bench.time(lambda: conv(layer, x)))
        attempt("its difference", lambda: f"{rms(conv(layer, x) - layer(x)):.1e} rms")
    with mock.patch.object(encoder, "conv", conv):
        attempt("encoder, float32, whole Winograd", lambda: bench.time(bench.encoder("float32", args.size)))
        attempt("forward, float32, whole Winograd", lambda: bench.time(bench.forward(OURS, "float32", args.size)))


def layout_calls(bench: Bench, args: argparse.Namespace, precision: str) -> dict[str, Callable[[], Any]]:
    """Return what makes the calls that layouts are compared by."""
    return {
        f"encoder, {precision}": lambda: bench.encoder(precision, args.size),
        f"forward, {precision}, {OURS}": lambda: bench.forward(OURS, precision, args.size),
        f"forward, {precision}, {RELEASE}": lambda: bench.forward(RELEASE, precision, args.size),
        f"recorded step, {precision}, {OURS}": lambda: bench.recorded_step(OURS, precision, args.patches),
    }


def compiled_entries(bench: Bench, args: argparse.Namespace, attempt: Attempt) -> None:
    """Compile, wait until measuring is allowed, and measure."""

    def forward(precision: str) -> Callable[[], torch.Tensor]:
        network = torch.compile(bench.network(OURS, precision), fullgraph=True, dynamic=False)
        hsi, msi = bench.pair(args.size)

        def run() -> torch.Tensor:
            with torch.no_grad():
                return network(hsi, msi)

        return run

    step, size = f"training step, {args.patches} patches", f"{args.size}x{args.size}"
    calls = {
        f"compiled, recorded {step}, {MIXED}, {OURS}": (
            MIXED,
            lambda: bench.recorded_step(OURS, MIXED, args.patches, compiled=True),
        ),
        f"compiled {step}, {MIXED}, {OURS}": (MIXED, lambda: bench.step(OURS, MIXED, args.patches, compiled=True)),
        f"compiled forward {size}, {MIXED}, {OURS}": (MIXED, lambda: forward(MIXED)),
        f"compiled forward {size}, float32, {OURS}": ("float32", lambda: forward("float32")),
    }
    ready = {}
    for name, (precision, make) in calls.items():
        began = time.perf_counter()
        try:
            run = make()
            for _ in range(6):
                run()
            ready[name] = precision, run
            print(f"{name}: ready after {time.perf_counter() - began:.0f} s", flush=True)
        except Exception:  # one part must not stop the others
            print(f"{name}: failed", flush=True)
            traceback.print_exc(limit=6)
    while not args.compiled.exists():
        time.sleep(0.1)
    for name, (precision, run) in ready.items():
        bench.set_tf32(precision.endswith("TF32"))
        attempt(name, lambda r=run: bench.time(r))  # type: ignore[misc]
    if args.profile is not None:
        bench.set_tf32(True)  # another setting would be compiled again
        mixed = [(name, run) for name, (precision, run) in ready.items() if precision == MIXED]
        attempt("profile", lambda: profile(mixed, args.profile, bench))


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
    for part, pixels in ((network.spatial_encoder, size**2), (network.spectral_encoder, (size // RATIO) ** 2)):
        weights = sum(p.numel() for n, p in part.named_parameters() if n.endswith("weight"))
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
            rounded = {p: bench.network(name, p)(hsi, msi) - fused for p in ("bfloat16", MIXED)}
        parts.append(
            ", ".join(
                [
                    f"{name}: {float(difference.abs().max()):.1e} at most, {rms(difference):.1e} rms",
                    *(f"{precision} {rms(one):.1e} rms" for precision, one in rounded.items()),
                ]
            )
        )
    return "; ".join(parts)


def rms(x: torch.Tensor) -> float:
    """Return the root of the mean square."""
    return float(x.square().mean().sqrt())


def profiled(bench: Bench, args: argparse.Namespace) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield the calls of which the profile is written."""
    yield f"forward, {MIXED}", bench.forward(OURS, MIXED, args.size)
    yield f"training step, {MIXED}", bench.step(OURS, MIXED, args.patches)
    yield "forward, float32", bench.forward(OURS, "float32", args.size)


def profile(runs: Iterable[tuple[str, Callable[[], object]]], file: Path, bench: Bench) -> str:
    """Add to a file where the time of calls goes, by kernel."""
    with file.open("a") as out:
        out.writelines(f"{profile_text(name, run, bench)}\n\n" for name, run in runs)
    return str(file)


def main(arguments: list[str] | None = None) -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", type=int, default=512, help="side of the image, in HR pixels [512]")
    parser.add_argument("--large", type=int, default=1024, help="side of the large image [1024]")
    parser.add_argument("--patches", type=int, default=16, help="patches of 64x64 in a training step [16]")
    parser.add_argument("--seconds", type=float, default=0.4, help="to spend on each entry [0.4]")
    parser.add_argument("--width", type=int, help="of a small network, to try this script out")
    parser.add_argument(
        "--compiled", type=Path, metavar="FILE", help="measure compiled in place of eager execution, once FILE exists"
    )
    parser.add_argument("--profile", type=Path, help="write a profile by kernel to this file")
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    args = parser.parse_args(arguments)
    report(args)


if __name__ == "__main__":
    main()
