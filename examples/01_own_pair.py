"""
Fuse a pair of your own
=======================

From two files, a hyperspectral image (HSI) of few pixels and a multispectral one (MSI) of few bands, to one image
that has both, a map of it and its spectra.
"""

# %%
# The two files
# -------------
# Yours exist already. Here they are made from Indian Pines, which comes without a
# position: it is given one, so that the files look like those of a satellite. The HSI has pixels of 80 m and 200
# bands, the MSI those of Sentinel-2A at 20 m.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

import hyperfuse as hf
from hyperfuse.datasets import load_indian_pines

folder = Path(tempfile.mkdtemp())
scene = load_indian_pines().replace(transform=(20, 0, 492_000, 0, -20, 4_482_000), crs="EPSG:32616")
pair = hf.simulate(scene, ratio=4, srf="sentinel-2a")
hf.write(folder / "hsi.tif", pair.hsi)
hf.write(folder / "msi.tif", pair.msi)

# %%
# Look before fusing
# ------------------
# The header states what the program knows of a file. Wavelengths, position and
# gaps should be in it; what is missing can be specified.

hsi, msi = hf.read(folder / "hsi.tif"), hf.read(folder / "msi.tif")
print(hsi)
print(msi)

# %%
# Fuse
# ----
# Nothing else is needed: the ratio follows from the pixel sizes, blur and shift are estimated from the two images. The
# same on the command line: ``hyperfuse fuse hsi.tif msi.tif fused.tif --report report.html``.

fused = hf.fuse(hsi, msi)
print(fused)

figure, axes = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
for axis, (name, image) in zip(axes, {"HSI": hsi, "MSI": msi, "fused": fused}.items(), strict=True):
    image.plot(axis)
    axis.set(title=f"{name}: {image.rows} x {image.cols}, {image.bands} bands", xlabel="", ylabel="")

# %%
# The spectra
# -----------
# A pixel by its coordinates. The fused spectrum has the bands of the HSI, and agrees with the MSI where that measures.

figure, axis = plt.subplots(figsize=(8, 3.6), layout="constrained")
for x, y, colour in [(493_000, 4_480_900, "tab:green"), (494_210, 4_479_730, "tab:brown")]:
    axis.plot(fused.wavelengths, fused.spectrum(x, y), colour, label=f"fused at {x}, {y}")
    axis.plot(hsi.wavelengths, hsi.spectrum(x, y), colour, alpha=0.5, linestyle="--", label="HSI pixel around it")
    axis.plot(msi.wavelengths, msi.spectrum(x, y), "o", color=colour, label="MSI")
axis.set(xlabel="wavelength (nm)", ylabel=scene.units)
axis.legend(fontsize="small")

# %%
# Write it
# --------
# The file carries position, wavelengths and what was done. With a simulated pair the truth is known, too.

hf.write(folder / "fused.tif", fused)
print({key: fused.history[-1][key] for key in ("step", "method", "ratio", "version") if key in fused.history[-1]})
print(f"{hf.evaluate(pair.reference, fused, ratio=4)['psnr_db']:.1f} dB against the truth")
