"""
An unknown sensor
=================

Two files of which nothing is known but that they show the same ground: no blur, no responses, and a position that is
off by a fraction of a pixel. All of it is estimated from the two images; here it is compared with the truth.
"""

# %%
# A pair that keeps its secrets
# -----------------------------
# The HSI lies 0.7 and -0.4 MSI pixels off what its header states, its blur is unusual, both images are noisy. Only the
# values are handed on.

import matplotlib.pyplot as plt
import numpy as np

import hyperfuse as hf
from hyperfuse.datasets import load_indian_pines

scene = load_indian_pines().crop(0, 0, 112, 112)
pair = hf.simulate(
    scene,
    ratio=4,
    psf="sigma:1.4",
    phase=(1.5 + 0.7, 1.5 - 0.4),
    srf="sentinel-2a:B2,B3,B4,B5,B8,B11,B12",
    hsi_snr_db=35,
    msi_snr_db=40,
)
hsi, msi = hf.Cube(pair.hsi.data, wavelengths=pair.hsi.wavelengths), hf.Cube(pair.msi.data)

# %%
# What is found
# -------------
# ``return_details=True`` returns how the two images relate, and notes on all that was decided.

fusion = hf.fuse(hsi, msi, method="fuse-sylvester", return_details=True)
found, true = fusion.match.sensor, pair.sensor
print(f"position: true {np.round(true.offset, 2)}, found {np.round(found.offset, 2)}, by the sizes alone [1.5 1.5]")
print(f"PSF: true {true.psf.sigma}, found {found.psf}")
for note in fusion.notes:
    print("-", note)

figure, axes = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained", sharey=True)
for axis, name, srf in zip(axes, ("true", "estimated"), (true.srf, found.srf), strict=True):
    axis.plot(scene.wavelengths, srf.matrix.T)
    axis.set(title=f"{name} responses", xlabel="wavelength (nm)", xlim=(400, 2500))

# %%
# What not knowing costs
# ----------------------
# Each method with the true sensor, with nothing, and without even looking for a shift.

print(f"{'':18}{'known':>8}{'nothing known':>16}{'no search':>12}")
for method in ("regression", "fuse-sylvester", "local-regression", "feinfn"):
    images = (
        hf.fuse(hsi, msi, method=method, sensor=true),
        hf.fuse(hsi, msi, method=method),
        hf.fuse(hsi, msi, method=method, align=False),
    )
    known, blind, ignored = (hf.evaluate(pair.reference, image, ratio=4)["psnr_db"] for image in images)
    print(f"{method:18}{known:>8.2f}{blind:>16.2f}{ignored:>12.2f}")
