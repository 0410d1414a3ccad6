"""Tables as HTML: an element for a page that brings the style."""

from __future__ import annotations

import html
from typing import Any

from hyperfuse.tables.table import Cell, Table
from hyperfuse.text import printable

_MISSING = "–"


def render_html(table: Table) -> str:
    """Return a table as one element; the first column names the row, numbers have the class ``number``.

    The table stands in a box that takes the focus, as keyboards can scroll what is wider than the page only there.
    """
    numeric = [' class="number"' if table.is_numeric(column) else "" for column in table.columns]
    headings = [
        f'<th scope="col"{style}>{escape_html(column.heading)}</th>'
        for column, style in zip(table.columns, numeric, strict=True)
    ]
    rows = [
        "".join(
            f"<td{style}>{_cell(cell)}</td>" if index else f'<th scope="row">{_cell(cell)}</th>'
            for index, (cell, style) in enumerate(zip(cells, numeric, strict=True))
        )
        for cells in table.cells()
    ]
    label = table.caption or (table.columns[0].heading if table.columns else "") or "values"
    parts = [f"<caption>{escape_html(table.caption)}</caption>"] if table.caption else []
    parts.append(f"<thead><tr>{''.join(headings)}</tr></thead>")
    parts.append(f"<tbody>{''.join(f'<tr>{row}</tr>' for row in rows)}</tbody>")
    notes = "".join(f"<p>{escape_html(note)}</p>" for note in table.notes)
    box = f'<div class="scroll" tabindex="0" role="group" aria-label="table: {escape_html(label)}">'
    return f"{box}<table>{''.join(parts)}</table></div>{notes}"


def escape_html(value: Any) -> str:
    r"""Return any value as HTML text: characters with a meaning become entities, control characters vanish.

    Example:
        >>> escape_html("<b> & \u202e'")
        '&lt;b&gt; &amp; &#x27;'
    """
    return html.escape(printable(value), quote=True)


def _cell(cell: Cell) -> str:
    if not cell.text:
        return _MISSING
    text = escape_html(cell.text)
    text = f"<code>{text}</code>" if cell.code else text
    text = {"best": f"<b>{text}</b>", "second": f"<u>{text}</u>", "": text}[cell.mark]
    return f"{text} ± {escape_html(cell.spread)}" if cell.spread else text
