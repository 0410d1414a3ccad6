"""The data of a run, made from its configuration: examples to learn from and pairs to validate on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch

from hyperfuse.errors import InputError
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.presets import create_sensor
from hyperfuse.sensor.srf.names import create_srf
from hyperfuse.sensor.srf.srf import Srf
from hyperfuse.training.base_images import Inputs
from hyperfuse.training.based_examples import BasedExamples
from hyperfuse.training.configuration import TrainingConfig
from hyperfuse.training.degradation import Degradation, lr_pixels_per_side
from hyperfuse.training.examples import Base, Examples
from hyperfuse.training.order import DataOrder
from hyperfuse.training.patch_examples import PatchExamples, PatchSource
from hyperfuse.training.scene_store import SceneReader, SceneStore
from hyperfuse.training.stored_pairs import PatchScenes, StoredExamples
from hyperfuse.training.validation import ValidationPair


@dataclass(frozen=True)
class TrainingData:
    """Examples by their position in the run, a validation pair per scene and ratio, and the training scenes.

    The network's ``msi_bands`` include those of a base as guidance channels; ``srf`` is None for stored pairs.
    """

    examples: Examples
    order: DataOrder
    validation: tuple[ValidationPair, ...]
    hsi_bands: int
    msi_bands: int
    store: SceneStore
    srf: Srf | None


class _ScenePair:
    """Makes the pair of a whole scene, without jitter.

    Attributes:
        base_image: the base's image, which is slow to make, or None.
    """

    def __init__(self, store: SceneStore, scene: str, sensor: Sensor, ratio: float) -> None:
        self._store, self._scene, self._sensor = store, scene, sensor
        # Refuses a scene smaller than an LR pixel.
        self._rows, self._cols = (round(lr_pixels_per_side(size, ratio) * ratio) for size in store.shape(scene))
        self.base_image: torch.Tensor | None = None

    def __call__(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]:
        image = self._store.load(self._scene)[:, : self._rows, : self._cols]
        return self._sensor.degrade(image), self._sensor.respond(image), image, self.base_image

    def inputs(self) -> Inputs:
        """Return what the base's image is made of."""
        hsi, msi, _, _ = self()
        return Inputs(hsi, msi, self._sensor)


def open_training_data(config: TrainingConfig, scenes: SceneReader, base: Base | None = None) -> TrainingData:
    """Check the scenes that a configuration names and prepare them; ``base`` is what the network improves.

    Raises:
        InputError: splits that were not replaced, a scene that is missing or does not fit, or stored pairs that the
            data do not have.
    """
    data, degradation = config.data, config.degradation
    if isinstance(data.train, str) or isinstance(data.validation, str) or isinstance(data.test, str):
        raise InputError("a split is still named where scenes are needed; use TrainingConfig.with_names")
    memory = data.memory_gb * 1e9
    store = SceneStore(scenes, data.train, hold_out=data.hold_out, part="top", memory_bytes=memory)
    held_out = SceneStore(
        scenes,
        data.train if data.hold_out else data.validation,
        hold_out=data.hold_out,
        part="bottom" if data.hold_out else "all",
        memory_bytes=memory / 4,
    )
    if held_out.bands != store.bands:
        raise InputError(f"the validation scenes have {held_out.bands} bands, the training scenes {store.bands}")
    for name in held_out.names:
        held_out.shape(name)  # refuses a fraction held out that leaves no row
    ratios = config.validation.ratios or degradation.ratios
    if degradation.preset == "stored":
        if not isinstance(scenes, PatchScenes):
            raise InputError("degradation.preset=stored is for patch files (data.kind=patches); name a preset")
        if base is not None:
            raise InputError("stored pairs do not say which sensor made them, which a base needs; name a preset")
        return _stored(config, scenes, store, held_out, ratios)

    srf = create_srf(data.srf, scenes.load(store.names[0]))
    jitter = {"width_jitter": degradation.width_jitter, "phase_jitter": degradation.phase_jitter}
    degradations = [Degradation(degradation.preset, ratio, srf, data.patch, **jitter) for ratio in degradation.ratios]
    corners = store.grid(data.patch, data.stride)
    order = DataOrder(config.seed, len(corners), config.batch, config.accumulation)
    store.load_while_room()
    sensors = {ratio: create_sensor(degradation.preset, ratio, srf) for ratio in ratios}
    pairs = [_ScenePair(held_out, name, sensors[ratio], ratio) for ratio in ratios for name in held_out.names]
    names = [(name, ratio) for ratio in ratios for name in held_out.names]
    validation = tuple(ValidationPair(*name, pair) for name, pair in zip(names, pairs, strict=True))
    guidance = store.bands if base is not None and base.guidance else 0
    source = PatchSource(store, corners, order, degradations, config.augmentation)
    examples: Examples = PatchExamples(source) if base is None else BasedExamples(source, base)
    if base is not None:
        for pair, image in zip(pairs, base.images([pair.inputs() for pair in pairs]), strict=True):
            pair.base_image = image
    return TrainingData(examples, order, validation, store.bands, srf.msi_bands + guidance, store, srf)


def _stored(
    config: TrainingConfig, scenes: PatchScenes, store: SceneStore, held_out: SceneStore, ratios: tuple[float, ...]
) -> TrainingData:
    for ratio in {*ratios, *config.degradation.ratios}:
        if ratio != scenes.ratio:
            raise InputError(f"the stored pairs have the ratio {scenes.ratio:g}, not {ratio:g}")
    order = DataOrder(config.seed, len(store.names), config.batch, config.accumulation)
    validation = tuple(ValidationPair(name, scenes.ratio, partial(_pair, scenes, name)) for name in held_out.names)
    examples = StoredExamples(scenes, store.names, order)
    return TrainingData(examples, order, validation, store.bands, scenes.msi_bands, store, None)


def _pair(scenes: PatchScenes, name: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None]:
    return (*scenes.pair(name), None)
