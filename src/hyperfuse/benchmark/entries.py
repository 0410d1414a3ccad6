"""What a benchmark compares: registered methods with their settings, and trained networks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.methods import get_method
from hyperfuse.networks.pretrained import CONFIG, WEIGHTS, from_pretrained
from hyperfuse.scenes.fuse import fuse
from hyperfuse.scenes.simulate import Pair

# A training run keeps its result here; the name of the run says more.
_BEST = "best"


@dataclass(frozen=True)
class Contender:
    """One column of a benchmark.

    Attributes:
        name: what tables call it.
        method: name of a registered method, or None for a network.
        settings: all settings of the method, defaults included, so that a changed default is a changed contender.
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
    def learned(self) -> bool:
        """Whether a network is applied, or fitted to the pair."""
        return self.weights is not None or (self.method is not None and get_method(self.method).cost == "minutes")

    def conditions(self) -> dict[str, Any]:
        """Return what a result of it depends on; where the weights lie is no part of that."""
        if self.weights is None:
            return {"method": self.method, "settings": dict(self.settings)}
        return {"network": self.digest}

    def prepare(self, pair: Pair, seed: int, device: str) -> Callable[[], Cube]:
        """Return the function whose call is the fusion itself; weights are read before.

        Args:
            pair: of one scene.
            seed: of methods that draw random numbers.
            device: ``auto``, ``cpu``, ``cuda``.

        Raises:
            InputError: weights that cannot be read, or a pair that does not fit the network.
        """
        if self.weights is None:
            assert self.method is not None  # one of the two is there
            method, settings = self.method, self.settings
            return lambda: fuse(
                pair.hsi, pair.msi, method=method, sensor=pair.sensor, device=device, seed=seed, settings=settings
            )
        if pair.hsi.valid is not None or not pair.hsi.usable_bands.all():
            raise InputError("the scene has gaps or bad bands, which a trained network cannot take")
        place = torch.device("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        network = from_pretrained(self.weights).to(place)
        hsi, msi = (torch.from_numpy(cube.data).float()[None].to(place) for cube in (pair.hsi, pair.msi))

        def apply() -> Cube:
            with torch.no_grad():
                fused = network(hsi, msi)[0].float().cpu().numpy()
            return pair.reference.replace(data=fused)

        return apply


def method_contender(method: str, settings: Mapping[str, Any] | None = None) -> Contender:
    """Return a registered method as a contender.

    Args:
        method: its name.
        settings: those that differ from the defaults.

    Raises:
        InputError: an unknown method or setting.

    Example:
        >>> method_contender("bicubic").name
        'bicubic'
    """
    given = dict(settings or {})
    resolved = get_method(method).configure(**given).model_dump(mode="json")
    # The seed is the benchmark's, unless a setting fixes it.
    if "seed" in resolved and "seed" not in given:
        del resolved["seed"]
    shown = ", ".join(f"{name}={value}" for name, value in given.items())
    return Contender(name=f"{method} ({shown})" if shown else method, method=method, settings=resolved)


def network_contender(folder: str | Path, name: str | None = None) -> Contender:
    """Return a trained network as a contender; its weights are read once to see that they are whole.

    Args:
        folder: written by ``save_pretrained``, such as ``RUN/best`` of a training run.
        name: what tables call it; the name of the folder (of the run, for ``RUN/best``) unless given.

    Raises:
        InputError: weights that are missing or damaged.
    """
    folder = Path(folder)
    network = from_pretrained(folder)
    resolved = folder.resolve()
    called = resolved.parent.name if resolved.name == _BEST else resolved.name
    return Contender(
        name=name or called,
        weights=folder,
        digest=digest_of(folder / CONFIG, folder / WEIGHTS),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
    )


def digest_of(*files: Path) -> str:
    """Return a digest of the contents of files."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:32]


def to_json(contender: Contender) -> str:
    """Return a contender as JSON; :func:`from_json` reads it back."""
    values = {
        "name": contender.name,
        "method": contender.method,
        "settings": dict(contender.settings),
        "weights": None if contender.weights is None else str(contender.weights),
        "digest": contender.digest,
        "parameters": contender.parameters,
    }
    return json.dumps(values)


def from_json(text: str) -> Contender:
    """Return the contender that :func:`to_json` wrote."""
    values = json.loads(text)
    return Contender(**{**values, "weights": None if values["weights"] is None else Path(values["weights"])})
