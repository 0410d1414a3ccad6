"""Coupled non-negative matrix factorisation: alternating unmixing of HSI and MSI into common endmembers."""

from __future__ import annotations

import torch
from pydantic import Field

from hyperfuse.methods.algorithms.endmembers import count_endmembers, vertex_component_analysis
from hyperfuse.methods.algorithms.nonnegative import Updates, lower_nonnegative
from hyperfuse.methods.contract.method import Capabilities, MethodSettings
from hyperfuse.methods.contract.registry import register_method
from hyperfuse.progress import Progress
from hyperfuse.sensor.model import Sensor

# More endmembers than this gain little and cost time with their square.
_MAX_ENDMEMBERS = 40

# How many times the inner iterations the first abundances (from nothing) and the endmembers get: both problems are
# small next to that of the HR abundances, and the one for the endmembers is ill-conditioned.
_FIRST_ROUNDS = 10
_ENDMEMBER_ROUNDS = 5

# Alternations between endmembers and abundances of the HSI alone, before the MSI comes in.
_HSI_ALTERNATIONS = 3


class CnmfSettings(MethodSettings):
    """Settings of CNMF."""

    endmembers: int | None = Field(
        default=None,
        ge=1,
        description="number of endmembers, fewer where the HSI has fewer bands, pixels or independent spectra;"
        " default: the number above the noise, 40 at most",
    )
    outer_iterations: int = Field(
        default=20, ge=1, le=10_000, description="alternations between unmixing the MSI and the HSI, at most"
    )
    inner_iterations: int = Field(
        default=20,
        ge=1,
        le=10_000,
        description="updates of the abundances in one alternation; endmembers get five times as many",
    )
    tolerance: float = Field(
        default=0.02,
        ge=0,
        lt=1,
        description="end once the relative squared misfits of HSI and MSI, summed, fall by no more than this fraction;"
        " a noisy pair ends early",
    )
    sum_to_one: float = Field(
        default=0.03,
        ge=0,
        le=1e4,
        description="weight of the row that makes abundances sum to one, relative to the rms value of the HSI; a small"
        " one leaves room for shade",
    )
    updates: Updates = Field(
        default="accelerated",
        description="projected gradient with momentum, or the multiplicative updates of the paper (more slowly to the"
        " same limit)",
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="of the random directions of VCA")


@register_method(
    "cnmf",
    settings=CnmfSettings,
    summary="coupled non-negative matrix factorisation: the HSI's endmembers in the MSI's abundances",
    reference=(
        "Yokoya, Yairi, Iwasaki, Coupled nonnegative matrix factorization unmixing for hyperspectral and multispectral"
        " data fusion, IEEE TGRS 50(2), 2012, doi 10.1109/TGRS.2011.2161320"
    ),
    cost="seconds",
    capabilities=Capabilities(needs_srf=True, seed=True, nonnegative=True),
)
def cnmf(
    hsi: torch.Tensor, msi: torch.Tensor, sensor: Sensor, settings: CnmfSettings, progress: Progress
) -> torch.Tensor:
    """Fuse by coupled unmixing; arguments as in :func:`~.registry.register_method`.

    With endmembers ``W`` (bands, p) and HR abundances ``H`` (p, pixels), both non-negative, the HSI is
    ``W degrade(H)``, the MSI ``respond(W) H`` and the fused image ``W H``. ``W`` starts from VCA, the LR abundances
    from equal fractions, ``H`` from the LR abundances interpolated. Then alternately:

    1. the MSI is unmixed: ``H`` is updated for ``respond(W)``;
    2. the HSI is unmixed: ``W`` is updated for ``G = degrade(H)``, then ``G`` for ``W``, and the change of ``G``,
       interpolated, is added to ``H``.

    The paper lets each unmixing also move what the other one determines (endmembers of the MSI, LR abundances of the
    HSI) and passes on only its start. Here the sensor ties them throughout, so that the product ``W H`` explains both.

    Negative values, which no mixture explains, are read as zero; the result has none. The result depends on units by
    their factor only, and on the number of threads by the rounding of sums (1e-5 of the largest value).
    """
    dtype = torch.promote_types(hsi.dtype, torch.float32)
    spectra, msi_spectra = (image.to(dtype).clamp(min=0).flatten(1) for image in (hsi, msi))
    shape = (msi.shape[-2], msi.shape[-1])
    peak = spectra.max()
    if not float(peak) > 0:
        progress(1.0, "the HSI holds nothing above zero")
        return hsi.new_zeros(hsi.shape[0], *shape)
    scale = peak * (spectra / peak).square().mean().sqrt()  # squares of the raw values could leave the dtype's range
    progress(0.0, "searching endmembers")
    pair = _Pair(spectra / scale, msi_spectra / scale, sensor, (hsi.shape[-2], hsi.shape[-1]), shape, settings)
    start = pair.start()
    progress(0.1, f"{start.shape[1]} endmembers found")
    endmembers, abundances = pair.unmix_first(start)
    cost = float("inf")
    for step in range(settings.outer_iterations):
        progress(0.2 + 0.75 * step / settings.outer_iterations, f"alternation {step + 1}")
        abundances, msi_cost = pair.unmix_msi(endmembers, abundances)
        endmembers, abundances, hsi_cost = pair.unmix_hsi(endmembers, abundances)
        previous, cost = cost, msi_cost + hsi_cost
        if step > 0 and previous - cost <= settings.tolerance * previous:
            break
    fused = (endmembers * scale @ abundances).reshape(-1, *shape).to(hsi.dtype)
    progress(1.0, f"fused after {step + 1} alternations")
    return fused


