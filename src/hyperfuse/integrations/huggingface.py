"""Networks on the Hugging Face hub: a ``ModelHubMixin`` in this package's own format, and the card of a network.

What is saved and read is what :func:`hyperfuse.networks.pretrained.save_pretrained` writes (safetensors and JSON), with
its checks: no pickle is written, read or executed. ``hf.from_pretrained("hub:OWNER/NAME")`` reads the same repositories
without this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hyperfuse.errors import InputError
from hyperfuse.metrics import METRIC_COLUMNS
from hyperfuse.networks.base import FusionNetwork
from hyperfuse.networks.hub import download_network
from hyperfuse.networks.pretrained import CONFIG, WEIGHTS, from_pretrained, read_base, save_pretrained
from hyperfuse.runtime.optional import require
from hyperfuse.tables import Column, Table
from hyperfuse.tables.markdown import escape_markdown, render_markdown
from hyperfuse.training.checkpoints import BEST
from hyperfuse.training.configuration import TrainingConfig, load_config
from hyperfuse.training.run_folder import CONFIG as RUN_CONFIG
from hyperfuse.training.run_folder import best_scores, describe_run
from hyperfuse.version import __version__

hub = require("huggingface_hub", "networks on the Hugging Face hub")

CARD = "README.md"
_TAGS = ("hyperspectral", "multispectral", "image-fusion", "remote-sensing")
_TASK = "image-to-image"
_COLUMNS = {column.key: column for column in METRIC_COLUMNS}


@dataclass(frozen=True)
class MeasuredScores:
    """Scores of a network on data that it has not learnt from.

    Attributes:
        data: name of the data set, with the split.
        scores: by the names of :func:`hyperfuse.evaluate` (``psnr_db``, ``sam_degrees``, ...): means over its scenes.
        ratio: HR pixels per LR pixel.
        how: how the pairs were made and scored, such as the command.
    """

    data: str
    scores: Mapping[str, float]
    ratio: float
    how: str = ""

    def __post_init__(self) -> None:
        unknown = sorted(set(self.scores) - set(_COLUMNS))
        if unknown:
            raise InputError(f"scores: {unknown[0]!r} is none of {', '.join(_COLUMNS)}", "scores")


class HubNetwork(nn.Module, hub.ModelHubMixin, library_name="hyperfuse", tags=list(_TAGS)):  # type: ignore[misc,name-defined,call-arg]  # of an optional package
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


def write_model_card(folder: str | Path, **about: Any) -> Path:
    """Write the card of a network next to its weights, for ``push_to_hub`` of that folder.

    Args:
        folder: that training wrote (RUN/best), or another of ``save_pretrained``.
        **about: of :func:`model_card`; ``run`` is RUN by default.

    Returns:
        The path of the card, README.md.
    """
    folder = Path(folder)
    about = {"run": folder.parent if folder.name == BEST else None, "name": folder.parent.name, **about}
    path = folder / CARD
    path.write_text(model_card(from_pretrained(folder), base=read_base(folder), **about), "utf-8")
    return path


def model_card(
    network: FusionNetwork,
    run: str | Path | None = None,
    *,
    base: Mapping[str, Any] | None = None,
    scores: Sequence[MeasuredScores] = (),
    name: str | None = None,
    licence: str | None = None,
    data_terms: str = "",
) -> str:
    """Return the card of a network: what it is, what it learnt from, how good it is, and what it is not good for.

    All comes from the network, the record of its training and scores that were measured; nothing is filled in. The
    scores are in the metadata (``model-index``) too.

    Args:
        network: that the card is of.
        run: folder of the training run that made it, or None.
        base: method and settings that it improves, or None.
        scores: that were measured; those that the run chose its weights by are taken from it.
        name: of the network; default: that of its kind.
        licence: of the weights, as the hub names licences, such as ``apache-2.0``; None states none.
        data_terms: what there is to say of the data's terms of use.

    Raises:
        InputError: a folder that is no training run.
    """
    config = None if run is None else _run_config(Path(run))
    chosen = [] if run is None or config is None else _validation(Path(run), config)
    title = name or network.name
    rows = [*scores, *chosen]
    data = hub.ModelCardData(
        library_name="hyperfuse",
        license=licence,
        pipeline_tag=_TASK,
        tags=[*_TAGS, network.name],
        model_name=title,
        eval_results=[one for row in rows for one in _results(row)] or None,
    )
    parts = [
        f"# {escape_markdown(title)}",
        _about(network, base, config),
        _use(network),
        *(() if run is None or config is None else (_training(Path(run), config),)),
        _scores(scores, chosen),
        _limits(network, config, scores),
        "## Licence\n\n" + " ".join([f"The weights: {licence or 'none stated'}.", data_terms]).strip(),
    ]
    return f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(parts) + "\n"


def _run_config(run: Path) -> TrainingConfig:
    if not (run / RUN_CONFIG).is_file():
        raise InputError(f"{run}: holds no {RUN_CONFIG}; name the folder of a training run", "run")
    return load_config(run / RUN_CONFIG)


def _validation(run: Path, config: TrainingConfig) -> list[MeasuredScores]:
    """Return the scores by which a run chose its weights."""
    found = best_scores(run)
    if found is None:
        return []
    ratios = config.degradation.ratios
    named = {ratio: "" if len(ratios) == 1 else f"x{ratio:g}/" for ratio in ratios}
    return [
        MeasuredScores(
            f"{config.data.kind}, {_held_out(config)}",
            {key: found[f"{start}{key}"] for key in _COLUMNS if f"{start}{key}" in found},
            float(ratio),
            "chose the weights",
        )
        for ratio, start in named.items()
    ]


def _held_out(config: TrainingConfig) -> str:
    if config.data.hold_out:
        return f"the last {config.data.hold_out:.0%} of each scene"
    return _names(config.data.validation)


def _names(names: str | Sequence[str]) -> str:
    return names if isinstance(names, str) else ", ".join(names)


def _results(row: MeasuredScores) -> list[Any]:
    return [
        hub.EvalResult(
            task_type=_TASK,
            dataset_type=row.data.partition(",")[0].lower().replace(" ", "-"),
            dataset_name=f"{row.data}, x{row.ratio:g}",
            # Results of one type, configuration and split are one on the hub.
            dataset_config=f"x{row.ratio:g}",
            dataset_split=row.data.partition(", ")[2] or None,
            metric_type=key.removesuffix("_db").removesuffix("_degrees"),
            metric_name=_COLUMNS[key].heading,
            metric_value=float(value),
        )
        for key, value in row.scores.items()
    ]


def _about(network: FusionNetwork, base: Mapping[str, Any] | None, config: TrainingConfig | None) -> str:
    count = sum(parameter.numel() for parameter in network.parameters())
    shown = base is not None and base.get("guidance")
    bands = network.msi_bands - (network.hsi_bands if shown else 0)
    lines = [
        f"`{network.name}` of hyperfuse {__version__}: {network.reference}.",
        f"It fuses an HSI of {network.hsi_bands} bands with an MSI of {bands} bands; {count:,} parameters.",
    ]
    if base is not None:
        seen = ", which it sees next to the MSI" if shown else ""
        lines.append(f"It improves the image of the method `{base['method']}`{seen}.")
    if config is not None:
        lines.append(f"The MSI's responses in training: `{config.data.srf}`.")
    options = {key: value for key, value in network.options.model_dump(mode="json").items() if value is not None}
    return "\n".join(lines) + "\n\nOptions: " + ", ".join(f"`{key}={value}`" for key, value in options.items()) + "."


def _use(network: FusionNetwork) -> str:
    listed = (text.partition(", ") for text in metadata("hyperfuse").get_all("Project-URL") or ())
    source = next((f"\n\nProgram and documentation: {url}" for label, _, url in listed if label == "Source"), "")
    low, high = f"(B, {network.hsi_bands}, h, w)", f"(B, {network.msi_bands}, H, W)"
    return f"""## Use

