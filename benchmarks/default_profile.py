"""Where the processor time of the default method goes, and how much of it several threads share.

    python benchmarks/default_profile.py DATA --scene paints --threads 2

DATA as benchmarks/scenes.py names it: a CAVE scene, preset `uestc`, ratio 4. For every region that runs in threads of
the process: processor seconds of all, and of the thread that takes longest when the same pieces are dealt out one after
the other to as many threads. The rest is that of the main thread. The sum of both is the wall time that a machine
without other work needs; on a busy one it is known no other way. Of several turns the one with the least is reported.
"""
# ruff: noqa: E402  (the number of threads must be set before any numeric library is loaded)

from __future__ import annotations

import argparse
import heapq
import inspect
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, os.environ.get("OMP_NUM_THREADS", "2"))

import torch

import hyperfuse as hf
from hyperfuse.methods import get_method
from hyperfuse.runtime import parallel
from recording import made_by
from scenes import read_cave

_plain = parallel.in_threads


class Regions:
    """Processor time of every region by the function that runs it: (of all threads, of the longest)."""

    def __init__(self, threads: int) -> None:
        self.seconds: dict[str, tuple[float, float]] = {}
        self._threads, self._within = threads, False

    def in_threads(self, task: Callable[[Any], Any], items: Sequence[Any], device: torch.device | str = "cpu") -> Any:
        """Call the function of the same name, and note how long its tasks take."""
        if self._within:
            return _plain(task, items, device)
        times: list[float] = []

        def timed(item: Any) -> Any:
            start = time.thread_time()
            result = task(item)
            times.append(time.thread_time() - start)
            return result

        self._within = True
        try:
            result = _plain(timed, items, device)
        finally:
            self._within = False
        busy = [0.0] * self._threads
        for seconds in times:
            heapq.heapreplace(busy, busy[0] + seconds)
        caller = inspect.stack()[1]
        name = f"{Path(caller.filename).stem}.{caller.function}"
        before = self.seconds.get(name, (0.0, 0.0))
        self.seconds[name] = (before[0] + sum(times), before[1] + max(busy))
        return result


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--scene", default="paints")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    get_method("feinfn")
    pair = hf.simulate(read_cave(asked.data, asked.scene), ratio=4, preset="uestc", srf="nikon-d700")
    best: tuple[float, float, dict[str, tuple[float, float]]] | None = None
    for _ in range(asked.turns):
        regions = Regions(asked.threads)
        for module in list(sys.modules.values()):
            if getattr(module, "__name__", "").startswith("hyperfuse") and hasattr(module, "in_threads"):
                module.in_threads = regions.in_threads
        start, main_start = time.process_time(), time.thread_time()
        hf.fuse(pair.hsi, pair.msi, sensor=pair.sensor)
        total, own = time.process_time() - start, time.thread_time() - main_start
        if asked.threads == 1:  # its regions are the main thread's
            own -= sum(all_threads for all_threads, _ in regions.seconds.values())
        if best is None or total < best[0]:
            best = total, own, regions.seconds
    assert best is not None
    total, own, seconds = best
    print(f"# {asked.scene}, {pair.reference.rows}x{pair.reference.cols}x{pair.reference.bands}: processor seconds\n")
    print("| region | all threads | the longest |\n| --- | --- | --- |")
    for name, (every, longest) in sorted(seconds.items(), key=lambda item: -item[1][0]):
        print(f"| {name} | {every:.2f} | {longest:.2f} |")
    print(f"| the main thread otherwise | {own:.2f} | {own:.2f} |")
    print(f"| everything | {total:.2f} | {own + sum(longest for _, longest in seconds.values()):.2f} |")
    call = f"python benchmarks/default_profile.py DATA --scene {asked.scene} --threads {asked.threads}"
    print("\n".join(made_by(call, asked.threads)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
