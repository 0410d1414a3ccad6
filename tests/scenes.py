"""Synthetic scenes of the tests: fields, fractions of materials, spectra, and images made of them.

Functions that take ``rng`` draw from it in the order in which they are called, so that a test has the same scene every
time. Images are arrays (bands, rows, cols).
"""

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from hyperfuse.cube.cube import Cube
from hyperfuse.sensor.srf.srf import Srf


def power_law_fields(rng, count, rows, cols, exponent):
    """Periodic fields whose amplitudes fall with a power of the frequency, as in natural images; deviation about 1."""
    spectrum = np.fft.rfft2(rng.standard_normal((count, rows, cols)))
    fy, fx = np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(cols)[None]
    fields = np.fft.irfft2(spectrum / (0.02 + np.hypot(fy, fx)) ** exponent, s=(rows, cols))
    return fields / fields.std()


def fractions(fields, contrast=1.5):
    """Fractions of materials that sum to 1, from one field per material."""
    weights = np.exp(contrast * fields)
    return weights / weights.sum(axis=0)


def gaussian_spectra(rng, wavelengths, count, terms):
    """Smooth spectra (count, bands): sums of Gaussians over a floor of 0.1."""
    centres, widths = rng.uniform(400, 1000, (count, terms, 1)), rng.uniform(40, 150, (count, terms, 1))
    return 0.1 + 0.3 * np.exp(-((wavelengths - centres) ** 2) / (2 * widths**2)).sum(axis=1)


def mixture(spectra, abundances):
    """The image of materials: spectra (materials, bands), abundances (materials, rows, cols)."""
    return np.einsum("kb,krc->brc", spectra, abundances)


def smooth_abundances(rng, count, rows, cols, width):
    """Positive abundances that vary smoothly, log-normal about 1."""
    fields = gaussian_filter(rng.normal(size=(count, rows, cols)), (0, width, width))
    return np.exp(fields / fields.std() / 2)


def patches_of_materials(bands, rows, cols, seed=0):
    """Five materials with smooth spectra in patches, shaded and textured, with maximum 1."""
    rng = np.random.default_rng(seed)
    spectra = gaussian_filter1d(rng.uniform(0, 1, (5, bands + 20)), 4, axis=1)[:, 10 : 10 + bands]
    spectra = 0.1 + 0.6 * (spectra - spectra.min()) / np.ptp(spectra)
    fields = np.stack([gaussian_filter(rng.standard_normal((rows, cols)), 3, mode="wrap") for _ in range(5)])
    patches = gaussian_filter(np.eye(5)[fields.argmax(0)], (0.5, 0.5, 0))
    shade = gaussian_filter(rng.standard_normal((rows, cols)), 8, mode="wrap")
    texture = gaussian_filter(rng.standard_normal((rows, cols)), 0.7, mode="wrap")
    brightness = 1 + 0.15 * shade / shade.std() + 0.1 * texture / texture.std()
    image = np.einsum("rcm,mb->brc", patches, spectra) * np.clip(brightness, 0.3, 1.7)
    return image / image.max()


def gaussian_responses(msi_bands, hsi_bands):
    """Overlapping Gaussian responses, evenly spread; a single one is panchromatic."""
    centres = (np.arange(msi_bands) + 0.5) * hsi_bands / msi_bands - 0.5
    width = max(0.6 * hsi_bands / msi_bands, 0.5)
    matrix = np.exp(-0.5 * ((np.arange(hsi_bands)[None] - centres[:, None]) / width) ** 2)
    return Srf(matrix / matrix.sum(1, keepdims=True))


def waves(seed, bands=3, rows=30, cols=28, length=4.0, contrast=0.4):
    """One plane wave per band, in (0, 1)."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :cols] / length
    tilt = generator.uniform(0.3, 1.5, (bands, 2, 1, 1))
    return 0.5 + contrast * np.sin(tilt[:, 0] * x + tilt[:, 1] * y + seed)


def georeferenced_scene():
    """Four materials in smooth patches, 24 bands from 430 to 890 nm, 24 x 36 pixels of 10 m in UTM 33N."""
    bands, rows, cols = 24, 24, 36
    y, x = np.mgrid[0:rows, 0:cols] / 6.0
    weights = np.stack([1 + np.sin(x), 1 + np.cos(y), 1 + np.sin(x + y), 1 + np.cos(x - 2 * y)])
    weights /= weights.sum(axis=0)
    spectra = np.random.default_rng(7).uniform(0.05, 0.6, (4, bands))
    spectra = np.cumsum(spectra, axis=1) / np.arange(1, bands + 1)
    return Cube(
        data=mixture(spectra, weights).astype(np.float32),
        wavelengths=np.linspace(430, 890, bands),
        transform=(10.0, 0.0, 364000.0, 0.0, -10.0, 5810000.0),
        crs="EPSG:32633",
        units="reflectance",
    )


def on_ground(transform, col, row):
    """Coordinates (x, y) of a position in pixels from the corner of the image."""
    a, b, c, d, e, f = tuple(transform)[:6]
    return a * col + b * row + c, d * col + e * row + f
