"""The pipeline behind ``hyperfuse fuse``: match the pair, fill its gaps, run a method, give the metadata back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import hyperfuse.methods  # noqa: F401  (registers every method)
from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.methods.contract.method import PairTensors
from hyperfuse.methods.contract.registry import get_method
from hyperfuse.progress import Progress, silent
from hyperfuse.runtime.devices import find_device
from hyperfuse.scenes import DEFAULT_METHOD
from hyperfuse.scenes.gaps import fill_gaps
from hyperfuse.scenes.matching.blind import BlindMatch, match_blind
from hyperfuse.scenes.matching.grid import MatchedPair
from hyperfuse.scenes.preparation import configure, outside_coverage_note, sensor_summary, validity_at_hr
from hyperfuse.scenes.saturation import saturation_note
from hyperfuse.scenes.simulate import hr_transform
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.srf.restrict import restrict_responses
from hyperfuse.sensor.srf.srf import Srf
from hyperfuse.version import __version__


def fuse(
    hsi: Cube,
    msi: Cube,
    *,
    method: str = DEFAULT_METHOD,
    sensor: Sensor | None = None,
    srf: str | Srf | None = None,
    psf: str | None = None,
    ratio: float | tuple[float, float] | None = None,
    phase: float | tuple[float, float] | None = None,
    align: bool = True,
    mask: NDArray[np.bool_] | None = None,
    device: str = "auto",
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> Cube:
    """Fuse an LR-HSI with an HR-MSI.

    Args:
        hsi: LR-HSI, (bands, h, w).
        msi: HR-MSI of the same place in the same unit, (msi_bands, H, W); one band is a panchromatic image.
        method: name of a registered method.
        sensor: how the two relate; what is not given here or below comes from their transforms and sizes.
        srf: spectral responses of the MSI, as text (see ``create_srf``) or an ``Srf``; overrides the sensor's.
        psf: blur of the HSI, as text (see ``create_psf``); overrides the sensor's.
        ratio: HR pixels an LR pixel; must agree with the transforms where there are any.
        phase: HR position of the first LR sample; overrides transforms and sensor.
        align: look for the shift between the two images where neither ``sensor`` nor ``phase`` tells their position.
        mask: bool (H, W), True where the MSI must not be used (clouds, water): gaps in the result.
        device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda``, ``cuda:1``.
        seed: of methods that draw random numbers.
        settings: of the method.
        progress: called with the share done and a few words.

    Returns:
        The fused image on the MSI's grid, cut to the common extent: float32 (bands, rows, cols) with the HSI's bands
        and the MSI's CRS and transform (where it has none, those that follow from the HSI's). A gap in either input
        is a gap here; bands that are empty or marked as bad are not fused: they stay empty and marked. The last step
        of its history tells method, settings, sensor, what was decided, and bands outside the spectral coverage of the
        MSI.

    Raises:
        InputError: a pair, a name or a setting that does not fit; the message says what to do.

    Example:
        >>> import numpy as np
        >>> hsi, msi = Cube(data=np.ones((4, 6, 6))), Cube(data=np.ones((2, 12, 12)))
        >>> fuse(hsi, msi).data.shape
        (4, 12, 12)
    """
    grid = {"sensor": sensor, "srf": srf, "psf": psf, "ratio": ratio, "phase": phase, "align": align}
    return _fuse(hsi, msi, method, grid, mask, device, seed, settings, progress).image


@dataclass(frozen=True)
class Fusion:
    """A fused image with all that is known about it.

    Attributes:
        image: as :func:`fuse` returns it.
        uncertainty: image of the same grid, bands and unit: the standard deviation of the error that is to be expected;
            None where it was not asked for (setting ``uncertainty``) or the method tells none.
        match: the two images as they were fused, cut to their common extent, with the sensor that relates them, and
            what was found in them.
    """

    image: Cube
    uncertainty: Cube | None
    match: BlindMatch


def fuse_in_full(
    hsi: Cube,
    msi: Cube,
    *,
    method: str = DEFAULT_METHOD,
    sensor: Sensor | None = None,
    srf: str | Srf | None = None,
    psf: str | None = None,
    ratio: float | tuple[float, float] | None = None,
    phase: float | tuple[float, float] | None = None,
    align: bool = True,
    mask: NDArray[np.bool_] | None = None,
    device: str = "auto",
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> Fusion:
    """Fuse as :func:`fuse`, and return what else is known: the uncertainty if asked for, and the pair as it was used.

    Args are those of :func:`fuse`.

    Raises:
        InputError: as for :func:`fuse`, or ``uncertainty`` asked of a method that does not tell it.
    """
    if "uncertainty" in (settings or {}) and not get_method(method).capabilities.uncertainty:
        raise InputError(f"the method {method} does not tell how uncertain it is; feinfn does")
    grid = {"sensor": sensor, "srf": srf, "psf": psf, "ratio": ratio, "phase": phase, "align": align}
    return _fuse(hsi, msi, method, grid, mask, device, seed, settings, progress)


def _fuse(
    hsi: Cube,
    msi: Cube,
    method: str,
    grid: Mapping[str, Any],
    mask: NDArray[np.bool_] | None,
    device: str,
    seed: int,
    settings: Mapping[str, Any] | None,
    progress: Progress,
) -> Fusion:
    chosen = get_method(method)
    options = configure(chosen, settings, seed)
    place = find_device(device)
    if mask is not None:
        msi = _masked(msi, mask)
    progress(0.0, "matching the pair")
    match = match_blind(hsi, msi, **grid, need_srf=chosen.capabilities.needs_srf)
    pair = match.pair
    bands, msi_bands = pair.hsi.usable_bands, pair.msi.usable_bands
    if not bands.any() or not msi_bands.any():
        raise InputError(f"the {'MSI' if bands.any() else 'HSI'} holds no data where the two images overlap")
    used = pair.sensor.replace(srf=restrict_responses(pair.sensor.srf, msi_bands, bands))
    hsi_valid, msi_valid = _validity(pair, bands)
    if not (msi_valid & validity_at_hr(np.asarray(hsi_valid.any(axis=0)), pair, used)).any():
        raise InputError("no pixel holds data in both HSI and MSI; the result would be empty")

    low = torch.from_numpy(np.nan_to_num(pair.hsi.data[bands], nan=0.0)).float().to(place)
    high = torch.from_numpy(np.nan_to_num(pair.msi.data[msi_bands], nan=0.0)).float().to(place)
    if not (hsi_valid.all() and msi_valid.all()):
        progress(0.0, "filling gaps")
        low, high = fill_gaps(
            low, torch.from_numpy(hsi_valid).to(place), high, torch.from_numpy(msi_valid).to(place), used
        )
    outcome = chosen.fuse(PairTensors(low, high, used), options, progress)
    if not bool(torch.isfinite(outcome.image).all()):
        raise InputError(f"the method {method} gave values that are not finite; try --method regression")
    valid = validity_at_hr(hsi_valid, pair, used) & msi_valid
    details = dict(outcome.details)
    saturation = [saturation_note("HSI", pair.hsi), saturation_note("MSI", pair.msi)]
    uncovered = outside_coverage_note(pair, used, details.pop("held_out_rmse", None))
    step = {
        "step": "fuse",
        "method": chosen.name,
        "settings": options.model_dump(mode="json"),
        **({"run": details} if details else {}),
        "sensor": sensor_summary(pair.sensor),
        "seed": seed,
        "device": place.type,
        "notes": [*pair.notes, *(note for note in (uncovered, *saturation) if note)],
        "msi_history": [dict(earlier) for earlier in msi.history],
        "version": __version__,
    }
    fused = _result(pair, outcome.image.cpu().numpy(), bands, valid, step)
    if outcome.uncertainty is None:
        return Fusion(fused, None, match)
    told = {**step, "quantity": "standard deviation of the expected error"}
    return Fusion(fused, _result(pair, outcome.uncertainty.cpu().numpy(), bands, valid, told), match)


def _masked(msi: Cube, mask: NDArray[np.bool_]) -> Cube:
    distrusted = np.asarray(mask, np.bool_)
    if distrusted.shape != (msi.rows, msi.cols):
        raise InputError(
            f"the mask has {' x '.join(map(str, distrusted.shape))} pixels, the MSI {msi.rows} x {msi.cols}"
        )
    valid = np.ones(msi.data.shape, np.bool_) if msi.valid is None else msi.valid
    masked = msi.replace(valid=valid & ~distrusted)
    if not masked.usable_bands.any():
        raise InputError("the mask leaves no pixel of the MSI")
    return masked


def _validity(pair: MatchedPair, bands: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return where usable HSI bands (bands, h, w) and whole MSI pixels (H, W) hold data."""
    shape = (int(bands.sum()), pair.hsi.rows, pair.hsi.cols)
    hsi_valid = np.ones(shape, np.bool_) if pair.hsi.valid is None else pair.hsi.valid[bands]
    return hsi_valid, pair.msi.valid_pixels


