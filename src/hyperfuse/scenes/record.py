"""What is told of a tiled job: what decides its tiles, and what its result says of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.runtime.devices import find_device
from hyperfuse.scenes.preparation import outside_coverage_note, sensor_summary
from hyperfuse.scenes.simulate import hr_transform
from hyperfuse.scenes.source import Outline, Scene
from hyperfuse.scenes.tiles_job import Job, used_sensor
from hyperfuse.scenes.tiling.store import identity
from hyperfuse.version import __version__


def fingerprint(job: Job, scene: Scene, seed: int, overlap: int | None) -> dict[str, Any]:
    """Return everything that decides the values of the tiles; ``overlap`` as it was asked for."""
    files = [path for path in (job.hsi, job.msi, job.mask) if path is not None]
    return {
        "inputs": [identity(path) for path in files],
        "reading": [dict(job.reading), dict(job.msi_reading)],
        "sensor": scene.pair.sensor.to_dict(),
        "levels": None if job.levels is None else [[f"{value:.6g}" for value in row] for row in job.levels],
        "bands": [np.flatnonzero(job.bands).tolist(), np.flatnonzero(job.msi_bands).tolist()],
        "tile": job.tile,
        "overlap": overlap,
        "method": job.method,
        "settings": job.settings.model_dump(mode="json"),
        "seed": seed,
        "device": find_device(job.device).type,
        "version": __version__,
    }


def history_step(
    scene: Scene, job: Job, seed: int, notes: Sequence[str], inputs: Mapping[str, str] | None
) -> dict[str, Any]:
    """Return the step of the history, as :func:`hyperfuse.scenes.fuse.fuse` tells it."""
    used = used_sensor(scene, job.bands, job.msi_bands)
    told = replace(scene.pair, hsi=scene.pair.hsi.replace(good_bands=job.bands))
    uncovered = outside_coverage_note(told, used, None)
    return {
        "step": "fuse",
        "method": job.method,
        "settings": job.settings.model_dump(mode="json"),
        "tiles": {"tile": job.tile, "overlap": job.margin},
        "sensor": sensor_summary(scene.pair.sensor),
        "seed": seed,
        "device": find_device(job.device).type,
        "notes": [*scene.pair.notes, *notes, *([uncovered] if uncovered else [])],
        "msi_history": [dict(earlier) for earlier in scene.pair.msi.history],
        "version": __version__,
        **({} if inputs is None else {"inputs": dict(inputs)}),
    }


def outline_of(scene: Scene, bands: NDArray[np.bool_], gaps: bool, step: Mapping[str, Any]) -> Outline:
    """Return size and metadata of the result, as for one that is fused whole."""
    hsi, msi = scene.pair.hsi, scene.pair.msi
    transform, crs = msi.transform, msi.crs or hsi.crs
    if transform is None:
        transform, crs = hr_transform(hsi.transform, scene.pair.sensor), hsi.crs or msi.crs
    marked = gaps or not bands.all()
    header = hsi.replace(
        good_bands=None if hsi.good_bands is None and bands.all() else bands,
        transform=transform,
        crs=crs,
        nodata=(hsi.nodata if hsi.nodata is not None else float("nan")) if marked else hsi.nodata,
        history=(*hsi.history, step),
    )
    return Outline.of(header.header.replace(shape=(header.bands, msi.rows, msi.cols)))
