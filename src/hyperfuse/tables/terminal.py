"""Tables on a terminal, through rich."""

from __future__ import annotations

import rich.table
from rich import box
from rich.text import Text

from hyperfuse.tables.table import Cell, Table
from hyperfuse.text import single_line

_MISSING = "-"
_STYLES = {"best": "bold", "second": "underline", "": ""}
# Columns of longer text are wrapped where the terminal is narrow.
_LONGEST_UNWRAPPED = 32


def render_terminal(table: Table) -> rich.table.Table:
    """Return a table for a console of rich; text in it is shown as it is, never taken for rich's own markup."""
    shown = rich.table.Table(box=box.SIMPLE, pad_edge=False, title=Text(table.caption) if table.caption else None)
    rows = table.cells()
    for index, column in enumerate(table.columns):
        longest = max((len(cells[index].text) for cells in rows), default=0)
        shown.add_column(
            Text(single_line(column.heading)),
            justify="right" if table.is_numeric(column) else "left",
            no_wrap=longest <= _LONGEST_UNWRAPPED,
        )
    for cells in rows:
        shown.add_row(*map(_cell, cells))
    if table.notes:
        shown.caption = Text("\n".join(map(single_line, table.notes)))
    return shown


def _cell(cell: Cell) -> Text:
    spread = f" ± {cell.spread}" if cell.spread else ""
    return Text.assemble((cell.text or _MISSING, _STYLES[cell.mark]), spread)
