"""Gram-Schmidt adaptive fusion: one component substitution per MSI band, for the HSI bands nearest to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from pydantic import Field

from hyperfuse.errors import InputError
from hyperfuse.methods.algorithms.expansion import BANDS_AT_ONCE, expand
from hyperfuse.methods.contract.method import Capabilities, MethodSettings
from hyperfuse.methods.contract.registry import register_method
from hyperfuse.progress import Progress
from hyperfuse.sensor.model import Sensor
from hyperfuse.statistics.linear import apply_linear, correlation, covariance, fit_linear, injection_gains


class GsaSettings(MethodSettings):
    """Settings of ``gsa``."""

    grouping: Literal["correlation", "srf"] = Field(
        default="correlation",
        description="how an HSI band gets its MSI band: by correlation at LR, or as the one that responds most to it"
        " (a band to which none responds goes by correlation)",
    )
    intensity: Literal["all", "group"] = Field(
        default="all",
        description="HSI bands that the image replaced by an MSI band is fitted from: all, or those of its group"
        " (what they lack of the response is then injected as a slow error)",
    )


@register_method(
    "gsa",
    settings=GsaSettings,
    summary="Gram-Schmidt adaptive: per MSI band, substitute the intensity that its HSI bands make up",
    reference=(
        "Aiazzi, Baronti, Selva, Improving component substitution pansharpening through multivariate regression of"
        " MS+Pan data, IEEE TGRS 45(10), 2007, doi 10.1109/TGRS.2007.901007; grouped for HS+MS as in Yokoya,"
        " Grohnfeldt, Chanussot, IEEE GRSM 5(2), 2017"
    ),
    capabilities=Capabilities(by_detector=lambda settings: settings.grouping != "srf"),
    cost="seconds",
)
def gsa(
    hsi: torch.Tensor, msi: torch.Tensor, sensor: Sensor, settings: GsaSettings, progress: Progress
) -> torch.Tensor:
    """Fuse by Gram-Schmidt adaptive component substitution; arguments as in :func:`~.registry.register_method`.

    For every MSI band ``M`` and the group of HSI bands ``H_k`` assigned to it (one group of all for a panchromatic
    image): the intensity ``I = w_0 + sum_i w_i H_i`` is the least-squares fit of the degraded ``M`` at LR (Aiazzi et
    al., 2007), and with ``~`` for expansion to HR, ``fused_k = H~_k + cov(H~_k, I~) / var(I~) (M - I~)``.

    Raises:
        InputError: the grouping ``srf`` without spectral responses.
    """
    shape = (msi.shape[-2], msi.shape[-1])
    msi_lr = sensor.degrade(msi, (hsi.shape[-2], hsi.shape[-1]))
    owner = _assign(hsi, msi_lr, sensor, settings.grouping)
    progress(0.1, "bands grouped")
    fused = expand(hsi, shape, sensor)
    progress(0.5, "HSI expanded")
    used = torch.unique(owner).tolist()
    for step, (band, intensity_lr) in enumerate(zip(used, _intensities(hsi, msi_lr, owner, settings), strict=True)):
        intensity = sensor.upsample(intensity_lr, shape, "cubic")
        variance, level = covariance(intensity, intensity)[0], intensity.mean().double()
        detail = msi[band : band + 1] - intensity
        for part in torch.split(torch.nonzero(owner == band).flatten(), BANDS_AT_ONCE):
            expanded = fused[part]
            gains = injection_gains(covariance(expanded, intensity)[:, 0], variance, level, hsi.dtype)
            fused[part] = expanded.addcmul_(gains.to(hsi.dtype)[:, None, None], detail)
        progress(0.5 + 0.5 * (step + 1) / len(used), f"MSI band {band + 1} injected")
    return fused


def _intensities(
    hsi: torch.Tensor, msi_lr: torch.Tensor, owner: torch.Tensor, settings: GsaSettings
) -> Iterator[torch.Tensor]:
    """Yield the intensity (1, h, w) of every MSI band that owns HSI bands, in order.

    Computed at LR, in float64, and expanded by the caller: the same as combining the expanded bands.
    """
    used = torch.unique(owner)
    if settings.intensity == "all":
        members = hsi.double()
        yield from torch.split(apply_linear(fit_linear(members, msi_lr[used]), members).to(hsi.dtype), 1)
        return
    for band in used.tolist():
        members = hsi[owner == band].double()
        yield apply_linear(fit_linear(members, msi_lr[band : band + 1]), members).to(hsi.dtype)


def _assign(hsi: torch.Tensor, msi_lr: torch.Tensor, sensor: Sensor, grouping: str) -> torch.Tensor:
    """Return the index of the MSI band of every HSI band, shape (bands,)."""
    nearest = correlation(hsi, msi_lr).abs().argmax(dim=1)
    if grouping == "correlation":
        return nearest
    if sensor.srf is None:
        raise InputError("grouping=srf needs the spectral responses of the MSI; pass srf=... or use correlation")
    response = torch.as_tensor(sensor.srf.matrix, device=hsi.device)
    return torch.where(response.amax(dim=0) > 0, response.argmax(dim=0), nearest)
