"""What a table says about how its numbers came to be."""

from __future__ import annotations

from collections.abc import Sequence

from hyperfuse import __version__
from hyperfuse.benchmark.plan import Plan, scoring_convention
from hyperfuse.benchmark.records import Record


def describe_plan(plan: Plan) -> str:
    """Return the data and the degradation, one sentence."""
    pairs, count = plan.pairs, len(plan.scenes)
    scenes = f"{count} scene{'' if count == 1 else 's'} of {pairs.kind}"
    split = "" if plan.split is None else f" (split {plan.split})"
    ratios = " and ".join(f"{ratio:g}" for ratio in plan.ratios)
    return f"{scenes}{split}; preset {pairs.preset}, ratio {ratios}, MSI {pairs.srf}, seed {pairs.seed}."


def describe_scoring() -> str:
    """Return the version and the convention of the metrics."""
    return f"hyperfuse {__version__}. Convention: {scoring_convention()}."


def describe_times(records: Sequence[Record]) -> str:
    """Return what times and memory mean, with the threads they were taken with."""
    timed = [record for record in records if record.seconds is not None]
    if not timed:
        return "No times were taken."
    threads = _span([record.threads for record in timed if record.threads is not None], "thread")
    at_once = _span([record.at_once for record in timed if record.at_once is not None], "job")
    text = (
        f"Seconds: wall time of the one run of each fusion in a fresh process, mean over scenes, {threads} each, "
        f"{at_once} at a time; reading, degrading and scoring are not in it."
    )
    if any(record.peak_memory is not None for record in timed):
        text += " Memory: the most that the process of a job held while fusing, program and images included."
    else:
        text = text.replace(" in a fresh process", "")
    if any(record.gpu_memory is not None for record in timed):
        text += " GPU memory: the most that tensors took on it."
    return text


def _span(values: Sequence[int], unit: str) -> str:
    low, high = min(values, default=1), max(values, default=1)
    return f"{low} {unit}{'' if low == 1 else 's'}" if low == high else f"{low} to {high} {unit}s"
