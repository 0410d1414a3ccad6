"""
Choose a method
===============

Every method that takes seconds, on one pair, with what it costs and where it errs. The default is the first to try; the
others are for comparison, for speed, or where the spectral responses are known and noise is strong.
"""

# %%
# A pair with a known truth
# -------------------------
# A part of Indian Pines, reduced by 4, with the bands of Sentinel-2A and some noise.

import time

import matplotlib.pyplot as plt
import rich

import hyperfuse as hf
from hyperfuse.datasets import load_indian_pines
from hyperfuse.reports.figures import error_map
from hyperfuse.tables import Column, Table
from hyperfuse.tables.terminal import render_terminal

scene = load_indian_pines().crop(0, 0, 96, 96)
pair = hf.simulate(scene, ratio=4, srf="sentinel-2a", hsi_snr_db=35, msi_snr_db=40)

# %%
# All of them
# -----------
# ``hf.list_methods()`` says what each costs and needs. Those of low-rank tensors are left out: they take minutes on
# scenes of this many bands. ``hyperfuse methods`` prints the list, with papers and settings.

rows, errors = [], {}
for method in hf.list_methods():
    if method.cost != "seconds" or method.name in {"cstf", "lttr", "ltmr", "ir-tensr"}:
        continue
    start = time.monotonic()
    fused = hf.fuse(pair.hsi, pair.msi, method=method.name, sensor=pair.sensor)
    scores = hf.evaluate(pair.reference, fused, ratio=4)
    rows.append({"method": method.name, "seconds": time.monotonic() - start, **scores})
    errors[method.name] = error_map(fused, pair.reference)

rows.sort(key=lambda row: -row["psnr_db"])
columns = [
    Column("method", "method"),
    Column("psnr_db", "PSNR (dB)", format=".2f"),
    Column("sam_degrees", "SAM (degrees)", format=".3f"),
    Column("seconds", "seconds", format=".1f"),
]
rich.print(render_terminal(Table(columns, rows)))

# %%
# Where they err
# --------------
# Error of each pixel over all bands, on one scale. Interpolation errs at every edge of a field; the best methods only
# where the MSI does not show a difference that the HSI has.

figure, axes = plt.subplots(2, 5, figsize=(11, 4.8), layout="constrained")
for axis in axes.flat:
    axis.set_axis_off()
for axis, row in zip(axes.flat, rows, strict=False):
    picture = axis.imshow(errors[row["method"]], vmin=0, vmax=0.03, cmap="magma")
    axis.set_title(f"{row['method']}: {row['psnr_db']:.1f} dB", fontsize="medium")
figure.colorbar(picture, ax=axes, label=f"RMSE, {scene.units}", shrink=0.7)

# %%
# Settings of a method
# --------------------
# A method's settings are its own; an unknown one is refused with the nearest name.

try:
    hf.fuse(pair.hsi, pair.msi, method="local-regression", settings={"windows": 2.0})
except hf.InputError as error:
    print(error)
