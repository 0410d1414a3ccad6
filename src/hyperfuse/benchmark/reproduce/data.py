"""The scenes that a table or figure is made with: which are learnt from, which choose the weights, which are scored."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from hyperfuse.benchmark.plan import stamp_of
from hyperfuse.cube.cube import Cube
from hyperfuse.datasets import INDIAN_PINES_SOURCE, Scenes, load_indian_pines, open_dataset, read_split
from hyperfuse.errors import InputError

# What --quick learns from where these are in the folder, in this order; else scenes of the train split.
_LEARNT = ("paints", "sponges", "fake_and_real_sushi", "cloth", "cloth_half")
_SCORED = ("balloons", "balloons_half")
_QUICK_SCENES = 4
_HELD_OUT = 96
_SCORED_SIDE = 256
_SRF = "nikon-d700"
_PINES_BANDS = 4  # every fourth one: with all 200 a training takes four times as long
# Row, column, rows and columns of its parts: whole LR pixels at ratio 8.
_PINES = {"learn": (0, 0, 144, 88), "score": (0, 88, 88, 56), "choose": (88, 88, 56, 56)}


class Window(NamedTuple):
    """A part of a scene."""

    scene: str
    row: int
    col: int
    rows: int
    cols: int

    @property
    def name(self) -> str:
        """Name of the part, which tells it whole: weights are kept under it."""
        return f"{self.scene}[{self.row}:{self.row + self.rows},{self.col}:{self.col + self.cols}]"


class WindowScenes:
    """Parts of scenes, by name, as training reads them."""

    def __init__(self, scenes: Mapping[str, Cube] | Scenes, windows: Sequence[Window]) -> None:
        self._scenes = scenes
        self._windows = {window.name: window for window in windows}
        self._kept: dict[str, Cube] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parts."""
        return tuple(self._windows)

    def load(self, name: str) -> Cube:
        """Return a part; all of them are small, and kept."""
        if name not in self._kept:
            window = self._windows[name]
            whole = self._scenes.load(window.scene) if isinstance(self._scenes, Scenes) else self._scenes[window.scene]
            part = whole.crop(*window[1:])
            self._kept[name] = part.replace(data=part.data.copy())  # lets go of the whole scene
        return self._kept[name]

    def shape(self, name: str) -> tuple[int, int, int]:
        """Return (bands, rows, cols) of a part."""
        window = self._windows[name]
        return self.load(name).bands, window.rows, window.cols


@dataclass(frozen=True)
class Material:
    """Scenes and how they become pairs.

    Attributes:
        name: for files and messages: ``cave``, ``harvard``, ``indian-pines``.
        title: as people write it.
        told: what the output says about the scenes.
        source: whom to name where they are shown.
        scenes: where they are read from.
        train: names to learn from.
        validation: names that choose the weights.
        test: names that are scored.
        srf: responses of the MSI.
        stamp: changes with the data.
        quick: whether these are small parts.
    """

    name: str
    title: str
    told: str
    source: str
    scenes: Scenes | WindowScenes
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    srf: str
    stamp: str
    quick: bool


def same_scene(first: str, second: str) -> bool:
    """Tell whether two names are one scene, whole, at half size or a part of it.

    Example:
        >>> same_scene("balloons_half", "balloons[0:256,0:256]"), same_scene("paints", "sponges")
        (True, False)
    """
    plain = [name.split("[")[0].removesuffix("_half") for name in (first, second)]
    return plain[0] == plain[1]


def full_material(kind: str, folder: Path, validation: Sequence[str]) -> Material:
    """Return a whole data set with its split: ``uestc`` for CAVE, this package's own for Harvard.

    Args:
        kind: ``cave`` or ``harvard``.
        folder: where it lies.
        validation: names of scenes that choose the weights, taken out of those to learn from.

    Raises:
        InputError: scenes that are not there.
    """
    own = {"cave": "uestc", "harvard": "own"}[kind]
    test = read_split(kind, f"{own}-test")
    train = tuple(name for name in read_split(kind, f"{own}-train") if name not in validation)
    every = Scenes(open_dataset(kind, folder).dataset, folder, (*train, *validation, *test))
    split = f"the split {own} ({len(train)} scenes to learn from, {len(test)} to score)"
    told = f"{kind.upper() if kind == 'cave' else kind.title()}, {split}; {', '.join(validation)} chose the weights."
    if kind == "harvard":
        told += " The split is this package's own: which scenes published tables are scored on is not known."
    return Material(
        name=kind,
        title=every.dataset.title,
        told=told,
        source=every.dataset.source or "",
        scenes=every,
        train=train,
        validation=tuple(validation),
        test=test,
        srf=_SRF,
        stamp=_stamp(every, (*train, *validation, *test)),
        quick=False,
    )


