"""What identifies a job that is fused in tiles: to resume it, and to recognise its result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from hyperfuse.errors import FinishedError, HyperfuseError
from hyperfuse.io.formats.registry import split_variable
from hyperfuse.io.windows.open import open_windows
from hyperfuse.scenes.files import PairFiles
from hyperfuse.scenes.job import FusionJob
from hyperfuse.scenes.record import describe_geometry
from hyperfuse.version import __version__


def refuse_finished(out: str | Path, files: PairFiles, job: FusionJob) -> None:
    """Refuse to resume a job whose image is complete, and newer than its inputs.

    Raises:
        FinishedError: it is.
    """
    try:
        with closing(open_windows(out)) as source:
            tiles = source.header.history[-1]["tiles"]
        written = split_variable(out)[0].stat().st_mtime_ns
    except (HyperfuseError, OSError, LookupError, TypeError):
        return
    changed = max(time_ns for image in files.images for _, _, time_ns in image.identity())
    if isinstance(tiles, Mapping) and tiles.get("job") == digest_of(files, job) and written >= changed:
        raise FinishedError(f"{out}: is complete, there is nothing to resume")


def digest_of(files: PairFiles, job: FusionJob) -> str:
    """Return a digest of what a job computes, by which its result is recognised: of inputs names and sizes alone."""
    described = {**fingerprint(files, job), "tile": None}
    described["inputs"] = [[Path(path).name, size] for image in described["inputs"] for path, size, _ in image]
    text = json.dumps(described, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def fingerprint(files: PairFiles, job: FusionJob) -> dict[str, Any]:
    """Return everything that decides the values of tiles; ``overlap`` as requested."""
    return {
        "inputs": [image.identity() for image in files.images],
        "reading": [image.reading() for image in files.images],
        "geometry": describe_geometry(job.geometry),
        "tile": job.tile,
        "overlap": job.overlap,
        "method": job.method.name,
        "settings": job.settings.model_dump(mode="json"),
        "seed": job.seed,
        "device": job.device.type,
        "version": __version__,
    }
