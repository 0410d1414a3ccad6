"""The sensor of a pair from the pair itself: what neither metadata nor the caller specify."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from hyperfuse.errors import InputError
from hyperfuse.sensor.estimation.fit import LEAST_PIXELS, Array
from hyperfuse.sensor.estimation.location import locate
from hyperfuse.sensor.estimation.position import PositionFit
from hyperfuse.sensor.estimation.psf import PsfFit
from hyperfuse.sensor.estimation.radiometry import (
    RadiometricModel,
    RadiometryFit,
    changed_pixels,
    fit_radiometry,
    smooth_fraction,
)
from hyperfuse.sensor.estimation.sampling import PairPart, from_each, psf_deviation, side_by_side
from hyperfuse.sensor.estimation.srf import fit_srf
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import BoxPsf, GaussianPsf
from hyperfuse.sensor.published import PsfPrior
from hyperfuse.sensor.srf.known import KnownResponses
from hyperfuse.sensor.srf.srf import Srf

_PIXELS = 4096
# An MSI band of which less is explained, or whose residual is this many times the typical one, is not accepted.
_MIN_EXPLAINED = 0.8
_MAX_MISSED = 10.0
# Smooth differences are reported where they are this fraction of a band's residual, and that this fraction of the band.
_SMOOTH_FRACTION, _RESIDUAL_FRACTION = 0.3, 0.01
_CHANGED_FRACTION = 0.001


@dataclass(frozen=True, eq=False)
class SensorEstimate:
    """The sensor of a scene, what it rests on and how well it holds: ``msi = gain * respond(X) + offset``.

    Attributes:
        sensor: ratio, phase, PSF and responses, as given or as estimated where the estimate is accepted; of several
            parts, the phase of the first.
        gain: (msi_bands,), 1 where the images show no other.
        offset: (msi_bands,), in the MSI's unit; 0 where the images show no other.
        explained: (msi_bands,), fraction of the variance of the degraded MSI that the HSI explains through the sensor,
            on LR pixels held out of the fits.
        accepted: (msi_bands,), False for MSI bands that the HSI does not explain: outside its range, or changed.
        changed: fraction of the LR pixels used on which the images do not agree.
        position: the last fit of the phase, ``before`` at the assumed phase; None where it was given.
        psf_fit: None where the PSF was given.
        notes: what was found, decided and not accepted, a sentence each, for the user.
    """

    sensor: Sensor
    gain: Array
    offset: Array
    explained: Array
    accepted: NDArray[np.bool_]
    changed: float
    position: PositionFit | None
    psf_fit: PsfFit | None
    notes: tuple[str, ...]

    @property
    def srf(self) -> Srf:
        """The responses of the sensor; their rows sum to 1, the rest is in ``gain`` and ``offset``."""
        assert self.sensor.srf is not None  # given or estimated
        return self.sensor.srf

    def correct(self, msi: torch.Tensor) -> torch.Tensor:
        """Return an MSI (msi_bands, H, W) in the radiometry of the HSI; bands that are not accepted stay unchanged."""
        use = self.accepted & (self.gain > 0)
        gain = torch.as_tensor(np.where(use, self.gain, 1.0), dtype=msi.dtype, device=msi.device)
        offset = torch.as_tensor(np.where(use, self.offset, 0.0), dtype=msi.dtype, device=msi.device)
        return (msi - offset[:, None, None]) / gain[:, None, None]


def estimate_sensor(
    parts: Sequence[PairPart],
    *,
    known_phase: bool = False,
    known_psf: bool = False,
    wavelengths: ArrayLike | None = None,
    prior: KnownResponses | None = None,
) -> SensorEstimate:
    """Estimate phase, PSF, responses and radiometry of a scene; what is known stays as given.

    From ``hsi = degrade(X)`` and ``msi = gain * (R X) + offset`` follows ``gain * (R hsi) + offset = degrade(msi)``, in
    which X does not occur: the equation of blind hyperspectral and multispectral fusion (Simoes et al., IEEE TGRS
    53(6), 2015; Lanaras, Baltsavias and Schindler, Remote Sens. 9(11), 2017; Bungert et al., Inverse Problems 34(4),
    2018). Phase and PSF are found first, for any linear R (:func:`fit_positions`, :func:`fit_psf`), then R as
    non-negative, smooth and compact responses (:func:`fit_srf`) without the pixels on which the images do not agree.
    What the images do not determine keeps its assumed value, and a note says so.

    Args:
        parts: one or several of a scene, whose equations are solved together. Of their sensors the ratio is known;
            responses are where they are given, else estimated.
        known_phase: use the phases as given.
        known_psf: use the PSF as given.
        wavelengths: centres of the HSI bands in nm, any order, (bands,).
        prior: responses that are known beforehand, between these bands; see :func:`fit_srf`.

    Raises:
        InputError: images, wavelengths or responses that do not fit together, or too few LR pixels.

    Example:
        >>> from hyperfuse.sensor.presets import mtf
        >>> image = torch.rand(6, 48, 48, generator=torch.Generator().manual_seed(0))
        >>> true = mtf(2.0, Srf([[0.5, 0.5, 0, 0, 0, 0], [0, 0, 0, 0.2, 0.6, 0.2]]))
        >>> part = PairPart(true.degrade(image), true.respond(image), mtf(2.0))
        >>> found = estimate_sensor([part], known_phase=True)
        >>> [round(value, 2) for value in found.sensor.psf.sigma], found.srf.matrix.round(1).tolist()[0]
        ([0.99, 0.99], [0.5, 0.5, 0.0, 0.0, 0.0, 0.0])
    """
    centres = _checked(parts, wavelengths)
    located, position, psf_fit = locate(parts, known_phase=known_phase, known_psf=known_psf)
    sensor = located[0].sensor
    notes: list[str] = []
    if position is not None and not position.accepted:
        notes.append(f"the phase is not estimated: {position.doubt}; blocks that start at the corner are assumed")
    elif position is not None:
        notes.append(f"phase estimated from the pair: {sensor.offset[0]:.2f},{sensor.offset[1]:.2f} HR pixels")
    if psf_fit is not None:
        notes.append(psf_note(psf_fit, sensor))
    found = _with_radiometry(located, centres, prior)
    return replace(found, position=position, psf_fit=psf_fit, notes=(*notes, *found.notes))


def _with_radiometry(parts: Sequence[PairPart], centres: Array | None, prior: KnownResponses | None) -> SensorEstimate:
    """Estimate the responses where they are not given, and gain and offset of each MSI band."""
    pixels, spectra, targets = _samples(parts)
    changed = changed_pixels(spectra, targets, pixels)
    if (~changed).sum() < LEAST_PIXELS:
        changed[:] = False
    pixels, spectra, targets = pixels[~changed], spectra[~changed], targets[~changed]
    sensor = parts[0].sensor
    if sensor.srf is None:
        responses = fit_srf(spectra, targets, pixels, centres, None if prior is None else prior.matrix)
        wavelengths = None if centres is None else responses.matrix @ centres
        source, prior_notes = _known_before(prior, responses.kept)
        srf = Srf(responses.matrix, wavelengths=wavelengths, source=source)
        fit: RadiometryFit = responses
    else:
        prior_notes = []
        srf, fit = sensor.srf, fit_radiometry(spectra @ sensor.srf.matrix.T, targets, pixels)
    missed = np.maximum(1 - fit.explained, 0)
    accepted = (fit.explained >= _MIN_EXPLAINED) & (fit.gain > 0)
    accepted &= (missed <= _MAX_MISSED * np.median(missed)) | (missed < 0.05)
    residual = targets - (spectra @ srf.matrix.T) * fit.gain - fit.offset
    notes = prior_notes + _radiometry_notes(srf.names, fit, accepted)
    fraction = float(changed.mean())
    if fraction > _CHANGED_FRACTION:
        notes.append(f"the images do not agree on {fraction:.1%} of the LR pixels (change, cloud, shadow or parallax)")
    hazy = np.flatnonzero((smooth_fraction(residual, pixels) > _SMOOTH_FRACTION) & (missed > _RESIDUAL_FRACTION))
    if hazy.size:
        names = ", ".join(srf.names[k] for k in hazy)
        notes.append(f"a smooth difference of brightness (haze, light) remains in {names}; it is not removed")
    return SensorEstimate(
        sensor=sensor.replace(srf=srf),
        gain=fit.gain,
        offset=fit.offset,
        explained=fit.explained,
        accepted=np.asarray(accepted, np.bool_),
        changed=fraction,
        position=None,
        psf_fit=None,
        notes=tuple(notes),
    )


def _known_before(prior: KnownResponses | None, kept: NDArray[np.bool_]) -> tuple[str, list[str]]:
    """Return the source of the responses that were fitted to the pair, and a note where some were known before."""
    if prior is None or not np.isfinite(prior.matrix).all(axis=1).any():
        return "estimated from the pair", []
    known = np.isfinite(prior.matrix).all(axis=1)
    counts = (np.count_nonzero(kept), np.count_nonzero(known & ~kept), np.count_nonzero(~known))
    what = ("as published", "corrected by the pair", "estimated from the pair")
    bands = ", ".join(f"{number} {text}" for number, text in zip(counts, what, strict=True) if number)
    return f"{prior.source}: {bands}", [f"spectral responses of {prior.source}: MSI bands {bands}"]


def _samples(parts: Sequence[PairPart]) -> tuple[NDArray[np.int64], Array, Array]:
    """Return LR pixels (n, 2), away from the border of the MSI where enough are, their spectra and the degraded MSI."""

    def draw(part: PairPart) -> tuple[NDArray[np.int64], Array, Array]:
        pixels = part.enough_pixels(2 * psf_deviation(part.sensor), _PIXELS // len(parts))
        return pixels, part.spectra(pixels), part.degraded(pixels)

    pixels, spectra, targets = zip(*from_each(parts, draw), strict=True)
    return side_by_side(pixels), np.concatenate(spectra), np.concatenate(targets)


def _checked(parts: Sequence[PairPart], wavelengths: ArrayLike | None) -> Array | None:
    for part in parts:
        hsi, msi, srf = part.hsi, part.msi, part.sensor.srf
        if hsi.ndim != 3 or msi.ndim != 3:
            raise InputError(f"a pair is (bands, rows, cols) each, got {tuple(hsi.shape)} and {tuple(msi.shape)}")
        if not bool(torch.isfinite(hsi).all()) or not bool(torch.isfinite(msi).all()):
            raise InputError("the images hold NaN or infinite values; fill them, and give hsi_valid and msi_valid")
        if srf is not None and srf.matrix.shape != (msi.shape[0], hsi.shape[0]):
            raise InputError(
                f"the spectral responses turn {srf.hsi_bands} bands into {srf.msi_bands}; the images have"
                f" {hsi.shape[0]} and {msi.shape[0]}"
            )
    if wavelengths is None:
        return None
    centres = np.asarray(wavelengths, np.float64).ravel()
    if centres.size != parts[0].hsi.shape[0]:
        raise InputError(f"{centres.size} wavelengths for {parts[0].hsi.shape[0]} HSI bands")
    return centres if bool(np.isfinite(centres).all()) else None


def psf_note(fit: PsfFit, sensor: Sensor, prior: PsfPrior | None = None) -> str:
    """Return a sentence about the PSF that was estimated, or why it was not; ``prior`` is what was assumed before."""
    prior = PsfPrior() if prior is None else prior
    if not fit.accepted:
        why = (
            "its best width is at the limit of the search" if fit.at_limit else "the images do not determine its width"
        )
        return f"the PSF is not estimated: {why}; {prior} is assumed"
    psf = sensor.psf
    if isinstance(psf, GaussianPsf):
        shape = f"Gaussian, sigma {psf.sigma[0]:.2f},{psf.sigma[1]:.2f} HR pixels"
    else:
        assert isinstance(psf, BoxPsf)
        shape = f"box, {psf.width[0]:.2f},{psf.width[1]:.2f} HR pixels wide"
    before = f" (prior: {prior})" if prior.source else ""
    return f"PSF estimated from the pair: {shape}{before}"


def _radiometry_notes(names: tuple[str, ...], fit: RadiometryFit, accepted: NDArray[np.bool_]) -> list[str]:
    differing = "; ".join(
        f"{names[k]} gain {fit.gain[k]:.3g}" + (f", offset {fit.offset[k]:.3g}" if fit.models[k].offset else "")
        for k in np.flatnonzero(accepted)
        if fit.models[k] is not RadiometricModel.IDENTICAL
    )
    notes = [f"the radiometry of the MSI differs from the HSI's: {differing}"] if differing else []
    return notes + [
        f"MSI {names[k]} is not explained by the HSI ({max(fit.explained[k], 0):.0%} of its variance): outside the"
        " HSI's range, or changed"
        for k in np.flatnonzero(~accepted)
    ]