def quick_material(kind: str, folder: Path) -> Material:
    """Return a few parts of scenes of a data set: small real data.

    The upper three quarters of up to four training scenes are learnt from, a window at the bottom of each chooses the
    weights, and the middle of one test scene is scored.

    Args:
        kind: ``cave`` or ``harvard``.
        folder: where scenes of it lie; it need not be all.

    Raises:
        InputError: no scene to learn from, or none to score.
    """
    dataset = open_dataset(kind, folder).dataset
    found = dataset.find(folder)
    own = {"cave": "uestc", "harvard": "own"}[kind]
    splits = {part: read_split(kind, f"{own}-{part}") for part in ("train", "test")}
    learnt = [name for name in (*_LEARNT, *splits["train"]) if name in found]
    scored = [name for name in (*_SCORED, *splits["test"]) if name in found]
    learnt = [name for place, name in enumerate(learnt) if not any(same_scene(name, one) for one in learnt[:place])]
    learnt = [name for name in learnt if not any(same_scene(name, other) for other in splits["test"])][:_QUICK_SCENES]
    if not learnt or not scored:
        what = "to learn from" if not learnt else "to score"
        example = splits["train" if not learnt else "test"][0]
        raise InputError(f"{folder}: holds no scene {what}, such as {example}; {dataset.remedy}")
    scenes = Scenes(dataset, folder, (*learnt, scored[0]))
    shapes = {name: scenes.shape(name)[1:] for name in scenes.names}
    train, validation = [], []
    for name in learnt:
        rows, cols = shapes[name]
        side = min(_HELD_OUT, rows // 4 // 8 * 8, cols // 8 * 8)
        if side < 16:
            raise InputError(f"the scene {name} has {rows}x{cols} pixels; 64x64 are needed to learn from a part of it")
        train.append(Window(name, 0, 0, rows - rows // 4, cols))
        validation.append(Window(name, rows - side, (cols - side) // 2, side, side))
    rows, cols = (min(size // 8 * 8, _SCORED_SIDE) for size in shapes[scored[0]])
    row, col = ((size - part) // 2 for size, part in zip(shapes[scored[0]], (rows, cols), strict=True))
    test = Window(scored[0], row, col, rows, cols)
    told = (
        f"Learnt from the upper three quarters of {', '.join(learnt)}; windows at their bottoms chose the weights; "
        f"scored on {rows}x{cols} pixels of {scored[0]}, from which nothing was learnt."
    )
    windows = WindowScenes(scenes, [*train, *validation, test])
    return Material(
        name=kind,
        title=dataset.title,
        told=told,
        source=dataset.source or "",
        scenes=windows,
        train=tuple(window.name for window in train),
        validation=tuple(window.name for window in validation),
        test=(test.name,),
        srf=_SRF,
        stamp=_stamp(scenes, scenes.names),
        quick=True,
    )


def pines_material() -> Material:
    """Return Indian Pines, the real scene that a package ships, cut into three parts.

    Raises:
        MissingDependencyError: without the extra ``demo``.
    """
    whole = load_indian_pines()
    cube = whole.select_bands(range(0, whole.bands, _PINES_BANDS))
    parts = {part: Window("indian_pines", *place) for part, place in _PINES.items()}
    told = (
        f"Indian Pines (AVIRIS, every fourth of its {whole.bands} bands): learnt from columns 0 to 87; of the columns "
        "beyond, rows 0 to 87 are scored and rows 88 to 143 chose the weights; MSI Sentinel-2A."
    )
    return Material(
        name="indian-pines",
        title="Indian Pines",
        told=told,
        source=INDIAN_PINES_SOURCE,
        scenes=WindowScenes({"indian_pines": cube}, list(parts.values())),
        train=(parts["learn"].name,),
        validation=(parts["choose"].name,),
        test=(parts["score"].name,),
        srf="sentinel-2a",
        stamp=f"every {_PINES_BANDS}th band",
        quick=True,
    )


def _stamp(scenes: Scenes, names: Sequence[str]) -> str:
    told = "\n".join(f"{name} {stamp_of(scenes.path(name))}" for name in names)
    return hashlib.sha256(told.encode()).hexdigest()[:16]
