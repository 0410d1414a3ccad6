"""Global regression: least squares at LR, applied at HR, the residual back-projected."""

from __future__ import annotations

import torch
from pydantic import Field

from hyperfuse.methods.contract.method import MethodSettings
from hyperfuse.methods.contract.registry import register_method
from hyperfuse.methods.local_linear.consistency import enforce_consistency
from hyperfuse.progress import Progress
from hyperfuse.sensor.model import Sensor
from hyperfuse.statistics.linear import apply_linear, fit_linear


class RegressionSettings(MethodSettings):
    """Settings of ``regression``."""

    consistency: bool = Field(default=True, description="back-project the residual of the fit to the measured HSI")


@register_method(
    "regression",
    settings=RegressionSettings,
    summary="each HSI band as one linear combination of the MSI bands, then the residual back-projected",
    reference="Hill et al., A local correlation approach for the fusion of remote sensing data, IGARSS 1999",
    cost="seconds",
)
def regression(
    hsi: torch.Tensor, msi: torch.Tensor, sensor: Sensor, settings: RegressionSettings, progress: Progress
) -> torch.Tensor:
    """Fit the HSI (bands, h, w) to the degraded MSI and evaluate at HR; see :func:`~.registry.register_method`."""
    coefficients = fit_linear(sensor.degrade(msi, (hsi.shape[-2], hsi.shape[-1])), hsi)
    progress(0.3, "fitted")
    fused = apply_linear(coefficients, msi)
    if settings.consistency:
        progress(0.5, "enforcing consistency")
        fused = enforce_consistency(fused, hsi, sensor)
    progress(1.0, "done")
    return fused
