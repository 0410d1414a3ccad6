"""Optional packages: which extra installs each, and the error where one is missing."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from hyperfuse.errors import MissingDependencyError

# By the name that is imported; pyproject.toml lists the packages of every extra.
EXTRAS = {
    "accelerate": "train",
    "tensorboard": "train",
    "matplotlib": "report",
    "jinja2": "report",
    "pyrsr": "sensors",
    "xarray": "xarray",
    "zarr": "xarray",
    "dask": "scale",
    "distributed": "scale",
    "onnx": "export",
    "onnxscript": "export",
    "huggingface_hub": "hub",
    "tensorly": "demo",
    "pystac": "stac",
    "starlette": "view",
    "uvicorn": "view",
    "deepinv": "deepinv",
}


def require(package: str, purpose: str) -> Any:
    """Import an optional package and return it.

    Args:
        package: one of ``EXTRAS``.
        purpose: what needs it, as the subject of the message: ``"reading Zarr"``.

    Raises:
        MissingDependencyError: it is not installed; the message names the extra that installs it.

    Example:
        >>> require("matplotlib", "drawing figures").__name__
        'matplotlib'
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise missing(package, purpose) from error


def check_installed(package: str, purpose: str, extra: str | None = None) -> None:
    """Check that an optional package is installed, without the time that importing it takes.

    Long work that needs the package at its end asks first. ``extra`` replaces the package's own in the message, where
    several packages are needed.

    Raises:
        MissingDependencyError: it is not installed.
    """
    if find_spec(package) is None:
        raise MissingDependencyError(package, extra or EXTRAS[package], purpose)


def missing(package: str, purpose: str) -> MissingDependencyError:
    """Return the error for a package of ``EXTRAS`` that is not installed."""
    return MissingDependencyError(package, EXTRAS[package], purpose)
