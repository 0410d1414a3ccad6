"""
A scene larger than memory
==========================

``fuse_tiles`` reads, fuses and writes a scene part by part, from file to file. What is learnt of the scene is learnt
once and holds in all parts, so that the tiles do not show.
"""

# %%
# A scene in files
# ----------------
# Four mirrored copies of Indian Pines make one of 288 x 288 pixels; a real one may have 20,000.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import hyperfuse as hf
from hyperfuse.datasets import load_indian_pines

folder = Path(tempfile.mkdtemp())
part = load_indian_pines().crop(0, 0, 144, 144).select_bands(list(range(0, 200, 4)))
row = np.concatenate([part.data, part.data[:, :, ::-1]], axis=2)
mosaic = hf.Cube(
    np.concatenate([row, row[:, ::-1]], axis=1),
    wavelengths=part.wavelengths,
    transform=(20, 0, 492_000, 0, -20, 4_482_000),
    crs="EPSG:32616",
)
pair = hf.simulate(mosaic, ratio=4, srf="sentinel-2a")
hf.write(folder / "hsi.tif", pair.hsi)
hf.write(folder / "msi.tif", pair.msi)

# %%
# In tiles
# --------
# The size of tiles follows from ``memory_gb``; here it is set, so that there are several. On the command line:
# ``hyperfuse fuse hsi.tif msi.tif fused.tif --tile 96 --resume``; ``--workers 4`` uses more processes.

fusion = hf.fuse_tiles(folder / "hsi.tif", folder / "msi.tif", folder / "tiled.tif", method="local-regression", tile=96)
print("tiles, and tiles with data:", fusion.windows)

# %%
# Against the scene fused whole
# -----------------------------

tiled = hf.read(folder / "tiled.tif")
whole = hf.fuse(hf.read(folder / "hsi.tif"), hf.read(folder / "msi.tif"), method="local-regression")
for name, image in {"tiles": tiled, "whole": whole}.items():
    print(f"{name}: {hf.evaluate(pair.reference, image, ratio=4)['psnr_db']:.2f} dB")

figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
tiled.plot(axes[0])
axes[0].set(title="fused in tiles", xlabel="", ylabel="")
difference = np.sqrt(np.mean((tiled.data - whole.data) ** 2, axis=0))
error = np.sqrt(np.mean((whole.data - pair.reference.data) ** 2))
picture = axes[1].imshow(difference / error, vmin=0, vmax=1, cmap="magma")
axes[1].set(title="tiles against whole, over the error of the result")
figure.colorbar(picture, ax=axes[1], shrink=0.8)
