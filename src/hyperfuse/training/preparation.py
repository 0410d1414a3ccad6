"""The images of a base, made before a run."""

from __future__ import annotations

from hyperfuse.errors import InputError
from hyperfuse.progress import Progress, silent
from hyperfuse.training.base_images import BaseImages
from hyperfuse.training.configuration import TrainingConfig
from hyperfuse.training.data import open_training_data
from hyperfuse.training.examples import Base
from hyperfuse.training.scene_store import SceneReader


def prepare_images(config: TrainingConfig, scenes: SceneReader, base: Base, progress: Progress = silent) -> BaseImages:
    """Make all images that a training run starts from, or find them; return what was counted.

    Args:
        config: of the run, with names of scenes in place of splits.
        scenes: see :func:`hyperfuse.training.loop.train`.
        base: with images that are kept.
        progress: receives the fraction done.

    Raises:
        InputError: a base that keeps no images, and what :func:`open_training_data` refuses.
    """
    images = base.image
    if not isinstance(images, BaseImages) or images.folder is None:
        raise InputError("base.cache=false keeps no images, so that there is nothing to prepare")
    ratios = config.validation.ratios or config.degradation.ratios
    validated = len(config.data.train if config.data.hold_out else config.data.validation) * len(ratios)
    count = len(config.data.train) * len(config.degradation.ratios) * base.versions + validated

    def report() -> None:
        done = images.made + images.found
        progress(done / count, f"image {done} of {count}")

    images.report = report
    open_training_data(config, scenes, base)
    images.report = lambda: None
    return images
