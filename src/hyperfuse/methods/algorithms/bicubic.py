"""Bicubic interpolation of the LR-HSI at the right phase: the baseline that ignores the MSI."""

from __future__ import annotations

import torch

from hyperfuse.methods.contract.method import MethodSettings
from hyperfuse.methods.contract.registry import register_method
from hyperfuse.progress import Progress
from hyperfuse.sensor.model import Sensor


class BicubicSettings(MethodSettings):
    """Bicubic interpolation has no settings."""


@register_method(
    "bicubic",
    settings=BicubicSettings,
    summary="interpolate the HSI, aware of the sampling phase; the MSI is not used",
    reference="Keys, Cubic convolution interpolation for digital image processing, IEEE TASSP 29(6), 1981",
    cost="seconds",
)
def bicubic(
    hsi: torch.Tensor, msi: torch.Tensor, sensor: Sensor, settings: BicubicSettings, progress: Progress
) -> torch.Tensor:
    """Interpolate the HSI (bands, h, w) on the MSI's grid; arguments as in :func:`~.registry.register_method`."""
    fused = sensor.upsample(hsi, (msi.shape[-2], msi.shape[-1]), "cubic")
    progress(1.0, "interpolated")
    return fused
