"""What is settled before a method runs, for a scene as a whole or for one of its tiles."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hyperfuse.errors import InputError
from hyperfuse.methods.contract.registry import Method, MethodSettings
from hyperfuse.scenes.matching.grid import MatchedPair
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.srf.srf import Srf


def configure(method: Method, settings: Mapping[str, Any] | None, seed: int) -> MethodSettings:
    """Return the settings of a method; the seed is its own where it has one and none is given."""
    values = dict(settings or {})
    if "seed" in method.settings.model_fields:
        values.setdefault("seed", seed)
    return method.configure(**values)


def find_device(name: str) -> torch.device:
    """Return the device of that name; ``auto`` is CUDA where there is one.

    Raises:
        InputError: it cannot be used here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"the device {name!r} cannot be used here; write auto, cpu or cuda") from error
    return device


def on_device(learned: Any, device: torch.device) -> Any:
    """Return what a method has learnt with all of its tensors on a device."""
    if isinstance(learned, torch.Tensor):
        return learned.to(device)
    if dataclasses.is_dataclass(learned) and not isinstance(learned, type):
        names = [field.name for field in dataclasses.fields(learned)]
        return dataclasses.replace(learned, **{name: on_device(getattr(learned, name), device) for name in names})
    if isinstance(learned, Mapping):
        return {name: on_device(value, device) for name, value in learned.items()}
    if isinstance(learned, list | tuple):
        return type(learned)(on_device(value, device) for value in learned)
    return learned


def select_responses(srf: Srf | None, msi_bands: NDArray[np.bool_], bands: NDArray[np.bool_]) -> Srf | None:
    """Return the responses between the bands that are used; what falls on other HSI bands is shared out.

    Args:
        srf: between all bands, or None.
        msi_bands: which MSI bands are used, bool.
        bands: which HSI bands are.

    Raises:
        InputError: responses of another number of bands, or most of one lies on bands that are not used.
    """
    if srf is None or (msi_bands.all() and bands.all()):
        return srf
    if srf.matrix.shape != (msi_bands.size, bands.size):
        made, read = srf.matrix.shape
        raise InputError(
            f"the spectral responses turn {read} bands into {made}; HSI and MSI have {bands.size} and {msi_bands.size}"
        )
    matrix = srf.matrix[np.ix_(msi_bands, bands)]
    total = matrix.sum(axis=1)
    if (total < 0.5).any():
        lost = np.flatnonzero(msi_bands)[np.argmin(total)]
        raise InputError(f"more than half of the response of MSI band {srf.names[lost]!r} lies on unusable HSI bands")
    names = tuple(name for name, keep in zip(srf.names, msi_bands, strict=True) if keep)
    wavelengths = None if srf.wavelengths is None else srf.wavelengths[msi_bands]
    fwhm = None if srf.fwhm is None else srf.fwhm[msi_bands]
    return Srf(matrix / total[:, None], names, wavelengths, fwhm, srf.source)


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
