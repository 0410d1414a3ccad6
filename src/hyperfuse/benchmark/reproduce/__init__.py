"""The tables and figures of the FeINFN paper (Liang et al., NeurIPS 2024), a file each."""

from __future__ import annotations

from hyperfuse.runtime.optional import require

require("matplotlib", "drawing figures")

from hyperfuse.benchmark.reproduce.artefacts import PIECES, Piece, find_pieces, outputs, prepare, reproduce  # noqa: E402
from hyperfuse.benchmark.reproduce.experiment import Lab  # noqa: E402
from hyperfuse.benchmark.reproduce.recipes import Budget  # noqa: E402

__all__ = ["PIECES", "Budget", "Lab", "Piece", "find_pieces", "outputs", "prepare", "reproduce"]
