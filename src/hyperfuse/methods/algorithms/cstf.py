"""Coupled sparse tensor factorisation: both images as one sparse core times dictionaries of rows, columns and bands."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field

from hyperfuse.errors import InputError
from hyperfuse.methods.algorithms.endmembers import vertex_component_analysis
from hyperfuse.methods.contract.method import BytesPerPixel, Capabilities, MethodSettings, Outcome
from hyperfuse.methods.contract.registry import register_method
from hyperfuse.methods.local_linear.msi_noise import estimate_msi_noise
from hyperfuse.methods.tensor.iterations import Iterations
from hyperfuse.methods.tensor.periodic import responses_of
from hyperfuse.methods.tensor.tucker import (
    CorePenalty,
    Dictionaries,
    band_equations,
    row_equations,
    solve_dictionary,
    sparse_core,
)
from hyperfuse.progress import Progress, part
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import KernelPsf

# A PSF whose nearest separable one differs by more, relative to its norm, is another PSF.
_MOST_DEVIATION = 0.5
# Atoms of rows and columns: 260 for the 512 of CAVE, and as many more as leave less of the MSI than this fraction of
# the HSI's peak, or than its noise.
_ATOMS_PER_LINE, _LOST = 260 / 512, 1e-3
# Iterations of the core that are made whatever the time is: fewer give no image.
_LEAST_ITERATIONS = 5


class CstfSettings(MethodSettings):
    """Settings of ``cstf``."""

    row_atoms: int | None = Field(
        default=None,
        ge=1,
        description="atoms of the rows; default: 260 for 512 rows (the authors' for CAVE), else in proportion, and more"
        " where these leave more of the MSI than its noise and 0.1 % of the peak",
    )
    col_atoms: int | None = Field(default=None, ge=1, description="atoms of the columns; default: like rows")
    band_atoms: int = Field(
        default=15,
        ge=1,
        description="atoms of the bands (15 on CAVE), fewer where the HSI has fewer bands or independent spectra",
    )
    sparsity: float = Field(default=1e-5, ge=0, description="weight of the core's absolute values, for a peak of 1")
    proximity: float = Field(default=1e-3, gt=0, le=1e6, description="weight of the distance from the last iterate")
    splitting: float = Field(default=1e-2, gt=0, le=1e6, description="weight that ties the copies of the core")
    msi_weight: float = Field(
        default=324.0,
        gt=0,
        le=1e9,
        description="weight of the MSI's misfit: 18 squared, as the authors' responses sum to about 18 where these sum"
        " to 1",
    )
    sweeps: int = Field(default=3, ge=1, le=10_000, description="rounds over dictionaries and core, at most")
    tolerance: float = Field(
        default=0.0, ge=0, lt=1, description="end once the image changes by less, relative to its norm (default: never)"
    )
    core_iterations: int = Field(default=60, ge=1, le=100_000, description="iterations for the core in a round")
    warm_start: bool = Field(
        default=True,
        description="start the core's iterations from the last core; from zero, as the authors do, they are too few:"
        " the result loses what only the last core determines, up to 20 dB",
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="of the random directions of VCA")
    budget_seconds: float | None = Field(default=None, gt=0, description="wall time; ends rounds early")


def _notes(sensor: Sensor, settings: CstfSettings) -> Sequence[str]:
    deviation = _deviation(sensor)
    if deviation == 0:
        return ()
    return (f"cstf needs a separable PSF: the nearest one is used, which differs by {deviation:.1%} of the PSF's norm",)


@register_method(
    "cstf",
    settings=CstfSettings,
    summary="coupled sparse tensor factorisation: one sparse core times dictionaries of rows, columns and bands",
    reference=(
        "Li, Dian, Fang, Bioucas-Dias, Fusing hyperspectral and multispectral images via coupled sparse tensor"
        " factorization, IEEE TIP 27(8), 2018, doi 10.1109/TIP.2018.2836307"
    ),
    cost="minutes",
    capabilities=Capabilities(
        needs_srf=True,
        seed=True,
        budget=True,
        displaced=False,
        bytes_per_pixel=BytesPerPixel(hsi_band=60, msi_band=150),
        notes=_notes,
    ),
)
def cstf(hsi: torch.Tensor, msi: torch.Tensor, sensor: Sensor, settings: CstfSettings, progress: Progress) -> Outcome:
    """Fuse by coupled sparse tensor factorisation; arguments as in :func:`~.registry.register_method`.

    With dictionaries of rows ``U1``, columns ``U2`` and bands ``U3``, the core ``C`` minimises
    ``|Y - C x1 P1 U1 x2 P2 U2 x3 U3|^2 + w |Z - C x1 U1 x2 U2 x3 R U3|^2 + sparsity |C|_1``. The PSF is separable into
    ``P1`` and ``P2``, which are any matrices: ratios, phases, sizes and borders are those of the sensor. Core and
    dictionaries are updated in turns, each with a weight on its distance from the last (proximal alternating
    minimisation). Dictionaries start from the leading singular vectors of the MSI's lines and from the purest spectra
    of the HSI (VCA), as in the authors' program; they are then solved for exactly, where that makes 30 steps of
    conjugate gradients. The core's iterations start from the last core, there from zero. A band that is zero
    throughout the HSI is zero in the result.

    Details: ``objective`` after each round, from the start; ``change`` of the image in it; ``core_residual``, the
    relative difference of the core and its copies.

    Raises:
        InputError: a PSF that is far from separable.
    """
    progress(0.0, "starting dictionaries")
    result = hsi.new_zeros(hsi.shape[0], msi.shape[1], msi.shape[2])
    filled = torch.nonzero((hsi != 0).any(dim=2).any(dim=1))[:, 0]
    if len(filled) == 0:
        progress(1.0, "the HSI is zero")
        return Outcome(result)
    factorisation = _Factorisation.start(hsi[filled], msi, sensor, filled, settings)
    first = 1 / (settings.sweeps + 1)
    steps = Iterations(
        settings.sweeps, settings.tolerance or None, settings.budget_seconds, part(progress, first, 0.98)
    )
    factorisation.update_core(steps)
    progress(first, "core started")
    objective = factorisation.objective()
    steps.record(change=1.0, objective=objective, core_residual=factorisation.residual)
    for _ in () if steps.late() else steps:
        before = factorisation.image()
        factorisation.update_dictionaries()
        factorisation.update_core(steps)
        after = factorisation.image()
        change = torch.linalg.vector_norm(after - before) / torch.linalg.vector_norm(after).clamp_min(1e-300)
        steps.record(change=float(change), objective=factorisation.objective(), core_residual=factorisation.residual)
    result[filled] = (factorisation.image() * factorisation.peak).to(hsi.dtype)
    progress(1.0, "fused")
    rows, cols, bands = (one.shape[1] for one in factorisation.used)
    return Outcome(result, details={**steps.details(), "atoms": [rows, cols, bands]})


@dataclass
class _Factorisation:
    """Core and dictionaries of a pair, float64, values relative to the HSI's peak.

    Attributes:
        observed: HSI, and MSI times the root of its weight.
        sampling: ``P1`` and ``P2``.
        responses: ``R`` times that root.
        used: the dictionaries.
        core: (n3, n1, n2).
        settings: of the method.
        peak: of the HSI.
        residual: of the last update of the core.
    """

    observed: tuple[torch.Tensor, torch.Tensor]
    sampling: tuple[torch.Tensor, torch.Tensor]
    responses: torch.Tensor
    used: Dictionaries
    core: torch.Tensor
    settings: CstfSettings
    peak: float
    residual: float = 0.0

    @classmethod
    def start(
        cls, hsi: torch.Tensor, msi: torch.Tensor, sensor: Sensor, bands: torch.Tensor, settings: CstfSettings
    ) -> _Factorisation:
        """Return the factorisation that the iterations start from, without a core; ``bands``: those of the sensor."""
        peak, root = float(hsi.abs().max()), math.sqrt(settings.msi_weight)
        coarse, fine = hsi.double() / peak, msi.double() * (root / peak)
        sampling = _sampling(sensor, (msi.shape[1], msi.shape[2]), (hsi.shape[1], hsi.shape[2]), hsi.device)
        responses = responses_of(sensor, hsi.device)[:, bands] * root
        # In the type that the HSI has: spectra that differ by its rounding are no others.
        noise = float(estimate_msi_noise(hsi, msi, sensor).double().square().mean())
        lost = root**2 * max(_LOST**2, noise / peak**2)
        spectra = hsi.to(torch.promote_types(hsi.dtype, torch.float32)).flatten(1)
        purest = vertex_component_analysis(spectra, settings.band_atoms, seed=settings.seed)
        used = Dictionaries(
            _leading(fine, settings.row_atoms, lost),
            _leading(fine.transpose(1, 2), settings.col_atoms, lost),
            coarse.flatten(1)[:, purest],
        )
        core = fine.new_zeros(used.bands.shape[1], used.rows.shape[1], used.cols.shape[1])
        return cls((coarse, fine), sampling, responses, used, core, settings, peak)

    @property
    def _degraded(self) -> Dictionaries:
        return Dictionaries(self.sampling[0] @ self.used.rows, self.sampling[1] @ self.used.cols, self.used.bands)

    @property
    def _responding(self) -> Dictionaries:
        return self.used._replace(bands=self.responses @ self.used.bands)

    def image(self) -> torch.Tensor:
        """Return the image (bands, H, W)."""
        return self.used.image(self.core)

    def objective(self) -> float:
        """Return what is minimised."""
        pairs = zip(self.observed, (self._degraded, self._responding), strict=True)
        misfit = sum(float((image - used.image(self.core)).square().sum()) for image, used in pairs)
        return misfit + self.settings.sparsity * float(self.core.abs().sum())

    def update_dictionaries(self) -> None:
        """Solve for the dictionaries of rows, columns and bands, one after the other."""
        (hsi, msi), proximity = self.observed, self.settings.proximity
        rows = solve_dictionary(
            row_equations(hsi, self.core, self._degraded),
            self.sampling[0],
            row_equations(msi, self.core, self._responding),
            self.used.rows,
            proximity,
        )
        self.used = self.used._replace(rows=rows)
        flipped = self.core.transpose(1, 2)
        cols = solve_dictionary(
            row_equations(hsi.transpose(1, 2), flipped, self._degraded.flipped()),
            self.sampling[1],
            row_equations(msi.transpose(1, 2), flipped, self._responding.flipped()),
            self.used.cols,
            proximity,
        )
        self.used = self.used._replace(cols=cols)
        bands = solve_dictionary(
            band_equations(msi, self.core, self.used),
            self.responses,
            band_equations(hsi, self.core, self._degraded),
            self.used.bands,
            proximity,
        )
        self.used = self.used._replace(bands=bands)

    def update_core(self, steps: Iterations) -> None:
        """Solve for the core; early where the time is over."""
        settings = self.settings
        penalty = CorePenalty(settings.sparsity, settings.proximity, settings.splitting)
        used = (self._degraded, self._responding)
        iterations = _until_late(steps, settings.core_iterations)
        start = self.core if settings.warm_start else torch.zeros_like(self.core)
        self.core, self.residual = sparse_core(self.observed, used, self.core, start, penalty, iterations)


def _until_late(steps: Iterations, count: int) -> Iterator[int]:
    for number in range(count):
        yield number
        if number + 1 >= _LEAST_ITERATIONS and number + 1 < count and steps.late():
            break


def _leading(image: torch.Tensor, count: int | None, lost: float) -> torch.Tensor:
    """Return the leading left singular vectors (rows, count) of the rows of an image (bands, rows, cols).

    Without a count they are as many as leave a mean square of at most ``lost``, or more.
    """
    lines = image.permute(1, 0, 2).flatten(1)
    squares, vectors = torch.linalg.eigh(lines @ lines.T)
    if count is None:
        enough = len(lines) - int((squares.clamp_min(0).cumsum(0) <= lost * lines.numel()).sum())
        count = max(math.ceil(_ATOMS_PER_LINE * len(lines)), enough)
    leading: torch.Tensor = vectors[:, -min(count, len(lines)) :].flip(1).contiguous()
    return leading


def _sampling(
    sensor: Sensor, fine: tuple[int, int], coarse: tuple[int, int], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the matrices that blur and sample rows and columns: those of the nearest separable PSF.

    Raises:
        InputError: a PSF that is far from separable.
    """
    along = [np.asarray(one.matrix.todense()) for one in sensor.sampling(fine, coarse)[0]]
    gain = float(np.prod([np.median(one.sum(axis=1)) for one in along]))
    deviation = _deviation(sensor)
    if deviation > _MOST_DEVIATION or abs(gain) < 1 - _MOST_DEVIATION:
        raise InputError(
            f"cstf needs a separable PSF, and the nearest one differs by {deviation:.0%} of this PSF's norm; choose"
            " another method=..., or psf=...",
            parameter="psf",
        )
    rows, cols = (torch.as_tensor(one, dtype=torch.float64, device=device) for one in along)
    return rows / gain, cols


def _deviation(sensor: Sensor) -> float:
    """Return the norm of the difference from the nearest separable PSF, relative to that of the PSF."""
    if not isinstance(sensor.psf, KernelPsf) or len(sensor.psf.factors()) == 1:
        return 0.0
    values = np.linalg.svd(np.asarray(sensor.psf.weights), compute_uv=False)
    return float(np.linalg.norm(values[1:]) / np.linalg.norm(values))
