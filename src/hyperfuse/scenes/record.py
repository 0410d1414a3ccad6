"""What is recorded of a fusion: the step of the history, the header of the result, and what identifies a job."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.header import CubeHeader
from hyperfuse.scenes.simulate import hr_transform
from hyperfuse.scenes.windows import Scene
from hyperfuse.sensor.geometry import PairGeometry
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import Psf
from hyperfuse.sensor.srf.coverage import coverage_note, outside_coverage
from hyperfuse.sensor.srf.srf import Srf
from hyperfuse.version import __version__

_BAND_GROUPS = 8
UNCERTAINTY = "standard deviation of the expected error"


def history_step(scene: Scene, seed: int, details: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return the step of the history of a result.

    Args:
        scene: that was fused.
        seed: of methods that draw random numbers.
        details: of the fit.
        more: entries about the job: the inputs, the tiles.
    """
    values = dict(details)
    rmse, fractions = values.pop("held_out_rmse", None), values.pop("network_fraction", None)
    if rmse is not None and scene.source.match.exponent:
        rmse = [float(f"{math.ldexp(value, scene.source.match.exponent):.3g}") for value in rmse]
    if fractions is not None:
        values["network_fraction"] = _by_band_groups(fractions, np.flatnonzero(scene.bands) + 1)
    notes = [
        _coverage(scene, rmse),
        *scene.notes,
        _outliers(values),
        _differing(values),
        _added(values),
        _end(values, fractions),
    ]
    return {
        "step": "fuse",
        "method": scene.method.name,
        "settings": scene.settings.model_dump(mode="json"),
        **({"run": values} if values else {}),
        **({} if rmse is None else {"held_out_rmse": rmse}),
        **more,
        "sensor": scene.source.match.sensor.to_record(),
        "seed": seed,
        "device": scene.device.type,
        "notes": [*scene.source.match.notes, *(note for note in notes if note)],
        "msi_history": [dict(earlier) for earlier in scene.source.msi_header.history],
        "version": __version__,
    }


def result_header(scene: Scene, gaps: bool, step: Mapping[str, Any]) -> CubeHeader:
    """Return the header of the result.

    Args:
        scene: that was fused.
        gaps: whether any value of a band that is used is a gap.
        step: of the history.
    """
    hsi, msi, bands = scene.source.hsi_header, scene.source.msi_header, scene.bands
    nodata = hsi.coding.nodata
    if nodata is None and (gaps or not bands.all()):
        nodata = float("nan")
    return header_on_msi_grid(hsi, msi, scene.source.match.sensor).replace(
        good_bands=None if hsi.good_bands is None and bands.all() else bands,
        nodata=nodata,
        history=(*hsi.history, step),
    )


def header_on_msi_grid(hsi: CubeHeader, msi: CubeHeader, sensor: Sensor) -> CubeHeader:
    """Return the header of an HSI with the pixels of the MSI, both cut to their common extent."""
    transform, crs = msi.transform, msi.crs or hsi.crs
    if transform is None:
        transform, crs = hr_transform(hsi.transform, sensor), hsi.crs or msi.crs
    return hsi.replace(shape=(hsi.bands, msi.rows, msi.cols), transform=transform, crs=crs)


def describe_geometry(geometry: PairGeometry) -> dict[str, Any]:
    """Return what a caller specifies of a pair as plain values."""
    srf, psf, msi_psf, displacement = geometry.srf, geometry.psf, geometry.msi_psf, geometry.displacement_map
    return {
        "sensor": None if geometry.sensor is None else geometry.sensor.to_dict(),
        "srf": srf.matrix.tolist() if isinstance(srf, Srf) else srf,
        "psf": None if psf is None else _plain_psf(psf),
        "ratio": geometry.ratio,
        "phase": geometry.phase,
        "align": geometry.align,
        "same_ground": geometry.same_ground,
        **({} if msi_psf is None else {"msi_psf": _plain_psf(msi_psf)}),
        **({} if geometry.search is None else {"search": geometry.search}),
        **({} if displacement is None else {"displacement": displacement.to_dict()}),
    }


def _plain_psf(psf: Psf | str) -> Any:
    return psf if isinstance(psf, str) else psf.model_dump(mode="json")


def _coverage(scene: Scene, held_out_rmse: list[float] | None) -> str:
    """Return a sentence about the bands outside the spectral coverage of the MSI, empty without any."""
    used = np.flatnonzero(scene.bands)
    hsi, msi, sensor = scene.source.hsi_header, scene.source.msi_header, scene.sensor
    wavelengths = None if hsi.wavelengths is None else hsi.wavelengths[used]
    responses = None if sensor.srf is None else sensor.srf.matrix
    outside = outside_coverage(wavelengths, responses, msi.wavelengths, msi.fwhm)
    return coverage_note(outside, used + 1, wavelengths, held_out_rmse)


def _by_band_groups(fractions: Sequence[float], bands: NDArray[np.intp]) -> dict[str, float]:
    """Return the mean fraction of the network's correction that is applied, by groups of the bands (from 1)."""
    if len(fractions) != len(bands):  # the same for all
        return {f"{bands[0]}-{bands[-1]}": fractions[0]}
    groups = np.array_split(np.arange(len(bands)), min(_BAND_GROUPS, len(bands)))
    return {
        f"{bands[group[0]]}-{bands[group[-1]]}": round(float(np.mean([fractions[band] for band in group])), 3)
        for group in groups
    }


def _outliers(details: Mapping[str, Any]) -> str:
    """Return a sentence about single HR pixels that were replaced, empty without any."""
    return _of_pixels(
        details.get("msi_outlier_fraction"),
        "of the MSI's pixels are outliers, which the pixels around them and the HSI contradict: they are replaced",
    )


def _of_pixels(fraction: Any, rest: str) -> str:
    """Return a sentence that starts with a fraction, empty where there is none."""
    if not isinstance(fraction, float) or not fraction:
        return ""
    return f"{f'{fraction:.1%}' if fraction >= 0.001 else 'less than 0.1%'} {rest}"


def _differing(details: Mapping[str, Any]) -> str:
    """Return a sentence about LR pixels at which the images do not agree, empty without any."""
    return _of_pixels(
        details.get("differing_fraction"),
        "of the HSI's pixels do not agree with the MSI (outliers, clouds, changes or saturation):"
        " they decide no model, and the result there is less certain",
    )


def _added(details: Mapping[str, Any]) -> str:
    """Return a sentence about what a step has gained at held-out pixels, empty where it did not take place."""
    gain = details.get("regression_gain_db")
    if not isinstance(gain, float):
        return ""
    if not gain:
        return "regression on patches: nothing gained at held-out LR pixels, not applied"
    trained = " and on features from other scenes" if details.get("trained_features") else ""
    return f"regression on patches{trained}: {gain:+.2f} dB at held-out LR pixels"


def _end(details: Mapping[str, Any], fractions: Sequence[float] | None) -> str:
    """Return a sentence about a fit that ended early or in vain, empty of another."""
    if details.get("end") == "interrupted":
        return f"interrupted after {details['steps']} steps; the result is the best so far"
    if details.get("end") == "no time":
        return "the budget left no time to fit the network; the result is without it"
    if details.get("end") == "budget":
        return f"the budget ended the method after {details['iterations']} iterations; the result is what they reached"
    if fractions is not None and not any(fractions):
        return (
            "nothing learnt: the network's correction helps on no held-out pixels and is not applied; the result is"
            f" without it (after {details['steps']} steps)"
        )
    return ""
