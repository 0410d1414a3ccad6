"""Weights that authors published: which network they are of, and that network with them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from hyperfuse.errors import InputError
from hyperfuse.networks.base import FusionNetwork
from hyperfuse.networks.compared import ComparedNetwork, matches, without_prefix
from hyperfuse.networks.options import NetworkOptions
from hyperfuse.networks.pretrained import read_weights
from hyperfuse.networks.registry import create_network, list_networks, network_class

# Ratios that are tried where a network is built for any whole one.
_RATIOS = (2, 3, 4, 5, 6, 8, 16)
# Bands at which networks are built to see how their shapes depend on bands: all networks admit them.
_HSI_BANDS, _MSI_BANDS = 31, 3
_METADATA = "hyperfuse"
# What a converted file may state of the training of its weights.
TRAINING_KEYS = ("patches", "seconds", "ratio", "scenes")


class BuildOptions(NamedTuple):
    """What a network has to be built with for some weights.

    Attributes:
        network: its registered name.
        hsi_bands: of the HSI.
        msi_bands: of the MSI; None where any number has the same weights.
        options: those that the weights depend on.
    """

    network: str
    hsi_bands: int
    msi_bands: int | None
    options: Mapping[str, Any]


def describe_released(
    state: Mapping[str, torch.Tensor], network: str | None = None, ratio: int | None = None
) -> list[BuildOptions]:
    """Return what a state dict under authors' names may be of; several where it fits at several ratios.

    Args:
        state: tensors by name, with or without a prefix before all names.
        network: the only name to try; default: every compared network.
        ratio: one to try in addition to the usual ones.
    """
    state = without_prefix(state)
    found = []
    for name in list_networks() if network is None else [network]:
        kind = network_class(name)
        if not issubclass(kind, ComparedNetwork):
            continue
        for options in _options_to_try(kind.options_class, ratio):
            try:
                reference = _shapes(name, _HSI_BANDS, _MSI_BANDS, **options)
            except InputError:  # a ratio that it does not admit
                continue
            if not reference.resembles(state):  # nor would it with other options
                break
            if reference.has_names_of(state) and (one := _fitted(name, options, reference, state)):
                found.append(one)
    return found


def describe_file(
    path: str | os.PathLike[str], network: str | None = None, ratio: int | None = None
) -> list[BuildOptions]:
    """As :func:`describe_released`, of a file that :func:`from_released` reads.

    Raises:
        InputError: a file that cannot be read.
    """
    described, _ = _read_converted(path)
    return describe_released(read_weights(path), network, ratio) if described is None else [described]


def from_released(
    path: str | os.PathLike[str],
    network: str | None = None,
    *,
    hsi_bands: int | None = None,
    msi_bands: int | None = None,
    ratio: int | None = None,
) -> FusionNetwork:
    """Read weights that the authors' program saved, or that :func:`save_converted` wrote.

    Args:
        path: ``.safetensors``, or a torch checkpoint of plain tensors; nothing in it is executed.
        network: name of the network; default: the one whose names and shapes fit.
        hsi_bands: bands of the HSI; default: those that the shapes state.
        msi_bands: bands of the MSI; default: those that the shapes state.
        ratio: HR pixels per LR pixel; default: what the shapes state.

    Returns:
        The network in evaluation mode, on the CPU.

    Raises:
        InputError: a file that cannot be read, or does not fit what is stated, in one line.
    """
    described, state = _read_converted(path)
    if described is None:
        return _matched(path, read_weights(path), network, hsi_bands, msi_bands, ratio)
    if network not in (None, described.network):
        raise InputError(f"{path}: weights of {described.network}, not of {network}")
    assert described.msi_bands is not None  # as save_converted writes
    _check(path, described, hsi_bands, msi_bands, ratio)
    built = create_network(
        described.network, hsi_bands=described.hsi_bands, msi_bands=described.msi_bands, **described.options
    )
    try:
        built.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{path}: does not fit what it states ({str(error).splitlines()[-1].strip()})") from None
    return built.eval()


def save_converted(
    network: FusionNetwork, path: str | os.PathLike[str], training: Mapping[str, Any] | None = None
) -> Path:
    """Write a network as one ``.safetensors`` file that states name, bands and options, whole or not at all.

    Args:
        network: with its weights.
        path: file to write.
        training: how they were trained, as :func:`read_training` returns it; None for weights that authors published.
    """
    path = Path(path)
    description = {
        "network": network.name,
        "hsi_bands": network.hsi_bands,
        "msi_bands": network.msi_bands,
        "options": network.options.model_dump(mode="json"),
    }
    if training is not None:
        description["training"] = {name: training[name] for name in TRAINING_KEYS if name in training}
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    partial = path.with_name(path.name + ".part")
    save_file(tensors, partial, metadata={_METADATA: json.dumps(description)})
    partial.replace(path)
    return path


def read_training(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return what a file of :func:`save_converted` states of the training of its weights, or None.

    ``patches`` seen, ``seconds`` that it took, ``ratio`` of the pairs, ``scenes`` that it learnt from.

    Raises:
        InputError: a file that cannot be read.
    """
    stated = _read_statement(path)
    training = None if stated is None else stated.get("training")
    return dict(training) if isinstance(training, dict) else None


