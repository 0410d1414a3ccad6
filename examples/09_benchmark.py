"""
Compare methods over a folder of scenes
=======================================

``hyperfuse benchmark`` makes a pair of every scene, fuses it with every method, scores it, and writes tables. Each
job is recorded with its conditions, so that a killed benchmark continues where it was.
"""

# %%
# A folder of scenes
# ------------------
# Four parts of Indian Pines, a file each. Any cubes will do; CAVE and Harvard are read as they are distributed.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
from rich.console import Console

import hyperfuse as hf
from hyperfuse.benchmark import make_plan, method_entry, run_plan, summarise, write_tables
from hyperfuse.benchmark.plan import Pairs
from hyperfuse.benchmark.summary import summary_table
from hyperfuse.datasets import load_indian_pines
from hyperfuse.tables.terminal import render_terminal

folder = Path(tempfile.mkdtemp())
(folder / "scenes").mkdir()
scene = load_indian_pines().select_bands(list(range(0, 200, 4)))
for name, (row, col) in {
    "north-west": (0, 0),
    "north-east": (0, 72),
    "south-west": (72, 0),
    "south-east": (72, 72),
}.items():
    hf.write(folder / "scenes" / f"{name}.tif", scene.crop(row, col, 72, 72))

# %%
# Plan and run
# ------------
# The same as ``hyperfuse benchmark --data scenes --kind folder --preset mtf --srf sentinel-2a --ratio 3 6 --methods
# bicubic,gsa,cnmf,local-regression,feinfn --out tables``, which does several jobs at a time.

entries = [method_entry(name) for name in ("bicubic", "gsa", "cnmf", "local-regression", "feinfn")]
pairs = Pairs("folder", folder / "scenes", preset="mtf", srf="sentinel-2a")
plan = make_plan(entries, [3, 6], pairs)
records = run_plan(plan, folder / "tables", workers=0)
written = write_tables(folder / "tables", plan, records)
print("wrote", ", ".join(path.name for path in written))

# %%
# The tables
# ----------
# Means over the scenes; ``benchmark.md`` and ``benchmark.tex`` have the same with deviations, and every scene.

for ratio in (3, 6):
    Console(width=100).print(
        render_terminal(summary_table([one for one in summarise(records) if one.ratio == ratio], deviations=False))
    )

# %%
# Scene by scene
# --------------

figure, axis = plt.subplots(figsize=(8, 3.6), layout="constrained")
names = [entry.name for entry in entries]
for ratio, marker in ((3, "o"), (6, "s")):
    for name in names:
        values = [one.scores["psnr_db"] for one in records if one.job.entry.name == name and one.job.ratio == ratio]
        axis.plot([name] * len(values), values, marker, color="tab:blue" if ratio == 3 else "tab:orange", alpha=0.7)
    axis.plot([], [], marker, color="tab:blue" if ratio == 3 else "tab:orange", label=f"ratio {ratio}")
axis.set(ylabel="PSNR (dB)")
axis.legend()
