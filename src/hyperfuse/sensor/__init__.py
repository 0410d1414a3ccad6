"""Sensors: the forward model of a pair of images (PSF, sampling, spectral responses), and presets of the literature."""
