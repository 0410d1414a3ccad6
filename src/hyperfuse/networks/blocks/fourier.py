"""Implicit fusion of amplitudes and phases of two latent images of different size."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from hyperfuse.networks.blocks.implicit import FirstLayer, ImplicitFunction, add_neighbours, blend
from hyperfuse.networks.kernels.dispatch import Path, select_path
from hyperfuse.networks.kernels.neighbours import AxisNeighbours, rows_of
from hyperfuse.networks.kernels.polar import from_polar, polar_rows, polar_with_gradient, settle_cut
from hyperfuse.networks.kernels.precision import transform_dtype, weights_as
from hyperfuse.networks.kernels.rows import evaluate_rows

Polar = tuple[torch.Tensor, torch.Tensor]  # amplitude and phase


def polar(latent: torch.Tensor) -> Polar:
    """Return amplitude and phase of the orthonormal half spectrum of a real map.

    The bins that are their own conjugate (DC and the Nyquist bins) are real; rounding leaves them on either side of the
    cut at pi, so their phase is defined as 0 or +pi.

    Args:
        latent: (B, C, H, W), of any real type.

    Returns:
        Amplitude and phase in (-pi, pi], (B, H, W//2 + 1, C) each, float32 or float64.
    """
    height, width = latent.shape[-2:]
    half = torch.fft.rfft2(latent.to(transform_dtype(latent)), norm="ortho").permute(0, 2, 3, 1)
    return half.abs(), settle_cut(half.angle(), height, width)


def spectrum_rows(latent: torch.Tensor) -> Callable[[int, int], Polar]:
    """Return a function of (start, stop) that gives these rows of :func:`polar`."""
    path = select_path(latent)
    if path is Path.BLOCKS:
        return polar_rows(latent)
    amplitude, phase = polar_with_gradient(latent) if path is Path.OWN_GRADIENT else polar(latent)
    return lambda start, stop: (rows_of(amplitude, start, stop), rows_of(phase, start, stop))


def mirror(half: torch.Tensor, columns: int, sign: float) -> torch.Tensor:
    """Complete a half plane to the full plane: the value at ``-k`` is ``sign`` times the value at ``k``.

    Args:
        half: (B, h, columns // 2 + 1, C).
        columns: columns of the full plane.
        sign: 1 for amplitudes, -1 for phases.

    Returns:
        (B, h, columns, C) in the order of ``fft2``.
    """
    missing = half[:, :, 1 : (columns + 1) // 2].flip(1, 2).roll(1, dims=1)
    return torch.cat([half, missing if sign == 1 else -missing], dim=2)


class PhaseConvolution(ImplicitFunction):
    """An implicit function whose every Linear is followed by a 3x3 depthwise conv over the half spectrum.

    This is the ``phase_kernel=3`` of the paper's comparison: the kernel mixes neighbouring frequencies (leakage).
    Beyond the evaluated half plane it sees zeros.
    """

    def __init__(self, lr_channels: int, hr_channels: int, hidden: Sequence[int], out_channels: int) -> None:
        super().__init__(lr_channels, hr_channels, 0, hidden, out_channels)
        widths = [*hidden, out_channels + 1]
        self.depthwise = nn.ModuleList(nn.Conv2d(n, n, 3, padding=1, groups=n) for n in widths)

    def forward(
        self, first: FirstLayer, hr: torch.Tensor, rows: AxisNeighbours, columns: AxisNeighbours
    ) -> torch.Tensor:
        """As :meth:`ImplicitFunction.forward`; ``hr`` must hold all rows of the plane."""
        x = add_neighbours(first.table, F.linear(hr, first.on_hr), rows, columns, first.on_offset)
        batch, _, height, _, width, _ = x.shape
        outputs = self._convolve(x.transpose(2, 3).reshape(4 * batch, height, width, -1))
        return blend(outputs.view(batch, 2, 2, height, width, -1).transpose(2, 3))

    def _convolve(self, x: torch.Tensor) -> torch.Tensor:
        for i, depthwise in enumerate(self.depthwise):
            if i:
                x = F.linear(x.relu(), *weights_as(self.layers[i], x.dtype))
            kernel, bias = weights_as(depthwise, x.dtype)
            image = x.permute(0, 3, 1, 2)
            x = F.conv2d(image, kernel, bias, padding=1, groups=image.shape[1]).permute(0, 2, 3, 1)
        return x


class FourierFusion(nn.Module):
    """Fuses the spectra of an LR and an HR latent image: amplitudes by one implicit function, phases by another.

    Transforms are orthonormal, so amplitudes do not grow with the image. Latents are real, so half the plane is
    evaluated (columns 0 to W//2, at the coordinates that they have in the full plane) and the result is real. Liang et
    al., FeINFN, NeurIPS 2024, frequency implicit fusion.

    Args:
        width: channels of both latents.
        hidden: widths of the hidden layers of both functions.
        latent: channels of the output.
        phase_kernel: 1, or 3 for a depthwise 3x3 conv after each layer of the phase function.
        function: class of the function that fuses amplitudes and, where ``phase_kernel`` is 1, phases.
    """

    def __init__(
        self,
        width: int,
        hidden: Sequence[int],
        latent: int,
        phase_kernel: int = 1,
        function: type[ImplicitFunction] = ImplicitFunction,
    ) -> None:
        super().__init__()
        self.amplitude = function(width, width, 0, hidden, latent)
        self.phase: ImplicitFunction
        if phase_kernel == 1:
            self.phase = function(width, width, 0, hidden, latent)
        else:
            self.phase = PhaseConvolution(width, width, hidden, latent)

    def forward(
        self, lr: torch.Tensor, hr: torch.Tensor, rows: AxisNeighbours, columns: AxisNeighbours
    ) -> torch.Tensor:
        """Fuse two latent images.

        Args:
            lr: (B, width, h, w); its type is that of the phase function's products.
            hr: (B, width, H, W), of the same type.
            rows: neighbours of the H rows.
            columns: neighbours of the W columns.

        Returns:
            (B, H, W, latent), float32 (float64 for float64 input).
        """
        height, width = hr.shape[-2:]
        half = width // 2 + 1
        columns = columns.part(0, half)
        (amplitude, phase), hr_rows = spectrum_rows(lr)(0, lr.shape[2]), spectrum_rows(hr)
        amplitudes = self.amplitude.first_layer(mirror(amplitude, lr.shape[3], 1.0))
        phases = self.phase.first_layer(mirror(phase, lr.shape[3], -1.0).to(hr.dtype))

        def block(start: int, stop: int) -> torch.Tensor:
            hr_amplitude, hr_phase = hr_rows(start, stop)
            first, neighbours = amplitudes.near(rows, start, stop)
            fused = self.amplitude(first, hr_amplitude, neighbours, columns)
            first, neighbours = phases.near(rows, start, stop)
            return from_polar(fused, self.phase(first, hr_phase.to(hr.dtype), neighbours, columns))

        if isinstance(self.phase, PhaseConvolution):
            fused = block(0, height)
        else:
            needed = self.amplitude.bytes_per_pixel(amplitude.dtype)
            fused = evaluate_rows(block, amplitude, height, half * hr.shape[0], needed)
        image: torch.Tensor = torch.fft.irfft2(fused, s=(height, width), dim=(1, 2), norm="ortho")
        return image
