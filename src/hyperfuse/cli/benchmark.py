"""``hyperfuse benchmark``: every method and network on every scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from hyperfuse.cli.options import COMMON, CommonOptions, Whole, WholeOrNone, parse_value
from hyperfuse.cli.session import Session
from hyperfuse.errors import HyperfuseError, InputError

if TYPE_CHECKING:
    from hyperfuse.benchmark import Entry, Record, Summary
    from hyperfuse.benchmark.entries import Missing

_NONE, _ALL = "none", "all"


def benchmark(
    *,
    data: Path,
    ratio: Annotated[tuple[float, ...], Parameter(consume_multiple=True)],
    out: Path = Path("benchmark"),
    kind: str = "cave",
    split: str | None = None,
    methods: str | None = None,
    set_: Annotated[
        tuple[str, ...],
        Parameter(name="--set", help="A setting of a method, METHOD.NAME=VALUE; repeat for more."),
    ] = (),
    weights: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    preset: str = "uestc",
    srf: str = "nikon-d700",
    drop_uncovered: bool = False,
    seed: Whole = 0,
    device: str = "auto",
    workers: WholeOrNone = None,
    scale: float | None = None,
    offset: float | None = None,
    resume: bool = False,
    overwrite: bool = False,
    json: bool = False,
    common: CommonOptions = COMMON,
    session: Annotated[Session, Parameter(parse=False)],
) -> None:
    """Fuse and score every scene of a dataset with every method and network.

    OUT gets benchmark.md, benchmark.tex, benchmark-xRATIO.png, summary.csv and scenes.csv, made from the records in
    OUT/jobs.

    Args:
        data: Folder of the scenes.
        ratio: Ratios, such as --ratio 4 8.
        out: Folder to write to.
        kind: Kind of data: cave, harvard, or folder (of any cubes).
        split: Name of a split (uestc-test), or a text file of scene names; default: all scenes.
        methods: Names separated by commas; default: every method; none for networks alone; all for every method and
            every network, of which those without weights are named with how to get them.
        set_: Settings of methods.
        weights: Trained networks, each RUN/best or a file of weights, also as NAME=PATH; or a folder that holds several
            (training runs, files of weights), each for the ratio that it was trained at.
        preset: Degradation: uestc, dhif or mtf.
        srf: Spectral responses of the MSI.
        drop_uncovered: Leave out MSI bands that a scene does not cover, instead of failing.
        seed: Seed of methods that draw random numbers.
        device: Where to compute: auto, cpu, cuda.
        workers: Jobs that run at the same time, each in its own process; the threads are divided among them;
            fewer jobs start where memory is short.
        scale: For a folder of images: value = scale * stored + offset.
        offset: See --scale.
        resume: Continue the benchmark in OUT; jobs that were done under other conditions are repeated.
        overwrite: Remove what OUT holds.
        json: Write the summary as JSON.
        common: Options of every command.
        session: Where results and notes go.
    """
    from hyperfuse.benchmark import make_plan, run_plan, summarise_plan, write_tables
    from hyperfuse.benchmark.plan import Pairs
    from hyperfuse.benchmark.runner import check_folder
    from hyperfuse.benchmark.summary import summary_table
    from hyperfuse.tables.terminal import render_terminal

    if workers is not None and workers < 1:
        raise InputError(f"--workers is 1 or more, got {workers}")
    check_folder(out, resume=resume, overwrite=overwrite)
    entries, missing = _entries(methods, set_, weights, ratio)
    pairs = Pairs(kind, data, preset, srf, seed, device, scale, offset, drop_uncovered)
    plan = make_plan(entries, ratio, pairs, split, missing)
    session.note(f"{len(plan.jobs)} jobs: {len(entries)} methods, {len(plan.scenes)} scenes, {len(ratio)} ratios")
    slow = [entry.name for entry in entries if entry.takes_minutes]
    if slow:
        session.note(f"minutes for an image of 512x512x31 on two cores: {', '.join(slow)}")
    if missing:
        session.note(f"no weights for {', '.join(dict.fromkeys(one.name for one in missing))}: the table says more")

    def note_record(record: Record) -> None:
        job = record.job
        outcome = f"failed: {record.failure}"
        if record.scores is not None:
            outcome = f"{record.scores['psnr_db']:.2f} dB, {record.seconds:.2f} s"
        session.note(f"{job.scene} x{job.ratio:g} {job.entry.name}: {outcome}")

    with session.progress("benchmark") as report:
        records = run_plan(
            plan,
            out,
            workers=workers,
            threads=common.threads,
            resume=resume,
            overwrite=overwrite,
            done=note_record,
            progress=report,
        )
    summaries = summarise_plan(plan, records)
    written = [*write_tables(out, plan, records), *_figures(out, summaries, session)]
    session.wrote(*written)
    if json:
        session.result_json([vars(one) for one in summaries])
    else:
        for each in plan.ratios:
            session.result(f"ratio {each:g}")
            table = summary_table([one for one in summaries if one.ratio == each], deviations=False)
            session.result_table(render_terminal(replace(table, caption="")))
    reused = sum(record.reused for record in records)
    earlier = f" ({reused} of {len(records)} jobs were done before)" if reused else ""
    session.note(f"wrote {', '.join(map(str, written))} in {session.seconds:.0f} s{earlier}")
    failed = [record for record in records if record.failure]
    if failed:
        raise HyperfuseError(f"{len(failed)} of {len(records)} jobs failed; {out / 'benchmark.md'} says why")


def _figures(out: Path, summaries: Sequence[Summary], session: Session) -> list[Path]:
    """Draw quality against size and time, a figure for each ratio; without the package that draws, note it."""
    from hyperfuse.benchmark.summary import points_of
    from hyperfuse.errors import MissingDependencyError
    from hyperfuse.runtime.optional import check_installed

    try:
        check_installed("matplotlib", "figures of a benchmark")
    except MissingDependencyError as error:
        session.note(f"no figures: {error}")
        return []
    from hyperfuse.benchmark.tradeoff import tradeoff_figure
    from hyperfuse.reports import save_figure

    written = []
    for ratio in dict.fromkeys(one.ratio for one in summaries):
        points = points_of([one for one in summaries if one.ratio == ratio])
        if points:
            written.append(out / f"benchmark-x{ratio:g}.png")
            save_figure(tradeoff_figure(points, f"Ratio {ratio:g}: mean PSNR over the scenes"), written[-1])
    return written


def _entries(
    methods: str | None, set_: Sequence[str], weights: Sequence[str], ratios: Sequence[float]
) -> tuple[list[Entry], list[Missing]]:
    """Return what is compared, and with ``all`` the networks without weights for a ratio."""
    from hyperfuse.benchmark import method_entry, network_entry
    from hyperfuse.benchmark.weights import entries_of, find_weights, holds_several, missing_networks
    from hyperfuse.methods import get_method, list_methods

    every = methods is not None and methods.strip() == _ALL
    if methods is None or every:
        names = [method.name for method in list_methods()]
    else:
        names = [] if methods.strip() == _NONE else [name.strip() for name in methods.split(",") if name.strip()]
    for name in names:
        get_method(name)
    settings = _settings(set_, names)
    found = [method_entry(name, settings.get(name)) for name in names]
    stored = []
    for word in weights:
        name, equals, path = word.partition("=")
        if equals and not Path(word).exists():
            found.append(network_entry(path, name))
        elif holds_several(word):
            stored += find_weights(word)
        else:
            found.append(network_entry(word))
    found += entries_of(stored)
    if every:  # what is fitted to the pair comes last
        found.sort(key=lambda entry: entry.method is not None and entry.uses_network)
    return found, missing_networks(stored, ratios) if every else []


def _settings(words: Sequence[str], methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    settings: dict[str, dict[str, Any]] = {}
    for word in words:
        key, equals, text = word.partition("=")
        method, dot, name = key.strip().partition(".")
        if not equals or not dot or not name:
            raise InputError(f"--set takes METHOD.NAME=VALUE here, got {word!r}")
        if method not in methods:
            raise InputError(f"--set {word}: {method} is not among the methods to run ({', '.join(methods) or 'none'})")
        settings.setdefault(method, {})[name.replace("-", "_")] = parse_value(text)
    return settings
