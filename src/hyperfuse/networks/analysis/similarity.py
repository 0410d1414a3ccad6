"""Similarity of the spectra of two latents, of amplitudes and phases separately."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hyperfuse.errors import InputError


@dataclass(frozen=True)
class LatentSimilarity:
    """Similarity of the spectra of an LR and an HR latent, at the frequencies that both contain.

    Attributes:
        amplitude_correlation: correlation of log amplitudes per channel, (C,); 1 for proportional amplitudes.
        phase_coherence: length of the mean of ``exp(j (phase_lr - phase_hr))``, (C,); 1 is a constant difference,
            about 0 are unrelated phases.
        lr_amplitude: (C, h, w), DC in the centre, orthonormal.
        hr_amplitude: (C, h, w), the same frequencies (cycles over the scene) of the HR latent.
        lr_phase: (C, h, w) in (-pi, pi].
        hr_phase: (C, h, w) in (-pi, pi].
    """

    amplitude_correlation: torch.Tensor
    phase_coherence: torch.Tensor
    lr_amplitude: torch.Tensor
    hr_amplitude: torch.Tensor
    lr_phase: torch.Tensor
    hr_phase: torch.Tensor


def latent_similarity(lr: torch.Tensor, hr: torch.Tensor) -> LatentSimilarity:
    """Compare two latents of one scene, amplitudes and phases separately (FeINFN, NeurIPS 2024, the motivating figure).

    Both are samples at pixel centres of the same scene, so the half-pixel shift between their grids is removed from the
    phases. DC is excluded from both measures.

    Args:
        lr: (C, h, w).
        hr: (C, H, W), H >= h and W >= w.

    Returns:
        The similarity.

    Raises:
        InputError: channels differ, or ``hr`` is the smaller.

    Example:
        >>> x = torch.rand(2, 8, 8)
        >>> latent_similarity(x, x).phase_coherence.round(decimals=3).tolist()
        [1.0, 1.0]
    """
    if lr.dim() != 3 or hr.dim() != 3 or lr.shape[0] != hr.shape[0]:
        raise InputError(f"latents must be (C, h, w) and (C, H, W), not {tuple(lr.shape)} and {tuple(hr.shape)}")
    if hr.shape[1] < lr.shape[1] or hr.shape[2] < lr.shape[2]:
        raise InputError(f"the HR latent {tuple(hr.shape[1:])} is smaller than the LR one {tuple(lr.shape[1:])}")
    h, w = lr.shape[1:]
    planes = []
    for latent in (lr, hr):
        rows, columns = latent.shape[1:]
        plane = torch.fft.fft2(latent.detach().double(), norm="ortho")
        ky, kx = torch.fft.fftfreq(h) * h, torch.fft.fftfreq(w) * w
        plane = plane[:, (ky.long() % rows)][:, :, (kx.long() % columns)]
        # The centre of pixel 0 is at 1/2.
        rotation = torch.pi * (ky.double()[:, None] / rows + kx.double()[None, :] / columns)
        planes.append(torch.fft.fftshift(plane * torch.polar(torch.ones_like(rotation), -rotation), dim=(1, 2)))
    low, high = planes
    not_dc = torch.ones(h, w, dtype=torch.bool)
    not_dc[h // 2, w // 2] = False
    logs = [plane.abs().clamp_min(1e-12).log()[:, not_dc] for plane in planes]
    centred = [log - log.mean(dim=1, keepdim=True) for log in logs]
    norms = centred[0].norm(dim=1) * centred[1].norm(dim=1)
    correlation = (centred[0] * centred[1]).sum(dim=1) / norms.clamp_min(1e-300)
    difference = (low * high.conj()).angle()[:, not_dc]
    coherence = torch.polar(torch.ones_like(difference), difference).mean(dim=1).abs()
    return LatentSimilarity(correlation, coherence, low.abs(), high.abs(), low.angle(), high.angle())
