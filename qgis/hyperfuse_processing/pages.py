"""Results as a page for QGIS's result viewer. Needs no QGIS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

_PAGE = """<!DOCTYPE html>
<html><head><meta charset="utf-8"><title>{title}</title>
<style>body {{ font-family: sans-serif }} td, th {{ text-align: left; vertical-align: top; padding: 2px 8px }}</style>
</head><body><h1>{title}</h1>{body}</body></html>
"""


def write_table(path: str, title: str, values: Mapping[str, Any], per_band: Sequence[str] = ()) -> None:
    """Write a page with one row per value, and a table of what there is for each band.

    Args:
        path: of the page.
        title: of the page.
        values: as JSON states them.
        per_band: names of those that have one value per band, or none.
    """
    columns = {key: values[key] for key in per_band if values.get(key)}
    rows = "".join(
        f"<tr><th>{escape(key.replace('_', ' '))}</th><td>{_text(value)}</td></tr>"
        for key, value in values.items()
        if key not in columns and value not in (None, [], {}, "")
    )
    body = f"<table>{rows}</table>"
    if columns:
        heads = "".join(f"<th>{escape(key.replace('_', ' '))}</th>" for key in columns)
        lines = "".join(
            f"<tr><td>{band}</td>{''.join(f'<td>{_text(value)}</td>' for value in line)}</tr>"
            for band, line in enumerate(zip(*columns.values()), 1)
        )
        body += f"<h2>Bands</h2><table><tr><th>band</th>{heads}</tr>{lines}</table>"
    Path(path).write_text(_PAGE.format(title=escape(title), body=body), "utf-8")


def _text(value: Any) -> str:
    """Return a value of JSON as HTML."""
    if isinstance(value, Mapping):
        return "<br>".join(f"{escape(str(key))}: {_text(item)}" for key, item in value.items())
    if isinstance(value, list):
        nested = any(isinstance(item, (Mapping, list)) for item in value)
        return ("<hr>" if nested else ", ").join(_text(item) for item in value)
    if isinstance(value, float):
        return f"{value:.7g}"
    return "" if value is None else escape(str(value))
