"""Amplitude and phase of the spectrum of a real image, with little memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from hyperfuse.networks.kernels.dispatch import rows_per_block
from hyperfuse.networks.kernels.precision import own_gradient, transform_dtype

CHANNELS_AT_ONCE = 16


def polar_rows(latent: torch.Tensor) -> Callable[[int, int], tuple[torch.Tensor, torch.Tensor]]:
    """Transform a real map, without gradients; amplitude and phase are computed for the rows that are requested.

    Args:
        latent: (B, C, H, W), of any real type.

    Returns:
        A function of (start, stop) that returns amplitude and phase of these rows of the orthonormal half spectrum, (B,
        stop - start, W//2 + 1, C) each, as :func:`hyperfuse.networks.blocks.fourier.polar` does.
    """
    real = transform_dtype(latent)
    batch, channels, rows, columns = latent.shape
    spectrum = torch.empty(batch, channels, rows, columns // 2 + 1, dtype=real.to_complex(), device=latent.device)
    # A few channels at a time: the transform's own copies of a large latent would be the peak of memory.
    for part, out in zip(*(torch.split(x, CHANNELS_AT_ONCE, dim=1) for x in (latent, spectrum)), strict=True):
        torch.fft.rfft2(part.to(real, memory_format=torch.contiguous_format), norm="ortho", out=out)

    def polar(start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
        # Two dense planes first: torch's abs and angle go through a complex result that would have to be transposed.
        real_part, imaginary = _planes(spectrum[:, :, start:stop])
        phase = torch.atan2(imaginary, real_part)
        return torch.hypot(real_part, imaginary), settle_cut(phase, rows, columns, start)

    return polar


def dense_polar(spectrum: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return amplitude and angle of (B, C, R, K) complex, dense, (B, R, K, C) each, without gradients."""
    batch, channels, rows, columns = spectrum.shape
    amplitude = torch.empty((batch, rows, columns, channels), dtype=spectrum.real.dtype, device=spectrum.device)
    angle = torch.empty_like(amplitude)
    step = rows_per_block(spectrum, rows, batch * columns, 0)
    for start in range(0, rows, step):
        part = slice(start, start + step)
        real, imaginary = _planes(spectrum[:, :, part])
        torch.hypot(real, imaginary, out=amplitude[:, part])
        torch.atan2(imaginary, real, out=angle[:, part])
    return amplitude, angle


def polar_with_gradient(latent: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what :func:`hyperfuse.networks.blocks.fourier.polar` does; the gradient needs less memory.

    Args:
        latent: (B, C, H, W), of any real type.

    Returns:
        Amplitude and phase, (B, H, W//2 + 1, C) each, float32 or float64.
    """
    return _ImagePolar.apply(latent)  # type: ignore[no-untyped-call, no-any-return]


def from_polar(amplitude: torch.Tensor, phase: torch.Tensor) -> torch.Tensor:
    """Return ``amplitude exp(j phase)``; amplitudes may be negative."""
    # ONNX has no complex exponential, and torch.polar has the gradient of non-negative amplitudes.
    if torch.compiler.is_compiling() or torch.is_grad_enabled():
        return torch.complex(amplitude * phase.cos(), amplitude * phase.sin())
    return torch.polar(amplitude, phase)


def _planes(spectrum: torch.Tensor) -> torch.Tensor:
    """Return real and imaginary part of (B, C, R, K) as dense (2, B, R, K, C)."""
    return torch.view_as_real(spectrum).permute(4, 0, 2, 3, 1).contiguous()


def settle_cut(phase: torch.Tensor, rows: int, columns: int, start: int = 0) -> torch.Tensor:
    """Give the bins that are their own conjugate the phase 0 or +pi, in place.

    Args:
        phase: (B, R, columns // 2 + 1, C).
        rows: rows of the image.
        columns: columns of the image.
        start: the row of the spectrum that row 0 of ``phase`` is.

    Returns:
        ``phase``.
    """
    if torch.compiler.is_compiling():  # slices would tie the graph to even or odd sizes
        row, column = (torch.arange(n, device=phase.device) for n in phase.shape[1:3])
        own = ((2 * row) % rows == 0)[:, None] & ((2 * column) % columns == 0)
        return torch.where(own[..., None], phase.abs(), phase)
    own_rows = [row - start for row in {0, rows // 2 if rows % 2 == 0 else 0} if start <= row < start + phase.shape[1]]
    if own_rows:
        every_row = max(own_rows) - min(own_rows) or 1
        every_column = columns // 2 if columns > 1 and columns % 2 == 0 else columns
        with torch.no_grad():  # an image cannot rotate these bins: their phases have no gradient
            phase[:, min(own_rows) : max(own_rows) + 1 : every_row, ::every_column].abs_()
    return phase


class _ImagePolar(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, latent: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows, columns = latent.shape[-2:]
        planes = _planes(torch.fft.rfft2(latent.to(transform_dtype(latent)), norm="ortho"))
        amplitude, phase = torch.hypot(planes[0], planes[1]), torch.atan2(planes[1], planes[0])
        settle_cut(phase, rows, columns)
        ctx.save_for_backward(planes, amplitude)
        ctx.columns, ctx.dtype = columns, latent.dtype
        return amplitude, phase

    @staticmethod
    @own_gradient
    def backward(ctx: Any, in_amplitude: torch.Tensor, in_phase: torch.Tensor) -> torch.Tensor:
        planes, amplitude = ctx.saved_tensors
        # d amplitude = (re d re + im d im) / amplitude, d phase = (re d im - im d re) / amplitude^2; both 0 at 0. What
        # the rule for the cut does to the phases of real bins does not matter: an image cannot rotate those.
        inverse = amplitude.reciprocal().masked_fill_(amplitude == 0, 0.0)
        along = in_amplitude * inverse
        around = (in_phase * inverse).mul_(inverse)
        slopes = torch.empty((*planes.shape[1:], 2), dtype=planes.dtype, device=planes.device)
        torch.mul(along, planes[0], out=slopes[..., 0]).addcmul_(around, planes[1], value=-1)
        torch.mul(along, planes[1], out=slopes[..., 1]).addcmul_(around, planes[0])
        # The adjoint of rfft2 is irfft2, except for the columns that irfft2 counts twice, for their mirror image.
        slopes[:, :, 1 : (ctx.columns + 1) // 2] *= 0.5
        half = torch.view_as_complex(slopes).permute(0, 3, 1, 2)
        size = (planes.shape[2], ctx.columns)
        image: torch.Tensor = torch.fft.irfft2(half, s=size, norm="ortho")
        return image.to(ctx.dtype, memory_format=torch.channels_last)
