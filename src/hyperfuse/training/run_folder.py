"""The folder of a run: created, resumed, or refused where it holds another run."""

from __future__ import annotations

import shutil
from pathlib import Path

from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.io.encoding.atomic import replacing
from hyperfuse.training.checkpoints import (
    BEST,
    CHECKPOINTS,
    latest_checkpoint,
    read_state,
    remove_partial,
    remove_run,
)
from hyperfuse.training.config_files import differences, load_config, to_yaml
from hyperfuse.training.configuration import TrainingConfig
from hyperfuse.training.processes import Processes
from hyperfuse.training.run_log import LOG, TENSORBOARD

CONFIG = "config.yaml"
# Marks our file: a folder is only cleared where a run created it.
_MARK = "# Configuration of a run of `hyperfuse train`, with every key.\n"

# What may change between the parts of a run without changing its weights.
_FREE = ("resume", "output", "device", "workers", "data.folder", "data.memory_gb", "checkpoints.", "log.")


def open_run(config: TrainingConfig, processes: Processes, base: str | None, *, overwrite: bool = False) -> Path | None:
    """Make the folder of a run and write its configuration, or find the checkpoint to resume from.

    Args:
        config: of the run, with names in place of splits.
        processes: the first of them writes, all of them read.
        base: name of the base that the network improves.
        overwrite: remove a run that the folder holds.

    Returns:
        The latest checkpoint where ``config.resume`` is set and there is one, else None.

    Raises:
        InputError: the folder holds a run and ``resume`` is not set, or another run than this, or files that are no
            run's.
    """
    folder = config.output
    _refuse_other_files(folder)
    checkpoint = latest_checkpoint(folder)
    if overwrite and config.resume:
        raise InputError("resume and overwrite exclude each other: a run is either resumed or started again")
    if overwrite:
        checkpoint = None
    if checkpoint is not None and not config.resume:
        raise InputError(
            f"{folder} holds a run already; resume=true resumes it, overwrite=True starts it again, output=FOLDER "
            "starts another"
        )
    if checkpoint is not None:
        _refuse_another(config, folder, checkpoint, base)
    # All processes have looked before the first one writes.
    processes.wait()
    if processes.main:
        folder.mkdir(parents=True, exist_ok=True)
        remove_partial(folder)
        if checkpoint is None:
            forget_run(folder)
        try:
            with replacing(folder / CONFIG) as scratch:
                scratch.write_text(_MARK + to_yaml(config), "utf-8")
        except HyperfuseError as error:
            raise HyperfuseError(f"{folder / CONFIG}: {error}") from error
    processes.wait()
    return checkpoint


def forget_run(folder: Path) -> None:
    """Remove all that a run wrote to its folder; other files in it stay."""
    remove_run(folder)
    (folder / LOG).unlink(missing_ok=True)
    (folder / CONFIG).unlink(missing_ok=True)
    if (folder / TENSORBOARD).is_dir():
        shutil.rmtree(folder / TENSORBOARD)


def _refuse_other_files(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; name a folder (output=FOLDER)")
    found = [name for name in (CONFIG, LOG, TENSORBOARD, CHECKPOINTS, BEST) if (folder / name).exists()]
    ours = (folder / CONFIG).is_file() and (folder / CONFIG).read_text("utf-8", "replace").startswith(_MARK)
    if found and not ours:
        raise InputError(f"{folder} holds {found[0]}, but is not the folder of a run; name another one (output=FOLDER)")


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
