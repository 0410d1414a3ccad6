"""Tables as Markdown (GitHub's flavour)."""

from __future__ import annotations

from hyperfuse.tables.table import Cell, Table
from hyperfuse.text import single_line

_MISSING = "-"
_SPECIAL = str.maketrans({**{c: f"\\{c}" for c in "\\|*[`"}, "<": "&lt;", "&": "&amp;"})


def render_markdown(table: Table, *, heading: int = 0) -> str:
    """Return a table as Markdown: best values are bold, second-best ones underlined.

    Args:
        table: what is shown.
        heading: level of the caption as a heading; 0: a paragraph.
    """
    blocks = [f"{'#' * heading} {escape_markdown(table.caption)}".strip()] if table.caption else []
    if table.columns:
        lines = [
            _row([escape_markdown(column.heading) for column in table.columns]),
            "|" + " --- |" * len(table.columns),
        ]
        lines += [_row([_cell(cell) for cell in cells]) for cells in table.cells()]
        blocks.append("\n".join(lines))
    blocks += map(escape_markdown, table.notes)
    return "\n\n".join(blocks) + "\n"


def escape_markdown(text: str) -> str:
    r"""Return text on one line that can neither break a table nor start markup.

    Example:
        >>> escape_markdown("a|b*c")
        'a\\|b\\*c'
    """
    return single_line(text).translate(_SPECIAL)


def _cell(cell: Cell) -> str:
    if not cell.text:
        return _MISSING
    text = f"`{cell.text}`" if cell.code and not set("`|") & set(cell.text) else escape_markdown(cell.text)
    text = {"best": f"**{text}**", "second": f"<ins>{text}</ins>", "": text}[cell.mark]
    return f"{text} ± {escape_markdown(cell.spread)}" if cell.spread else text


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