```
pip install 'hyperfuse[hub]'
hyperfuse fuse hsi.tif msi.tif fused.tif --network hub:OWNER/NAME
```

```python
import hyperfuse as hf

network = hf.from_pretrained("hub:OWNER/NAME")
fused = network(hsi, msi)  # {low} and {high}, brightest value about {network.full_scale:g}
```
{source}"""


def _training(run: Path, config: TrainingConfig) -> str:
    known = describe_run(run)
    ratios = ", ".join(f"x{ratio:g}" for ratio in config.degradation.ratios)
    losses = " + ".join(f"{weight:g} {name}" for name, weight in config.losses.items())
    lines = [
        f"- data: `{config.data.kind}`, scenes: {_names(config.data.train)}",
        f"- weights chosen on: {_held_out(config)}",
        f"- pairs: preset `{config.degradation.preset}`, {ratios}, patches of {config.data.patch} pixels",
        f"- {config.optimiser.name}, learning rate {config.optimiser.learning_rate:g}, batch {config.batch}"
        + (f" x {config.accumulation}" if config.accumulation > 1 else "")
        + f", {config.length}, loss {losses}, seed {config.seed}",
    ]
    if "patches" in known:
        lines.append(f"- {known['patches']:,} patches in {known['seconds'] / 3600:.2f} hours")
    return "## Training\n\n" + "\n".join(lines)


def _scores(measured: Sequence[MeasuredScores], chosen: Sequence[MeasuredScores]) -> str:
    rows = [*measured, *chosen]
    if not rows:
        return "## Scores\n\nNone were measured."
    keys = [key for key in _COLUMNS if any(key in row.scores for row in rows)]
    columns = (Column("data", "data"), Column("ratio", "ratio", format="g"), *(_COLUMNS[key] for key in keys))
    table = Table(
        (*columns, Column("how", "how")),
        [{"data": row.data, "ratio": row.ratio, "how": row.how, **row.scores} for row in rows],
        groups=[None] * len(rows),
    )
    return f"## Scores\n\n{render_markdown(table).strip()}"


def _limits(network: FusionNetwork, config: TrainingConfig | None, measured: Sequence[MeasuredScores]) -> str:
    lines = [f"- Bands as many and at the wavelengths of those that it learnt from; {network.needs}."]
    if config is not None:
        trained = ", ".join(f"x{ratio:g}" for ratio in config.degradation.ratios)
        lines.append(
            f"- Trained at {trained} with one kind of blur and responses; other sensors and ratios are not tested."
        )
    if config is not None and not measured:
        lines.append("- The scores are of the data that chose the weights, so that they flatter; none of a test set.")
    return "## Limits\n\n" + "\n".join(lines)
