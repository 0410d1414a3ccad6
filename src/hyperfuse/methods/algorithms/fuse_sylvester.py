"""FUSE: the most probable image under a Gaussian prior, in closed form by a Sylvester equation."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch.nn.functional import avg_pool2d

from hyperfuse.methods.contract.method import BytesPerPixel, Capabilities, MethodSettings, Outcome, PairTensors
from hyperfuse.methods.contract.registry import register_method
from hyperfuse.methods.tensor.periodic import PeriodicPair
from hyperfuse.methods.tensor.subspace_pair import SubspacePair
from hyperfuse.methods.tensor.sylvester import SylvesterSolver
from hyperfuse.methods.tensor.tucker import mix
from hyperfuse.progress import Progress
from hyperfuse.sensor.estimation.noise import pixel_noise
from hyperfuse.sensor.model import Sensor
from hyperfuse.statistics.noise import estimate_noise

# Of the root mean square of an image: noise below it, as of simulated images, counts as so much.
_LEAST_NOISE = 1e-3
# Of the mean square of the components: variance that the prior has at least, which a scene without details needs.
_LEAST_VARIANCE = 1e-10


class FuseSylvesterSettings(MethodSettings):
    """Settings of ``fuse-sylvester``."""

    components: int | None = Field(
        default=None,
        ge=1,
        description="dimension of the subspace of spectra; default: components that differ from noise",
    )
    prior: Literal["details", "image"] = Field(
        default="details",
        description="whose covariance the prior around the interpolated HSI has: of the HSI's details (pixels less the"
        " mean of the 3 x 3 around them), or of the HSI",
    )


@register_method(
    "fuse-sylvester",
    settings=FuseSylvesterSettings,
    summary="FUSE: the most probable image in a spectral subspace under a Gaussian prior, in closed form",
    reference=(
        "Wei, Dobigeon, Tourneret, Fast fusion of multi-band images based on solving a Sylvester equation, IEEE TIP"
        " 24(11), 2015, doi 10.1109/TIP.2015.2458572"
    ),
    cost="seconds",
    capabilities=Capabilities(
        needs_srf=True,
        displaced=False,
        whole_ratios=True,
        bytes_per_pixel=BytesPerPixel(hsi_band=90, msi_band=60),
    ),
)
def fuse_sylvester(
    hsi: torch.Tensor, msi: torch.Tensor, sensor: Sensor, settings: FuseSylvesterSettings, progress: Progress
) -> Outcome:
    """Fuse by a Gaussian model; arguments as in :func:`~.registry.register_method`.

    The image is ``H U`` with the HSI's leading components. HSI and MSI are ``H U B S + N_h`` and ``R H U + N_m`` with
    white noise whose variances ``L_h``, ``L_m`` of the bands are estimated from the images, and every pixel of ``U`` is
    drawn from a Gaussian around the interpolated HSI ``m`` with one covariance ``C`` (the paper's Gaussian prior; it
    leaves ``C`` to the user). The most probable ``U`` solves

    ``H'L_h^-1 H U BS(BS)' + (H'R'L_m^-1 R H + C^-1) U = H'L_h^-1 Y(BS)' + H'R'L_m^-1 Z + C^-1 m``,

    which multiplied by the root of the first matrix is the equation of :class:`~.sylvester.SylvesterSolver`. All is
    computed in double precision; the result is not clipped.
    """
    progress(0.0, "estimating noise")
    pair = PeriodicPair.of(PairTensors(hsi, msi, sensor))
    noise_h = least_noise(estimate_noise(hsi.double()), hsi)
    noise_m = least_noise(torch.from_numpy(pixel_noise(msi)).to(hsi.device).sqrt(), msi)
    found = SubspacePair.of(pair, hsi, noise_h, settings.components)
    if found is None:
        progress(1.0, "the HSI holds nothing above its noise")
        return Outcome(pair.cut(pair.upsampled()).to(hsi.dtype).contiguous())
    progress(0.2, f"{found.basis.shape[1]} components")
    spectra, response = found.basis, found.response @ found.basis
    precision = _prior_precision(found.project(hsi.double()), settings.prior)
    by_hsi, by_msi = spectra.T / noise_h.square(), response.T / noise_m.square()
    values, vectors = torch.linalg.eigh(by_hsi @ spectra)
    root = vectors @ torch.diag(values.rsqrt()) @ vectors.T  # of the inverse of H'L_h^-1 H
    right = mix(by_hsi, pair.sampling.adjoint(pair.hsi)) + mix(by_msi, pair.msi)
    right += mix(precision, found.upsampled(pair))
    solver = SylvesterSolver(root @ (by_msi @ response + precision) @ root, pair.sampling)
    progress(0.5, "solving the Sylvester equation")
    image = mix(spectra @ root, solver.solve(mix(root, right)))
    progress(1.0, "solved")
    return Outcome(pair.cut(image).to(hsi.dtype).contiguous(), None, {"components": spectra.shape[1]})


def least_noise(noise: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Return standard deviations of noise (bands,) that are not below what an image (bands, rows, cols) resolves."""
    least = _LEAST_NOISE * image.double().square().mean().sqrt()
    return noise.double().clamp_min(float(least) or 1.0)


def _prior_precision(components: torch.Tensor, prior: str) -> torch.Tensor:
    """Return the inverse covariance of the prior, from the HSI's components (components, h, w)."""
    values = components.flatten(1)
    if prior == "image":
        differences = values - values.mean(1, keepdim=True)
    else:
        around = avg_pool2d(components[None], 3, 1, 1, count_include_pad=False)[0]
        differences = (components - around).flatten(1)
    covariance = differences @ differences.T / differences.shape[1]
    least = _LEAST_VARIANCE * values.square().mean()
    identity = torch.eye(len(values), dtype=values.dtype, device=values.device)
    precision: torch.Tensor = torch.linalg.inv(covariance + least * identity)
    return precision
