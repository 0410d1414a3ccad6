"""The report that `hyperfuse fuse` writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperfuse.cli.inputs import file_of, name_of, naming, read_image, sensor_next_to
from hyperfuse.cli.session import Session
from hyperfuse.errors import InputError, warn

if TYPE_CHECKING:
    from hyperfuse.cube.cube import Cube
    from hyperfuse.cube.header import CubeHeader
    from hyperfuse.io.windows.source import WindowSource
    from hyperfuse.scenes.pipeline import Fusion
    from hyperfuse.scenes.preview import Preview

# Of a scene in tiles a report shows a part of about this many HR pixels per side: as many as it prints unreduced.
PREVIEW_SIDE = 900


def check_report(path: str, written: Sequence[Path], inputs: Sequence[str], overwrite: bool) -> None:
    """Refuse a report that cannot be written, before files are read."""
    import hyperfuse.reports.fusion  # noqa: F401  (a missing extra is reported before the work)
    from hyperfuse.io.encoding.atomic import check_target
    from hyperfuse.io.inputs import refuse_inputs

    target = Path(path)
    if target.absolute() in {file.absolute() for file in written} | {file_of(name).absolute() for name in inputs}:
        raise InputError(f"{path}: is another file of this call; name another for the report")
    refuse_inputs([target], inputs)
    with naming(path):
        check_target(target, overwrite=overwrite)


def open_reference(path: str) -> WindowSource:
    """Open the image to score against, before any work; read whole where windows cannot be read of it."""
    from hyperfuse.io.windows.memory import MemorySource
    from hyperfuse.io.windows.open import open_windows

    try:
        return open_windows(path)
    except InputError:
        return MemorySource(read_image(path))


def sensor_source(sensor: str | None, hsi: str, options: Sequence[str | None]) -> str:
    """Return in words where the sensor comes from."""
    file = sensor_next_to(hsi) if sensor is None else Path(sensor)
    named = "" if file is None else name_of(str(file))
    given = "options of the call" if any(option is not None for option in options) else ""
    return ", ".join(part for part in (named, given) if part) or "the files and the pair itself; see the notes"


def write_fusion_report(
    path: str,
    session: Session,
    fusion: Fusion[Any],
    reference: WindowSource | None,
    names: Mapping[str, str],
    origin: str,
) -> None:
    """Write the page on a fusion, or on the part of it that its preview holds.

    Args:
        path: HTML page to write.
        session: of the command.
        fusion: with a preview.
        reference: to score against, or None.
        names: of ``hsi``, ``msi`` and ``fused``.
        origin: of the sensor, in words.
    """
    from hyperfuse.reports.fusion import ReportContent, this_process, write_report

    preview = fusion.preview
    assert preview is not None  # requested
    if preview.note:
        session.note(f"note: {preview.note}")
    compared = None
    if reference is not None:
        try:
            compared = _part(reference, preview, fusion.image)
        except InputError as error:  # the image is written: the page says why it is not scored
            warn(f"not scored: {error}")
    with naming(path):
        content = ReportContent.of(
            fusion,
            hsi_name=names["hsi"],
            msi_name=names["msi"],
            fused_name=names["fused"],
            sensor_source=origin,
            reference=compared,
            warnings=tuple(session.warnings),
            made=this_process(["hyperfuse", *session.words], session.seconds),
        )
        write_report(Path(path), content)
    session.wrote(path)
    session.note(f"wrote {path}")


def _part(reference: WindowSource, preview: Preview, whole: CubeHeader) -> Cube:
    """Return what the preview holds of a reference, on its grid.

    Raises:
        InputError: a reference that is not of the result, or not of the preview.
    """
    from hyperfuse.cube.window import Window
    from hyperfuse.metrics.alignment import locate, reference_on_grid

    header, shown = reference.header, preview.window
    placement, _ = locate(whole, header, ("the result", "the reference"))
    if placement is None:
        same = (header.rows, header.cols) == preview.shape
        window = shown if same else Window(0, 0, header.rows, header.cols)
    else:
        there = placement.window
        row, col = max(shown.row, there.row), max(shown.col, there.col)
        rows = min(shown.row + shown.rows, there.row + there.rows) - row
        cols = min(shown.col + shown.cols, there.col + there.cols) - col
        if rows < 1 or cols < 1:
            raise InputError("the reference does not cover the part that the report shows")
        window = placement.within(Window(row, col, rows, cols))
    part, notes = reference_on_grid(preview.fused, reference.read(window))
    if notes:
        warn("; ".join(notes))
    return part
