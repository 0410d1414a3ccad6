"""The images of a base, made once: kept on the disk by what they are made of, and found there by later runs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from hyperfuse.errors import HyperfuseError, warn
from hyperfuse.io.encoding.atomic import replacing
from hyperfuse.runtime.threads import usable_threads
from hyperfuse.runtime.workers import WorkersKilledError, run_in_workers
from hyperfuse.sensor.model import Sensor
from hyperfuse.version import __version__

# What the images of all bases may take on the disk together; those that were not used for longest are removed.
_MOST_BYTES = 20e9
_MOST_OF_FREE = 0.5

Make = Callable[[torch.Tensor, torch.Tensor, Sensor], torch.Tensor]
# Set by torchrun: which of the processes of this host this one is, and how many there are.
_LOCAL = "LOCAL_RANK", "LOCAL_WORLD_SIZE"


class Inputs(NamedTuple):
    """What an image is made of: HSI (bands, h, w), MSI (msi_bands, H, W) and the sensor as it is known."""

    hsi: torch.Tensor
    msi: torch.Tensor
    sensor: Sensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the image."""
        return self.hsi.shape[0], self.msi.shape[1], self.msi.shape[2]


class BaseImages:
    """Makes the images of a base, as :attr:`Base.image`; those that were made before are read from the disk.

    An image is found by a hash of HSI, MSI and sensor (so of scene, version, ratio and degradation), of the base's name
    (method and settings) and of this package's version.

    Args:
        name: of the base.
        make: makes an image; picklable where there is more than one worker.
        folder: where they are kept; None keeps none.
        workers: returns how many images of this size may be made at the same time, each in a process of its own.

    Attributes:
        made, found: images that were made, and that were read from the disk.
        report: called after each.
    """

    def __init__(
        self, name: str, make: Make, folder: Path | None, workers: Callable[[Inputs], int] = lambda inputs: 1
    ) -> None:
        self.folder, self._workers = folder, workers
        self.made = self.found = 0
        self.report: Callable[[], None] = lambda: None
        self._name, self._make = name, make
        self._sizes: dict[str, int] = {}

    @property
    def bytes(self) -> int:
        """Size of all images; those that are equal, as versions of a scene may be, count once."""
        return sum(self._sizes.values())

    def __call__(self, hsi: torch.Tensor, msi: torch.Tensor, sensor: Sensor) -> torch.Tensor:
        """Return the image (bands, H, W) of a pair."""
        return self.all([Inputs(hsi, msi, sensor)])[0]

    def all(self, inputs: Sequence[Inputs]) -> list[torch.Tensor]:
        """Return the images (bands, H, W) of several pairs; those that are not there are made by parallel processes.

        Raises:
            HyperfuseError: the processes are killed again and again.
            Exception: whatever making an image raises.
        """
        keys = [self._key(*one) for one in inputs]
        images: dict[str, torch.Tensor] = {}
        missing: dict[str, Inputs] = {}
        for key, one in zip(keys, inputs, strict=True):
            found = images.get(key)
            if found is None and self.folder is not None:
                found = _load(self.folder / f"{key}.npy", one.shape)
            if found is None and key not in missing:
                missing[key] = one
                continue
            if found is not None:
                images[key] = found
                self._sizes[key] = found.nbytes
            self.found += 1  # or it is about to be made for an equal pair
            self.report()
        for key, image, made in self._made(missing):
            images[key] = image
            self._sizes[key] = image.nbytes
            self.made += made
            self.found += not made
            if made and self.folder is not None:
                self._store(self.folder / f"{key}.npy", image)
            self.report()
        return [images[key] for key in keys]

    def _made(self, missing: dict[str, Inputs]) -> Iterator[tuple[str, torch.Tensor, bool]]:
        """Make images; yield each with its key, and whether it was made, not found after all."""
        items = list(missing.items())
        workers = min(self._workers(items[0][1]), len(items)) if items else 0
        if workers < 2:
            for key, one in items:
                yield key, self._make(*one), True
            return
        # Processes of one host that train together start at different images, and find those of the others.
        rank, count = (int(os.environ.get(name, default)) for name, default in zip(_LOCAL, (0, 1), strict=True))
        first = rank * len(items) // count
        task, threads = partial(_make_one, self._make, self.folder), max(1, usable_threads() // (workers * count))
        try:
            found = run_in_workers(task, items[first:] + items[:first], workers=workers, threads=threads)
            for key, image, made in found:
                yield key, torch.from_numpy(image), made
        except WorkersKilledError as error:
            raise HyperfuseError(f"{error}; images that were made are kept: free memory, then start again") from error

    def _key(self, hsi: torch.Tensor, msi: torch.Tensor, sensor: Sensor) -> str:
        images = [image.detach().cpu().contiguous().numpy() for image in (hsi, msi)]
        stated = [__version__, self._name, sensor.to_dict(), *((image.dtype.str, image.shape) for image in images)]
        found = hashlib.sha256(json.dumps(stated).encode())
        for image in images:
            found.update(image.tobytes())
        return found.hexdigest()

    def _store(self, path: Path, image: torch.Tensor) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if _make_room(path.parent, image.nbytes):
                with replacing(path) as scratch:
                    np.save(scratch, image.detach().cpu().numpy())
                return
            reason = "no space left"
        except (OSError, HyperfuseError) as error:
            reason = str(error)
        warn(f"{path.parent}: images of the base cannot be kept ({reason}); later runs make them again")
        self.folder = None


def _make_one(make: Make, folder: Path | None, item: tuple[str, Inputs]) -> tuple[str, NDArray[Any], bool]:
    """Make an image, in a process of its own, unless another process has kept it in the meantime."""
    key, inputs = item
    found = None if folder is None else _load(folder / f"{key}.npy", inputs.shape)
    image = make(*inputs) if found is None else found
    return key, image.detach().cpu().numpy(), found is None


def _load(path: Path, shape: tuple[int, ...]) -> torch.Tensor | None:
    """Return a kept image; None where there is none, or a damaged one."""
    try:
        image = np.load(path, allow_pickle=False)
        os.utime(path)
    except (OSError, ValueError, EOFError):
        return None
    return torch.from_numpy(image) if image.shape == shape and image.dtype.kind == "f" else None


def _make_room(folder: Path, size: int) -> bool:
    """Remove images that were not used for longest until another one fits; return whether it does."""
    present = []
    for path in folder.glob("*.npy"):
        with suppress(OSError):  # another process has removed it
            state = path.stat()
            present.append((state.st_mtime, state.st_size, path))
    total = sum(one for _, one, _ in present)
    for _, one, path in sorted(present):
        if total + size <= _MOST_BYTES:
            break
        path.unlink(missing_ok=True)
        total -= one
    return size <= _MOST_OF_FREE * shutil.disk_usage(folder).free
