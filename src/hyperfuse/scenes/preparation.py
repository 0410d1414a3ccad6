"""What is settled before a method runs, for a scene as a whole or for one of its tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hyperfuse.methods.contract.method import Method, MethodSettings
from hyperfuse.scenes.matching.grid import MatchedPair
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.srf.coverage import coverage_note, outside_coverage


def configure(method: Method[MethodSettings], settings: Mapping[str, Any] | None, seed: int) -> MethodSettings:
    """Return the settings of a method; the seed is its own where it has one and none is given."""
    values = dict(settings or {})
    if method.capabilities.seed:
        values.setdefault("seed", seed)
    return method.configure(**values)


def on_device(learned: Any, device: torch.device) -> Any:
    """Return the state of a model with all of its tensors on a device."""
    if isinstance(learned, torch.Tensor):
        return learned.to(device)
    if isinstance(learned, Mapping):
        return {name: on_device(value, device) for name, value in learned.items()}
    if isinstance(learned, list | tuple):
        return type(learned)(on_device(value, device) for value in learned)
    return learned


def validity_at_hr(valid: NDArray[Any], pair: MatchedPair, sensor: Sensor) -> NDArray[np.bool_]:
    """Give every HR pixel the validity of the LR pixel that its centre lies in.

    Args:
        valid: bool (..., h, w).
        pair: tells the sizes of both images.
        sensor: relates the two.

    Returns:
        bool (..., H, W).
    """
    index = []
    for axis, fine, coarse in ((0, pair.msi.rows, pair.hsi.rows), (1, pair.msi.cols, pair.hsi.cols)):
        cell = np.floor((np.arange(fine) - sensor.offset[axis]) / sensor.ratio[axis] + 0.5).astype(np.intp)
        index.append(np.clip(cell, 0, coarse - 1))
    return np.asarray(valid[..., index[0][:, None], index[1][None, :]])


def sensor_summary(sensor: Sensor) -> dict[str, Any]:
    """Return what a history tells of a sensor: everything, but of the responses their source only."""
    values = sensor.to_dict()
    values["srf"] = None if sensor.srf is None else sensor.srf.source
    return values


def outside_coverage_note(pair: MatchedPair, sensor: Sensor, held_out_rmse: Sequence[float] | None = None) -> str:
    """Return a sentence about the usable HSI bands outside the spectral coverage of the MSI, empty without any.

    Args:
        pair: the matched pair.
        sensor: its sensor, with responses between usable bands.
        held_out_rmse: error of each usable band at LR pixels that were held out of its prediction.
    """
    usable = np.flatnonzero(pair.hsi.usable_bands)
    wavelengths = None if pair.hsi.wavelengths is None else pair.hsi.wavelengths[usable]
    responses = None if sensor.srf is None else sensor.srf.matrix
    outside = outside_coverage(wavelengths, responses, pair.msi.wavelengths, pair.msi.fwhm)
    return coverage_note(outside, usable + 1, wavelengths, held_out_rmse)
