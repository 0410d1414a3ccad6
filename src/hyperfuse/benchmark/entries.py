"""What a benchmark compares: registered methods with their settings, and trained networks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.methods import get_method
from hyperfuse.networks.pretrained import CONFIG, WEIGHTS, from_pretrained
from hyperfuse.runtime.devices import find_device
from hyperfuse.runtime.tensors import tensor_of
from hyperfuse.scenes.fuse import fuse
from hyperfuse.scenes.simulate import Pair

# Where a training run writes its result; the name of the run says more.
_BEST = "best"


@dataclass(frozen=True)
class Entry:
    """A method or network in a benchmark.

    Attributes:
        name: in tables.
        method: name of a registered method, or None for a network.
        settings: all settings of the method, defaults included, so that a changed default is a changed entry.
        weights: folder of a network that ``save_pretrained`` wrote, or None for a method.
        digest: of the files in that folder.
        parameters: trained parameters of the network, or None for a method.
    """

    name: str
    method: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    weights: Path | None = None
    digest: str | None = None
    parameters: int | None = None

    @property
    def uses_network(self) -> bool:
        """Whether a network is applied, or fitted to the pair."""
        return self.weights is not None or (self.method is not None and get_method(self.method).capabilities.weights)

    def conditions(self) -> dict[str, Any]:
        """Return what its results depend on; the path of the weights is not part of it."""
        if self.weights is None:
            return {"method": self.method, "settings": dict(self.settings)}
        return {"network": self.digest}

    def prepare(self, pair: Pair, seed: int, device: str) -> Callable[[], Cube]:
        """Return the function whose call is the fusion itself; weights are read before.

        Raises:
            InputError: weights that cannot be read, or a pair that does not fit the network.
        """
        if self.weights is None:
            assert self.method is not None  # one of the two is set
            method, settings = self.method, self.settings
            return lambda: fuse(
                pair.hsi, pair.msi, method=method, sensor=pair.sensor, device=device, seed=seed, settings=settings
            )
        if pair.hsi.valid is not None or not pair.hsi.usable_bands.all():
            raise InputError("the scene has gaps or bad bands, which a trained network cannot take")
        target = find_device(device)
        network = from_pretrained(self.weights).to(target)
        hsi, msi = (tensor_of(cube.data).float()[None].to(target) for cube in (pair.hsi, pair.msi))

        def apply() -> Cube:
            with torch.no_grad():
                fused = network.fuse_unit_range(hsi, msi)[0].float().cpu().numpy()
            return pair.reference.replace(data=fused)

        return apply


def method_entry(method: str, settings: Mapping[str, Any] | None = None) -> Entry:
    """Return a registered method as an entry.

    Args:
        method: its name.
        settings: those that differ from the defaults.

    Raises:
        InputError: an unknown method or setting.

    Example:
        >>> method_entry("bicubic").name
        'bicubic'
    """
    changed = dict(settings or {})
    resolved = get_method(method).configure(**changed).model_dump(mode="json")
    # The benchmark sets the seed, unless a setting fixes it.
    if "seed" in resolved and "seed" not in changed:
        del resolved["seed"]
    listed = ", ".join(f"{name}={value}" for name, value in changed.items())
    return Entry(f"{method} ({listed})" if listed else method, method, resolved)


def network_entry(folder: str | Path, name: str | None = None) -> Entry:
    """Return a trained network as an entry; its weights are read once to check that they are whole.

    Args:
        folder: written by ``save_pretrained``, such as ``RUN/best`` of a training run.
        name: in tables; default: the name of the folder (of the run, for ``RUN/best``).

    Raises:
        InputError: weights that are missing or damaged.
    """
    folder = Path(folder)
    network = from_pretrained(folder)
    resolved = folder.resolve()
    default = resolved.parent.name if resolved.name == _BEST else resolved.name
    return Entry(
        name=name or default,
        weights=folder,
        digest=digest_of(folder / CONFIG, folder / WEIGHTS),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
    )


def digest_of(*files: Path) -> str:
    """Return a digest of the contents of files."""
    digests = b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)
    return hashlib.sha256(digests).hexdigest()[:32]
