"""What a benchmark compares: registered methods with their settings, and trained networks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.methods import get_method
from hyperfuse.networks.base import FusionNetwork
from hyperfuse.networks.compared import ComparedNetwork
from hyperfuse.networks.pretrained import CONFIG, WEIGHTS, from_pretrained, read_base
from hyperfuse.networks.released import from_released
from hyperfuse.runtime.devices import find_device
from hyperfuse.runtime.tensors import tensor_of
from hyperfuse.scenes.fuse import fuse
from hyperfuse.scenes.simulate import Pair

Kind = Literal["classical", "network fitted to the pair", "trained network", "published"]

# Where a training run writes its result; the name of the run says more.
_BEST = "best"
# The method that applies a network in blocks.
_NETWORK = "network"


@dataclass(frozen=True)
class Entry:
    """A method or network in a benchmark.

    Attributes:
        name: in tables.
        method: name of a registered method, or None for a network.
        settings: all settings of the method, defaults included, so that a changed default is a changed entry.
        weights: of a network, a folder that ``save_pretrained`` wrote or a file; None for a method.
        digest: of those files.
        parameters: trained parameters of the network, or None for a method.
        network: registered name of the network, or None for a method.
        in_blocks: whether the network is applied as ``fuse --network`` does, in blocks and on top of its base; else to
            the whole scene at once.
        origin: of the weights or features, in words, where it is known.
        ratios: at which it takes part; None for all.
        seen: names of the scenes that weights or features learnt from, where they are known.
        takes_minutes: whether an image of 512x512x31 takes minutes on two cores.
    """

    name: str
    method: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    weights: Path | None = None
    digest: str | None = None
    parameters: int | None = None
    network: str | None = None
    in_blocks: bool = False
    origin: str | None = None
    ratios: tuple[float, ...] | None = None
    seen: tuple[str, ...] = ()
    takes_minutes: bool = False

    def takes_part(self, ratio: float) -> bool:
        """Whether it is for pairs of this ratio."""
        return self.ratios is None or ratio in self.ratios

    @property
    def kind(self) -> Kind:
        """What it is."""
        if self.weights is not None:
            return "trained network"
        return "network fitted to the pair" if self.uses_network else "classical"

    @property
    def uses_network(self) -> bool:
        """Whether a network is applied, or fitted to the pair."""
        return self.weights is not None or (self.method is not None and get_method(self.method).capabilities.weights)

    def conditions(self) -> dict[str, Any]:
        """Return what its results depend on; the path of the weights is not part of it."""
        if self.weights is None:
            return {"method": self.method, "settings": dict(self.settings)}
        return {"network": self.digest} | ({"applied": "in blocks"} if self.in_blocks else {})

    def prepare(self, pair: Pair, seed: int, device: str) -> Callable[[], Cube]:
        """Return the function whose call is the fusion itself; weights are read before.

        Raises:
            InputError: weights that cannot be read, or a pair that does not fit the network.
        """
        if self.weights is None or self.in_blocks:
            method, settings = self.method or _NETWORK, dict(self.settings)
            if self.weights is not None:
                settings["weights"] = str(self.weights)
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


@dataclass(frozen=True)
class Missing:
    """A network that cannot take part at a ratio: it has no weights for it, or does not admit it.

    Attributes:
        name: of the network.
        ratio: of the pairs.
        reason: what is missing, and where it is to be had.
    """

    name: str
    ratio: float
    reason: str


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
    found = get_method(method)
    configured = found.configure(**changed)
    resolved = configured.model_dump(mode="json")
    # The benchmark sets the seed, unless a setting fixes it.
    if "seed" in resolved and "seed" not in changed:
        del resolved["seed"]
    listed = ", ".join(f"{name}={value}" for name, value in changed.items())
    name = f"{method} ({listed})" if listed else method
    seen = configured.learnt_from
    origin = "features from other scenes" if seen else None
    return Entry(name, method, resolved, origin=origin, seen=seen, takes_minutes=found.cost == "minutes")


def network_entry(weights: str | Path, name: str | None = None) -> Entry:
    """Return a trained network as an entry; its weights are read once to check that they are whole.

    A network of other authors, and one that improves another fusion, is applied as ``fuse --network`` applies it.

    Args:
        weights: a folder that ``save_pretrained`` wrote, such as ``RUN/best`` of a training run, or a file that
            :func:`~hyperfuse.networks.released.from_released` reads.
        name: in tables; default: the name of the folder or file (of the run, for ``RUN/best``).

    Raises:
        InputError: weights that are missing or damaged.
    """
    path = Path(weights)
    resolved = path.resolve()
    if path.is_file():
        network, files, base = from_released(path), [path], None
        default = resolved.name.split(".")[0]
    else:
        network, files = from_pretrained(path), [path / CONFIG, path / WEIGHTS]
        base = read_base(path)
        default = resolved.parent.name if resolved.name == _BEST else resolved.name
    return Entry(
        name=name or default,
        weights=path,
        digest=digest_of(*files),
        parameters=count_trained(network),
        network=network.name,
        in_blocks=base is not None or isinstance(network, ComparedNetwork),
        takes_minutes=network.cost == "minutes",
    )


def count_trained(network: FusionNetwork) -> int:
    """Return the number of trained parameters of a network; those that its authors froze are not counted."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def digest_of(*files: Path) -> str:
    """Return a digest of the contents of files."""
    digests = b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)
    return hashlib.sha256(digests).hexdigest()[:32]
