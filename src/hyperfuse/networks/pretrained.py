"""Networks on disk: safetensors and a JSON configuration, nothing that executes code."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from hyperfuse.calls import checked
from hyperfuse.errors import InputError, nearest_name
from hyperfuse.networks.base import FusionNetwork
from hyperfuse.networks.hub import download_network, is_hub_name
from hyperfuse.networks.registry import create_network
from hyperfuse.networks.tensorflow_checkpoint import SUFFIX, read_tensorflow_checkpoint
from hyperfuse.runtime.optional import require
from hyperfuse.text import shortened, single_line

WEIGHTS, CONFIG = "model.safetensors", "config.json"
CONFIG_FORMAT = 1
_MOST_CONFIG_BYTES = 2**20
# Weights that ship, of which there may be none: a folder each, with a model card.
SHIPPED = Path(__file__).parent / "weights"


def shipped_weights() -> list[str]:
    """Return the names of the weights that ship, for :func:`find_pretrained`."""
    return sorted(folder.parent.name for folder in SHIPPED.glob(f"*/{WEIGHTS}"))


def find_pretrained(name: str | os.PathLike[str]) -> Path:
    """Return the folder of weights: a folder of that path, shipped weights of that name, or ``hub:OWNER/NAME``.

    Raises:
        InputError: none of them exists.
        MissingDependencyError: of the hub, without huggingface_hub.
    """
    folder, known = Path(name), shipped_weights()
    if is_hub_name(name) and not folder.is_dir():
        return download_network(str(name), (CONFIG, WEIGHTS))
    if folder.is_dir():
        return folder
    if str(name) in known:
        return SHIPPED / str(name)
    hint = nearest_name(str(name), known) if known else ""
    nothing = "" if known else "; none ship by name"
    raise InputError(
        f"no weights {str(name)!r}{hint}; specify a folder that training wrote (RUN/best) or hub:OWNER/NAME of the"
        f" Hugging Face hub{nothing}"
    )


def fixed_name(name: str) -> str:
    """Return the name of weights that are there, for records: of the hub with the commit, others as they are.

    Raises:
        InputError: as :func:`find_pretrained`.
    """
    folder = find_pretrained(name)
    # The cache calls a folder by its commit.
    return f"{name.partition('@')[0]}@{folder.name}" if is_hub_name(name) and not Path(name).is_dir() else name


def save_pretrained(
    network: FusionNetwork,
    folder: str | os.PathLike[str],
    *,
    dtype: torch.dtype | None = None,
    base: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``model.safetensors`` and ``config.json`` into a folder, which is created if it does not exist.

    Each file is written under another name and renamed, so that an interrupted call leaves no incomplete file.

    Args:
        network: from :func:`hyperfuse.networks.create_network`.
        folder: destination.
        dtype: of the stored floating-point weights, such as float16 for half the size; default: unchanged.
        base: method and settings of the fusion that the network was trained to improve; None for a network on its
            own.

    Returns:
        The folder.

    Example:
        >>> import tempfile
        >>> network = create_network("feinfn", hsi_bands=4, msi_bands=2, width=8)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     type(from_pretrained(save_pretrained(network, folder))).__name__
        'FeINFN'
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: value.detach().to("cpu", dtype if value.is_floating_point() else None).contiguous()
        for name, value in network.state_dict().items()
    }
    partial = folder / (WEIGHTS + ".part")
    save_file(tensors, partial)
    partial.replace(folder / WEIGHTS)
    config = {
        "format": CONFIG_FORMAT,
        "network": network.name,
        "hsi_bands": network.hsi_bands,
        "msi_bands": network.msi_bands,
        "options": network.options.model_dump(mode="json"),
    }
    if base is not None:
        config["base"] = dict(base)
    partial = folder / (CONFIG + ".part")
    partial.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    partial.replace(folder / CONFIG)
    return folder


@checked
def from_pretrained(folder: str | os.PathLike[str]) -> FusionNetwork:
    """Read a network that :func:`save_pretrained` wrote, in evaluation mode, on the CPU.

    Args:
        folder: a local folder, the name of weights that ship, or ``hub:OWNER/NAME`` (with ``@REVISION``) of the
            Hugging Face hub.

    Returns:
        The network.

    Raises:
        InputError: a file is missing, not readable or does not fit.
        MissingDependencyError: of the hub, without huggingface_hub.
    """
    folder = find_pretrained(folder)
    for file in (CONFIG, WEIGHTS):
        if not (folder / file).is_file():
            raise InputError(f"{folder}: no {file}; specify the folder that save_pretrained wrote")
    network = _build(read_config(folder / CONFIG), folder / CONFIG)
    state = read_weights(folder / WEIGHTS)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise InputError(f"{folder / WEIGHTS}: does not fit config.json: {first}") from None
    return network.eval()


def read_base(folder: str | os.PathLike[str]) -> Mapping[str, Any] | None:
    """Return method and settings of the fusion that the network improves, as stored with it, or None.

    Raises:
        InputError: the configuration is missing or not readable.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise InputError(f"{folder}: no {CONFIG}; specify the folder that save_pretrained wrote")
    base = read_config(path).get("base")
    if base is not None and not (isinstance(base, dict) and isinstance(base.get("method"), str)):
        raise InputError(f"{path}: base names no method")
    if base is not None and "as_guide" in base:
        raise InputError(f"{path}: the key 'base.as_guide' is now called 'base.guidance'; rename it")
    return base


