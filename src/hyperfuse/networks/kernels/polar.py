"""Amplitude and phase of the half spectrum of a real image."""

from __future__ import annotations

from typing import Any

import torch

from hyperfuse.networks.kernels.precision import own_gradient, transform_dtype
from hyperfuse.networks.kernels.rows import rows_at_once


def amplitude_and_phase(
    spectrum: torch.Tensor, start: int, rows: int, columns: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Split rows of the half spectrum of a real image.

    The bins that are their own conjugate (DC and the Nyquist bins) are real; rounding leaves them on either side of the
    cut at pi, so their phase is taken as 0 or +pi by rule.

    Args:
        spectrum: (B, C, R, columns // 2 + 1) complex: rows ``start`` to ``start + R - 1`` of ``rfft2``.
        start: the first of these rows.
        rows: rows of the image.
        columns: columns of the image.

    Returns:
        Amplitude and phase in (-pi, pi], each (B, R, columns // 2 + 1, C).
    """
    if torch.compiler.is_compiling():  # abs and angle can be exported
        part = spectrum.permute(0, 2, 3, 1)
        row = torch.arange(start, start + part.shape[1], device=part.device)
        column = torch.arange(part.shape[2], device=part.device)
        own_row = (row == 0) | (2 * row == rows)
        own_column = (column == 0) | (2 * column == columns)
        own = (own_row[:, None] & own_column[None, :])[..., None]
        angle = part.angle()
        return part.abs(), torch.where(own, angle.abs(), angle)
    # Two dense planes first: torch's abs and angle go through a complex result and would be transposed afterwards.
    real, imaginary = _planes(spectrum)
    phase = torch.atan2(imaginary, real)
    _settle_cut_(phase, start, rows, columns)
    return torch.hypot(real, imaginary), phase


def dense_polar(spectrum: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return amplitude and angle of (B, C, R, K) complex as they are, dense, (B, R, K, C) each."""
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return spectrum.abs().permute(0, 2, 3, 1), spectrum.angle().permute(0, 2, 3, 1)
    batch, channels, rows, columns = spectrum.shape
    amplitude = torch.empty((batch, rows, columns, channels), dtype=spectrum.real.dtype, device=spectrum.device)
    angle = torch.empty_like(amplitude)
    step = rows_at_once(batch * columns)
    for start in range(0, rows, step):
        part = slice(start, start + step)
        real, imaginary = _planes(spectrum[:, :, part])
        torch.hypot(real, imaginary, out=amplitude[:, part])
        torch.atan2(imaginary, real, out=angle[:, part])
    return amplitude, angle


def image_amplitude_and_phase(latent: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return amplitude and phase of the orthonormal half spectrum of a real map, with a lean gradient.

    Args:
        latent: (B, C, H, W), of any real type.

    Returns:
        As :func:`amplitude_and_phase` of all rows, float32 or float64.
    """
    return _ImagePolar.apply(latent)  # type: ignore[no-untyped-call, no-any-return]


def _planes(spectrum: torch.Tensor) -> torch.Tensor:
    """Return real and imaginary part of (B, C, R, K) as dense (2, B, R, K, C)."""
    return torch.view_as_real(spectrum).permute(4, 0, 2, 3, 1).contiguous()


def _settle_cut_(phase: torch.Tensor, start: int, rows: int, columns: int) -> None:
    """Give the bins of rows ``start`` and on that are their own conjugate the phase 0 or +pi."""
    for row in {0, rows // 2 if rows % 2 == 0 else 0}:
        for column in {0, columns // 2 if columns % 2 == 0 else 0}:
            if start <= row < start + phase.shape[1]:
                phase[:, row - start, column].abs_()


class _ImagePolar(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, latent: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows, columns = latent.shape[-2:]
        planes = _planes(torch.fft.rfft2(latent.to(transform_dtype(latent)), norm="ortho"))
        amplitude, phase = torch.hypot(planes[0], planes[1]), torch.atan2(planes[1], planes[0])
        _settle_cut_(phase, 0, rows, columns)
        ctx.save_for_backward(planes, amplitude)
        ctx.columns, ctx.dtype = columns, latent.dtype
        return amplitude, phase

    @staticmethod
    @own_gradient
    def backward(ctx: Any, in_amplitude: torch.Tensor, in_phase: torch.Tensor) -> torch.Tensor:
        planes, amplitude = ctx.saved_tensors
        # d amplitude = (re d re + im d im) / amplitude, d phase = (re d im - im d re) / amplitude^2; both 0 at 0. What
        # the rule for the cut does to the phases of real bins does not matter: an image cannot turn those.
        inverse = amplitude.reciprocal().masked_fill_(amplitude == 0, 0.0)
        along = in_amplitude * inverse
        around = (in_phase * inverse).mul_(inverse)
        slopes = torch.empty((*planes.shape[1:], 2), dtype=planes.dtype, device=planes.device)
        torch.mul(along, planes[0], out=slopes[..., 0]).addcmul_(around, planes[1], value=-1)
        torch.mul(along, planes[1], out=slopes[..., 1]).addcmul_(around, planes[0])
        # The adjoint of rfft2 is irfft2 but for the columns that irfft2 takes to stand for their mirror image too.
        slopes[:, :, 1 : (ctx.columns + 1) // 2] *= 0.5
        half = torch.view_as_complex(slopes).permute(0, 3, 1, 2)
        size = (planes.shape[2], ctx.columns)
        image: torch.Tensor = torch.fft.irfft2(half, s=size, norm="ortho")
        return image.to(ctx.dtype, memory_format=torch.channels_last)
