"""Scenes to try and measure fusion on."""

from hyperfuse.datasets.indian_pines import INDIAN_PINES_SOURCE, load_indian_pines

__all__ = ["INDIAN_PINES_SOURCE", "load_indian_pines"]
