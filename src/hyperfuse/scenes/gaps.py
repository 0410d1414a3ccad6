"""Fill gaps before fusing, so that no method sees them and no other pixel is infected; they are cut out afterwards."""

from __future__ import annotations

import torch

from hyperfuse.sensor.model import Sensor

# LR pixels whose PSF sees this share of valid HR pixels may teach how the two images relate.
_TRUSTED = 0.999
# Principal components of one image that predict the other: enough for its materials, few enough for few pixels.
_COMPONENTS = 8
# Rounds in which the fill of the MSI is made to agree with the HSI.
_AGREEMENT_STEPS = 20


def fill_gaps(
    hsi: torch.Tensor, hsi_valid: torch.Tensor, msi: torch.Tensor, msi_valid: torch.Tensor, sensor: Sensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the pair with gaps filled by what the other image says about them.

    An MSI gap gets what the HSI there predicts, an HSI gap what the MSI predicts (least squares between the two over
    LR pixels that both know whole), so that fits of one image to the other are not misled; where both are missing,
    the surroundings are spread in.

    Args:
        hsi: LR-HSI (bands, h, w), any value in gaps.
        hsi_valid: bool (bands, h, w).
        msi: HR-MSI (msi_bands, H, W), any value in gaps.
        msi_valid: bool (H, W).
        sensor: the forward model of the pair.
    """
    coarse, fine = (hsi.shape[-2], hsi.shape[-1]), (msi.shape[-2], msi.shape[-1])
    whole = hsi_valid.all(0)
    hsi = _spread(hsi, hsi_valid)
    msi = _spread(msi, msi_valid.expand(msi.shape))
    trusted = whole & (sensor.degrade(msi_valid[None].to(msi.dtype), coarse)[0] >= _TRUSTED)
    if int(trusted.sum()) <= 2 * (_COMPONENTS + 1):
        return hsi, msi
    if not bool(msi_valid.all()):
        predicted = _predict(hsi, sensor.degrade(msi, coarse), trusted)
        msi = torch.where(msi_valid, msi, sensor.upsample(predicted, fine, "linear"))
        msi = _agree(msi, msi_valid, predicted, trusted, sensor)
    if not bool(whole.all()):
        predicted = _predict(sensor.degrade(msi, coarse), hsi, trusted)
        hsi = torch.where(hsi_valid, hsi, predicted)
    return hsi, msi


def _agree(
    msi: torch.Tensor, msi_valid: torch.Tensor, goal: torch.Tensor, trusted: torch.Tensor, sensor: Sensor
) -> torch.Tensor:
    """Change the fill of the MSI (bands, H, W) so that it degrades to ``goal`` (bands, h, w).

    LR pixels on the rim of a gap see known pixels too. Unless the fill makes up what these lack, a method finds the
    HSI at odds with the MSI there and blames the known ones. Ridge regression by conjugate gradients: the goal is
    held as far as it holds on the ``trusted`` pixels, the fill as far as smooth fills are right where the MSI is known.
    """
    fine, coarse = (msi.shape[-2], msi.shape[-1]), (goal.shape[-2], goal.shape[-1])

    def dot(image: torch.Tensor) -> torch.Tensor:
        return image.square().sum((1, 2), keepdim=True)

    def ratio(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return torch.where(other > 0, one / other, 0.0)

    degraded = sensor.degrade(msi, coarse)
    rest = goal - degraded
    detail = msi - sensor.upsample(degraded, fine, "linear")
    damping = ratio(
        dot(torch.where(trusted, rest, 0.0)) / trusted.sum(), dot(torch.where(msi_valid, detail, 0.0)) / msi_valid.sum()
    )
    change = torch.zeros_like(msi)
    step = slope = torch.where(msi_valid, 0.0, sensor.degrade_adjoint(rest, fine))
    for _ in range(_AGREEMENT_STEPS):
        seen = sensor.degrade(step, coarse)
        length = ratio(dot(slope), dot(seen) + damping * dot(step))
        change, rest = change + length * step, rest - length * seen
        before = dot(slope)
        slope = torch.where(msi_valid, 0.0, sensor.degrade_adjoint(rest, fine)) - damping * change
        step = slope + ratio(dot(slope), before) * step
    return msi + change


def _predict(source: torch.Tensor, target: torch.Tensor, trusted: torch.Tensor) -> torch.Tensor:
    """Predict every pixel of ``target`` from ``source`` by principal component regression on the trusted ones."""
    x, y = source.flatten(1).double(), target.flatten(1).double()
    known = trusted.flatten()
    mean_x, mean_y = x[:, known].mean(1, keepdim=True), y[:, known].mean(1, keepdim=True)
    centred = x[:, known] - mean_x
    vectors, values, _ = torch.linalg.svd(centred, full_matrices=False)
    keep = min(_COMPONENTS, int((values > 1e-6 * values[0].clamp_min(1e-300)).sum()))
    if keep == 0:
        return mean_y.to(target.dtype).reshape(-1, 1, 1).expand(target.shape)
    scores = vectors[:, :keep].T @ centred
    slopes = (y[:, known] - mean_y) @ scores.T / values[:keep].square()
    predicted: torch.Tensor = mean_y + slopes @ (vectors[:, :keep].T @ (x - mean_x))
    return predicted.to(target.dtype).reshape(target.shape)


def _spread(image: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Fill invalid values with a smooth extension of the valid ones: means over ever larger blocks."""
    if bool(valid.all()):
        return image
    filled = torch.where(valid, image, 0.0)
    weight = valid.to(image.dtype)
    rows, cols = image.shape[-2:]
    if rows == 1 and cols == 1:
        return filled
    pool = torch.nn.functional.avg_pool2d
    coarse_sum = pool(filled * weight, 2, ceil_mode=True, count_include_pad=False)
    coarse_weight = pool(weight, 2, ceil_mode=True, count_include_pad=False)
    known = coarse_weight > 0
    coarse = _spread(torch.where(known, coarse_sum / coarse_weight.clamp_min(1e-6), 0.0), known)
    smooth = torch.nn.functional.interpolate(coarse[None], size=(rows, cols), mode="bilinear", align_corners=False)[0]
    return torch.where(valid, image, smooth)
