"""What a report shows of how the result was made: command, time, versions, settings, history."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from hyperfuse.reports.fusion.content import ReportContent
from hyperfuse.reports.numbers import duration, memory
from hyperfuse.tables import Column, Table


def record(content: ReportContent) -> dict[str, Any]:
    """Return command, facts, settings, what the method reports, and the steps of the history."""
    made, history = content.made, content.fused.history
    last = history[-1] if history else {}
    facts = [
        ("method", last.get("method")),
        ("time", None if made.seconds is None else duration(made.seconds)),
        ("memory", None if made.peak_memory is None else f"{memory(made.peak_memory)} at most"),
        ("device", last.get("device")),
        ("seed", last.get("seed")),
        ("made", made.created),
        ("versions", ", ".join(f"{name} {value}" for name, value in made.versions.items())),
    ]
    return {
        "command": made.command,
        "facts": facts,
        "settings": _table(last.get("settings"), "setting", lambda value: True),
        # Longer records are part of the history below.
        "reported": _table(last.get("run"), "", lambda value: isinstance(value, str | int | float | bool)),
        "history": [(step.get("step", "unnamed"), _as_text(step)) for step in history],
    }


def _table(values: Any, title: str, chosen: Callable[[Any], bool]) -> Table | None:
    if not isinstance(values, Mapping):
        return None
    rows = [
        {"name": name, "value": "chosen by the method" if value is None else _as_text(value)}
        for name, value in values.items()
        if chosen(value)
    ]
    return Table((Column("name", title), Column("value", "value")), rows) if rows else None


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else dict(value) if isinstance(value, Mapping) else str(value)
