"""The images of a base, made once: kept on the disk by what they are made of, and found there by later runs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from hyperfuse.errors import HyperfuseError, warn
from hyperfuse.io.encoding.atomic import replacing
from hyperfuse.sensor.model import Sensor
from hyperfuse.version import __version__

# What the images of all bases may take on the disk together; those that were not used for longest are removed.
_MOST_BYTES = 20e9
_MOST_OF_FREE = 0.5

Make = Callable[[torch.Tensor, torch.Tensor, Sensor], torch.Tensor]


class Inputs(NamedTuple):
    """What an image is made of: HSI (bands, h, w), MSI (msi_bands, H, W) and the sensor as it is known."""

    hsi: torch.Tensor
    msi: torch.Tensor
    sensor: Sensor


class BaseImages:
    """Makes the images of a base, as :attr:`Base.image`; those that were made before are read from the disk.

    An image is found by a hash of HSI, MSI and sensor (so of scene, version, ratio and degradation), of the base's name
    (method and settings) and of this package's version.

    Args:
        name: of the base.
        make: makes an image.
        folder: where they are kept; None keeps none.

    Attributes:
        made, found: images that were made, and that were read from the disk.
        report: called after each.
    """

    def __init__(self, name: str, make: Make, folder: Path | None) -> None:
        self.folder = folder
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
        key = self._key(hsi, msi, sensor)
        path = None if self.folder is None else self.folder / f"{key}.npy"
        image = None if path is None else _load(path, (hsi.shape[0], *msi.shape[1:]))
        if image is None:
            self.made += 1
            image = self._make(hsi, msi, sensor)
            if path is not None:
                self._store(path, image)
        else:
            self.found += 1
        self._sizes[key] = image.nbytes
        self.report()
        return image

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
    kept = []
    for path in folder.glob("*.npy"):
        with suppress(OSError):  # another process has removed it
            state = path.stat()
            kept.append((state.st_mtime, state.st_size, path))
    total = sum(one for _, one, _ in kept)
    for _, one, path in sorted(kept):
        if total + size <= _MOST_BYTES:
            break
        path.unlink(missing_ok=True)
        total -= one
    return size <= _MOST_OF_FREE * shutil.disk_usage(folder).free
