"""How wrong a fused image is likely to be, pixel by pixel and band by band, from the pair alone."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import nnls

from hyperfuse.methods.feinfn.linear_part import LinearBase
from hyperfuse.methods.local_linear.consistency import model_error
from hyperfuse.methods.local_linear.denoising import remaining_error
from hyperfuse.methods.local_linear.windowed_ridge import window_sums
from hyperfuse.statistics.linear import fit_linear

_WINDOW = 1.5  # LR pixels over which neighbours' errors are averaged
_LARGEST = 0.999  # quantile of squared errors beyond which one pixel must not decide a fit
_LEAST = 0.05  # of a band's usual variance: no pixel is surer than this


def predict_error(base: LinearBase, held_out: torch.Tensor) -> torch.Tensor:
    """Return the standard deviation of the error that is to be expected, (bands, H, W).

    Three parts. First, the squared errors of LR pixels that were predicted unseen are explained, with weights of 0 or
    more, by what is also known at HR: a constant, the error of the neighbourhood, and how much the MSI varies. Second,
    the Gaussian model that restores consistency tells how much larger an error of that spatial correlation is at HR,
    where no PSF has averaged it, and what the measured HSI leaves of it at each pixel. Third, the noise that remains
    in the MSI (Stein's estimate) is added as the models pass it on.

    Args:
        base: what the image was made from.
        held_out: measured HSI less its prediction by models that have not seen the pixel, (bands, h, w).
    """
    sensor, fine = base.sensor, (base.image.shape[-2], base.image.shape[-1])
    shape = (held_out.shape[-2], held_out.shape[-1])
    squared = held_out.double().square()
    squared = torch.minimum(squared, squared.flatten(1).quantile(_LARGEST, dim=1)[:, None, None])
    usual = squared.mean((1, 2)).clamp_min(1e-30)
    relative = squared / usual[:, None, None]
    model = model_error(held_out, sensor, fine)
    usual_fine = usual / model.seen
    left = model.left.to(base.image.dtype)
    activity = _activity(base.predictors.fine)
    activity_coarse = sensor.degrade(activity, shape)[0].double()
    nearby = _neighbours(relative)
    passed_on = _passed_on(base)
    result = torch.empty_like(base.image)
    for band in range(len(result)):
        features = torch.stack([torch.ones_like(activity_coarse), activity_coarse, nearby[band]], dim=-1)
        weights, _ = nnls(features.reshape(-1, 3).cpu().numpy(), np.asarray(relative[band].flatten().cpu()))
        spread = sensor.upsample(nearby[band][None].to(base.image.dtype), fine, "linear")[0]
        expected = (weights[0] + weights[1] * activity[0] + weights[2] * spread).clamp_min(_LEAST)
        result[band] = (left * float(usual_fine[band]) * expected + float(passed_on[band])).sqrt()
    return result


def _activity(fine: torch.Tensor) -> torch.Tensor:
    """Return the squared gradient of an MSI (k, H, W), summed over its components: (1, H, W)."""
    padded = torch.nn.functional.pad(fine[None], (1, 1, 1, 1), mode="replicate")[0]
    along_x = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    along_y = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    return (along_x.square() + along_y.square()).sum(0, keepdim=True) / 4


def _neighbours(relative: torch.Tensor) -> torch.Tensor:
    """Return the mean over each pixel's neighbourhood without the pixel itself, (bands, h, w)."""
    total, mass = window_sums(relative, _WINDOW), window_sums(torch.ones_like(relative[:1]), _WINDOW)
    return (total - relative) / (mass - 1).clamp_min(1e-6)


def _passed_on(base: LinearBase) -> torch.Tensor:
    """Return the variance that the noise left in the MSI has in each band, (bands,)."""
    shape = (base.hsi.shape[-2], base.hsi.shape[-1])
    slopes = fit_linear(base.sensor.degrade(base.msi, shape), base.hsi)[:, 1:]
    return slopes.double().square() @ remaining_error(base.msi, base.msi_noise).double()
