"""The data of a run, made from its configuration: examples to learn from and pairs to validate on."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch.utils.data import Dataset

from hyperfuse.errors import InputError
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.srf.names import create_srf
from hyperfuse.sensor.srf.srf import Srf
from hyperfuse.training.based_examples import BasedExamples
from hyperfuse.training.configuration import TrainingConfig
from hyperfuse.training.degradation import Degradation, lr_pixels_per_side
from hyperfuse.training.examples import Base, Example, PatchExamples, PatchSource
from hyperfuse.training.order import DataOrder
from hyperfuse.training.scene_store import SceneReader, SceneStore
from hyperfuse.training.stored_pairs import PatchScenes, StoredExamples


@dataclass(frozen=True)
class ValidationPair:
    """A whole scene that is degraded without jitter when its pair is needed."""

    scene: str
    ratio: float
    store: SceneStore
    srf: Srf | None
    preset: str
    base: Base | None = None
    stored: PatchScenes | None = None
    _made: list[torch.Tensor] = field(default_factory=list, init=False, repr=False, compare=False)

    def make(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Return HSI, MSI, reference and the base's image (or None), each (bands, rows, cols)."""
        if self.stored is not None:
            return (*self.stored.pair(self.scene), None)
        image = self.store.load(self.scene)
        rows, cols = (round(lr_pixels_per_side(size, self.ratio) * self.ratio) for size in image.shape[-2:])
        image = image[:, :rows, :cols]
        assert self.srf is not None  # only stored pairs have none
        sensor = Degradation(self.preset, self.ratio, self.srf, min(rows, cols)).nominal
        hsi, msi = sensor.degrade(image), sensor.respond(image)
        return hsi, msi, image, None if self.base is None else self._base_image(hsi, msi, sensor)

    def _base_image(self, hsi: torch.Tensor, msi: torch.Tensor, sensor: Sensor) -> torch.Tensor:
        """Return the base's image, which is the same at every validation and slow to make."""
        assert self.base is not None
        if not self._made:
            self._made.append(self.base.image(hsi, msi, sensor).to(hsi))
        return self._made[0]


@dataclass(frozen=True)
class TrainingData:
    """Examples and validation pairs of a run.

    Attributes:
        examples: by their position in the run.
        order: which patch comes when.
        validation: one pair per scene and ratio.
        hsi_bands: of the network.
        msi_bands: of the network, with those of a base as further guidance channels.
        store: the training scenes.
        srf: responses of the MSI; None for stored pairs.
    """

    examples: Dataset[Example]
    order: DataOrder
    validation: tuple[ValidationPair, ...]
    hsi_bands: int
    msi_bands: int
    store: SceneStore
    srf: Srf | None


def open_training_data(config: TrainingConfig, scenes: SceneReader, base: Base | None = None) -> TrainingData:
    """Check the scenes that a configuration names and prepare them.

    Args:
        config: with names of scenes in place of splits.
        scenes: where they are read from.
        base: the image that the network improves.

    Raises:
        InputError: splits that were not replaced, a scene that is missing or does not fit, or stored pairs that the
            data do not have.
    """
    data = config.data
    if isinstance(data.train, str) or isinstance(data.validation, str) or isinstance(data.test, str):
        raise InputError("a split is still named where scenes are needed; use TrainingConfig.with_names")
    memory = data.memory_gb * 1e9
    store = SceneStore(scenes, data.train, hold_out=data.hold_out, part="top", memory_bytes=memory)
    held_out = (
        SceneStore(scenes, data.train, hold_out=data.hold_out, part="bottom", memory_bytes=memory / 4)
        if data.hold_out
        else SceneStore(scenes, data.validation, memory_bytes=memory / 4)
    )
    if held_out.bands != store.bands:
        raise InputError(f"the validation scenes have {held_out.bands} bands, the training scenes {store.bands}")
    for name in held_out.names:
        held_out.shape(name)  # refuses a fraction held out that leaves no row
    ratios = config.validation.ratios or config.degradation.ratios
    if config.degradation.preset == "stored":
        return _stored(config, scenes, store, held_out, ratios, base)

    srf = create_srf(data.srf, scenes.load(store.names[0]))
    degradations = [
        Degradation(
            config.degradation.preset,
            ratio,
            srf,
            data.patch,
            width_jitter=config.degradation.width_jitter,
            phase_jitter=config.degradation.phase_jitter,
        )
        for ratio in config.degradation.ratios
    ]
    corners = store.grid(data.patch, data.stride)
    order = DataOrder(config.seed, len(corners), config.batch, config.accumulation)
    store.load_while_room()
    validation = tuple(
        ValidationPair(name, ratio, held_out, srf, config.degradation.preset, base)
        for ratio in ratios
        for name in held_out.names
    )
    for pair in validation:
        lr_pixels_per_side(min(held_out.shape(pair.scene)), pair.ratio)  # refuses a scene smaller than an LR pixel
    guidance = store.bands if base is not None and base.guidance else 0
    source = PatchSource(store, corners, order, degradations, config.augmentation)
    examples: Dataset[Example] = PatchExamples(source) if base is None else BasedExamples(source, base)
    return TrainingData(examples, order, validation, store.bands, srf.msi_bands + guidance, store, srf)


def _stored(
    config: TrainingConfig,
    scenes: SceneReader,
    store: SceneStore,
    held_out: SceneStore,
    ratios: tuple[float, ...],
    base: Base | None,
) -> TrainingData:
    if not isinstance(scenes, PatchScenes):
        raise InputError("degradation.preset=stored is for patch files (data.kind=patches); name a preset")
    if base is not None:
        raise InputError("stored pairs do not say which sensor made them, which a base needs; name a preset")
    for ratio in {*ratios, *config.degradation.ratios}:
        if ratio != scenes.ratio:
            raise InputError(f"the stored pairs have the ratio {scenes.ratio:g}, not {ratio:g}")
    order = DataOrder(config.seed, len(store.names), config.batch, config.accumulation)
    validation = tuple(
        ValidationPair(name, scenes.ratio, held_out, None, "stored", stored=scenes) for name in held_out.names
    )
    examples = StoredExamples(scenes, store.names, order)
    return TrainingData(examples, order, validation, store.bands, scenes.msi_bands, store, None)
