"""Spectral response functions of multispectral sensors."""
