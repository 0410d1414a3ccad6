"""Scenes of tables and figures: those for training, for validation, and for the scores."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from hyperfuse.benchmark.plan import same_scene, stamp_of
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.window import Window
from hyperfuse.datasets import INDIAN_PINES_SOURCE, Scenes, get_dataset, load_indian_pines, open_dataset, read_split
from hyperfuse.errors import InputError

# Preferred scenes of quick experiments, in this order; else scenes of the splits.
_TRAINING = ("paints", "sponges", "fake_and_real_sushi", "cloth", "cloth_half")
_TEST = ("balloons", "balloons_half")
_QUICK_SCENES = 4
_VALIDATION_SIDE = 96
_TEST_SIDE = 256
_SPLITS = {"cave": "uestc", "harvard": "own"}
# Validation scenes in full, taken out of the training scenes.
_VALIDATION = {"cave": ("watercolors",), "harvard": ("img1",)}
_PINES_STEP = 4  # every fourth band: with all 200 a training takes four times as long
# Whole LR pixels at ratio 8.
_PINES = {"train": Window(0, 0, 144, 88), "validation": Window(88, 88, 56, 56), "test": Window(0, 88, 88, 56)}


class ScenePart(NamedTuple):
    """A part of a scene."""

    scene: str
    window: Window

    @property
    def name(self) -> str:
        """Name of the part with its position and size, as the names of trained networks depend on it."""
        row, col, rows, cols = self.window
        return f"{self.scene}[{row}:{row + rows},{col}:{col + cols}]"


class PartScenes:
    """Parts of scenes by name, as training reads them."""

    def __init__(self, scenes: Mapping[str, Cube] | Scenes, parts: Sequence[ScenePart]) -> None:
        self._scenes = scenes
        self._parts = {part.name: part for part in parts}
        self._loaded: dict[str, Cube] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parts."""
        return tuple(self._parts)

    def load(self, name: str) -> Cube:
        """Return a part; they are small and stay in memory."""
        if name not in self._loaded:
            scene, window = self._parts[name]
            whole = self._scenes.load(scene) if isinstance(self._scenes, Scenes) else self._scenes[scene]
            part = whole.crop(*window)
            self._loaded[name] = part.replace(data=part.data.copy())  # frees the whole scene
        return self._loaded[name]

    def shape(self, name: str) -> tuple[int, int, int]:
        """Return (bands, rows, cols) of a part."""
        return self.load(name).header.shape


@dataclass(frozen=True, kw_only=True)
class ExperimentData:
    """Scenes and how they become pairs.

    Attributes:
        name: in files and messages: ``cave``, ``harvard``, ``indian-pines``.
        title: as it is written in text.
        description: sentences on the scenes for the output.
        source: to be named where the scenes are shown.
        scenes: by name.
        folder: of the files.
        train: names of training scenes.
        validation: names of scenes that choose the weights.
        test: names of scenes that are scored.
        srf: responses of the MSI.
        stamp: changes with the data.
    """

    name: str
    title: str
    description: str
    source: str
    scenes: Scenes | PartScenes
    folder: Path = Path()
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    srf: str = "nikon-d700"
    stamp: str

    @property
    def quick(self) -> bool:
        """Whether these are small parts of scenes."""
        return isinstance(self.scenes, PartScenes)


def full_data(kind: str, folder: Path) -> ExperimentData:
    """Return ``cave`` or ``harvard`` whole, with the split ``uestc`` for CAVE and this package's own for Harvard.

    Raises:
        InputError: scenes that are missing.
    """
    split, validation = _SPLITS[kind], _VALIDATION[kind]
    test = read_split(kind, f"{split}-test")
    train = tuple(name for name in read_split(kind, f"{split}-train") if name not in validation)
    dataset = get_dataset(kind)
    scenes = Scenes(dataset, folder, (*train, *validation, *test))
    description = (
        f"{dataset.title}, the split {split} ({len(train)} training scenes, {len(test)} test scenes); "
        f"{', '.join(validation)} chose the weights."
    )
    if kind == "harvard":
        description += " The split is this package's own: the test scenes of published tables are not known."
    return ExperimentData(
        name=kind,
        title=dataset.title,
        description=description,
        source=dataset.source or "",
        scenes=scenes,
        folder=folder,
        train=train,
        validation=validation,
        test=test,
        stamp=_stamp(scenes),
    )


