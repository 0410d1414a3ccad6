"""Make a pair from one reference image (Wald's protocol): the LR-HSI, the HR-MSI and the sensor that made them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from affine import Affine
from numpy.typing import NDArray

from hyperfuse.calls import checked
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import six_numbers
from hyperfuse.errors import InputError
from hyperfuse.io.files import ImageLike, as_cube
from hyperfuse.sensor.displacement import Displacement
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.presets import create_sensor
from hyperfuse.sensor.psf import create_psf
from hyperfuse.sensor.srf.names import create_srf
from hyperfuse.sensor.srf.restrict import restrict_responses
from hyperfuse.sensor.srf.srf import Srf
from hyperfuse.version import __version__

# An LR pixel of which the PSF covers less than this fraction of valid HR pixels is a gap.
_VALID_FRACTION = 0.5
_WORST_SNR_DB = 100.0  # below it, noise 1e5 times the image and more


class Pair(NamedTuple):
    """A simulated pair: ``hsi`` and ``msi``, the ``sensor`` that made them, and the ``reference`` cut to fit."""

    hsi: Cube
    msi: Cube
    sensor: Sensor
    reference: Cube


@checked
def simulate(
    reference: ImageLike,
    *,
    ratio: float | tuple[float, float],
    preset: str = "mtf",
    srf: str | Srf | None = None,
    psf: str | None = None,
    phase: float | tuple[float, float] | None = None,
    hsi_snr_db: float | None = None,
    msi_snr_db: float | None = None,
    seed: int = 0,
    drop_uncovered: bool = False,
    displacement: Displacement | None = None,
) -> Pair:
    """Degrade a reference image into a pair.

    Args:
        reference: Cube, array, ``DataArray`` or file, (bands, H, W), cropped at the top left to whole LR pixels.
        ratio: HR pixels per LR pixel, 1 or more, one number or (y, x).
        preset: ``uestc``, ``dhif`` or ``mtf``; fixes PSF, phase and border.
        srf: responses of the MSI, as :func:`~hyperfuse.sensor.srf.names.create_srf` reads them, or an ``Srf``.
        psf: another PSF than the preset's, as :func:`~hyperfuse.sensor.psf.create_psf` reads it.
        phase: another phase than the preset's, in HR pixels.
        hsi_snr_db: add white Gaussian noise to every HSI band at this ratio of its mean square to the noise variance.
        msi_snr_db: the same for the MSI.
        seed: of the noise.
        drop_uncovered: leave out MSI bands of a named ``srf`` that the reference does not cover, with a warning.
        displacement: of the HSI's pixels from their regular positions, as two satellites disagree; the georeferencing
            of the HSI knows nothing of it. Pixels displaced beyond the reference see it continued as its border is.

    Returns:
        The pair. Bands without any data stay empty and have no part in the MSI; gaps of the reference are gaps of
        the MSI, and of those HSI pixels of which the PSF covers less than half of valid pixels.

    Raises:
        InputError: a ratio, name or band count that does not fit.

    Example:
        >>> import numpy as np
        >>> pair = simulate(np.ones((4, 8, 8)), ratio=2, srf="boxes:2")
        >>> pair.hsi.data.shape, pair.msi.data.shape
        ((4, 4, 4), (2, 8, 8))
    """
    cube = as_cube(reference, "reference")
    if seed < 0:
        raise InputError(f"seed is 0 or more, got {seed}", "seed")
    for name, decibels in (("hsi_snr_db", hsi_snr_db), ("msi_snr_db", msi_snr_db)):
        # Infinite is without noise.
        if decibels is not None and not decibels >= -_WORST_SNR_DB:
            raise InputError(f"{name}={decibels:g} is no SNR in dB, which is {-_WORST_SNR_DB:g} or more", name)
    if srf is None:
        raise InputError("an MSI needs spectral responses: srf='sentinel-2a', 'nikon-d700', 'boxes:6' or a table")
    sensor = create_sensor(preset, ratio)
    if psf is not None:
        sensor = sensor.replace(psf=create_psf(psf, sensor.ratio))
    if phase is not None:
        sensor = sensor.replace(phase=phase)
    if displacement is not None:
        sensor = sensor.replace(displacement=displacement)
    cube = _cropped(cube, sensor)
    if not cube.usable_bands.any():
        raise InputError("the reference holds no usable band: all are empty or marked as bad")
    if isinstance(srf, str):
        responses = create_srf(srf, cube, drop_uncovered=drop_uncovered)
    else:
        responses = _among_usable(srf, cube)
    sensor = sensor.replace(srf=responses)

    shape = sensor.lr_shape((cube.rows, cube.cols))
    image = torch.from_numpy(np.nan_to_num(cube.data, nan=0.0))
    hsi_data, hsi_valid = _degraded(image, cube.valid, sensor, shape)
    msi_valid = np.broadcast_to(cube.valid_pixels, (responses.msi_bands, cube.rows, cube.cols))
    generator = np.random.default_rng(seed)
    step = {
        "step": "simulate",
        "preset": preset,
        **sensor.to_record(),
        "seed": seed,
        "version": __version__,
    }
    hsi = cube.header.replace(
        shape=(cube.bands, *shape),
        transform=lr_transform(cube.transform, sensor),
        history=(*cube.history, {**step, "snr_db": hsi_snr_db}),
    )
    msi = cube.header.replace(
        shape=(responses.msi_bands, cube.rows, cube.cols),
        wavelengths=responses.wavelengths,
        fwhm=responses.fwhm,
        good_bands=None,
        band_names=responses.names,
        history=(*cube.history, {**step, "snr_db": msi_snr_db}),
    )
    return Pair(
        Cube.from_header(hsi, _noisy(hsi_data.numpy(), hsi_valid, hsi_snr_db, generator), hsi_valid),
        Cube.from_header(msi, _noisy(sensor.respond(image).numpy(), msi_valid, msi_snr_db, generator), msi_valid),
        sensor,
        cube,
    )


def lr_transform(transform: Affine | None, sensor: Sensor) -> Affine | None:
    """Return the transform of the LR grid from that of the HR grid, phase and ratio of the sensor."""
    if transform is None:
        return None
    a, b, c, d, e, f = six_numbers(transform)
    ratio_y, ratio_x = sensor.ratio
    # The first LR pixel reaches ratio / 2 to either side of its centre, which is phase + 1/2 from the HR corner.
    y, x = (phase + 0.5 - ratio / 2 for phase, ratio in zip(sensor.offset, sensor.ratio, strict=True))
    return Affine(a * ratio_x, b * ratio_y, c + a * x + b * y, d * ratio_x, e * ratio_y, f + d * x + e * y)


def hr_transform(transform: Affine | None, sensor: Sensor) -> Affine | None:
    """Return the transform of the HR grid from that of the LR grid: the inverse of :func:`lr_transform`."""
    if transform is None:
        return None
    a, b, c, d, e, f = six_numbers(transform)
    ratio_y, ratio_x = sensor.ratio
    y, x = (0.5 - (phase + 0.5) / ratio for phase, ratio in zip(sensor.offset, sensor.ratio, strict=True))
    return Affine(a / ratio_x, b / ratio_y, c + a * x + b * y, d / ratio_x, e / ratio_y, f + d * x + e * y)


def _cropped(cube: Cube, sensor: Sensor) -> Cube:
    """Return a cube cropped at the top left to whole LR pixels."""
    shape = sensor.lr_shape((cube.rows, cube.cols))
    # A ratio such as 3.333334 for 10/3 must not require an eleventh row.
    rows, cols = (
        min(size, int(np.ceil(count * ratio - 1e-6)))
        for size, count, ratio in zip((cube.rows, cube.cols), shape, sensor.ratio, strict=True)
    )
    return cube if (rows, cols) == (cube.rows, cube.cols) else cube.crop(0, 0, rows, cols)


def _among_usable(srf: Srf, cube: Cube) -> Srf:
    """Return responses with no weight on unusable bands, as those by name have; rows sum to 1 again."""
    usable = cube.usable_bands
    if srf.hsi_bands != cube.bands:
        raise InputError(f"the spectral responses are for {srf.hsi_bands} bands, the reference has {cube.bands}")
    restricted = restrict_responses(srf, np.ones(srf.msi_bands, np.bool_), usable)
    assert restricted is not None  # of responses that are known
    matrix = np.zeros_like(srf.matrix)
    matrix[:, usable] = restricted.matrix
    return srf if usable.all() else Srf(matrix, srf.names, srf.wavelengths, srf.fwhm, srf.source)


def _degraded(
    image: torch.Tensor, valid: NDArray[np.bool_] | None, sensor: Sensor, shape: tuple[int, int]
) -> tuple[torch.Tensor, NDArray[np.bool_] | None]:
    """Degrade an image whose gaps hold 0; the weights of the valid pixels under a PSF are scaled to the sum 1."""
    degraded = sensor.degrade(image, shape)
    if valid is None:
        return degraded, None
    covered = sensor.degrade(torch.tensor(valid, dtype=image.dtype), shape)
    known = covered >= _VALID_FRACTION
    return torch.where(known, degraded / covered.clamp_min(_VALID_FRACTION), torch.nan), known.numpy()


def _noisy(
    data: NDArray[Any], valid: NDArray[np.bool_] | None, snr_db: float | None, generator: np.random.Generator
) -> NDArray[Any]:
    if snr_db is None:
        return data
    where = np.ones(data.shape, np.bool_) if valid is None else valid
    count = np.maximum(where.sum(axis=(1, 2)), 1)
    power = np.where(where, data.astype(np.float64) ** 2, 0.0).sum(axis=(1, 2)) / count
    sigma = np.sqrt(power * 10 ** (-snr_db / 10))
    noise = sigma[:, None, None] * generator.standard_normal(data.shape)
    return np.asarray(data + noise, data.dtype)
