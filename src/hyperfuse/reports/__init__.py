"""Figures of fused images, and the HTML report."""

from __future__ import annotations

from hyperfuse.runtime.optional import require

require("matplotlib", "drawing figures")

from hyperfuse.reports.figures import comparison_figure, save_figure  # noqa: E402  (after the check)

__all__ = ["comparison_figure", "save_figure"]
