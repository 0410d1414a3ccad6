"""
Your own spectral responses
===========================

The spectral response function (SRF) says how each band of the MSI mixes the bands of the HSI. Many methods need none;
for the others it is a satellite's name, a table of your own, centres and widths, or it is estimated from the pair.
"""

# %%
# Four ways to state it
# ---------------------
# ``hf.list_srfs()`` names the satellites. A table is a text file with a wavelength and one column per band, as
# makers of cameras publish it: here one is written with three broad bands.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import hyperfuse as hf
from hyperfuse.datasets import load_indian_pines

scene = load_indian_pines().crop(30, 30, 96, 96)
wavelengths = np.arange(400, 1001, 10)
curves = [np.exp(-0.5 * ((wavelengths - centre) / width) ** 2) for centre, width in [(470, 35), (560, 45), (840, 60)]]
table = Path(tempfile.mkdtemp()) / "camera.csv"
np.savetxt(
    table,
    np.column_stack([wavelengths, *curves]),
    delimiter=",",
    header="nm,blue,green,infrared",
    comments="",
    fmt="%.5g",
)

srfs = {
    "sentinel-2a:B2,B3,B4,B8": hf.create_srf("sentinel-2a:B2,B3,B4,B8", scene),
    "camera.csv": hf.create_srf(str(table), scene),
    "flat:490/60,560/40,665/30,840/110": hf.create_srf("flat:490/60,560/40,665/30,840/110", scene),
}
figure, axes = plt.subplots(3, 1, figsize=(8, 6), layout="constrained", sharex=True)
for axis, (name, srf) in zip(axes, srfs.items(), strict=True):
    axis.plot(scene.wavelengths, srf.matrix.T)
    axis.set(title=name, xlim=(400, 1000), ylabel="weight of a band")
axes[-1].set(xlabel="wavelength (nm)")

# %%
# What it changes
# ---------------
# A pair with the camera's bands, fused by a method that needs the responses: with the right ones, with those of a
# satellite of as many bands, and with none stated, so that they are estimated from the pair. The default method, which
# needs no responses, is the last line.

pair = hf.simulate(scene, ratio=4, srf=srfs["camera.csv"])
stated = {
    "camera.csv (the right ones)": srfs["camera.csv"],
    "sentinel-2a:B2,B3,B8 (others)": hf.create_srf("sentinel-2a:B2,B3,B8", scene),
    "none (estimated)": None,
}
for name, srf in stated.items():
    fused = hf.fuse(pair.hsi, pair.msi, srf=srf, psf="mtf:0.3", method="fuse-sylvester")
    print(f"fuse-sylvester, {name}: {hf.evaluate(pair.reference, fused, ratio=4)['psnr_db']:.2f} dB")
fused = hf.fuse(pair.hsi, pair.msi, psf="mtf:0.3")
print(f"the default, without: {hf.evaluate(pair.reference, fused, ratio=4)['psnr_db']:.2f} dB")

# %%
# Estimated against true responses
# --------------------------------

fusion = hf.fuse(pair.hsi, pair.msi, psf="mtf:0.3", method="fuse-sylvester", return_details=True)
figure, axis = plt.subplots(figsize=(8, 3), layout="constrained")
for band, colour in enumerate(["tab:blue", "tab:green", "tab:red"]):
    axis.plot(scene.wavelengths, srfs["camera.csv"].matrix[band], colour, label="true" if band == 0 else None)
    estimated = fusion.match.sensor.srf.matrix[band]
    axis.plot(scene.wavelengths, estimated, colour, linestyle="--", label="estimated" if band == 0 else None)
axis.set(xlim=(400, 1100), xlabel="wavelength (nm)", ylabel="weight of a band")
axis.legend()

# %%
# On the command line: ``hyperfuse fuse hsi.tif msi.tif fused.tif --srf camera.csv --method fuse-sylvester``. All forms
# are listed under spectral responses on the page on sensors.
