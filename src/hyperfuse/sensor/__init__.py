"""Sensors: the forward model of a pair of images (PSF, sampling, spectral responses), and presets of the literature."""

from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.presets import create_sensor, list_presets
from hyperfuse.sensor.psf import BoxPsf, GaussianPsf, KernelPsf, create_psf, gaussian_from_fwhm, gaussian_from_mtf
from hyperfuse.sensor.srf.names import create_srf, list_srfs
from hyperfuse.sensor.srf.srf import Srf

__all__ = [
    "BoxPsf",
    "GaussianPsf",
    "KernelPsf",
    "Sensor",
    "Srf",
    "create_psf",
    "create_sensor",
    "create_srf",
    "gaussian_from_fwhm",
    "gaussian_from_mtf",
    "list_presets",
    "list_srfs",
]