def read_weights(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """Read a state dict from a ``.safetensors`` file, or from a torch checkpoint by torch's weights-only reader.

    A checkpoint of torch may hold the state dict under ``model``, ``state_dict``, ``model_state_dict``, ``net`` or
    ``param``. Of one of TensorFlow it is the ``.index`` that is named.

    Args:
        path: the file.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        InputError: the file is missing, damaged, contains anything but tensors in plain containers, or no weights.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if path.suffix == SUFFIX:
        return read_tensorflow_checkpoint(path)
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise InputError(f"{path}: not a readable safetensors file ({error})") from None
    try:
        held: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the reader raises many kinds, each meaning: not weights
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: not a checkpoint of plain weights ({reason}); convert it to safetensors") from None
    for key in ("model", "state_dict", "model_state_dict", "net", "param"):
        if isinstance(held, dict) and isinstance(held.get(key), dict):
            held = held[key]
            break
    if not isinstance(held, dict) or not held or not all(isinstance(v, torch.Tensor) for v in held.values()):
        raise InputError(f"{path}: contains no state dict of tensors")
    return dict(held)


def push_to_hub(
    network: FusionNetwork, folder: str | os.PathLike[str], repository: str, *, private: bool = True
) -> str:
    """Write a network to ``folder`` and upload that folder to a model repository of the Hugging Face hub.

    Args:
        network: what to upload.
        folder: a local folder, written as by :func:`save_pretrained`; all of it is uploaded (a model card too).
        repository: ``owner/name``; created if it does not exist.
        private: whether a new repository is private.

    Returns:
        The address of the commit.

    Raises:
        MissingDependencyError: without huggingface_hub.
    """
    hub = require("huggingface_hub", "uploading a network")
    save_pretrained(network, folder)
    api = hub.HfApi()
    api.create_repo(repository, repo_type="model", private=private, exist_ok=True)
    return str(api.upload_folder(repo_id=repository, folder_path=str(folder), repo_type="model"))


def read_config(path: Path) -> dict[str, Any]:
    """Return the configuration that :func:`save_pretrained` wrote: ``network``, bands, ``options``, ``base``.

    Raises:
        InputError: it is not readable, or none of this format.
    """
    try:
        if path.stat().st_size > _MOST_CONFIG_BYTES:
            raise InputError(f"{path}: larger than {_MOST_CONFIG_BYTES} bytes, which no configuration of a network is")
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not readable JSON ({shortened(single_line(error))})") from None
    if not isinstance(config, dict) or config.get("format") != CONFIG_FORMAT:
        raise InputError(f"{path}: not a configuration of format {CONFIG_FORMAT}; was it written by save_pretrained?")
    return config


def _build(config: dict[str, Any], path: Path) -> FusionNetwork:
    missing = {"network", "hsi_bands", "msi_bands", "options"} - config.keys()
    if missing:
        raise InputError(f"{path}: {', '.join(sorted(missing))} missing")
    if not isinstance(config["network"], str) or not isinstance(config["options"], dict):
        raise InputError(f"{path}: network is a name and options are a mapping")
    try:
        return create_network(
            config["network"], hsi_bands=config["hsi_bands"], msi_bands=config["msi_bands"], **config["options"]
        )
    except (InputError, TypeError) as error:
        raise InputError(f"{path}: {error}") from None
