"""The tables and figures of the FeINFN paper (Liang et al., NeurIPS 2024), a file each."""

from __future__ import annotations

from hyperfuse.runtime.optional import require

require("matplotlib", "drawing figures")

from hyperfuse.benchmark.reproduce.experiment import Experiment  # noqa: E402  (after the check)
from hyperfuse.benchmark.reproduce.recipes import Budget  # noqa: E402
from hyperfuse.benchmark.reproduce.registry import ARTEFACTS, find_artefacts, prepare, reproduce  # noqa: E402
from hyperfuse.benchmark.reproduce.results import Artefact, outputs  # noqa: E402

__all__ = ["ARTEFACTS", "Artefact", "Budget", "Experiment", "find_artefacts", "outputs", "prepare", "reproduce"]
