"""Whether `--budget` is kept: wall time of the command over the budget, alone and next to other work.

    python benchmarks/budget.py DATA

Next to the command, no process or one per core computes all the time; the load average shows what else the machine
did. The command is timed from outside: the start of Python, reading, writing, report and end included. DATA holds the
folders that benchmarks/scenes.py names. The table goes to benchmarks/results/budget.md.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hyperfuse as hf
from recording import RESULTS, made_by
from scenes import read_cave, read_remote

_BUDGETS = (30, 60)
_MORE = {"": (), "uncertainty and report": ("--uncertainty", "error.tif", "--report", "report.html")}


@contextmanager
def load(processes: int) -> Iterator[None]:
    """Keep so many processes computing."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for one in running:
            one.kill()
            one.wait()


def measure(folder: Path, budget: int, more: tuple[str, ...]) -> tuple[float, str]:
    """Return the wall time of a command, and how its fit ended."""
    words = ["fuse", "hsi.tif", "msi.tif", "out.tif", "--overwrite", "--budget", f"{budget}s", "--threads", "1", *more]
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", "hyperfuse", *words, "--quiet"], cwd=folder, check=True)
    seconds = time.monotonic() - start
    run = hf.read(folder / "out.tif").history[-1]["run"]
    return seconds, f"{run['steps']} ({run.get('end', 'none')})"


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--output", type=Path, default=RESULTS / "budget.md", help="file to write to")
    options = parser.parse_args()
    scenes = {
        "balloons_half": hf.simulate(read_cave(options.data, "balloons_half"), ratio=4, preset="mtf", srf="nikon-d700"),
        "jasper_ridge": hf.simulate(
            read_remote(options.data / "remote" / "jasper_ridge.mat"), ratio=4, preset="mtf", srf="boxes:6"
        ),
    }
    lines = ["| scene | computing | load average | in addition | budget, s | wall, s | of the budget | steps |"]
    lines += ["|" + " --- |" * 8]
    for name, pair in scenes.items():
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            hf.write(folder / "hsi.tif", pair.hsi)
            hf.write(folder / "msi.tif", pair.msi)
            pair.sensor.save(folder / "sensor.yaml")
            for busy in (0, os.cpu_count() or 1):
                for title, more in _MORE.items():
                    for budget in _BUDGETS:
                        with load(busy):
                            average = f"{os.getloadavg()[0]:.1f}"
                            seconds, run = measure(folder, budget, more)
                        cells = [
                            name,
                            str(busy),
                            average,
                            title,
                            str(budget),
                            f"{seconds:.1f}",
                            f"{seconds / budget:.2f}",
                            run,
                        ]
                        lines.append(f"| {' | '.join(cells)} |")
                        print(lines[-1], flush=True)
    text = [
        "# Wall time over the budget",
        "",
        "One thread; `computing`: other processes, and the load average of the minute before.",
        "",
        *lines,
    ]
    text += made_by("python benchmarks/budget.py DATA", 1)
    options.output.write_text("\n".join(text) + "\n", "utf-8")


if __name__ == "__main__":
    main()