def quick_data(kind: str, folder: Path) -> ExperimentData:
    """Return parts of some scenes of ``cave`` or ``harvard``: small real data.

    Training uses the upper three quarters of up to four training scenes, validation a window at the bottom of each, and
    scores the centre of one test scene.

    Raises:
        InputError: no training scene, or no test scene.
    """
    dataset = open_dataset(kind, folder).dataset
    found = dataset.find(folder)
    splits = {part: read_split(kind, f"{_SPLITS[kind]}-{part}") for part in ("train", "test")}
    training: list[str] = []
    for name in (*_TRAINING, *splits["train"]):
        if name in found and not any(same_scene(name, other) for other in (*training, *splits["test"])):
            training.append(name)
    training = training[:_QUICK_SCENES]
    tests = [name for name in (*_TEST, *splits["test"]) if name in found]
    if not training or not tests:
        part, example = ("test", splits["test"][0]) if training else ("training", splits["train"][0])
        raise InputError(f"{folder}: holds no {part} scene, such as {example}; {dataset.remedy}")
    scenes = Scenes(dataset, folder, (*training, tests[0]))
    train, validation = [], []
    for name in training:
        rows, cols = scenes.shape(name)[1:]
        side = min(_VALIDATION_SIDE, rows // 4 // 8 * 8, cols // 8 * 8)
        if side < 16:
            raise InputError(f"the scene {name} has {rows}x{cols} pixels; 64x64 are needed to train on a part of it")
        train.append(ScenePart(name, Window(0, 0, rows - rows // 4, cols)))
        validation.append(ScenePart(name, Window(rows - side, (cols - side) // 2, side, side)))
    height, width = scenes.shape(tests[0])[1:]
    rows, cols = (min(size // 8 * 8, _TEST_SIDE) for size in (height, width))
    test = ScenePart(tests[0], Window((height - rows) // 2, (width - cols) // 2, rows, cols))
    return _of_parts(
        scenes,
        {"train": train, "validation": validation, "test": [test]},
        name=kind,
        title=dataset.title,
        description=f"Trained on the upper three quarters of {', '.join(training)}; windows at their bottoms chose the "
        f"weights; scored on {rows}x{cols} pixels of {tests[0]}, which is in neither.",
        source=dataset.source or "",
        stamp=_stamp(scenes),
    )


def pines_data() -> ExperimentData:
    """Return Indian Pines, the real scene that a package ships, cut into three parts.

    Raises:
        MissingDependencyError: without the extra ``demo``.
    """
    whole = load_indian_pines()
    return _of_parts(
        {"indian_pines": whole.select_bands(range(0, whole.bands, _PINES_STEP))},
        {role: [ScenePart("indian_pines", window)] for role, window in _PINES.items()},
        name="indian-pines",
        title="Indian Pines",
        description=f"Indian Pines (AVIRIS, every fourth of its {whole.bands} bands): trained on columns 0 to 87; of "
        "the columns beyond, rows 0 to 87 are scored and rows 88 to 143 chose the weights; MSI Sentinel-2A.",
        source=INDIAN_PINES_SOURCE,
        srf="sentinel-2a",
        stamp=f"every {_PINES_STEP}th band",
    )


def _of_parts(
    scenes: Mapping[str, Cube] | Scenes, parts: Mapping[str, Sequence[ScenePart]], **described: Any
) -> ExperimentData:
    names: dict[str, Any] = {role: tuple(part.name for part in chosen) for role, chosen in parts.items()}
    every = [part for chosen in parts.values() for part in chosen]
    return ExperimentData(scenes=PartScenes(scenes, every), **names, **described)


def _stamp(scenes: Scenes) -> str:
    listed = "\n".join(f"{name} {stamp_of(scenes.path(name))}" for name in scenes.names)
    return hashlib.sha256(listed.encode()).hexdigest()[:16]
