"""Values of an MSI that are not known, from what the HSI shows at LR."""

from __future__ import annotations

import torch

from hyperfuse.methods.contract.method import PairTensors
from hyperfuse.methods.local_linear.agreement import MsiByHsi
from hyperfuse.methods.local_linear.border import beyond_border
from hyperfuse.methods.local_linear.consistency import separable
from hyperfuse.methods.local_linear.solvers import conjugate_gradients
from hyperfuse.sensor.model import Sensor

COMPONENTS = 24  # of the HSI, from which its MSI is predicted
_MIN_WEIGHT = 0.1  # of the largest weight of an HR pixel in the HSI: of others it says too little
_PRIOR = 0.5  # of a band's contrast: by which a value may differ from what stands in its stead


def seen_of_msi(sensor: Sensor, fine: tuple[int, int], coarse: tuple[int, int]) -> torch.Tensor:
    """Return the sum of squares of the weights that LR pixels give to every HR pixel, float64 (H, W)."""
    along = []
    for operator in separable(sensor.regular(coarse)).sampling(fine, coarse)[0]:
        weights = operator.matrix.multiply(operator.matrix).sum(axis=0)
        along.append(torch.as_tensor(weights, dtype=torch.float64).flatten())
    return along[0][:, None] * along[1]


def well_seen(seen: torch.Tensor) -> torch.Tensor:
    """Return the HR pixels of which the HSI says enough, by :func:`seen_of_msi`, bool (H, W)."""
    return seen > _MIN_WEIGHT * seen.max()


def missing_msi(pair: PairTensors, by_hsi: MsiByHsi, unknown: torch.Tensor) -> torch.Tensor:
    """Return what is missing at unknown values of an MSI for it to degrade to what the HSI shows, (msi_bands, H, W).

    Ridge regression, by conjugate gradients; LR pixels that hold light from beyond the image say nothing.

    Args:
        pair: any values where they are unknown; those that are most likely serve best.
        by_hsi: the MSI by the HSI.
        unknown: bool (H, W), or (msi_bands, H, W).
    """
    sensor = pair.sensor
    fine, coarse = (pair.msi.shape[1], pair.msi.shape[2]), (pair.hsi.shape[1], pair.hsi.shape[2])
    ridge = (by_hsi.unit / (_PRIOR * by_hsi.contrast)).square()[:, None, None]
    seen = seen_of_msi(sensor, fine, coarse).to(pair.msi.device)
    residual = by_hsi.predict(pair.hsi) - sensor.degrade(pair.msi, coarse).double()
    counts = (beyond_border(residual / by_hsi.unit[:, None, None], sensor) == 0).double()

    def adjoint(image: torch.Tensor) -> torch.Tensor:
        return torch.where(unknown, sensor.degrade_adjoint(counts * image, fine), 0.0)

    change = conjugate_gradients(
        lambda image: adjoint(sensor.degrade(image, coarse)) + ridge * image,
        lambda image: image / (seen + ridge),
        adjoint(residual),
    )
    return change.to(pair.msi.dtype)
