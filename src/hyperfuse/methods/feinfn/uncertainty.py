"""Expected error of a fused image, pixel by pixel and band by band, from the pair alone."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import nnls

from hyperfuse.methods.feinfn.linear_part import LinearImage
from hyperfuse.methods.local_linear.consistency import model_error
from hyperfuse.methods.local_linear.denoising import remaining_error
from hyperfuse.methods.local_linear.windowed_ridge import window_sums
from hyperfuse.statistics.linear import fit_linear

_WINDOW = 1.5  # LR pixels over which neighbours' errors are averaged
_MAX_QUANTILE = 0.999  # of squared errors, beyond which one pixel must not decide a fit
_MIN_FRACTION = 0.05  # of a band's mean variance: no pixel is more certain than this


def predict_error(linear: LinearImage, held_out: torch.Tensor) -> torch.Tensor:
    """Return the expected standard deviation of the error, (bands, H, W).

    Three parts. First, the squared errors of held-out LR pixels are explained, with weights of 0 or more, by what is
    also known at HR: a constant, the error of the neighbourhood, and how much the MSI varies. Second, the Gaussian
    model of the data consistency gives how much larger an error of that spatial correlation is at HR, where no PSF has
    averaged it, and how much of it remains at each pixel after the measured HSI is enforced. Third, the noise that
    remains in the MSI (Stein's estimate) is added as the models propagate it.

    Args:
        linear: what the image was made from.
        held_out: measured HSI minus its held-out prediction, (bands, h, w).
    """
    predictors = linear.predictors
    fine = predictors.fine_shape
    squared = held_out.double().square()
    squared = torch.minimum(squared, squared.flatten(1).quantile(_MAX_QUANTILE, dim=1)[:, None, None])
    mean = squared.mean((1, 2)).clamp_min(1e-30)
    relative = squared / mean[:, None, None]
    model = model_error(held_out, predictors.sensor, fine)
    mean_fine = mean / model.at_lr
    remaining = model.remaining.to(linear.image.dtype)
    activity = _activity(predictors.fine)
    activity_coarse = predictors.degrade(activity)[0].double()
    nearby = _neighbourhood(relative)
    msi_noise = _propagated_noise(linear)
    result = torch.empty_like(linear.image)
    for band in range(len(result)):
        features = torch.stack([torch.ones_like(activity_coarse), activity_coarse, nearby[band]], dim=-1)
        weights, _ = nnls(features.reshape(-1, 3).cpu().numpy(), np.asarray(relative[band].flatten().cpu()))
        spread = predictors.sensor.upsample(nearby[band][None].to(linear.image.dtype), fine, "linear")[0]
        expected = (weights[0] + weights[1] * activity[0] + weights[2] * spread).clamp_min(_MIN_FRACTION)
        result[band] = (remaining * float(mean_fine[band]) * expected + float(msi_noise[band])).sqrt()
    return result


def _activity(fine: torch.Tensor) -> torch.Tensor:
    """Return the squared gradient of an MSI (k, H, W), summed over its components: (1, H, W)."""
    padded = torch.nn.functional.pad(fine[None], (1, 1, 1, 1), mode="replicate")[0]
    along_x = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    along_y = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    return (along_x.square() + along_y.square()).sum(0, keepdim=True) / 4


def _neighbourhood(relative: torch.Tensor) -> torch.Tensor:
    """Return the mean over each pixel's neighbourhood without the pixel itself, (bands, h, w)."""
    total, mass = window_sums(relative, _WINDOW), window_sums(torch.ones_like(relative[:1]), _WINDOW)
    return (total - relative) / (mass - 1).clamp_min(1e-6)


def _propagated_noise(linear: LinearImage) -> torch.Tensor:
    """Return the variance that the noise remaining in the MSI has in each band, (bands,)."""
    slopes = fit_linear(linear.predictors.degrade(linear.msi), linear.hsi)[:, 1:]
    return slopes.double().square() @ remaining_error(linear.msi, linear.model.msi_noise).double()
