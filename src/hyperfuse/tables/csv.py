"""Tables as CSV: every value with all its digits, for other programs."""

from __future__ import annotations

import csv
import io
from typing import Any

from hyperfuse.tables.table import MeanStd, Table
from hyperfuse.text import single_line

# A spreadsheet takes a cell that starts with one of these for a formula.
_FORMULA = ("=", "+", "-", "@")


def render_csv(table: Table) -> str:
    """Return a table as CSV with the keys as its header; caption, notes and formats have no part in it.

    A column that holds :class:`~hyperfuse.tables.MeanStd` becomes two, ``KEY_mean`` and ``KEY_std``. Missing values are
    empty. Text is put on one line; what a spreadsheet would run as a formula gets an apostrophe in front.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    pairs = {column.key for column in table.columns if any(isinstance(r.get(column.key), MeanStd) for r in table.rows)}
    keys = [column.key for column in table.columns]
    writer.writerow(
        [_cell(name) for key in keys for name in ((f"{key}_mean", f"{key}_std") if key in pairs else (key,))]
    )
    for row in table.rows:
        values: list[Any] = []
        for key in keys:
            value = row.get(key)
            values += value if isinstance(value, MeanStd) else (value, None) if key in pairs else (value,)
        writer.writerow(map(_cell, values))
    return stream.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        text = single_line(value)
        return f"'{text}" if text.startswith(_FORMULA) else text
    return "" if value is None or value != value else value
