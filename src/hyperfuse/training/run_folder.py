"""The folder of a run: created, resumed, or refused where it holds another run."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hyperfuse.errors import InputError
from hyperfuse.io.encoding.atomic import replacing
from hyperfuse.io.encoding.damage import named
from hyperfuse.runtime.locks import exclusive
from hyperfuse.training.checkpoints import BEST, CHECKPOINTS, SCORES, latest_checkpoint, read_state, remove_partial
from hyperfuse.training.configuration import TrainingConfig, differences, load_config, to_yaml
from hyperfuse.training.processes import Processes
from hyperfuse.training.run_log import LOG, TENSORBOARD, read_log

CONFIG = "config.yaml"
_LOCK = ".lock"
_OURS = (CONFIG, LOG, TENSORBOARD, CHECKPOINTS, BEST)
# Marks our file: a folder is only cleared where a run created it.
_MARK = "# Configuration of a run of `hyperfuse train`, with every key.\n"

# What may change between the parts of a run without changing its weights.
_FREE = (
    "resume",
    "output",
    "device",
    "workers",
    "data.folder",
    "data.memory_gb",
    "data.resident",
    "checkpoints.",
    "log.",
)


def open_run(config: TrainingConfig, processes: Processes, base: str | None, *, overwrite: bool = False) -> Path | None:
    """Make the folder of a run and write its configuration, or find the checkpoint to resume from.

    The first of the processes writes, all of them read. ``config`` has names in place of splits, ``base`` is the name
    of what the network improves; ``overwrite`` removes a run that the folder holds.

    Returns:
        The latest checkpoint where ``config.resume`` is set and there is one, else None.

    Raises:
        InputError: the folder holds a run and ``resume`` is not set, or another run than this, or files that are no
            run's.
    """
    folder = config.output
    _refuse_other_files(folder)
    if overwrite and config.resume:
        raise InputError("resume and overwrite exclude each other: a run is either resumed or started again")
    checkpoint = None if overwrite else latest_checkpoint(folder)
    if checkpoint is not None:
        if not config.resume:
            raise InputError(
                f"{folder} holds a run already; resume=true resumes it, overwrite=True starts it again, output=FOLDER "
                "starts another"
            )
        _refuse_another(config, folder, checkpoint, base)
    # All processes have looked before the first one writes.
    processes.accelerator.wait_for_everyone()
    if processes.main:
        folder.mkdir(parents=True, exist_ok=True)
        remove_partial(folder)
        for path in [folder / name for name in _OURS] if checkpoint is None else ():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        with named(folder / CONFIG), replacing(folder / CONFIG) as scratch:
            scratch.write_text(_MARK + to_yaml(config), "utf-8")
    processes.accelerator.wait_for_everyone()
    return checkpoint


@contextmanager
def run_locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of the folder of a run; it is made, and removed where nothing was written to it.

    Raises:
        LockedError: another process trains in it.
    """
    with suppress(OSError):  # reported where the folder is prepared
        folder.mkdir(parents=True, exist_ok=True)
    try:
        with exclusive(folder / _LOCK, f"{folder}: another process trains in it; wait for it, or set output=FOLDER"):
            yield
    finally:
        with suppress(OSError):
            folder.rmdir()


def describe_run(folder: Path) -> dict[str, Any]:
    """Return what is known of the training of a run's best weights.

    ``patches`` seen and ``seconds`` that these took, where its log states them, ``ratio`` where it was one whole ratio,
    and ``scenes`` that it learnt from.

    Raises:
        InputError: a configuration or scores that are damaged.
    """
    config = load_config(folder / CONFIG)
    ratios = config.degradation.ratios
    described: dict[str, Any] = {"scenes": [] if isinstance(config.data.train, str) else list(config.data.train)}
    if len(ratios) == 1 and float(ratios[0]).is_integer():
        described["ratio"] = int(ratios[0])
    entries = read_log(folder) if (folder / LOG).is_file() else []
    scores = best_scores(folder)
    best = math.inf if scores is None else scores["step"]
    entries = [entry for entry in entries if entry["step"] <= best and "patches_per_second" in entry]
    if entries:
        described["patches"] = int(entries[-1]["patches"])
        seen = [0, *(int(entry["patches"]) for entry in entries)]
        described["seconds"] = sum(
            (after - before) / entry["patches_per_second"]
            for before, after, entry in zip(seen, seen[1:], entries, strict=False)
        )
    return described


def best_scores(folder: Path) -> dict[str, float] | None:
    """Return the validation scores of a run's best weights and their ``step``; None where it has none yet.

    Raises:
        InputError: scores that are damaged.
    """
    path = folder / BEST / SCORES
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text("utf-8"))
        return {**{name: float(value) for name, value in found.items()}, "step": float(found["step"])}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{path}: states no step; the run was not written whole") from None


def _refuse_other_files(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; name a folder (output=FOLDER)")
    found = next((name for name in _OURS if (folder / name).exists()), None)
    ours = (folder / CONFIG).is_file() and (folder / CONFIG).read_text("utf-8", "replace").startswith(_MARK)
    if found and not ours:
        raise InputError(f"{folder} holds {found}, but is not the folder of a run; name another one (output=FOLDER)")


def _refuse_another(config: TrainingConfig, folder: Path, checkpoint: Path, base: str | None) -> None:
    for key, before, now in differences(load_config(folder / CONFIG), config):
        if not key.startswith(_FREE):
            raise InputError(
                f"{folder} was started with {key}={before}, now it is {now}; resume it unchanged, or start another run "
                "with output=FOLDER (network.weights=FOLDER starts from trained weights)"
            )
    started = read_state(checkpoint).base
    if started != base:
        raise InputError(f"{folder} was started with the base {started}, now it is {base}")
