"""``hyperfuse train``: a network from a configuration."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from hyperfuse.cli.options import COMMON, CommonOptions
from hyperfuse.cli.session import Session
from hyperfuse.errors import InputError

if TYPE_CHECKING:
    from hyperfuse.training.configuration import TrainingConfig
    from hyperfuse.training.examples import Base
    from hyperfuse.training.scene_store import SceneReader
    from hyperfuse.training.sections import Names


def train(
    config: Annotated[Path, Parameter(name="CONFIG")],
    /,
    *overrides: Annotated[str, Parameter(name="KEY=VALUE")],
    resume: bool = False,
    prepare: bool = False,
    overwrite: bool = False,
    json: bool = False,
    common: CommonOptions = COMMON,
    session: Annotated[Session, Parameter(parse=False)],
) -> None:
    """Train a network as specified in a configuration file.

    The folder that the configuration names as `output` gets the configuration with every key (config.yaml), a log, two
    checkpoints and the best weights (best/). Started by `torchrun`, several processes or hosts work together.

    Args:
        config: YAML file; those that ship are in configs/ of the source, docs/training.md explains every key.
        overrides: Keys to change, such as data.folder=CAVE or optimiser.learning_rate=1e-3.
        resume: Continue the training run in the output folder, as resume=true does; starts one where there is none.
        prepare: Make the images of the base that training needs, print how many, their size and the time, and end.
            They are kept in the user's cache folder, and read by every run that needs them.
        overwrite: Remove the training run in the output folder.
        json: Write the scores as JSON.
        common: Options of every command.
        session: Where results and notes go.
    """
    from hyperfuse.methods.base_image import create_base
    from hyperfuse.metrics import MAIN_COLUMNS
    from hyperfuse.training.configuration import load_config
    from hyperfuse.training.loop import train as run

    main = os.environ.get("RANK", "0") == "0"
    session.quiet = session.quiet or not main
    settings, scenes = open_scenes(load_config(config, [*overrides, *(["resume=true"] if resume else [])]))
    data = settings.data
    held_out = f"{data.hold_out:.0%} of each" if data.hold_out else f"{len(data.validation)} others"
    session.note(f"{settings.network.name}: {len(data.train)} scenes to learn from, {held_out} to validate on")
    base = None if settings.base is None else create_base(settings.base, parallel=True)
    if prepare:
        if base is None:
            raise InputError(f"{config}: names no base, so that there is nothing to prepare")
        _prepare(settings, scenes, base, session, json=json)
        return
    with session.progress("training") as report:
        result = run(settings, scenes, base=base, overwrite=overwrite, progress=report, note=session.note)
    if not main:
        return
    session.wrote(settings.output, result.best)
    session.note(f"{result.steps} steps; this part took {session.seconds:.0f} s")
    if json:
        session.result_json(
            {
                "best": str(result.best),
                "step": result.best_step,
                "scores": result.best_scores,
                "steps": result.steps,
                "last_scores": result.scores,
            }
        )
        return
    scores = [
        f"{column.title} {column.text(result.best_scores[column.key])} {column.unit}".rstrip()
        for column in MAIN_COLUMNS
        if column.key in result.best_scores
    ]
    session.result(f"{result.best}: step {result.best_step}, {', '.join(scores)}")


def _prepare(config: TrainingConfig, scenes: SceneReader, base: Base, session: Session, *, json: bool) -> None:
    """Make the images of a base, and print how many, their size and the time."""
    from hyperfuse.training.preparation import prepare_images

    with session.progress("preparing") as report:
        images = prepare_images(config, scenes, base, report)
    found = {
        "images": images.made + images.found,
        "made": images.made,
        "found": images.found,
        "bytes": images.bytes,
        "seconds": round(session.seconds, 1),
        "folder": str(images.folder),
    }
    if json:
        session.result_json(found)
        return
    session.result(
        f"base {base.name}: {found['images']} images, {images.made} made and {images.found} found,"
        f" {images.bytes / 1e6:.1f} MB in {session.seconds:.1f} s; {images.folder}"
    )


def open_scenes(config: TrainingConfig) -> tuple[TrainingConfig, SceneReader]:
    """Open the data set that a configuration names; return the configuration with scenes in place of splits.

    Raises:
        InputError: an unknown kind or split, or data that are not there.
    """
    from hyperfuse.training.stored_pairs import PatchScenes

    data = config.data
    if data.kind == "patches":
        from hyperfuse.datasets import open_patch_file

        if data.train != "all" or data.validation or data.scale is not None or data.offset is not None:
            raise InputError(
                "of a patch file all patches are taken as they are: data.train=all, and data.hold_out to validate"
            )
        patches = PatchScenes(open_patch_file(data.folder))
        return config.with_names(*patches.split(data.hold_out)), patches

    from hyperfuse.datasets import Scenes as DatasetScenes
    from hyperfuse.datasets import get_dataset, open_dataset, read_split

    dataset = get_dataset(data.kind, scale=data.scale, offset=data.offset)

    def named(names: Names) -> tuple[str, ...]:
        if isinstance(names, str):
            return read_split(data.kind, names, dataset.canonical)
        return tuple(dataset.canonical(name) for name in names)

    validation, test = named(data.validation), named(data.test)
    if data.train == "all":
        every = open_dataset(data.kind, data.folder, scale=data.scale, offset=data.offset).names
        train = tuple(name for name in every if name not in {*validation, *test})
    else:
        train = named(data.train)
    resolved = config.with_names(train, validation, test)
    return resolved, DatasetScenes(dataset, data.folder, (*train, *validation))
