"""Implicit fusion of amplitudes and phases of two latent images of different size."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from hyperfuse.networks.blocks.implicit import ImplicitFunction, blend_by_logit
from hyperfuse.networks.kernels.neighbours import AxisCells, axis_cells
from hyperfuse.networks.kernels.polar import amplitude_and_phase, image_amplitude_and_phase
from hyperfuse.networks.kernels.precision import transform_dtype, weights_as
from hyperfuse.networks.kernels.rows import evaluate_rows

CHANNELS_AT_ONCE = 16


def mirror(half: torch.Tensor, columns: int, sign: float) -> torch.Tensor:
    """Complete a half-plane map to the full plane: the value at ``-k`` is ``sign`` times the value at ``k``.

    Args:
        half: (B, h, columns // 2 + 1, C).
        columns: columns of the full plane.
        sign: 1 for amplitudes, -1 for phases.

    Returns:
        (B, h, columns, C) in the order of ``fft2``.
    """
    missing = half[:, :, 1 : (columns + 1) // 2].flip(1, 2).roll(1, dims=1)
    return torch.cat([half, sign * missing], dim=2)


class PhaseConvolution(ImplicitFunction):
    """An implicit function whose every Linear is followed by a 3x3 depthwise conv over the half spectrum.

    This is the ``phase_kernel=3`` of the paper's comparison: the kernel mixes neighbouring frequencies (leakage).
    Beyond the evaluated half plane it sees zeros.
    """

    def __init__(self, lr_channels: int, hr_channels: int, hidden: Sequence[int], out_channels: int) -> None:
        super().__init__(lr_channels, hr_channels, 0, hidden, out_channels)
        widths = [*hidden, out_channels + 1]
        self.depthwise = nn.ModuleList(nn.Conv2d(n, n, 3, padding=1, groups=n) for n in widths)

    def forward(self, table: torch.Tensor, hr: torch.Tensor, rows: AxisCells, columns: AxisCells) -> torch.Tensor:
        """As :meth:`ImplicitFunction.forward`; ``hr`` must hold all rows of the plane."""
        _, hr_weight, delta_weight = self.split_weight(hr.dtype)
        base = F.linear(hr, hr_weight)
        answers = []
        for index_y, offset_y in rows.pairs():
            for index_x, offset_x in columns.pairs():
                x = base + table.index_select(1, index_y).index_select(2, index_x)
                x = x + offset_y[:, None, None].to(hr.dtype) * delta_weight[:, 0]
                x = x + offset_x[:, None].to(hr.dtype) * delta_weight[:, 1]
                answers.append(self._convolve(x))
        return blend_by_logit(answers)

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
        latent: channels that come out.
        phase_kernel: 1, or 3 for a depthwise 3x3 conv after each layer of the phase function.
        function: what fuses amplitudes and, where ``phase_kernel`` is 1, phases.
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

    def forward(self, lr: torch.Tensor, hr: torch.Tensor) -> torch.Tensor:
        """Fuse two latent images.

        Args:
            lr: (B, width, h, w); its type is that of the phase function's products.
            hr: (B, width, H, W), of the same type.

        Returns:
            (B, H, W, latent), float32 (float64 for float64 input).
        """
        size = hr.shape[-2:]
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            coarse, (amplitude, phase) = image_amplitude_and_phase(lr), image_amplitude_and_phase(hr)

            def part(start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
                return amplitude[:, start:stop], phase[:, start:stop]

        else:
            coarse, spectrum = amplitude_and_phase(self.spectrum(lr), 0, *lr.shape[-2:]), self.spectrum(hr)

            def part(start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
                return amplitude_and_phase(spectrum[:, :, start:stop], start, *size)

        fused = self.fuse_polar(coarse, part, lr.shape[-2:], size, hr.dtype)
        image: torch.Tensor = torch.fft.irfft2(fused, s=tuple(size), dim=(1, 2), norm="ortho")
        return image

    @staticmethod
    def spectrum(latent: torch.Tensor) -> torch.Tensor:
        """Return the orthonormal half spectrum, (B, C, H, W//2 + 1), of a real (B, C, H, W) map of any real type."""
        real = transform_dtype(latent)
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            half: torch.Tensor = torch.fft.rfft2(latent.to(real), norm="ortho")
            return half
        # A few channels at a time: the transform's own copies of a large latent would be the peak of memory.
        batch, channels, rows, columns = latent.shape
        result = torch.empty(batch, channels, rows, columns // 2 + 1, dtype=real.to_complex(), device=latent.device)
        for part, out in zip(*(torch.split(x, CHANNELS_AT_ONCE, dim=1) for x in (latent, result)), strict=True):
            torch.fft.rfft2(part.to(real, memory_format=torch.contiguous_format), norm="ortho", out=out)
        return result

    def fuse_polar(
        self,
        lr: tuple[torch.Tensor, torch.Tensor],
        hr: Callable[[int, int], tuple[torch.Tensor, torch.Tensor]],
        lr_size: Sequence[int],
        hr_size: Sequence[int],
        dtype: torch.dtype,
    ) -> torch.Tensor:
        """Fuse two half spectra given as amplitude and phase.

        Args:
            lr: (B, h, w//2 + 1, width) each.
            hr: maps a range of rows to (B, rows, W//2 + 1, width) each.
            lr_size: (h, w).
            hr_size: (H, W).
            dtype: type of the phase function's products; amplitudes stay in that of the transforms.

        Returns:
            (B, H, W//2 + 1, latent) complex.
        """
        (h, w), (height, width) = lr_size, hr_size
        half = width // 2 + 1
        amplitude, phase = lr
        amplitudes = self.amplitude.table(mirror(amplitude, w, 1.0))
        phases = self.phase.table(mirror(phase, w, -1.0).to(dtype))
        real = amplitude.dtype
        rows = axis_cells(h, height, dtype=real, device=amplitude.device)
        columns = axis_cells(w, width, count=half, dtype=real, device=amplitude.device)

        def block(start: int, stop: int) -> torch.Tensor:
            cells, (first, last) = rows.part(start, stop), rows.span(start, stop)
            cells = cells.counted_from(first)
            here, angle = hr(start, stop)
            fused = self.amplitude(amplitudes[:, first:last], here, cells, columns)
            turned = self.phase(phases[:, first:last], angle.to(dtype), cells, columns)
            return torch.complex(fused * turned.cos(), fused * turned.sin())

        whole = isinstance(self.phase, PhaseConvolution)
        return evaluate_rows(block, height, half * amplitude.shape[0], whole=whole)
