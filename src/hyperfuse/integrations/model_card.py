"""The card of a network on the Hugging Face hub: of the network, the record of its training and measured scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

from hyperfuse.errors import InputError
from hyperfuse.metrics import METRIC_COLUMNS
from hyperfuse.networks.base import FusionNetwork
from hyperfuse.networks.pretrained import from_pretrained, read_base
from hyperfuse.runtime.optional import require
from hyperfuse.tables import Column, Table
from hyperfuse.tables.markdown import escape_markdown, render_markdown
from hyperfuse.training.checkpoints import BEST
from hyperfuse.training.configuration import TrainingConfig, load_config
from hyperfuse.training.run_folder import CONFIG as RUN_CONFIG
from hyperfuse.training.run_folder import best_scores, describe_run
from hyperfuse.version import __version__

hub = require("huggingface_hub", "cards of the Hugging Face hub")

CARD = "README.md"
TAGS = ("hyperspectral", "multispectral", "image-fusion", "remote-sensing")
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
        tags=[*TAGS, network.name],
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
