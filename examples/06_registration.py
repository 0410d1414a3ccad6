"""
Two images that do not lie on each other
========================================

Two satellites disagree about where the ground is, by up to several HSI pixels and not by the same everywhere. The
displacement is found from the images, and enters the sensor model: neither image is resampled.
"""

# %%
# A displaced pair
# ----------------
# A smooth field displaces the HSI's pixels; its header knows nothing of it.

import matplotlib.pyplot as plt
import numpy as np

import hyperfuse as hf
from hyperfuse.datasets import load_indian_pines

scene = load_indian_pines().replace(transform=(20, 0, 492_000, 0, -20, 4_482_000), crs="EPSG:32616")
control = np.random.default_rng(1).normal(0, 3, (2, 5, 5)) + np.array([2.0, -3.0])[:, None, None]
field = hf.Displacement(control, spacing=(24, 24), origin=(-24, -24))
pair = hf.simulate(scene, ratio=4, srf="sentinel-2a", displacement=field)

# %%
# Find it
# -------
# ``hf.align`` does this part of a fusion alone. On the command line: ``hyperfuse align hsi.tif msi.tif``.

found = hf.align(pair.hsi, pair.msi)
rows, cols = np.arange(pair.hsi.rows), np.arange(pair.hsi.cols)
true, estimate = field.at(rows, cols), found.displacement.vectors
print(f"model: {found.evidence.model}, tie points (tried, reliable, kept): {found.evidence.counts}")
print(f"displacement: {np.hypot(*true).mean():.2f} MSI pixels on average")
print(f"error of what was found: {np.hypot(*(estimate - true)).mean():.2f} MSI pixels on average")

figure, axes = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
step = 4
for axis, name, vectors in zip(axes, ("true", "found", "error"), (true, estimate, estimate - true), strict=True):
    pair.hsi.plot(axis)
    y, x = vectors[:, ::step, ::step]
    axis.quiver(cols[::step], rows[::step], x, y, color="yellow", angles="xy", scale_units="xy", scale=2)
    axis.set(title=f"{name} displacement", xlabel="", ylabel="")

# %%
# Fuse with and without
# ---------------------
# ``hf.fuse`` does the same by itself; ``align=False`` trusts the headers.
# Pixels at the border that the displaced HSI has not seen are gaps of the result, and are not scored.

aligned = hf.fuse(pair.hsi, pair.msi, method="local-regression")
trusted = hf.fuse(pair.hsi, pair.msi, method="local-regression", align=False)
figure, axes = plt.subplots(1, 2, figsize=(8, 4), layout="constrained")
for axis, (name, image) in zip(axes, {"headers trusted": trusted, "displacement found": aligned}.items(), strict=True):
    image.plot(axis)
    psnr = hf.evaluate(pair.reference, image, ratio=4)["psnr_db"]
    axis.set(title=f"{name}: {psnr:.1f} dB", xlabel="", ylabel="")
