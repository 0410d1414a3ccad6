"""Networks by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from pydantic import ValidationError

from hyperfuse.calls import checked
from hyperfuse.errors import InputError, nearest_name
from hyperfuse.networks.base import FusionNetwork
from hyperfuse.networks.options import NetworkOptions
from hyperfuse.runtime.memory import free_bytes
from hyperfuse.settings import describe
from hyperfuse.text import shortened

NetworkClass = TypeVar("NetworkClass", bound=type[FusionNetwork])

_MOST_BANDS, _MANY_BANDS = 100_000, 1000

_NETWORKS: dict[str, type[FusionNetwork]] = {}


def register_network(name: str) -> Callable[[NetworkClass], NetworkClass]:
    """Class decorator: register a network as ``name``; its ``options_class`` declares its options.

    Raises:
        ValueError: the name is taken by another class.
    """

    def add(network: NetworkClass) -> NetworkClass:
        taken = _NETWORKS.get(name)
        if taken is not None:
            raise ValueError(f"the network name {name!r} is taken by {taken.__module__}.{taken.__qualname__}")
        network.name = name
        _NETWORKS[name] = network
        return network

    return add


def list_networks() -> list[str]:
    """Return the names that :func:`create_network` knows, sorted.

    Example:
        >>> "feinfn" in list_networks()
        True
    """
    return sorted(_NETWORKS)


def network_options(name: str) -> type[NetworkOptions]:
    """Return the options class of the network ``name``.

    Raises:
        InputError: there is no such network.
    """
    return network_class(name).options_class


@checked
def create_network(name: str, *, hsi_bands: int, msi_bands: int, **options: Any) -> FusionNetwork:
    """Build a network with weights drawn from torch's generator (seed with ``torch.manual_seed``).

    Args:
        name: one of :func:`list_networks`.
        hsi_bands: bands of the LR-HSI and of the fused image, at least 1.
        msi_bands: bands of the HR-MSI, at least 1.
        **options: fields of the network's options class, see :func:`network_options`.

    Returns:
        A module with ``forward(hsi, msi) -> fused`` on (B, bands, rows, columns).

    Raises:
        InputError: for an unknown network or option (with the nearest name) or a value that does not fit.

    Example:
        >>> network = create_network("feinfn", hsi_bands=31, msi_bands=3)
        >>> sum(p.numel() for p in network.parameters())
        3161480
    """
    network = network_class(name)
    for bands, what in ((hsi_bands, "hsi_bands"), (msi_bands, "msi_bands")):
        if isinstance(bands, bool) or not isinstance(bands, int) or not 1 <= bands <= _MOST_BANDS:
            raise InputError(f"{what} must be a whole number from 1 to {_MOST_BANDS}, not {shortened(repr(bands))}")
    parsed = parse_options(name, options)
    if parsed.is_large or max(hsi_bands, msi_bands) > _MANY_BANDS:
        _refuse_huge(network, hsi_bands, msi_bands, parsed)
    return network(hsi_bands, msi_bands, parsed)


def _refuse_huge(network: type[FusionNetwork], hsi_bands: int, msi_bands: int, options: NetworkOptions) -> None:
    """Refuse a network whose weights do not fit into memory, before it is built."""
    try:
        with torch.device("meta"):  # shapes without values
            weights = sum(one.nbytes for one in network(hsi_bands, msi_bands, options).state_dict().values())
    except (NotImplementedError, RuntimeError, ValueError, TypeError):  # it computes with its first values
        return
    if weights > free_bytes():
        raise InputError(
            f"the weights of this network would take {weights / 1e9:.1f} GB, {free_bytes() / 1e9:.1f} GB are free;"
            " choose fewer blocks, layers or channels"
        )


def parse_options(name: str, options: dict[str, Any]) -> NetworkOptions:
    """Check ``options`` for the network ``name``.

    Raises:
        InputError: an unknown option or a value that does not fit, in one line.
    """
    known = network_options(name)
    try:
        return known(**options)
    except ValidationError as error:
        raise InputError(f"network {name!r}: {describe(error, known, noun='option')}") from None


def network_class(name: str) -> type[FusionNetwork]:
    """Return the class of the network ``name``: what it states of itself without being built.

    Raises:
        InputError: there is no such network.
    """
    if name not in _NETWORKS:
        raise InputError(f"no network is called {name!r}{nearest_name(name, _NETWORKS)}")
    return _NETWORKS[name]
