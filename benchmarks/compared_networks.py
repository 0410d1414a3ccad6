"""The compared networks beside what their authors' programs put out, with size, time and memory.

    python benchmarks/compared_networks.py GOLDEN --size 512 --markdown compared-networks.md

GOLDEN is a folder of NAME-xRATIO-BANDSxMSIBANDS.npz, the output of a program for weights and inputs by formula
(``tests/golden_networks.py``) with its tolerance, and NAME.keys.json, the names and shapes of its state dict.

Time and memory are those of a process of its own with one thread, float32, no gradients, 31 + 3 bands at x4. An image
is fused in blocks of the side that the network asks for, without overlap: processor time of one block times their
number, and the peak of the memory (about 0.25 GiB of it is torch).
"""

from __future__ import annotations

import argparse
import json
import math
import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from golden_networks import CASES, build
from hyperfuse.networks import create_network, list_networks, network_class
from recording import made_by

BANDS, MSI_BANDS, RATIO = 31, 3, 4
OURS = "feinfn"
_METHOD = (
    "Processor time of one block without gradients times the number of blocks, memory of a process with one block."
)
HEADER = "| network | parameters | largest difference / tolerance, per case | names | CPU s | of feinfn's | GiB |"


def compare(file: Path, keys: dict[str, Any]) -> dict[str, Any]:
    """Return what one case shows: parameters, largest difference, tolerance, whether names and shapes are equal."""
    case = CASES[file.stem]
    network, hsi, msi = build(case)
    golden = np.load(file)
    with torch.no_grad():
        fused = network(hsi, msi)[0].numpy()
    step = int(golden["step"])
    own = network.state_dict()
    ours = {theirs: list(own[name].shape) for theirs, name in network.released_names().items()}
    return {
        "network": case["network"] + (f" ({case['options']['variant']})" if "variant" in case["options"] else ""),
        "case": file.stem.split("-", 1)[1],
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "difference": float(np.abs(fused[:, ::step, ::step] - golden["out"]).max()),
        "tolerance": float(golden["tolerance"]),
        "names": ours == dict(keys[file.stem.split("-", 1)[1]]),
    }


def measure(name: str, size: int, options: dict[str, Any]) -> dict[str, float]:
    """Return processor seconds for an image of ``size`` x ``size`` pixels and peak memory in GiB, in this process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = create_network(name, hsi_bands=BANDS, msi_bands=MSI_BANDS, **options).eval()
    side = min(size, network.tiling().side)
    hsi, msi = torch.rand(1, BANDS, side // RATIO, side // RATIO), torch.rand(1, MSI_BANDS, side, side)
    with torch.inference_mode():
        started = time.process_time()
        network.fuse_unit_range(hsi, msi)
        spent = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"seconds": spent * math.ceil(size / side) ** 2, "gib": peak, "side": side}


def in_process(name: str, size: int, options: dict[str, Any]) -> dict[str, float]:
    """As :func:`measure`, in a process of its own."""
    words = [sys.executable, __file__, "--measure", name, "--size", str(size), "--options", json.dumps(options)]
    found: dict[str, float] = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    return found


def case_options(name: str) -> dict[str, Any]:
    """Return the options of a row's network at ratio 4."""
    variant = re.search(r"\((\w+)\)", name)
    return {"variant": variant[1]} if variant else {}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("golden", nargs="?", type=Path, help="folder of the programs' outputs")
    parser.add_argument("--size", type=int, default=512, help="side of the image that is timed; 0: no timing")
    parser.add_argument("--networks", help="names separated by commas; default: all")
    parser.add_argument("--markdown", type=Path, help="file to write the table to")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--options", default="{}", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure:
        print(json.dumps(measure(chosen.measure, chosen.size, json.loads(chosen.options))))
        return
    if chosen.golden is None or not list(chosen.golden.glob("*.npz")):
        parser.error(f"{chosen.golden}: a folder of NAME-xRATIO-BANDSxMSIBANDS.npz is needed")
    names = chosen.networks.split(",") if chosen.networks else list_networks()
    files = [file for file in sorted(chosen.golden.glob("*.npz")) if CASES[file.stem]["network"] in names]
    rows: dict[str, list[dict[str, Any]]] = {}
    for file in files:
        keys = json.loads((chosen.golden / f"{file.stem.split('-', 1)[0]}.keys.json").read_text("utf-8"))
        found = compare(file, keys)
        rows.setdefault(found["network"], []).append(found)
        print(file.stem, f"{found['difference']:.1e} of {found['tolerance']:.0e}", file=sys.stderr)
    lines = [HEADER, "| --- " * HEADER.count(" | ") + "| --- |"]
    own = in_process(OURS, chosen.size, {}) if chosen.size else None
    for name, cases in rows.items():
        whole = [case["parameters"] for case in cases if case["case"].endswith("x3")]
        differences = "; ".join(f"{one['case']}: {one['difference']:.1e} / {one['tolerance']:.0e}" for one in cases)
        cells = [
            name,
            ", ".join(f"{count:,}" for count in dict.fromkeys(whole)),
            differences,
            "equal" if all(one["names"] for one in cases) else "**differ**",
        ]
        if own is not None:
            found = in_process(name.split(" (")[0], chosen.size, case_options(name))
            side = f" (blocks of {found['side']})"
            cells += [
                f"{found['seconds']:.1f}{side}",
                f"{found['seconds'] / own['seconds']:.2f}",
                f"{found['gib']:.2f}",
            ]
        lines.append("| " + " | ".join([*cells, *[""] * (HEADER.count(" | ") + 1 - len(cells))]) + " |")
        print(lines[-1], file=sys.stderr)
    if own is not None:
        lines.append(f"| {OURS} (ours) | | | | {own['seconds']:.1f} (blocks of {own['side']}) | 1 | {own['gib']:.2f} |")
    published = [f"{name}: {where}" for name in names if (where := network_class(name).published)]
    print("\n".join(lines))
    if chosen.markdown:
        title = (
            "The compared networks, 31 and 3 bands at x4, and the largest difference from what their programs put out"
        )
        weights = f"Published weights: {'; '.join(published)}." if published else ""
        made = made_by(f"python benchmarks/compared_networks.py DATA/golden --size {chosen.size}", 1, _METHOD)
        chosen.markdown.write_text("\n".join([title, "", *lines, "", weights, *made]) + "\n", "utf-8")


if __name__ == "__main__":
    main()
