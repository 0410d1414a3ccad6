"""Networks in repositories of the Hugging Face hub, named ``hub:OWNER/NAME`` or ``hub:OWNER/NAME@REVISION``.

Two files are taken of a repository, ``config.json`` and ``model.safetensors``, and read as those of any other folder:
nothing in it is executed. They stay in the cache of huggingface_hub, whose environment variables apply (``HF_HOME``,
``HF_TOKEN``, ``HF_ENDPOINT``, ``HF_HUB_OFFLINE``).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hyperfuse.errors import InputError
from hyperfuse.runtime.optional import require
from hyperfuse.text import shortened, single_line

PREFIX = "hub:"


def is_hub_name(name: str | os.PathLike[str]) -> bool:
    """Return whether a name is that of a repository of the hub."""
    return str(name).startswith(PREFIX)


def download_network(name: str, files: tuple[str, ...], **options: Any) -> Path:
    """Return the folder of a network of the hub: in the cache, downloaded where it is not there.

    Args:
        name: ``OWNER/NAME``, with ``hub:`` before it or without, and ``@REVISION`` (branch, tag or commit) or without.
        files: to download.
        **options: of ``huggingface_hub.hf_hub_download``: ``revision``, ``cache_dir``, ``token``, ``force_download``,
            ``local_files_only``.

    Raises:
        MissingDependencyError: without huggingface_hub.
        InputError: no such repository, revision or file, no access, or no connection and nothing in the cache.
    """
    hub = require("huggingface_hub", "a network of the Hugging Face hub")
    repository, _, revision = name.removeprefix(PREFIX).partition("@")
    if revision:
        options["revision"] = revision
    shown = f"{PREFIX}{shortened(single_line(repository), 100)}"
    if "/" not in repository:
        raise InputError(f"{shown}: write {PREFIX}OWNER/NAME")
    found = Path()
    for file in files:
        try:
            found = Path(hub.hf_hub_download(repository, file, **options))
        except Exception as error:
            raise InputError(f"{shown}: {_reason(hub, error, file)}") from error
    return found.parent


def _reason(hub: Any, error: Exception, file: str) -> str:
    """Return in words why a file was not downloaded, the special cases of an exception first."""
    errors = hub.errors
    if isinstance(error, errors.HFValidationError):
        return "is no name of a repository; write OWNER/NAME"
    if isinstance(error, errors.GatedRepoError):
        return "is open to those only whom its owner lets in; ask there, then log in (hf auth login)"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "no such repository on the hub, or a private one: log in (hf auth login)"
    if isinstance(error, errors.RevisionNotFoundError):
        return "the repository has no such revision"
    if isinstance(error, errors.LocalEntryNotFoundError):
        if hub.constants.HF_HUB_OFFLINE:
            return f"{file} is not in the cache, and HF_HUB_OFFLINE is set; download it first"
        return f"is not in the cache, and the hub at {hub.constants.ENDPOINT} cannot be reached"
    if isinstance(error, errors.EntryNotFoundError):
        return f"holds no {file}, so it is no network that hyperfuse saved"
    return f"{file} could not be downloaded ({shortened(single_line(error), 200)})"