def _result(
    pair: MatchedPair,
    fused: NDArray[np.float32],
    bands: NDArray[np.bool_],
    valid: NDArray[np.bool_],
    step: Mapping[str, Any],
) -> Cube:
    hsi, msi = pair.hsi, pair.msi
    data, where = fused, valid
    if not bands.all():
        shape = (hsi.bands, msi.rows, msi.cols)
        data, where = np.full(shape, np.nan, np.float32), np.zeros(shape, np.bool_)
        data[bands], where[bands] = fused, valid
    transform, crs = msi.transform, msi.crs or hsi.crs
    if transform is None:
        transform, crs = hr_transform(hsi.transform, pair.sensor), hsi.crs or msi.crs
    gaps = not where.all()
    return Cube(
        data=data,
        valid=where if gaps else None,
        wavelengths=hsi.wavelengths,
        fwhm=hsi.fwhm,
        good_bands=None if hsi.good_bands is None and bands.all() else bands,
        band_names=hsi.band_names,
        transform=transform,
        crs=crs,
        nodata=(hsi.nodata if hsi.nodata is not None else float("nan")) if gaps else hsi.nodata,
        units=hsi.units,
        scale=hsi.scale,
        offset=hsi.offset,
        attributes=hsi.attributes,
        history=(*hsi.history, step),
    )