class _Pair:
    """Both images as matrices of (bands, pixels), and the steps of the alternation on them."""

    def __init__(
        self,
        hsi: torch.Tensor,
        msi: torch.Tensor,
        sensor: Sensor,
        lr_shape: tuple[int, int],
        shape: tuple[int, int],
        settings: CnmfSettings,
    ) -> None:
        self._hsi, self._msi, self._sensor, self._settings = hsi, msi, sensor, settings
        self._lr_shape, self._shape = lr_shape, shape
        self._msi_power = float(msi.square().mean())

    def start(self) -> torch.Tensor:
        """Endmembers (bands, p) found in the HSI."""
        given = self._settings.endmembers
        count = count_endmembers(self._hsi, _MAX_ENDMEMBERS) if given is None else given
        return self._hsi[:, vertex_component_analysis(self._hsi, count, seed=self._settings.seed)]

    def unmix_first(self, endmembers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Unmix the HSI alone; return the endmembers and the interpolated abundances (p, HR pixels)."""
        count = endmembers.shape[1]
        coarse = self._hsi.new_full((count, self._hsi.shape[1]), 1 / count)
        coarse = self._abundances(endmembers, self._hsi, coarse, rounds=_FIRST_ROUNDS)
        for _ in range(_HSI_ALTERNATIONS):
            endmembers = self._endmembers(endmembers, coarse)
            coarse = self._abundances(endmembers, self._hsi, coarse)
        return endmembers, self._upsample(coarse).clamp_(min=0)

    def unmix_msi(self, endmembers: torch.Tensor, abundances: torch.Tensor) -> tuple[torch.Tensor, float]:
        """Return the abundances that explain the MSI, and the relative squared misfit."""
        responses = self._sensor.respond(endmembers[..., None])[..., 0]
        abundances = self._abundances(responses, self._msi, abundances)
        misfit = float((self._msi - responses @ abundances).square().mean())
        return abundances, misfit / self._msi_power if self._msi_power > 0 else 0.0

    def unmix_hsi(self, endmembers: torch.Tensor, abundances: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, float]:
        """Return endmembers and abundances that explain the HSI, and the relative squared misfit of the former."""
        coarse = self._sensor.degrade(abundances.reshape(-1, *self._shape), self._lr_shape).flatten(1)
        endmembers = self._endmembers(endmembers, coarse)
        misfit = float((self._hsi - endmembers @ coarse).square().mean())
        change = self._abundances(endmembers, self._hsi, coarse) - coarse
        return endmembers, abundances.add_(self._upsample(change)).clamp_(min=0), misfit

    def _abundances(
        self, endmembers: torch.Tensor, pixels: torch.Tensor, start: torch.Tensor, rounds: int = 1
    ) -> torch.Tensor:
        return lower_nonnegative(
            endmembers,
            pixels,
            start,
            rounds * self._settings.inner_iterations,
            total_weight=pixels.shape[0] * self._settings.sum_to_one**2,
            updates=self._settings.updates,
        )

    def _endmembers(self, endmembers: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
        iterations = _ENDMEMBER_ROUNDS * self._settings.inner_iterations
        return lower_nonnegative(coarse.T, self._hsi.T, endmembers.T, iterations, updates=self._settings.updates).T

    def _upsample(self, coarse: torch.Tensor) -> torch.Tensor:
        return self._sensor.upsample(coarse.reshape(-1, *self._lr_shape), self._shape, "linear").flatten(1)
