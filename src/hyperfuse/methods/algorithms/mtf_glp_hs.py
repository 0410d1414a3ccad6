"""Hypersharpening by a generalised Laplacian pyramid whose low-pass filter is the sensor's own PSF."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from hyperfuse.methods.algorithms.expansion import band_blocks, expand
from hyperfuse.methods.contract.method import MethodSettings
from hyperfuse.methods.contract.registry import register_method
from hyperfuse.progress import Progress
from hyperfuse.sensor.model import Sensor
from hyperfuse.statistics.linear import correlation, covariance, fit_linear, injection_gains


class MtfGlpHsSettings(MethodSettings):
    """Settings of ``mtf-glp-hs``."""

    detail: Literal["synthesis", "best-band"] = Field(
        default="synthesis",
        description="where a band's details come from: the combination of all MSI bands that fits it best at LR,"
        " or the one MSI band that correlates with it most",
    )


@register_method(
    "mtf-glp-hs",
    settings=MtfGlpHsSettings,
    summary="generalised Laplacian pyramid: add what the sensor's PSF removes from the best or synthesised MSI band",
    reference=(
        "Selva, Aiazzi, Butera, Chiarantini, Baronti, Hyper-sharpening: a first approach on SIM-GA data, IEEE JSTARS"
        " 8(6), 2015, doi 10.1109/JSTARS.2015.2440092; MTF-matched pyramid of Aiazzi et al., PE&RS 72(5), 2006"
    ),
    cost="seconds",
)
def mtf_glp_hs(
    hsi: torch.Tensor, msi: torch.Tensor, sensor: Sensor, settings: MtfGlpHsSettings, progress: Progress
) -> torch.Tensor:
    """Fuse by hypersharpening; arguments as in :func:`~.registry.register_method`.

    For every HSI band ``H_k`` an HR image ``P_k`` is made from the MSI (see the settings); with ``P_k^L`` for
    ``P_k`` degraded by the sensor's PSF and expanded again, and ``~`` for expansion, ``fused_k = H~_k +
    cov(H~_k, P_k^L) / var(P_k^L) (P_k - P_k^L)``.
    """
    shape = (msi.shape[-2], msi.shape[-1])
    msi_lr = sensor.degrade(msi, (hsi.shape[-2], hsi.shape[-1]))
    if settings.detail == "synthesis":
        weights = fit_linear(msi_lr, hsi)[:, 1:]
    else:
        best = correlation(hsi, msi_lr).abs().argmax(dim=1)
        weights = torch.nn.functional.one_hot(best, msi.shape[0]).double()
    progress(0.1, "details chosen")
    fused = expand(hsi, shape, sensor)
    progress(0.6, "HSI expanded")
    # P_k and P_k^L are the same combination w_k of the MSI bands and of their low-passed versions, so moments and
    # details are computed once per MSI band; the constant of the fit drops out of both.
    low = expand(msi_lr, shape, sensor)
    cross = (covariance(fused, low) * weights).sum(1)
    variance = ((weights @ covariance(low, low)) * weights).sum(1)
    level = weights.abs() @ low.mean((1, 2)).double().abs()
    gains = injection_gains(cross, variance, level, hsi.dtype)
    progress(0.8, "gains found")
    detail = torch.sub(msi, low, out=low)
    injected = (gains[:, None] * weights).to(hsi.dtype)
    for block in band_blocks(hsi.shape[0]):
        fused[block] += (injected[block] @ detail.flatten(1)).view(-1, *shape)
    progress(1.0, "details injected")
    return fused
