"""Networks on the Hugging Face hub: a ``ModelHubMixin`` in this package's own format.

What is saved and read is what :func:`hyperfuse.networks.pretrained.save_pretrained` writes (safetensors and JSON), with
its checks: no pickle is written, read or executed. ``hf.from_pretrained("hub:OWNER/NAME")`` reads the same repositories
without this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hyperfuse.errors import InputError
from hyperfuse.integrations.model_card import TAGS, MeasuredScores, model_card, write_model_card
from hyperfuse.networks.base import FusionNetwork
from hyperfuse.networks.hub import download_network
from hyperfuse.networks.pretrained import CONFIG, WEIGHTS, from_pretrained, read_base, save_pretrained
from hyperfuse.runtime.optional import require

hub = require("huggingface_hub", "networks on the Hugging Face hub")

__all__ = ["HubNetwork", "MeasuredScores", "model_card", "write_model_card"]


class HubNetwork(nn.Module, hub.ModelHubMixin, library_name="hyperfuse", tags=list(TAGS)):  # type: ignore[misc,name-defined,call-arg]  # of an optional package
    """A network as huggingface_hub knows models: with ``from_pretrained``, ``save_pretrained`` and ``push_to_hub``.

    Args:
        network: of :func:`hyperfuse.create_network` or :func:`hyperfuse.from_pretrained`; called with (hsi, msi).
        base: method and settings of the fusion that the network was trained to improve, or None.

    Example:
        >>> import hyperfuse as hf
        >>> model = HubNetwork(hf.create_network("feinfn", hsi_bands=4, msi_bands=2, width=8))
        >>> model(torch.zeros(1, 4, 4, 4), torch.zeros(1, 2, 16, 16)).shape
        torch.Size([1, 4, 16, 16])
    """

    def __init__(self, network: FusionNetwork, base: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.network, self.base = network, base

    def forward(self, hsi: torch.Tensor, msi: torch.Tensor) -> torch.Tensor:
        """Fuse (B, hsi_bands, h, w) and (B, msi_bands, H, W) to (B, hsi_bands, H, W)."""
        fused: torch.Tensor = self.network(hsi, msi)
        return fused

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> HubNetwork:
        """Read a network: from a local folder, else from a repository of the hub.

        Args:
            pretrained_model_name_or_path: the folder, or ``OWNER/NAME``.
            **options: ``revision``, ``cache_dir``, ``token``, ``force_download``, ``local_files_only``.

        Raises:
            InputError: no such folder or repository, one that is not in the cache of a machine that is offline, or
                files that are damaged or not those of a network of this package.
        """
        # That of the mixin would read the configuration before, and without the checks.
        known = ("revision", "cache_dir", "token", "force_download", "local_files_only")
        unknown = next((name for name in options if name not in known), None)
        if unknown is not None:
            raise InputError(f"{unknown} is no option of reading a network; there are {', '.join(known)}", unknown)
        return cls._from_pretrained(model_id=str(pretrained_model_name_or_path), **options)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **options: Any) -> HubNetwork:
        folder = Path(model_id) if Path(model_id).is_dir() else download_network(model_id, (CONFIG, WEIGHTS), **options)
        return cls(from_pretrained(folder), read_base(folder))

    def _save_pretrained(self, save_directory: Path) -> None:
        save_pretrained(self.network, save_directory, base=self.base)

    def generate_model_card(self, *, run: str | Path | None = None, **about: Any) -> Any:
        """Return the card, by arguments of :func:`model_card`: the ``model_card_kwargs`` of ``push_to_hub``."""
        return hub.ModelCard(model_card(self.network, run, base=self.base, **about), ignore_metadata_errors=False)
