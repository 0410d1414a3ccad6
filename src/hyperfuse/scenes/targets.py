"""Where the windows and images of a fusion go: memory, or a folder of tiles and files."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader
from hyperfuse.cube.window import Window
from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io import check_output, write
from hyperfuse.io.encoding.damage import damage_reported
from hyperfuse.io.encoding.options import WriteOptions
from hyperfuse.io.formats.targets import WindowTarget
from hyperfuse.io.windows.open import open_windows
from hyperfuse.io.windows.write import is_written_by_windows, writing_windows
from hyperfuse.methods import get_method
from hyperfuse.methods.contract.method import MethodSettings
from hyperfuse.runtime.devices import find_device
from hyperfuse.scenes.files import PairFiles
from hyperfuse.scenes.tiling.store import MemoryStore, TileStore
from hyperfuse.scenes.windows import Scene


class MemoryImage:
    """An image that is written window by window into memory."""

    def __init__(self, header: CubeHeader) -> None:
        self._header = header
        self._data = np.full(header.shape, np.nan, np.float32)

    def write(self, window: Window, cube: Cube) -> None:
        """Write a window."""
        if (window.rows, window.cols) == self._header.shape[1:]:
            self._data = cube.data
        else:
            self._data[:, *window.slices] = cube.data

    @property
    def cube(self) -> Cube:
        """The image."""
        valid = np.isfinite(self._data)
        return Cube(data=self._data, valid=None if valid.all() else valid, **self._header.fields())


@dataclass
class MemoryTarget:
    """Windows and images in memory.

    Attributes:
        fused: the fused image, once it is written.
        expected: the image of its uncertainty, or None.
    """

    store: MemoryStore = field(default_factory=MemoryStore)
    fused: Cube | None = None
    expected: Cube | None = None
    _scene: Scene | None = None

    def keep(self, scene: Scene) -> None:
        """Keep what was learnt of a scene."""
        self._scene = scene

    def scene(self) -> Callable[[], Scene] | None:
        """Return what gives the scene; None before it is kept."""
        scene = self._scene
        return None if scene is None else lambda: scene

    @contextmanager
    def image(self, header: CubeHeader) -> Iterator[MemoryImage]:
        """Open the fused image."""
        image = MemoryImage(header)
        yield image
        self.fused = image.cube

    @contextmanager
    def uncertainty(self, header: CubeHeader) -> Iterator[MemoryImage]:
        """Open the image of its uncertainty."""
        image = MemoryImage(header)
        yield image
        self.expected = image.cube


@dataclass(frozen=True)
class SceneFile:
    """Opens a scene of which the state is in a folder of tiles; picklable.

    Attributes:
        files: the pair.
        store: the folder.
        method: name of the method.
        settings: of the method.
        device: name of the device.
        key: differs between jobs.
    """

    files: PairFiles
    store: TileStore
    method: str
    settings: MethodSettings
    device: str
    key: str

    def __call__(self) -> Scene:
        """Return the scene, opened once per process and job."""
        return _opened(self)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SceneFile) and other.key == self.key

    @staticmethod
    def close() -> None:
        """Forget the scene that this process has opened."""
        _opened.cache_clear()


@lru_cache(maxsize=1)
def _opened(file: SceneFile) -> Scene:
    device = find_device(file.device)
    state = file.store.get_model(device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HyperfuseWarning)  # reported when the scene was matched
        source = file.files.open()
    with damage_reported(f"{file.store.folder} cannot be resumed: model.pt is damaged; remove the folder"):
        return Scene.restore(source, get_method(file.method), file.settings, device, state)


@dataclass(frozen=True)
class Outputs:
    """The files that a fusion writes.

    Attributes:
        out: the fused image.
        uncertainty: the image of its uncertainty, or None.
        options: how the image is written.
        overwrite: replace an existing image.
        resumed: replace an existing uncertainty, which an interrupted job may have written.
    """

    out: str | Path
    uncertainty: str | Path | None
    options: WriteOptions
    overwrite: bool
    resumed: bool

    @property
    def files(self) -> list[str | Path]:
        """Those that are written."""
        return [self.out] if self.uncertainty is None else [self.out, self.uncertainty]

    def check(self, inputs: Sequence[str | Path]) -> None:
        """Refuse what cannot be written, or would replace a file that is read, before any work."""
        check_output(self.out, self.options, overwrite=self.overwrite, inputs=inputs)
        if self.uncertainty is not None:
            check_output(self.uncertainty, self._uncoded, overwrite=self.overwrite or self.resumed, inputs=inputs)

    @property
    def by_windows(self) -> bool:
        """Whether all can be written window by window."""
        return all(is_written_by_windows(file) for file in self.files)

    def refuse_whole(self) -> None:
        """Refuse files that cannot be written window by window."""
        for file in self.files:
            if not is_written_by_windows(file):
                raise InputError(f"{file}: is written whole; the result of tiles goes to .tif, .img or .zarr")

    def write(self, image: Cube, uncertainty: Cube | None) -> None:
        """Write images that are in memory."""
        write(self.out, image, self.options, overwrite=self.overwrite)
        if self.uncertainty is not None and uncertainty is not None:
            write(self.uncertainty, uncertainty, self._uncoded, overwrite=self.overwrite)

    def read(self, window: Window) -> tuple[Cube, Cube | None]:
        """Return a window of what was written."""
        images = []
        for file in self.files:
            with closing(open_windows(file)) as source:
                images.append(source.read(window))
        return images[0], images[1] if len(images) > 1 else None

    def image(self, header: CubeHeader) -> AbstractContextManager[WindowTarget]:
        """Open the fused image to write windows."""
        return writing_windows(self.out, header, self.options, overwrite=self.overwrite)

    def expected_error(self, header: CubeHeader) -> AbstractContextManager[WindowTarget]:
        """Open the image of the uncertainty to write windows."""
        assert self.uncertainty is not None  # requested
        return writing_windows(self.uncertainty, header, self._uncoded, overwrite=self.overwrite or self.resumed)

    @property
    def _uncoded(self) -> WriteOptions:
        # An uncertainty is not a measured quantity that has a coding.
        return replace(self.options, dtype="float32", nodata=None)


@dataclass(frozen=True)
class FileTarget:
    """Windows in a folder of tiles, images in files.

    Attributes:
        store: the folder.
        opener: opens the scene.
        outputs: the files.
    """

    store: TileStore
    opener: SceneFile
    outputs: Outputs

    def keep(self, scene: Scene) -> None:
        """Store what was learnt of a scene."""
        self.store.put_model(scene.state())

    def scene(self) -> SceneFile | None:
        """Return what opens the scene in any process; None before it is kept."""
        return self.opener if self.store.has_model() else None

    def image(self, header: CubeHeader) -> AbstractContextManager[WindowTarget]:
        """Open the fused image."""
        return self.outputs.image(header)

    def uncertainty(self, header: CubeHeader) -> AbstractContextManager[WindowTarget]:
        """Open the image of its uncertainty."""
        return self.outputs.expected_error(header)
