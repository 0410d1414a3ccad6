"""Tables and figures: how each is made, its result, whether the paper's claims hold in it, and its files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from matplotlib.figure import Figure

from hyperfuse.benchmark.entries import Entry
from hyperfuse.benchmark.reproduce.charts import caption
from hyperfuse.benchmark.reproduce.experiment import Experiment
from hyperfuse.benchmark.reproduce.networks import RequiredNetwork, TrainedVariant
from hyperfuse.benchmark.summary import describe_scoring
from hyperfuse.datasets import get_dataset
from hyperfuse.io.encoding.atomic import replacing
from hyperfuse.metrics import MAIN_COLUMNS
from hyperfuse.reports import save_figure
from hyperfuse.tables import Column, Table
from hyperfuse.tables.csv import render_csv
from hyperfuse.tables.markdown import render_markdown
from hyperfuse.version import __version__

_SUFFIXES = (".md", ".csv", ".png")
# Without marks of the best: published scores are of other conditions.
SCORES = tuple(replace(column, better=None) for column in MAIN_COLUMNS)
SECONDS = Column("seconds", "seconds per fusion", format=".2f")
PARAMETERS = Column("parameters", "parameters", format=",d")
WHERE, HERE = Column("where", "numbers"), "computed here"

Networks = Mapping[str, TrainedVariant]
Source = Literal["order", "claim", "own"]


def origin_of(entry: Entry | None) -> str:
    """Return where the numbers of a row come from: by which weights, if any; None for a row that was published.

    Example:
        >>> origin_of(None)
        'published'
    """
    if entry is None:
        return "published"
    return entry.origin or HERE


@dataclass(frozen=True)
class Check:
    """Whether a claim holds in what was computed here.

    Attributes:
        claim: such as ``Gabor above ReLU``.
        holds: None where what was computed does not decide it.
        measured: the numbers that decide it, such as ``difference 0.31 dB``.
        whose: ``order`` of variants or ``claim`` of the paper, or a question of our ``own``.
    """

    claim: str
    holds: bool | None
    measured: str
    whose: Source = "claim"

    def __str__(self) -> str:
        found = f"{'not decided' if self.holds is None else 'yes' if self.holds else 'no'}, {self.measured}."
        if self.whose == "own":
            return f"{self.claim[:1].upper()}{self.claim[1:]}: {found}"
        return f"Shows the paper's {self.whose} ({self.claim}): {found}"


def compare(claim: str, ours: float, others: float, unit: str = "dB", *, whose: Source = "order") -> Check:
    """Return the check that ``ours`` is above ``others`` by two decimals: equal as shown is not above.

    Example:
        >>> str(compare("A above B", 40.0, 39.5))
        "Shows the paper's order (A above B): yes, difference 0.50 dB."
        >>> compare("A above B", 40.001, 40.0).holds
        False
    """
    difference = round(ours - others, 2) + 0.0
    return Check(claim, difference > 0, f"difference {difference:.2f} {unit}", whose)


@dataclass(frozen=True)
class Result:
    """A table or figure that was made.

    Attributes:
        columns: of its table.
        rows: of its table; missing values are left out.
        figure: its picture.
        text: paragraphs on what it shows.
        checks: of the claims of the paper that it is for.
    """

    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]
    figure: Figure
    text: Sequence[str] = ()
    checks: Sequence[Check] = ()


@dataclass(frozen=True)
class Artefact:
    """A table or figure of the paper.

    Attributes:
        name: on the command line, and of its files.
        what: table or figure.
        title: what it shows.
        networks: that it needs, of one data set at one ratio.
        build: makes it of the networks of an experiment, by name.
        about: data set of one that needs no network.
    """

    name: str
    what: Literal["table", "figure"]
    title: str
    networks: Sequence[RequiredNetwork]
    build: Callable[[Experiment, Networks], Result]
    about: str = ""

    @property
    def kind(self) -> str:
        """The data set of the paper that it is about."""
        return self.about or self.networks[0].kind

    def required(self, experiment: Experiment) -> list[RequiredNetwork]:
        """Return the networks that it needs in an experiment."""
        return [one for one in self.networks if experiment.trains(one)]

    def make(self, experiment: Experiment) -> Result:
        """Make it; networks that are missing are trained."""
        return self.build(experiment, {one.name: experiment.trained(one) for one in self.required(experiment)})


def artefact(
    name: str, title: str, *networks: RequiredNetwork
) -> Callable[[Callable[[Experiment, Networks], Result]], Artefact]:
    """Return the decorator that turns the function that draws a figure into an :class:`Artefact`."""
    return lambda build: Artefact(name, "figure", title, networks, build)


def outputs(out: Path, artefacts: Sequence[Artefact]) -> list[Path]:
    """Return the files that artefacts write."""
    return [out / f"{artefact.name}{suffix}" for artefact in artefacts for suffix in _SUFFIXES]


def write_result(experiment: Experiment, artefact: Artefact, result: Result) -> list[Path]:
    """Write NAME.md, NAME.csv and NAME.png to ``experiment.out``; return the files.

    Raises:
        HyperfuseError: no space left, or another failure of the file system.
    """
    experiment.out.mkdir(parents=True, exist_ok=True)
    data, remark = experiment.data(artefact.kind), _quick_remark(experiment, artefact)
    source = f"Data: {data.source}." if data.source else ""
    caption(result.figure, "\n".join(filter(None, [remark, *map(str, result.checks), source])))
    paragraphs = [
        f"# {artefact.title}",
        f"**{remark}**" if remark else "",
        data.description if artefact.networks else f"Scored on {', '.join(data.test)}.",
        *result.text,
        render_markdown(Table(result.columns, result.rows)).strip() if result.rows else "",
        "\n".join(f"- {check}" for check in result.checks),
        f"![{artefact.title}]({artefact.name}.png)",
        source,
        describe_scoring(),
    ]
    made = {"version": __version__, "made": remark or "in full"}
    columns = [*result.columns, *(Column(key, key) for key in made)]
    text = "\n\n".join(filter(None, paragraphs)) + "\n"
    values = render_csv(Table(columns, [{**row, **made} for row in result.rows]))
    *files, picture = outputs(experiment.out, [artefact])
    for path, content in zip(files, (text, values), strict=True):
        with replacing(path) as scratch:
            scratch.write_text(content, "utf-8", newline="")
    save_figure(result.figure, picture)
    return [*files, picture]


def _quick_remark(experiment: Experiment, artefact: Artefact) -> str:
    """Return the remark on every output of a quick experiment, empty in full."""
    if not experiment.quick:
        return ""
    base, budget, data = experiment.sizes()["base"], experiment.budget, experiment.data(artefact.kind)
    trained = (
        f", narrow networks (width {base['width']}, the paper's has 128), {budget.steps} steps of {budget.batch} "
        f"patches of {budget.patch}x{budget.patch}, one training each (seed {experiment.seed})"
    )
    stand_in = f" {data.title} stands in for {get_dataset(artefact.kind).title}, which was not given."
    return (
        f"QUICK: small data{trained if artefact.networks else ''}. Not comparable with the paper's numbers."
        f"{stand_in if data.name != artefact.kind else ''}"
    )
