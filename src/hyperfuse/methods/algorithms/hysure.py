"""HySure: least squares in a spectral subspace with a penalty on edges that all components share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field

from hyperfuse.methods.contract.method import BytesPerPixel, Capabilities, MethodSettings, Outcome, PairTensors
from hyperfuse.methods.contract.registry import register_method
from hyperfuse.methods.tensor.iterations import Iterations, relative_norm
from hyperfuse.methods.tensor.periodic import PeriodicPair
from hyperfuse.methods.tensor.subspace_pair import SubspacePair
from hyperfuse.methods.tensor.tucker import mix
from hyperfuse.progress import Progress, part
from hyperfuse.sensor.model import Sensor
from hyperfuse.statistics.noise import estimate_noise


class HySureSettings(MethodSettings):
    """Settings of ``hysure``."""

    components: int = Field(default=10, ge=1, description="dimension of the subspace of spectra; the authors': 10")
    variation: float = Field(
        default=5e-4, ge=0, description="weight of the vector total variation, for values up to 1; the authors': 0.0005"
    )
    msi_weight: float = Field(default=1.0, gt=0, description="weight of the MSI against the HSI; the authors': 1")
    penalty: float = Field(
        default=0.05, gt=0, description="weight of the difference between the image and its splits; the authors': 0.05"
    )
    iterations: int = Field(default=200, ge=1, le=10_000, description="at most; the authors': 200")
    tolerance: float = Field(
        default=0, ge=0, lt=1, description="end below this relative change of the image; the authors': never"
    )
    budget_seconds: float | None = Field(
        default=None, gt=0, description="wall time, after which the iterations end with what they have"
    )


@register_method(
    "hysure",
    settings=HySureSettings,
    summary="HySure: least squares in a spectral subspace with vector total variation, by SALSA",
    reference=(
        "Simoes, Bioucas-Dias, Almeida, Chanussot, A convex formulation for hyperspectral image superresolution via"
        " subspace-based regularization, IEEE TGRS 53(6), 2015, doi 10.1109/TGRS.2014.2375320"
    ),
    cost="seconds",
    capabilities=Capabilities(
        budget=True,
        needs_srf=True,
        displaced=False,
        whole_ratios=True,
        bytes_per_pixel=BytesPerPixel(hsi_band=110, msi_band=110),
    ),
)
def hysure(
    hsi: torch.Tensor, msi: torch.Tensor, sensor: Sensor, settings: HySureSettings, progress: Progress
) -> Outcome:
    """Fuse with vector total variation; arguments as in :func:`~.registry.register_method`.

    The image is ``E X`` with the HSI's leading components, and ``X`` minimises ``|Y - E X B M|^2 / 2 + l_m |Z - R E
    X|^2 / 2 + l sum_pixels sqrt(sum_components (X D_x)^2 + (X D_y)^2)``, with periodic differences. By SALSA (Afonso,
    Bioucas-Dias, Figueiredo, 2011) with the splits ``X B``, ``X``, ``X D_x``, ``X D_y``: the step for ``X`` is a
    division in the Fourier domain, those for the splits are small solves per pixel and a vector soft threshold. Values
    are divided by the largest one of both images. All is computed in double precision; the result is not clipped.
    """
    progress(0.0, "finding the subspace")
    peak = max(float(hsi.abs().max()), float(msi.abs().max())) or 1.0
    scaled = PairTensors(hsi.double() / peak, msi.double() / peak, sensor)
    pair = PeriodicPair.of(scaled)
    found = SubspacePair.of(pair, scaled.hsi, estimate_noise(scaled.hsi), settings.components)
    if found is None:
        progress(1.0, "the HSI holds nothing above its noise")
        return Outcome((pair.cut(pair.upsampled()) * peak).to(hsi.dtype).contiguous())
    steps = Iterations(
        settings.iterations, settings.tolerance or None, settings.budget_seconds, part(progress, 0.05, 1.0)
    )
    image = _Splitting.of(pair, found, settings).solve(found.upsampled(pair), steps)
    fused = pair.cut(mix(found.basis, image)) * peak
    details = {"components": found.basis.shape[1], "peak": float(f"{peak:.6g}"), **steps.details()}
    return Outcome(fused.to(hsi.dtype).contiguous(), None, details)


@dataclass(frozen=True)
class _Splitting:
    """The steps of SALSA, with what does not change in them.

    Attributes:
        kernel: transform of the blur ``X B``, half of it, (H, W // 2 + 1).
        inverse: of the transform of ``1 + B B' + D_x D_x' + D_y D_y'``.
        ratio: of the sampling, whole.
        at_samples: matrix that a blurred pixel with a measurement is multiplied by, and what is added to it.
        at_pixels: the same for every pixel of the MSI.
        penalty: of the differences between ``X`` and its splits.
        threshold: of the vector soft threshold.
    """

    kernel: torch.Tensor
    inverse: torch.Tensor
    ratio: tuple[int, int]
    at_samples: tuple[torch.Tensor, torch.Tensor]
    at_pixels: tuple[torch.Tensor, torch.Tensor]
    penalty: float
    threshold: float

    @classmethod
    def of(cls, pair: PeriodicPair, found: SubspacePair, settings: HySureSettings) -> _Splitting:
        sampling, penalty = pair.sampling, settings.penalty
        rows, cols = sampling.fine
        half = cols // 2 + 1
        waves = [
            2 - 2 * torch.cos(2 * torch.pi * torch.arange(size, dtype=torch.float64, device=pair.hsi.device) / size)
            for size in (rows, cols)
        ]
        kernel = sampling.transfer.conj()[:, :half].contiguous()
        total = 1 + kernel.abs().square() + waves[0][:, None] + waves[1][None, :half]
        response = found.response @ found.basis
        return cls(
            kernel,
            1 / total,
            (rows // sampling.coarse[0], cols // sampling.coarse[1]),
            _proximal(found.basis, pair.hsi, 1.0, penalty),
            _proximal(response, pair.msi, settings.msi_weight, penalty),
            penalty,
            settings.variation / penalty,
        )

    def solve(self, image: torch.Tensor, steps: Iterations) -> torch.Tensor:
        """Iterate from components (components, H, W)."""
        splits = self._operators(image)
        multipliers = [torch.zeros_like(split) for split in splits]
        for _ in steps:
            before = image
            image = self._image([split + one for split, one in zip(splits, multipliers, strict=True)])
            images = self._operators(image)
            splits = self._splits([one - multiplier for one, multiplier in zip(images, multipliers, strict=True)])
            for multiplier, split, one in zip(multipliers, splits, images, strict=True):
                multiplier += split - one
            steps.record(change=relative_norm(image - before, image))
        return image

    def _operators(self, image: torch.Tensor) -> list[torch.Tensor]:
        blurred = torch.fft.irfft2(self.kernel * torch.fft.rfft2(image), s=image.shape[-2:])
        return [blurred, image, image.roll(-1, -1) - image, image.roll(-1, -2) - image]

    def _image(self, splits: list[torch.Tensor]) -> torch.Tensor:
        """Return ``X`` whose images under the four operators are nearest to the splits."""
        blurred, plain, along_x, along_y = splits
        direct = plain + along_x.roll(1, -1) - along_x + along_y.roll(1, -2) - along_y
        spectrum = torch.fft.rfft2(direct).addcmul_(self.kernel.conj(), torch.fft.rfft2(blurred))
        result: torch.Tensor = torch.fft.irfft2(self.inverse * spectrum, s=plain.shape[-2:])
        return result

    def _splits(self, images: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return each split: the minimum of its term plus ``penalty / 2`` times the squared distance from an image."""
        blurred, plain, along_x, along_y = images
        matrix, offset = self.at_samples
        samples = blurred[:, :: self.ratio[0], :: self.ratio[1]]
        blurred = blurred.clone()
        blurred[:, :: self.ratio[0], :: self.ratio[1]] = mix(matrix, samples) + offset
        matrix, offset = self.at_pixels
        plain = mix(matrix, plain) + offset
        length = (along_x.square().sum(0) + along_y.square().sum(0)).sqrt()
        factor = (1 - self.threshold / length.clamp_min(1e-300)).clamp_min(0)
        return [blurred, plain, factor * along_x, factor * along_y]


def _proximal(
    matrix: torch.Tensor, measured: torch.Tensor, weight: float, penalty: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``A, b`` with ``A v + b`` the minimum over ``x`` of ``weight |y - M x|^2 + penalty |x - v|^2``."""
    gram = weight * matrix.T @ matrix + penalty * torch.eye(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
    inverse = torch.linalg.inv(gram)
    return penalty * inverse, mix(weight * inverse @ matrix.T, measured)
