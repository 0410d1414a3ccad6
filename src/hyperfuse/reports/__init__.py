"""Figures of fused images."""

from hyperfuse.reports.figures import comparison_figure, save_figure

__all__ = ["comparison_figure", "save_figure"]
