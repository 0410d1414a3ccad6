"""``hyperfuse demo``: the main job on a real scene that a package ships."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from hyperfuse.cli.options import COMMON, CommonOptions, OutputOptions
from hyperfuse.cli.outputs import check_folder, writing_folder
from hyperfuse.cli.session import Session
from hyperfuse.errors import HyperfuseError
from hyperfuse.runtime.optional import check_installed
from hyperfuse.tables import Column, Table

if TYPE_CHECKING:
    from hyperfuse.cube.cube import Cube
    from hyperfuse.progress import Progress
    from hyperfuse.scenes.simulate import Pair

_RATIO = 4
_SRF = "sentinel-2a"
_FUSED = "fused.tif"
_FIGURE = "comparison.png"
_PACKAGES = ("tensorly", "pyrsr", "matplotlib")


def demo(
    outdir: Path = Path("hyperfuse-demo"),
    /,
    *,
    overwrite: bool = False,
    common: CommonOptions = COMMON,
    session: Annotated[Session, Parameter(parse=False)],
) -> None:
    """Simulate, fuse and score a real scene that needs no download.

    The scene is Indian Pines (AVIRIS, 200 bands), from the package tensorly (`pip install 'hyperfuse[demo]'`). An
    LR-HSI of a quarter of its resolution and a Sentinel-2A MSI are made from it, fused with every method that takes
    seconds, and scored. OUTDIR gets the image fused by the default method (fused.tif) and a figure (comparison.png).

    Args:
        outdir: Folder to write to.
        overwrite: Replace what an earlier demo wrote.
        common: Options of every command.
        session: Where results and notes go.
    """
    for package in _PACKAGES:
        check_installed(package, "the demo", "demo")
    from hyperfuse.datasets import INDIAN_PINES_SOURCE, load_indian_pines
    from hyperfuse.io import write
    from hyperfuse.methods import DEFAULT_METHOD
    from hyperfuse.reports import comparison_figure, save_figure
    from hyperfuse.scenes.simulate import simulate
    from hyperfuse.tables.terminal import render_terminal

    writing = OutputOptions(overwrite=overwrite)
    check_folder(outdir, [_FUSED], [_FIGURE], writing)
    pair = simulate(load_indian_pines(), ratio=_RATIO, preset="mtf", srf=_SRF)
    session.note(f"scene: Indian Pines. {INDIAN_PINES_SOURCE}")
    session.note(f"pair: LR-HSI {_size(pair.hsi)}, Sentinel-2A MSI {_size(pair.msi)}, ratio {_RATIO}, preset mtf")
    with session.progress("fusing") as report:
        rows, kept = _compare(pair, DEFAULT_METHOD, report)
    session.result_table(render_terminal(_table(rows)))
    failed = [row["method"] for row in rows if "failure" in row]
    if kept is None:
        raise HyperfuseError(f"the default method {DEFAULT_METHOD} failed: {_row(rows, DEFAULT_METHOD)['failure']}")
    scores = _row(rows, DEFAULT_METHOD)
    figure = comparison_figure(
        pair.hsi,
        pair.msi,
        kept,
        pair.reference,
        title=f"Indian Pines (AVIRIS): LR-HSI at ratio {_RATIO} and Sentinel-2A MSI, simulated and fused",
        fused_label=f"fused: {DEFAULT_METHOD}, {scores['psnr_db']:.1f} dB",
        footnote=f"Data: {INDIAN_PINES_SOURCE}. Wavelengths are nominal.",
    )
    with writing_folder(outdir) as scratch:
        write(scratch / _FUSED, kept)
        save_figure(figure, scratch / _FIGURE)
    session.wrote(outdir / _FUSED, outdir / _FIGURE)
    session.note(f"wrote {outdir / _FUSED} and {outdir / _FIGURE} in {session.seconds:.1f} s")
    if failed:
        raise HyperfuseError(f"methods failed on the scene: {', '.join(failed)}; the table says why")


def _compare(pair: Pair, keep: str, report: Progress) -> tuple[list[dict[str, Any]], Cube | None]:
    """Fuse with every method that takes seconds; return a row of scores each, and the image of the method ``keep``."""
    from hyperfuse.methods import list_methods
    from hyperfuse.metrics import evaluate
    from hyperfuse.scenes.fuse import fuse

    calls: list[tuple[str, str, dict[str, Any]]] = []
    for method in list_methods():
        if method.cost != "seconds":
            continue
        if method.capabilities.effort:
            # Without its network, so that nobody credits that with what the rest does.
            calls.append((f"{method.name} --effort fast", method.name, {"effort": "fast"}))
        calls.append((method.name, method.name, {}))
    rows: list[dict[str, Any]] = []
    kept = None
    for index, (title, name, settings) in enumerate(calls):

        def step(fraction: float, message: str = "", *, index: int = index, title: str = title) -> None:
            report((index + fraction) / len(calls), f"{title}, {message}" if message else title)

        start = time.monotonic()
        try:
            fused = fuse(pair.hsi, pair.msi, method=name, sensor=pair.sensor, settings=settings, progress=step)
        except HyperfuseError as error:
            rows.append({"method": title, "failure": str(error)})
            continue
        seconds = time.monotonic() - start
        rows.append({"method": title, "seconds": seconds, **evaluate(pair.reference, fused, _RATIO)})
        kept = fused if title == keep else kept
    return rows, kept


def _row(rows: list[dict[str, Any]], method: str) -> dict[str, Any]:
    return next(row for row in rows if row["method"] == method)


def _table(rows: list[dict[str, Any]]) -> Table:
    from hyperfuse.metrics import MAIN_COLUMNS

    columns = (Column("method", "method"), *MAIN_COLUMNS, Column("seconds", "seconds", format=".1f"))
    shown = [row | {"psnr_db": f"failed: {row['failure']}"} if "failure" in row else row for row in rows]
    return Table([replace(column, better=None) for column in columns], shown)


def _size(cube: Cube) -> str:
    return f"{cube.rows}x{cube.cols}, {cube.bands} bands"
