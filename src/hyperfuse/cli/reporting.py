"""The report that `hyperfuse fuse` writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperfuse.cli.inputs import file_of, name_of, naming, sensor_next_to
from hyperfuse.cli.session import Session
from hyperfuse.errors import InputError

if TYPE_CHECKING:
    from hyperfuse.cube.cube import Cube
    from hyperfuse.scenes.tiles import TiledResult


def check_report(path: str, written: Sequence[Path], inputs: Sequence[str], overwrite: bool) -> None:
    """Refuse a report that cannot be written, before files are read."""
    import hyperfuse.reports.fusion  # noqa: F401  (a missing extra is reported before the work)
    from hyperfuse.io.encoding.atomic import check_target

    target = Path(path)
    taken = {file.absolute() for file in written} | {file_of(name).absolute() for name in inputs}
    if target.absolute() in taken:
        raise InputError(f"{path}: is another file of this call; name another for the report")
    with naming(path):
        check_target(target, overwrite=overwrite)


def sensor_source(sensor: str | None, hsi: str, options: Sequence[str | None]) -> str:
    """Return in words where the sensor comes from."""
    beside = sensor_next_to(hsi) if sensor is None else Path(sensor)
    named = "" if beside is None else name_of(str(beside))
    told = "options of the call" if any(option is not None for option in options) else ""
    return ", ".join(part for part in (named, told) if part) or "the files and the pair itself; see the notes"


def shown_content(result: TiledResult, out: str, uncertainty: str | None) -> dict[str, Any]:
    """Return what a report on a scene in tiles shows: a part of it."""
    part = result.shown
    assert part is not None  # asked for
    return {
        "hsi": part.hsi,
        "msi": part.msi,
        "fused": part.of(out),
        "sensor": part.sensor,
        "whole_hsi": part.whole_hsi,
        "whole_msi": part.whole_msi,
        "uncertainty": None if uncertainty is None else part.of(uncertainty),
        "sensor_notes": (part.told, *result.outline.history[-1]["notes"]),
    }


def write_fusion_report(path: str, session: Session, truth: Cube | None, content: Mapping[str, Any]) -> None:
    """Write the page on a fusion; ``content`` as :class:`~hyperfuse.reports.fusion.ReportContent` takes it."""
    from hyperfuse.reports.fusion import ReportContent, this_process, write_report

    made = this_process(["hyperfuse", *session.words], session.seconds)
    with naming(path):
        write_report(Path(path), ReportContent(**content, reference=truth, warnings=tuple(session.warnings), made=made))
    session.note(f"wrote {path}")
