"""The sensor that relates a pair, from the pair itself: what metadata and the user do not tell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from hyperfuse.errors import InputError
from hyperfuse.sensor.estimation.fit import LEAST_PIXELS, Array
from hyperfuse.sensor.estimation.location import locate
from hyperfuse.sensor.estimation.position import PositionFit
from hyperfuse.sensor.estimation.psf import PsfFit
from hyperfuse.sensor.estimation.radiometry import Level, changed_pixels, fit_levels, smooth_share
from hyperfuse.sensor.estimation.sampling import inner_pixels, psf_deviation
from hyperfuse.sensor.estimation.srf import fit_srf
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.presets import mtf
from hyperfuse.sensor.psf import BoxPsf, GaussianPsf, KernelPsf
from hyperfuse.sensor.srf.srf import Srf

Two = tuple[float, float]

_PIXELS = 4096
# An MSI band explained less than this, or missed this many times more than the others are, is told as not explained.
_EXPLAINED = 0.8
_MISSED = 10.0
# Smooth differences are told where they are this share of what is left of a band and that is this share of the band.
_SMOOTH_SHARE, _LEFT_SHARE = 0.3, 0.01
_CHANGED_SHARE = 0.001


@dataclass(frozen=True, eq=False)
class SensorEstimate:
    """The sensor of a pair, what it rests on and how far it holds.

    The MSI is ``gain * respond(X) + offset``, band by band; :meth:`correct` takes both away.

    Attributes:
        sensor: ratio, phase, PSF and responses: those given, and those estimated where that could be trusted.
        gain: (msi_bands,), 1 unless the pair shows otherwise.
        offset: (msi_bands,), in the MSI's unit; 0 unless the pair shows otherwise.
        explained: (msi_bands,), share of the variance of the degraded MSI that the HSI explains through the sensor,
            on LR pixels held out of the fits.
        residual: (msi_bands,), root mean square of what it does not explain, in the MSI's unit.
        trusted: (msi_bands,), False for MSI bands that the HSI does not explain: outside its range, or changed.
        changed: share of the LR pixels looked at on which the images do not agree.
        position: the last fit of the phase, what is explained ``before`` at the usual phase; None where it was given.
        blur: the fit of the PSF; None where it was given.
        notes: what was found, decided and not believed, a sentence each, for the user.
    """

    sensor: Sensor
    gain: Array
    offset: Array
    explained: Array
    residual: Array
    trusted: NDArray[np.bool_]
    changed: float
    position: PositionFit | None
    blur: PsfFit | None
    notes: tuple[str, ...]

    @property
    def psf(self) -> GaussianPsf | BoxPsf | KernelPsf:
        """The PSF of the sensor."""
        return self.sensor.psf

    @property
    def srf(self) -> Srf:
        """The responses of the sensor; their rows sum to 1, the rest is in ``gain`` and ``offset``."""
        assert self.sensor.srf is not None  # given or estimated
        return self.sensor.srf

    def correct(self, msi: torch.Tensor) -> torch.Tensor:
        """Return an MSI (msi_bands, H, W) at the levels of the HSI; bands that are not trusted stay as they are."""
        use = self.trusted & (self.gain > 0)
        gain = torch.as_tensor(np.where(use, self.gain, 1.0), dtype=msi.dtype, device=msi.device)
        offset = torch.as_tensor(np.where(use, self.offset, 0.0), dtype=msi.dtype, device=msi.device)
        return (msi - offset[:, None, None]) / gain[:, None, None]


def estimate_sensor(
    hsi: torch.Tensor,
    msi: torch.Tensor,
    ratio: float | Two,
    *,
    phase: float | Two | None = None,
    wavelengths: ArrayLike | None = None,
    psf: GaussianPsf | BoxPsf | KernelPsf | None = None,
    srf: Srf | None = None,
    hsi_valid: torch.Tensor | None = None,
    msi_valid: torch.Tensor | None = None,
) -> SensorEstimate:
    """Estimate phase, PSF, responses and levels of a pair; what is given stays as given.

    From ``hsi = degrade(X)`` and ``msi = gain * (R X) + offset`` follows ``gain * (R hsi) + offset = degrade(msi)``,
    in which X does not occur: the equation of blind hyperspectral and multispectral fusion (Simoes et al., A convex
    formulation for hyperspectral image superresolution via subspace-based regularization, IEEE TGRS 53(6), 2015;
    Lanaras, Baltsavias and Schindler, Hyperspectral super-resolution with spectral unmixing constraints, Remote Sens.
    9(11), 2017; Bungert et al., Blind image fusion for hyperspectral imaging with the directional total variation,
    Inverse Problems 34(4), 2018). Phase and PSF are found first, for any linear R (:func:`fit_position`,
    :func:`fit_psf`), then R as non-negative, smooth and compact responses (:func:`fit_srf`) without the pixels on
    which the images do not agree. What the pair does not tell beyond doubt keeps its usual value, and a note says so.

    Args:
        hsi: LR-HSI (bands, h, w), finite; without bad bands.
        msi: HR-MSI (msi_bands, H, W), finite.
        ratio: HR pixels an LR pixel, one or along (y, x).
        phase: HR position of the first LR sample; estimated unless given.
        wavelengths: centres of the HSI bands in nm, any order, (bands,).
        psf: blur of the HSI; estimated unless given.
        srf: responses of the MSI; estimated unless given.
        hsi_valid: bool (h, w), False for LR pixels to leave out.
        msi_valid: bool (H, W), False in gaps.

    Raises:
        InputError: images, wavelengths or responses that do not fit together, or too few LR pixels.

    Example:
        >>> pair = torch.rand(6, 48, 48, generator=torch.Generator().manual_seed(0))
        >>> true = mtf(2.0, Srf([[0.5, 0.5, 0, 0, 0, 0], [0, 0, 0, 0.2, 0.6, 0.2]]))
        >>> found = estimate_sensor(true.degrade(pair), true.respond(pair), 2, phase=0.5)
        >>> [round(value, 2) for value in found.psf.sigma], found.srf.matrix.round(1).tolist()[0]
        ([0.99, 0.99], [0.5, 0.5, 0.0, 0.0, 0.0, 0.0])
    """
    centres = _checked(hsi, msi, wavelengths, srf)
    notes: list[str] = []
    sensor = mtf(ratio).replace(phase=phase, srf=srf)
    if psf is not None:
        sensor = sensor.replace(psf=psf)
    sensor, position, blur = locate(
        hsi,
        msi,
        sensor,
        known_phase=phase is not None,
        known_psf=psf is not None,
        hsi_valid=hsi_valid,
        msi_valid=msi_valid,
    )
    if position is not None and not position.trusted:
        notes.append(f"the phase is not estimated: {position.doubt}; blocks that start at the corner are assumed")
    elif position is not None:
        notes.append(f"phase estimated from the pair: {sensor.offset[0]:.2f},{sensor.offset[1]:.2f} HR pixels")
    if blur is not None:
        notes.append(psf_note(blur, sensor))
    return _with_levels(hsi, msi, sensor, centres, (hsi_valid, msi_valid), (position, blur), notes)


def _with_levels(
    hsi: torch.Tensor,
    msi: torch.Tensor,
    sensor: Sensor,
    centres: Array | None,
    valid: tuple[torch.Tensor | None, torch.Tensor | None],
    fits: tuple[PositionFit | None, PsfFit | None],
    notes: list[str],
) -> SensorEstimate:
    places, spectra, targets = _samples(hsi, msi, sensor, *valid)
    changed = changed_pixels(spectra, targets, places)
    if (~changed).sum() < LEAST_PIXELS:
        changed[:] = False
    share = float(changed.mean())
    places, spectra, targets = places[~changed], spectra[~changed], targets[~changed]
    if sensor.srf is None:
        found = fit_srf(spectra, targets, places, centres)
        sensor = sensor.replace(srf=_named(found.matrix, centres))
        gain, offset, explained, levels = found.gain, found.offset, found.explained, found.levels
    else:
        known = fit_levels(spectra @ sensor.srf.matrix.T, targets, places)
        gain, offset, explained, levels = known.gain, known.offset, known.explained, known.levels
    assert sensor.srf is not None
    missed = np.maximum(1 - explained, 0)
    trusted = (explained >= _EXPLAINED) & ((missed <= _MISSED * np.median(missed)) | (missed < 0.05)) & (gain > 0)
    rest = targets - (spectra @ sensor.srf.matrix.T) * gain - offset
    notes += _level_notes(sensor.srf, gain, offset, levels, explained, trusted)
    if share > _CHANGED_SHARE:
        notes.append(f"the images do not agree on {share:.1%} of the LR pixels (change, cloud, shadow or parallax)")
    smooth = smooth_share(rest, places)
    hazy = np.flatnonzero((smooth > _SMOOTH_SHARE) & (missed > _LEFT_SHARE))
    if hazy.size:
        names = ", ".join(sensor.srf.names[k] for k in hazy)
        notes.append(f"a smooth difference of brightness (haze, light) remains in {names}; it is not removed")
    return SensorEstimate(
        sensor=sensor,
        gain=gain,
        offset=offset,
        explained=explained,
        residual=np.sqrt(np.square(rest).mean(axis=0)),
        trusted=np.asarray(trusted, np.bool_),
        changed=share,
        position=fits[0],
        blur=fits[1],
        notes=tuple(notes),
    )


def _samples(
    hsi: torch.Tensor,
    msi: torch.Tensor,
    sensor: Sensor,
    hsi_valid: torch.Tensor | None,
    msi_valid: torch.Tensor | None,
) -> tuple[NDArray[np.int64], Array, Array]:
    """Return places, spectra and degraded MSI of LR pixels that see the MSI, away from its border where enough do."""
    shape = (hsi.shape[-2], hsi.shape[-1])
    margin = 2 * psf_deviation(sensor)
    while True:
        places = inner_pixels(
            sensor,
            shape,
            (msi.shape[-2], msi.shape[-1]),
            margin,
            hsi_valid=hsi_valid,
            msi_valid=msi_valid,
            most=_PIXELS,
        )
        if len(places) >= 2 * LEAST_PIXELS or margin < 0.5:
            break
        margin /= 2
    if len(places) < LEAST_PIXELS:
        raise InputError(f"only {len(places)} LR pixels see the MSI; {LEAST_PIXELS} are needed to estimate a sensor")
    rows, cols = places.T
    spectra = hsi[:, rows, cols].T.double().cpu().numpy()
    targets = sensor.degrade(msi, shape)[:, rows, cols].T.double().cpu().numpy()
    return places, spectra, targets


def _checked(hsi: torch.Tensor, msi: torch.Tensor, wavelengths: ArrayLike | None, srf: Srf | None) -> Array | None:
    if hsi.ndim != 3 or msi.ndim != 3:
        raise InputError(f"a pair is (bands, rows, cols) each, got {tuple(hsi.shape)} and {tuple(msi.shape)}")
    if not bool(torch.isfinite(hsi).all()) or not bool(torch.isfinite(msi).all()):
        raise InputError("the images to estimate a sensor from hold NaN or infinite values; fill them and tell where")
    if srf is not None and srf.matrix.shape != (msi.shape[0], hsi.shape[0]):
        raise InputError(
            f"the spectral responses turn {srf.hsi_bands} bands into {srf.msi_bands}; the images have"
            f" {hsi.shape[0]} and {msi.shape[0]}"
        )
    if wavelengths is None:
        return None
    centres = np.asarray(wavelengths, np.float64).ravel()
    if centres.size != hsi.shape[0]:
        raise InputError(f"{centres.size} wavelengths for {hsi.shape[0]} HSI bands")
    return centres if bool(np.isfinite(centres).all()) else None


def _named(matrix: Array, centres: Array | None) -> Srf:
    wavelengths = None if centres is None else matrix @ centres
    return Srf(matrix, wavelengths=wavelengths, source="estimated from the pair")


def psf_note(blur: PsfFit, sensor: Sensor) -> str:
    """Return a sentence about a PSF that was looked for, and taken where it could be trusted."""
    if not blur.trusted:
        why = "its best width is at the limit of the search" if blur.at_limit else "the pair does not tell its width"
        return f"the PSF is not estimated: {why}; a Gaussian with a modulation of 0.3 at Nyquist is assumed"
    if isinstance(sensor.psf, GaussianPsf):
        y, x = sensor.psf.sigma
        return f"PSF estimated from the pair: Gaussian, sigma {y:.2f},{x:.2f} HR pixels"
    assert isinstance(sensor.psf, BoxPsf)
    y, x = sensor.psf.width
    return f"PSF estimated from the pair: box, {y:.2f},{x:.2f} HR pixels wide"


def _level_notes(
    srf: Srf, gain: Array, offset: Array, levels: tuple[Level, ...], explained: Array, trusted: NDArray[np.bool_]
) -> list[str]:
    changed = [
        f"{srf.names[k]} gain {gain[k]:.3g}" + (f", offset {offset[k]:.3g}" if levels[k].offset else "")
        for k in np.flatnonzero(trusted)
        if levels[k] is not Level.SAME
    ]
    notes = [f"levels of the MSI differ from the HSI's: {'; '.join(changed)}"] if changed else []
    return notes + [
        f"MSI {srf.names[k]} is not explained by the HSI ({max(explained[k], 0):.0%} of its variance): outside the"
        " HSI's range, or changed"
        for k in np.flatnonzero(~trusted)
    ]
