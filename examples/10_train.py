"""
Train a network
===============

The default method needs no training. Where there are many scenes of one pair of sensors, a network can be trained on
them; this is the whole way in small: scenes, a configuration, a run, and the network applied to a pair that it has
not seen.
"""

# %%
# Scenes
# ------
# The western two thirds of Indian Pines are for training and validation, the eastern third is kept out.
# Every fifth band keeps this short.

import json
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

import hyperfuse as hf
from hyperfuse.datasets import load_indian_pines, open_dataset
from hyperfuse.methods.base_image import create_base
from hyperfuse.training.configuration import TrainingConfig
from hyperfuse.training.loop import train

folder = Path(tempfile.mkdtemp())
(folder / "scenes").mkdir()
scene = load_indian_pines().select_bands(list(range(0, 200, 5)))
hf.write(folder / "scenes" / "west.tif", scene.crop(0, 0, 144, 96))
kept_out = scene.crop(0, 96, 144, 48)

# %%
# A configuration
# ---------------
# The same as a YAML file for ``hyperfuse train``; the page on training lists every key. The network learns what the
# method ``regression`` leaves, and starts from its image. A third of the rows is held out and chooses the weights.

config = TrainingConfig.model_validate(
    {
        "output": folder / "run",
        "length": "150 steps",
        "batch": 8,
        "network": {
            "name": "feinfn",
            "options": {"width": 16, "encoder_blocks": 1, "hidden": [32], "latent": 16, "decoder_width": 16},
            "zero_output": True,
            "whitened_input": True,
        },
        "base": {"method": "regression", "versions": 1, "scale": 0.01},
        "data": {
            "kind": "folder",
            "folder": folder / "scenes",
            "train": ["west"],
            "hold_out": 0.34,
            "patch": 32,
            "stride": 8,
            "srf": "sentinel-2a",
        },
        "degradation": {"preset": "mtf", "ratios": [4]},
        "augmentation": {"symmetries": True},
        "optimiser": {"learning_rate": 2e-3},
        "schedule": {"name": "one-cycle"},
        "validation": {"every": "50 steps"},
        "checkpoints": {"every": "150 steps"},
        "log": {"every": 10, "tensorboard": False},
    }
)
result = train(config, open_dataset("folder", folder / "scenes"), base=create_base(config.base))
print(f"best after {result.best_step} of {result.steps} steps: {result.best_scores['psnr_db']:.2f} dB on held-out rows")

# %%
# How it went
# -----------
# ``log.jsonl`` has a line for every entry.

log = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
losses = [(one["step"], one["loss"]) for one in log if "loss" in one]
figure, axis = plt.subplots(figsize=(8, 3), layout="constrained")
axis.semilogy(*zip(*losses, strict=True))
axis.set(xlabel="step", ylabel="L1 loss")

# %%
# Use it
# ------
# On the part that was kept out, next to interpolation and to the method that it starts from. Regression leaves little
# of this small scene, and what a minute on it teaches changes next to nothing elsewhere: a network pays with many
# scenes of one pair of sensors. On the command line: ``hyperfuse fuse hsi.tif msi.tif fused.tif --network RUN/best``.

pair = hf.simulate(kept_out, ratio=4, srf="sentinel-2a")
images = {
    "interpolation": hf.fuse(pair.hsi, pair.msi, method="bicubic", sensor=pair.sensor),
    "regression": hf.fuse(pair.hsi, pair.msi, method="regression", sensor=pair.sensor),
    "network": hf.fuse(
        pair.hsi, pair.msi, method="network", sensor=pair.sensor, settings={"weights": str(result.best)}
    ),
}
figure, axes = plt.subplots(1, 3, figsize=(8, 5.4), layout="constrained")
for axis, (name, image) in zip(axes, images.items(), strict=True):
    image.plot(axis)
    axis.set(title=f"{name}: {hf.evaluate(pair.reference, image, ratio=4)['psnr_db']:.1f} dB", xlabel="", ylabel="")
