"""Fuse a hyperspectral image of low spatial resolution with a multispectral one of high resolution.

The names below are the public interface. They load on first use, so that importing the package stays cheap:

Example:
    >>> import hyperfuse as hf
    >>> reference = hf.Cube(data=[[[0.1, 0.2], [0.3, 0.4]]])
    >>> reference.bands
    1
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hyperfuse.version import __version__

if TYPE_CHECKING:
    from hyperfuse.cube.cube import Cube
    from hyperfuse.errors import HyperfuseError, HyperfuseWarning, InputError, MissingDependencyError
    from hyperfuse.io import read, read_mosaic, write
    from hyperfuse.methods.contract.method import Method
    from hyperfuse.methods.contract.registry import get_method, list_methods
    from hyperfuse.metrics import evaluate, evaluate_without_reference
    from hyperfuse.networks import create_network, list_networks
    from hyperfuse.scenes.fuse import fuse
    from hyperfuse.scenes.simulate import Pair, simulate
    from hyperfuse.sensor import Sensor, Srf, create_psf, create_sensor, create_srf, list_presets

__all__ = [
    "Cube",
    "HyperfuseError",
    "HyperfuseWarning",
    "InputError",
    "Method",
    "MissingDependencyError",
    "Pair",
    "Sensor",
    "Srf",
    "__version__",
    "create_network",
    "create_psf",
    "create_sensor",
    "create_srf",
    "evaluate",
    "evaluate_without_reference",
    "fuse",
    "get_method",
    "list_methods",
    "list_networks",
    "list_presets",
    "read",
    "read_mosaic",
    "simulate",
    "write",
]

_HOMES = {
    "Cube": "hyperfuse.cube.cube",
    "HyperfuseError": "hyperfuse.errors",
    "HyperfuseWarning": "hyperfuse.errors",
    "InputError": "hyperfuse.errors",
    "Method": "hyperfuse.methods",
    "MissingDependencyError": "hyperfuse.errors",
    "Pair": "hyperfuse.scenes.simulate",
    "Sensor": "hyperfuse.sensor",
    "Srf": "hyperfuse.sensor",
    "create_network": "hyperfuse.networks",
    "create_psf": "hyperfuse.sensor",
    "create_sensor": "hyperfuse.sensor",
    "create_srf": "hyperfuse.sensor",
    "evaluate": "hyperfuse.metrics",
    "evaluate_without_reference": "hyperfuse.metrics",
    "fuse": "hyperfuse.scenes.fuse",
    "get_method": "hyperfuse.methods",
    "list_methods": "hyperfuse.methods",
    "list_networks": "hyperfuse.networks",
    "list_presets": "hyperfuse.sensor",
    "read": "hyperfuse.io",
    "read_mosaic": "hyperfuse.io",
    "simulate": "hyperfuse.scenes.simulate",
    "write": "hyperfuse.io",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hyperfuse' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
