"""``hyperfuse reproduce``: the tables and figures of the FeINFN paper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from hyperfuse.cli.options import COMMON, CommonOptions, Whole, WholeOrNone
from hyperfuse.cli.session import Session
from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.progress import part
from hyperfuse.tables import Column, Table

if TYPE_CHECKING:
    from hyperfuse.benchmark.reproduce import Artefact

_TRAINING = 0.8  # of the progress: tables and figures are made of the networks that are trained first


def reproduce(
    *names: Annotated[str, Parameter(name="NAME")],
    list_: Annotated[bool, Parameter(name="--list")] = False,
    quick: bool = False,
    data: Path | None = None,
    harvard: Path | None = None,
    out: Path = Path("reproduction"),
    weights: Path | None = None,
    steps: WholeOrNone = None,
    seed: Whole = 0,
    device: str = "auto",
    workers: WholeOrNone = None,
    overwrite: bool = False,
    common: CommonOptions = COMMON,
    session: Annotated[Session, Parameter(parse=False)],
) -> None:
    """Make tables and figures of the FeINFN paper.

    Each writes NAME.md, NAME.csv and NAME.png to OUT. Networks are trained by the recipe in configs/ on the full data,
    or with `--quick` briefly, narrow and on small real data, which every output says. Each is trained once and kept in
    OUT/weights. table-cave-x4 and table-cave-x8, of every method and network next to published scores, train nothing.

    Args:
        names: Tables and figures, or all.
        list_: List them and exit.
        quick: Minutes in place of days.
        data: Folder of CAVE; with `--quick` some of its scenes suffice, and without any Indian Pines is used.
        harvard: Folder of Harvard; as for CAVE.
        out: Folder to write to.
        weights: Folder of training runs and files of weights, for table-cave-x4 and table-cave-x8.
        steps: Steps of each training, with `--quick`; default: 1000.
        seed: Seed of weights and patches.
        device: Where to compute: auto, cpu, cuda.
        workers: Networks trained at the same time; default: with `--quick` on a CPU the number of threads, else 1.
        overwrite: Replace tables and figures in OUT; trained networks are kept.
        common: Options of every command.
        session: Where results and notes go.
    """
    from hyperfuse.benchmark.reproduce import ARTEFACTS, Budget, Experiment, find_artefacts, outputs, prepare
    from hyperfuse.benchmark.reproduce import reproduce as make

    if list_:
        _show(ARTEFACTS, session)
        return
    artefacts = find_artefacts(names)
    if steps is not None and (not quick or steps < 1):
        raise InputError("--steps is 1 or more, and goes with --quick; without it the recipe states the length")
    if workers is not None and workers < 1:
        raise InputError(f"--workers is 1 or more, got {workers}")
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; name a folder")
    held = [path for path in outputs(out, artefacts) if path.exists()]
    if held and not overwrite:
        raise InputError(f"{held[0]}: exists already; --overwrite replaces it (trained networks are kept)")
    budget = Budget() if steps is None else Budget(steps=steps)
    failed = []
    with session.progress("training") as report:
        training = part(report, 0.0, _TRAINING)
        experiment = Experiment(out, quick, data, harvard, budget, device, seed, session.note, training, weights)
        prepare(experiment, artefacts, workers)
        for rank, artefact in enumerate(artefacts):
            report(_TRAINING + (1 - _TRAINING) * rank / len(artefacts), artefact.name)
            try:
                result, written = make(experiment, artefact)
            except InputError:
                raise
            except HyperfuseError as error:
                failed.append(artefact.name)
                session.note(f"{artefact.name} failed: {error}")
                continue
            session.wrote(*written)
            session.result(f"{artefact.name}: {', '.join(map(str, written))}")
            for check in result.checks:
                session.result(f"  {check}")
    session.note(f"{len(artefacts) - len(failed)} tables and figures in {session.seconds:.0f} s")
    if failed:
        raise HyperfuseError(f"failed: {', '.join(failed)}")


def _show(artefacts: Sequence[Artefact], session: Session) -> None:
    from hyperfuse.tables.terminal import render_terminal

    columns = (Column("name", "name"), Column("what", "is a"), Column("title", "shows"))
    session.result_table(render_terminal(Table(columns, [vars(artefact) for artefact in artefacts])))