def _read_converted(path: str | os.PathLike[str]) -> tuple[BuildOptions | None, dict[str, torch.Tensor]]:
    """Return what a file of :func:`save_converted` states, and its tensors; None for any other file."""
    stated = _read_statement(path)
    if stated is None:
        return None, {}
    try:
        described = BuildOptions(stated["network"], stated["hsi_bands"], stated["msi_bands"], dict(stated["options"]))
    except (ValueError, KeyError, TypeError):
        raise _unreadable(path) from None
    return described, read_weights(path)


def _read_statement(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return what a file of :func:`save_converted` states of itself; None for any other file."""
    if Path(path).suffix != ".safetensors" or not Path(path).is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(_METADATA)
    except SafetensorError as error:
        raise InputError(f"{path}: not a readable safetensors file ({error})") from None
    if text is None:
        return None
    try:
        stated = json.loads(text)
    except (ValueError, RecursionError):
        raise _unreadable(path) from None
    if not isinstance(stated, dict):
        raise _unreadable(path)
    return stated


def _unreadable(path: str | os.PathLike[str]) -> InputError:
    return InputError(f"{path}: what it states about its network is not readable; convert the weights again")


def _matched(
    path: str | os.PathLike[str],
    state: Mapping[str, torch.Tensor],
    network: str | None,
    hsi_bands: int | None,
    msi_bands: int | None,
    ratio: int | None,
) -> FusionNetwork:
    """Return the one network that weights under authors' names fit, with them."""
    found = describe_released(state, network, ratio)
    if not found:
        return _as_stated(path, state, network, hsi_bands, msi_bands, ratio)
    fitting = [one for one in found if ratio is None or one.options.get("ratio") in (None, ratio)]
    _check(path, (fitting or found)[0], hsi_bands, msi_bands, ratio)
    if len({one.options.get("ratio") for one in fitting}) > 1:
        ratios = ", ".join(str(one.options["ratio"]) for one in fitting)
        raise InputError(f"{path}: weights of {fitting[0].network} that fit the ratios {ratios}; state ratio=...")
    chosen = fitting[0]
    bands = chosen.msi_bands or msi_bands
    if bands is None:
        raise InputError(f"{path}: weights of {chosen.network} for an MSI of any bands; state msi_bands=...")
    built = create_network(chosen.network, hsi_bands=chosen.hsi_bands, msi_bands=bands, **chosen.options)
    assert isinstance(built, ComparedNetwork)
    built.load_released_state_dict(state)
    return built.eval()


def _as_stated(
    path: str | os.PathLike[str],
    state: Mapping[str, torch.Tensor],
    network: str | None,
    hsi_bands: int | None,
    msi_bands: int | None,
    ratio: int | None,
) -> FusionNetwork:
    """Build what is stated and load weights that were not recognised, which says what is wrong with them."""
    if network is None:
        raise InputError(
            f"{path}: weights of none of the networks that are known here (first name {next(iter(state))!r})"
        )
    options = (
        {} if ratio is None or "ratio" not in network_class(network).options_class.model_fields else {"ratio": ratio}
    )
    built = create_network(network, hsi_bands=hsi_bands or _HSI_BANDS, msi_bands=msi_bands or _MSI_BANDS, **options)
    load = getattr(built, "load_released_state_dict", None)
    if load is None:
        raise InputError(f"{path}: {network} is this package's own network; specify the folder that training wrote")
    try:
        load(state)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return built.eval()


def _check(
    path: str | os.PathLike[str], one: BuildOptions, hsi_bands: int | None, msi_bands: int | None, ratio: int | None
) -> None:
    if hsi_bands not in (None, one.hsi_bands) or (one.msi_bands is not None and msi_bands not in (None, one.msi_bands)):
        requested = (hsi_bands or one.hsi_bands, msi_bands or one.msi_bands)
        raise InputError(
            f"{path}: is for an HSI of {one.hsi_bands} bands and an MSI of {one.msi_bands or 'any'}, not for "
            f"{requested[0]} and {requested[1]}"
        )
    if ratio is not None and one.options.get("ratio") not in (None, ratio):
        raise InputError(f"{path}: {one.network} for the ratio {one.options['ratio']}, not {ratio}")


def _options_to_try(kind: type[NetworkOptions], ratio: int | None) -> Iterator[dict[str, Any]]:
    """Return the options that weights may depend on: variants, and ratios where the network is built for one."""
    fields = kind.model_fields
    variants = get_args(fields["variant"].annotation) if "variant" in fields else (None,)
    ratios: tuple[int | None, ...] = (None,)
    if fields["ratio"].default is not None:
        literal = get_origin(fields["ratio"].annotation) is Literal
        asked = (ratio,) if ratio is not None else ()
        ratios = get_args(fields["ratio"].annotation) if literal else tuple(dict.fromkeys((*_RATIOS, *asked)))
    for variant in variants:
        for one in ratios:
            chosen = {"variant": variant, "ratio": one}
            yield {name: value for name, value in chosen.items() if value is not None}


def _fitted(
    name: str, options: Mapping[str, Any], reference: _Shapes, state: Mapping[str, torch.Tensor]
) -> BuildOptions | None:
    """Return the bands for which a network has the shapes of a state dict, or None; ``reference``: for some bands."""
    more = (
        _shapes(name, _HSI_BANDS + 1, _MSI_BANDS, **options),
        _shapes(name, _HSI_BANDS, _MSI_BANDS + 1, **options),
    )
    hsi_bands = msi_bands = None
    for both in (False, True):  # sizes that depend on the HSI alone, then those that depend on the MSI (too)
        for key, sizes in reference.sizes.items():
            if key not in state:
                continue
            given = reference.network.from_released(key, state[key]).shape
            if len(given) != len(sizes):
                return None
            for axis, size in enumerate(sizes):
                by_hsi, by_msi = (one.sizes[key][axis] - size for one in more)
                if not both and by_hsi and not by_msi and hsi_bands is None:
                    hsi_bands = _HSI_BANDS + (given[axis] - size) // by_hsi
                if both and by_msi and msi_bands is None and hsi_bands is not None:
                    msi_bands = _MSI_BANDS + (given[axis] - size - by_hsi * (hsi_bands - _HSI_BANDS)) // by_msi
    if hsi_bands is None or hsi_bands < 1 or (msi_bands is not None and msi_bands < 1):
        return None
    try:
        whole = _shapes(name, hsi_bands, msi_bands or _MSI_BANDS, **options)
    except InputError:
        return None
    fits = all(
        tuple(whole.network.from_released(key, state[key]).shape) == sizes
        for key, sizes in whole.sizes.items()
        if key in state
    )
    return BuildOptions(name, hsi_bands, msi_bands, options) if fits else None


class _Shapes(NamedTuple):
    """A network without values, and the shapes of its weights by the authors' names."""

    network: ComparedNetwork
    sizes: dict[str, tuple[int, ...]]

    def resembles(self, state: Mapping[str, torch.Tensor]) -> bool:
        """Whether most names of a state dict are those of the network, some of which its options decide."""
        return 2 * len(self.sizes.keys() & state.keys()) > len(state)

    def has_names_of(self, state: Mapping[str, torch.Tensor]) -> bool:
        """Whether a state dict has the names of the network, but for those without effect."""
        ours = self.network.released_names()
        unknown = [name for name in state if name not in ours and not matches(name, self.network.ignored)]
        missing = [name for name in ours if name not in state and not matches(ours[name], self.network.without_effect)]
        return not unknown and not missing


@lru_cache(maxsize=16)
def _shapes(name: str, hsi_bands: int, msi_bands: int, **options: Any) -> _Shapes:
    with torch.device("meta"):
        network = create_network(name, hsi_bands=hsi_bands, msi_bands=msi_bands, **options)
    assert isinstance(network, ComparedNetwork)
    own = network.state_dict()
    return _Shapes(network, {theirs: tuple(own[ours].shape) for theirs, ours in network.released_names().items()})
