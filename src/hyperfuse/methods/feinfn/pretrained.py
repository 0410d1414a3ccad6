"""What was trained on other scenes, for the default method: networks to start from, and features to regress on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from hyperfuse.errors import InputError, nearest_name
from hyperfuse.io.encoding.atomic import replacing
from hyperfuse.methods.feinfn.trained_features import CHANNELS, IMAGE_RUNS, FeatureNetwork
from hyperfuse.networks.feinfn import FeINFN
from hyperfuse.networks.pretrained import find_pretrained, from_pretrained, read_base, read_weights

# Features that ship: a file each, with a model card.
_SHIPPED = Path(__file__).parent / "weights"
_SUFFIX = ".safetensors"
_SCENES = "scenes"  # that features were trained on, in the file's metadata
# Method whose linear part their images were made by.
_BASE = "feinfn"


@dataclass(frozen=True)
class TrainedNetwork:
    """A network that was trained to improve images of the linear part.

    Attributes:
        network: for the HSI, and the MSI with the image as its guidance.
        scale: unit of what it adds.
    """

    network: FeINFN
    scale: float


def load_for_pair(weights: str, hsi: torch.Tensor, msi: torch.Tensor) -> TrainedNetwork:
    """Read a network that improves the linear part of the default method.

    Args:
        weights: name of weights that ship, or a folder that training wrote.
        hsi: LR-HSI of the pair, (bands, h, w).
        msi: HR-MSI, (msi_bands, H, W).

    Raises:
        InputError: no such weights, weights for other bands, or a network that was trained for something else.
    """
    folder = find_pretrained(weights)
    base, network = read_base(folder), from_pretrained(folder)
    if base is None or base["method"] != _BASE or not base.get("guidance") or not isinstance(network, FeINFN):
        raise InputError(
            f"{weights}: was not trained to improve the images of {_BASE} (base.method={_BASE}, base.guidance=true); "
            "a network that stands alone is run by `hyperfuse fuse --network`"
        )
    bands, msi_bands = network.hsi_bands, network.msi_bands - network.hsi_bands
    if (bands, msi_bands) != (hsi.shape[0], msi.shape[0]):
        raise InputError(
            f"{weights}: is for an HSI of {bands} bands and an MSI of {msi_bands}, the pair has {hsi.shape[0]} and "
            f"{msi.shape[0]}; omit weights=..."
        )
    return TrainedNetwork(network, float(base.get("scale", 1.0)))


def read_features(features: str | os.PathLike[str]) -> FeatureNetwork:
    """Read weights of trained features: those of a name that ships, or of a file that :func:`save_features` wrote.

    Raises:
        InputError: no such name or file, or a file of something else.
    """
    file = _find_features(features)
    stored = read_weights(file)
    names = [field.name for field in fields(FeatureNetwork)]
    if sorted(stored) != sorted(names) or not all(value.is_floating_point() for value in stored.values()):
        raise InputError(f"{file}: holds no weights of trained features (benchmarks/feature_training.py writes them)")
    network = FeatureNetwork(**{name: stored[name].float() for name in names})
    (members, width), outputs = (*network.first_bias.shape, 0)[:2], network.second_bias.shape[-1]
    shapes = (width, CHANNELS), (width,), (outputs, width), (outputs,), (IMAGE_RUNS, outputs)
    if [value.shape for value in vars(network).values()] != [(members, *shape) for shape in shapes]:
        raise InputError(f"{file}: its layers do not follow one another, or the first does not take {CHANNELS} inputs")
    return network


def scenes_of(features: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the names of the scenes that features of a name or file were trained on, where the file states them.

    Raises:
        InputError: no such name or file, or a file of something else.
    """
    file = _find_features(features)
    try:
        with safe_open(file, "pt") as stored:
            named = (stored.metadata() or {}).get(_SCENES, "")
    except SafetensorError as error:
        raise InputError(f"{file}: holds no weights of trained features ({error})", "features") from error
    return tuple(named.split(",")) if named else ()


def _find_features(features: str | os.PathLike[str]) -> Path:
    file, known = Path(features), sorted(one.stem for one in _SHIPPED.glob(f"*{_SUFFIX}"))
    if str(features) in known:
        return _SHIPPED / f"{features}{_SUFFIX}"
    if not file.is_file():
        hint = nearest_name(str(features), known)
        raise InputError(f"no trained features {str(features)!r}{hint}; specify a file, or null for none", "features")
    return file


def save_features(network: FeatureNetwork, file: str | os.PathLike[str], scenes: Sequence[str] = ()) -> None:
    """Write weights of trained features, in half precision, whole or not at all.

    Args:
        network: whose they are.
        file: to be written.
        scenes: names of those that it was trained on.
    """
    stored = {field.name: getattr(network, field.name).detach().cpu().half() for field in fields(network)}
    with replacing(Path(file)) as scratch:
        save_file({name: value.contiguous() for name, value in stored.items()}, scratch, {_SCENES: ",".join(scenes)})
