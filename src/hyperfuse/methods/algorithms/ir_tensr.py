"""IR-TenSR: iterative regularisation with a tensor subspace whose coefficients have patches of low tubal rank."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from pydantic import Field

from hyperfuse.methods.contract.method import BytesPerPixel, Capabilities, MethodSettings, Outcome, PairTensors
from hyperfuse.methods.contract.registry import register_method
from hyperfuse.methods.tensor.iterations import Iterations, relative_norm
from hyperfuse.methods.tensor.patches import PatchGrid, cluster
from hyperfuse.methods.tensor.periodic import PeriodicPair, responses_of
from hyperfuse.methods.tensor.shrinkage import shrink_clusters
from hyperfuse.methods.tensor.subspace import image_of, leading_basis, nearest_orthogonal, slices_of
from hyperfuse.methods.tensor.sylvester import SylvesterSolver
from hyperfuse.methods.tensor.tucker import mix
from hyperfuse.progress import Progress, part
from hyperfuse.sensor.model import Sensor


class IrTensrSettings(MethodSettings):
    """Settings of ``ir-tensr``."""

    rank: int = Field(default=8, ge=1, description="lateral slices of the basis, at most the bands and the rows")
    clusters: int = Field(default=32, ge=1, description="clusters of patches, fewer where there are fewer patches")
    patch: int = Field(default=9, ge=1, le=512, description="side of patches over columns and bands, at most either")
    sparsity: float = Field(default=1e-7, ge=0, description="weight of the nuclear norm of patches, for a peak of 1")
    coupling: float = Field(default=5e-7, gt=0, le=1e6, description="weight that ties image and subspace")
    proximity: float = Field(default=1e-5, gt=0, le=1e6, description="weight of the distance from the last iterate")
    splitting: float = Field(default=1e-5, gt=0, le=1e6, description="weight that ties coefficients and patches")
    passes: int = Field(default=7, ge=1, le=10_000, description="passes, each over what the ones before do not explain")
    inner_iterations: int = Field(default=100, ge=1, le=100_000, description="iterations of a pass, at most")
    patch_iterations: int = Field(default=2, ge=1, le=10_000, description="iterations of patches in each of them")
    tolerance: float = Field(
        default=0.01, ge=0, lt=1, description="end a pass once coefficients change by less, relative to their norm"
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="of the first centres of the clusters")
    budget_seconds: float | None = Field(default=None, gt=0, description="wall time; ends passes early")


@register_method(
    "ir-tensr",
    settings=IrTensrSettings,
    summary="iterative regularisation by a tensor subspace: passes over the residual, patches of low tubal rank",
    reference=(
        "Xu, Huang, Deng, Yokoya, An iterative regularization method based on tensor subspace representation for"
        " hyperspectral image super-resolution, IEEE TGRS 60, 2022, doi 10.1109/TGRS.2022.3176266"
    ),
    cost="minutes",
    capabilities=Capabilities(
        needs_srf=True,
        seed=True,
        budget=True,
        displaced=False,
        whole_ratios=True,
        bytes_per_pixel=BytesPerPixel(hsi_band=100, msi_band=60),
    ),
)
def ir_tensr(
    hsi: torch.Tensor, msi: torch.Tensor, sensor: Sensor, settings: IrTensrSettings, progress: Progress
) -> Outcome:
    """Fuse by iterative regularisation; arguments as in :func:`~.registry.register_method`.

    Each pass lowers ``|Y - A BS|^2 / 2 + |Z - R A|^2 / 2 + coupling / 2 |A - B * C|^2 + sparsity sum_j |G_j C|_TNN``
    with ``B^T * B = I``: the image as a t-product along its columns, the patches of whose coefficients, in clusters,
    have a small tensor nuclear norm. The next pass does the same for what its ``B * C`` does not explain of the
    measured images (the authors' demonstration subtracts from noise-free ones); the result is the sum of all.

    Details: for each pass ``change``, the norm of what it adds relative to the sum; ``hsi_residual`` and
    ``msi_residual`` after it, relative to the images; ``steps``, its iterations.
    """
    progress(0.0, "starting the first pass")
    result = hsi.new_zeros(hsi.shape[0], msi.shape[1], msi.shape[2])
    filled = torch.nonzero((hsi != 0).any(dim=2).any(dim=1))[:, 0]
    if len(filled) == 0:
        progress(1.0, "the HSI is zero")
        return Outcome(result)
    peak = float(hsi.abs().max())
    unit = PairTensors(hsi[filled].double() / peak, msi.double() / peak, sensor)
    pair = PeriodicPair.of(unit)
    responses = responses_of(sensor, hsi.device)[:, filled]
    problem = _Problem(pair, responses, settings)
    steps = Iterations(settings.passes, None, settings.budget_seconds, part(progress, 0.0, 0.98))
    coarse, fine = pair.hsi, pair.msi
    total = torch.zeros(len(coarse), *pair.sampling.fine, dtype=torch.float64, device=hsi.device)
    inner = []
    for number in steps:
        added, count = problem.solve(coarse, fine, steps, part(progress, number / settings.passes, 1.0))
        total += added
        coarse = coarse - pair.sampling.forward(added)
        fine = fine - mix(responses, added)
        inner.append(count)
        steps.record(
            change=relative_norm(added, total),
            hsi_residual=relative_norm(coarse, pair.hsi),
            msi_residual=relative_norm(fine, pair.msi),
        )
    result[filled] = (pair.cut(total) * peak).to(hsi.dtype)
    progress(1.0, "fused")
    return Outcome(result, details={**steps.details(), "steps": inner})


@dataclass(frozen=True)
class _Problem:
    """What a pass solves, for any two images of the pair's sizes.

    Attributes:
        pair: sizes and sampling.
        responses: (msi_bands, bands).
        settings: of the method.
    """

    pair: PeriodicPair
    responses: torch.Tensor
    settings: IrTensrSettings
    _solver: SylvesterSolver = field(init=False)

    def __post_init__(self) -> None:
        total = self.settings.coupling + self.settings.proximity
        gram = self.responses.T @ self.responses
        ridge = total * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        object.__setattr__(self, "_solver", SylvesterSolver(gram + ridge, self.pair.sampling))

    def solve(
        self, hsi: torch.Tensor, msi: torch.Tensor, steps: Iterations, progress: Progress
    ) -> tuple[torch.Tensor, int]:
        """Return the image ``B * C`` (bands, H, W) for two images, and the number of iterations."""
        settings, cols = self.settings, self.pair.sampling.fine[1]
        coupling, proximity = settings.coupling, settings.proximity
        fixed = mix(self.responses.T, msi) + self.pair.sampling.adjoint(hsi)
        slices = slices_of(self.pair.sensor.upsample(hsi, self.pair.sampling.fine, "cubic"))
        basis = leading_basis(slices, min(settings.rank, *slices.shape[1:]))
        coefficients = basis.mH @ slices
        product = image_of(basis @ coefficients, cols)
        image = product
        count = 0
        for count in range(1, settings.inner_iterations + 1):
            image = self._solver.solve(fixed + coupling * product + proximity * image)
            slices = slices_of(image)
            basis = nearest_orthogonal(coupling * slices @ coefficients.mH + proximity * basis)
            projected = (coupling * (basis.mH @ slices) + proximity * coefficients) / (coupling + proximity)
            before = coefficients
            coefficients = self._low_rank(projected)
            product = image_of(basis @ coefficients, cols)
            progress(0.0, f"iteration {count} of the pass")
            if relative_norm(coefficients - before, before) < settings.tolerance or steps.late():
                break
        return product, count

    def _low_rank(self, projected: torch.Tensor) -> torch.Tensor:
        """Return the coefficients (frequencies, k, bands) near given ones, whose patches are of low tubal rank."""
        settings, cols = self.settings, self.pair.sampling.fine[1]
        given = torch.fft.irfft(projected.permute(1, 2, 0), n=cols, dim=-1)  # (k, bands, W)
        splitting = settings.splitting
        threshold = settings.sparsity / (splitting * (settings.coupling + settings.proximity))
        side = min(settings.patch, *given.shape[1:])
        grid = PatchGrid((given.shape[1], given.shape[2]), side, side - side // 2)
        found, multiplier = given, torch.zeros_like(given)
        for _ in range(settings.patch_iterations):
            shifted = found - multiplier / splitting
            low = self._shrunk(shifted, grid, threshold)
            found = (given + splitting * low + multiplier) / (1 + splitting)
            multiplier = multiplier + splitting * (low - found)
        coefficients: torch.Tensor = torch.fft.rfft(found, dim=-1)
        return coefficients.permute(2, 0, 1)

    def _shrunk(self, image: torch.Tensor, grid: PatchGrid, threshold: float) -> torch.Tensor:
        """Return the image of patches of which each cluster has the singular values of its slices reduced."""
        patches = grid.cut(image)
        labels = torch.empty(grid.count, dtype=torch.int64)
        for number, group in enumerate(cluster(patches.flatten(1).cpu(), self.settings.clusters, self.settings.seed)):
            labels[group] = number
        low = shrink_clusters(patches, labels.to(patches.device), lambda values: (values - threshold).clamp_min(0))
        return grid.average(iter([(torch.arange(grid.count), low)]), image)
