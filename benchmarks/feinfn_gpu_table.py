"""Write the page of FeINFN on a GPU from what `feinfn_gpu.py` measured.

    python benchmarks/feinfn_gpu_table.py [TIMINGS.JSON COMPILED.JSON]

The files are kept as benchmarks/results/feinfn-gpu.json; without them, that file is read.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hyperfuse.io.encoding.atomic import replacing
from recording import RESULTS, source

STORED, PAGE = "feinfn-gpu.json", "feinfn-gpu.md"
LITERAL = "literal form of the released program"
# Operations that reached the dispatcher before whole images were computed at once: per forward pass of 256x256 and
# 1024x1024 (feinfn) and of 512x512 (feinfn-release), and per training step of 16 patches.
BEFORE = "13,949 (256x256), 184,429 (1024x1024), 59,210 (feinfn-release, 512x512); training step 52,471"
# The authors' program itself in float32, on one H200, in another run: milliseconds.
AUTHORS = {"forward": 83, "training step": 62}
_ENTRY = re.compile(
    r"(?P<how>(?:compiled,? )?(?:recorded )?)(?P<what>forward(?: \d+x\d+)?|training step, \d+ patches|step), "
    r"(?P<precision>float32|TF32|bfloat16 and TF32|bfloat16), (?P<program>feinfn-release|feinfn|literal form.*?)"
    r"(?P<more>, automatic differentiation|, channels first)?"
)

Entries = Mapping[str, Any]


def rows(entries: Entries, what: str) -> list[dict[str, Any]]:
    """Return the timed entries of forward passes or of training steps, as their parts, with time and memory."""
    found = []
    for name, value in entries.items():
        match = _ENTRY.fullmatch(name)
        if match and isinstance(value, list | tuple) and (match["what"].split()[0] == "forward") == (what == "forward"):
            found.append({**match.groupdict(), "time": value[0], "memory": value[1]})
    return found


def table(entries: Entries, what: str) -> list[str]:
    """Return the table of forward passes or of training steps, next to the literal form and the authors' program."""
    found = rows(entries, what)
    literal = {row["precision"]: row["time"] for row in found if row["program"] == LITERAL}
    compared = [literal.get("float32"), literal.get("TF32"), AUTHORS[what]]
    usual = found[0]["what"]
    lines = [
        f"| {usual} | program | how | ms | GiB | times faster than the literal form, float32 | TF32 | "
        "than the authors' program, float32 |",
        f"| {' | '.join(['---'] * 8)} |",
    ]
    for row in sorted(found, key=lambda row: (row["precision"], row["program"], row["time"])):
        other = row["what"] not in (usual, what, "step")
        factors = ["-" if one is None or other else f"{one / row['time']:.1f}" for one in compared]
        how = (row["how"].strip().rstrip(",") or "operation by operation") + (row["more"] or "")
        # What a recording holds is not counted by the allocator's peak.
        memory = "-" if "recorded" in how else f"{row['memory']:.2f}"
        precision = row["precision"] + (f", {row['what']}" if other else "")
        lines.append(
            f"| {precision} | {row['program']} | {how} | {row['time']:.1f} | {memory} | {' | '.join(factors)} |"
        )
    return lines


def others(entries: Entries) -> list[str]:
    """Return what else was timed, as a table."""
    lines = ["| encoders, layouts and convolutions | ms | GiB |", "| --- | --- | --- |"]
    for name, value in entries.items():
        if isinstance(value, list | tuple) and not _ENTRY.fullmatch(name):
            lines.append(f"| {name} | {value[0]:.2f} | {value[1]:.2f} |")
    return lines


def page(results: Mapping[str, Any]) -> list[str]:
    """Return the page."""
    entries = results["entries"]
    lines = ["# FeINFN on a GPU", ""]
    lines.append(
        f"{results['device']}, torch {results['torch']}; 31 + 3 bands, ratio 4, medians of device time, the "
        "allocator's peak memory (without that of recordings). All programs ran in one run but the authors' own, which "
        f"took {AUTHORS['forward']} ms forward and {AUTHORS['training step']} ms for a training step on an H200. The "
        "literal form has no bfloat16. *Recorded*: the step of "
        "`hyperfuse train`, repeated as a CUDA graph, gradient clipping included; the others launch every operation, "
        "without clipping. *bfloat16 and TF32*: convolutions and most products in bfloat16, the rest in TF32."
    )
    if results.get("note"):
        lines += ["", results["note"]]
    for what in ("forward", "training step"):
        lines += ["", *table(entries, what)]
    lines += ["", "| | |", "| --- | --- |", f"| operations before | {BEFORE} |"]
    for name in ("operations, feinfn", "operations, feinfn-release", "encoders", "parity", "sums of rows"):
        if name in entries:
            lines.append(f"| {name} | {entries[name]} |")
    made = f"{results['source']}, torch {results['torch']}. Made by"
    calls = (
        "bash benchmarks/gpu.sh DATA OUT",
        "python benchmarks/feinfn_gpu_table.py OUT/timings.json OUT/compiled.json",
    )
    return [*lines, "", *others(entries), "", made, "", *(f"    {call}" for call in calls)]


def main() -> int:
    """Read, keep, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="*", metavar="JSON", help="of feinfn_gpu.py, eager and compiled")
    parser.add_argument("--source", default=source(), help="version and commit that were measured [the present ones]")
    parser.add_argument("--note", help="a remark on this run, for the page")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder to write to")
    args = parser.parse_args()
    parts = [json.loads(file.read_text("utf-8")) for file in args.files or [RESULTS / STORED]]
    results = {
        "source": args.source,
        "note": args.note,
        **parts[0],
        "entries": {name: value for part in parts for name, value in part["entries"].items()},
    }
    for name, text in ((STORED, json.dumps(results, indent=1)), (PAGE, "\n".join(page(results)))):
        with replacing(args.output / name) as scratch:
            scratch.write_text(text + "\n", "utf-8")
        print(args.output / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
