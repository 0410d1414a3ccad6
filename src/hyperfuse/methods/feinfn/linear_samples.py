"""What the linear models of a large scene share, learnt on samples of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from hyperfuse.methods.contract.method import PairTensors
from hyperfuse.methods.feinfn.band_psf import NARROW, BandOptics, nyquist_response
from hyperfuse.methods.feinfn.detail_injection import Details
from hyperfuse.methods.feinfn.linear_part import Linear, SharedBase, without_noise
from hyperfuse.methods.local_linear.denoising import denoise
from hyperfuse.methods.local_linear.models import Predictors, Whitening
from hyperfuse.methods.local_linear.msi_noise import estimate_msi_noise
from hyperfuse.methods.local_linear.scene_models import SceneModels, pooled
from hyperfuse.progress import Progress
from hyperfuse.statistics.shrinkage import RadianceShrinkage
from hyperfuse.statistics.subspace import model_subspace


def learn_base(samples: Sequence[PairTensors], progress: Progress) -> SharedBase:
    """Learn on samples of a scene what :meth:`.linear_base.LinearBase.fit` else learns of a pair as a whole.

    All samples go through its steps side by side: slopes, optics and trust are fitted to the pixels of all of them,
    weights of windows and ridges are means.

    Args:
        samples: parts of the scene.
        progress: called with the share done.
    """
    progress(0.0, "estimating the noise of samples")
    # Each estimate may err upwards only.
    msi_noise = torch.stack([estimate_msi_noise(one.hsi, one.msi, one.sensor) for one in samples]).amin(0)
    clean = [denoise(one.msi, msi_noise) for one in samples]
    whitening = Whitening.fit(pooled(clean))
    sensors = [one.sensor for one in samples]
    shapes = [(one.hsi.shape[-2], one.hsi.shape[-1]) for one in samples]
    predictors = [Predictors.whiten(*part, whitening) for part in zip(clean, sensors, shapes, strict=True)]
    signals, noises = zip(*(without_noise(one.hsi) for one in samples), strict=True)
    progress(0.1, "weighing windows on samples")
    models = SceneModels.learn(signals, [model_subspace(hsi) for hsi in signals], predictors, noises)
    linear = [Linear.of(models, *part) for part in zip(signals, predictors, strict=True)]
    narrow = nyquist_response(sensors[0]) >= NARROW
    if narrow:
        linear = [one.with_neighbours(hsi) for one, hsi in zip(linear, signals, strict=True)]
    progress(0.4, "correcting the bands' optics on samples")
    held_out = [one.held_out(hsi) for one, hsi in zip(linear, signals, strict=True)]
    images = [one.apply(hsi) for one, hsi in zip(linear, signals, strict=True)]
    optics = BandOptics.fit_parts(images, signals, held_out, sensors, [one.extent for one in samples])
    progress(0.7, "weighing windows for what is left of samples")
    left = [
        hsi - one.sensor.degrade(optics.at(one.extent).correct(images.pop(0)), shape)
        for hsi, one, shape in zip(signals, samples, shapes, strict=True)
    ]
    leftover = SceneModels.learn(left, [model_subspace(rest) for rest in left], predictors, noises)
    again = [Linear.of(leftover, *part).held_out(part[0]) for part in zip(left, predictors, strict=True)]
    known = [hsi - rest for hsi, rest in zip(signals, left, strict=True)]
    trust = RadianceShrinkage.fit(pooled(known), pooled(again), pooled(signals))
    details = None if narrow else Details.fit_parts(held_out, signals, predictors)
    progress(1.0, "done")
    return SharedBase(msi_noise, whitening, models, optics, leftover, trust, details)
