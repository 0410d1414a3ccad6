"""
How reliable is each value?
===========================

The default method estimates the error of every pixel and band from the pair alone. Here the truth is known, so the
estimate can be checked: is it large where errors are large, and how many values lie within it?
"""

# %%
# Fuse with the setting ``uncertainty``
# -------------------------------------
# On the command line: ``hyperfuse fuse hsi.tif msi.tif fused.tif --uncertainty error.tif``. The own noise of the scene,
# which no pair can show, is removed first, so that the reference is the truth.

import matplotlib.pyplot as plt
import numpy as np

import hyperfuse as hf
from hyperfuse.datasets import load_indian_pines


def without_noise(cube, components=8):
    """Return a cube made of its leading principal components alone."""
    values = cube.data.reshape(cube.bands, -1)
    mean = values.mean(1, keepdims=True)
    spectra = np.linalg.svd(values - mean, full_matrices=False)[0][:, :components]
    return cube.replace(data=(mean + spectra @ (spectra.T @ (values - mean))).reshape(cube.data.shape))


scene = without_noise(load_indian_pines().crop(0, 40, 104, 104))
pair = hf.simulate(scene, ratio=4, srf="sentinel-2a", hsi_snr_db=35, msi_snr_db=40)
fusion = hf.fuse(pair.hsi, pair.msi, settings={"uncertainty": True}, return_details=True)
expected = fusion.uncertainty.data
actual = np.abs(fusion.image.data - pair.reference.data)

# %%
# The map
# -------
# Root mean square over all bands: what was expected, and what happened.

figure, axes = plt.subplots(1, 3, figsize=(10, 3.4), layout="constrained")
fusion.image.plot(axes[0])
axes[0].set(title="fused", xlabel="", ylabel="")
maps = {"expected error": expected, "actual error": actual}
limit = float(np.percentile(np.sqrt((actual**2).mean(0)), 99))
for axis, (name, values) in zip(axes[1:], maps.items(), strict=True):
    picture = axis.imshow(np.sqrt((values**2).mean(0)), vmin=0, vmax=limit, cmap="magma")
    axis.set(title=name)
figure.colorbar(picture, ax=axes[1:], shrink=0.8)

# %%
# Band by band
# ------------

figure, axis = plt.subplots(figsize=(8, 3.2), layout="constrained")
for name, values in maps.items():
    axis.plot(scene.wavelengths, np.sqrt((values**2).mean((1, 2))), ".", label=name)
axis.set(xlabel="wavelength (nm)", ylabel=f"RMS, {scene.units}")
axis.legend()

# %%
# Coverage
# --------
# Values sorted by the expected error into ten groups. Errors of a group should be as large as expected (the line). A
# pair does not show the detail that the blur hides altogether: errors are somewhat larger than expected.

groups = np.array_split(np.argsort(expected, axis=None), 10)
means = [np.sqrt(np.mean(expected.flat[group] ** 2)) for group in groups]
errors = [np.sqrt(np.mean(actual.flat[group] ** 2)) for group in groups]
figure, axis = plt.subplots(figsize=(4.5, 4), layout="constrained")
axis.loglog(means, errors, "o-")
axis.loglog([min(means), max(means)], [min(means), max(means)], "k:", label="as expected")
axis.set(xlabel="expected error", ylabel="actual error", title="tenths of all values")
axis.legend()

for factor, aim in ((1, 68), (1.96, 95)):
    print(f"within {factor} sigma: {100 * np.mean(actual < factor * expected):.0f} % (aim {aim} %)")
