"""Tables as LaTeX: plain ``tabular``, so that no package is needed."""

from __future__ import annotations

from collections.abc import Sequence

from hyperfuse.tables.table import Cell, Table
from hyperfuse.text import single_line

_MISSING = "--"
_SPECIAL = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "±": r"\ensuremath{\pm}",
        **{c: f"\\{c}" for c in "&%$#_{}"},
    }
)


def render_latex(table: Table) -> str:
    """Return a ``table`` with best values in bold and second-best ones underlined; notes follow the caption."""
    alignment = "".join("r" if table.is_numeric(column) else "l" for column in table.columns)
    lines = [r"\begin{table}", r"\centering"]
    if table.columns:
        lines += [rf"\begin{{tabular}}{{{alignment}}}", r"\hline"]
        lines += [_row([escape_latex(column.heading) for column in table.columns]), r"\hline"]
        lines += [_row([_cell(cell) for cell in cells]) for cells in table.cells()]
        lines += [r"\hline", r"\end{tabular}"]
    sentences = [f"{table.caption}." if table.caption else "", *table.notes]
    caption = escape_latex(" ".join(filter(None, sentences)))
    return "\n".join([*lines, *([rf"\caption{{{caption}}}"] if caption else []), r"\end{table}"]) + "\n"


def escape_latex(text: str) -> str:
    r"""Return text on one line with the characters escaped that have a meaning in LaTeX.

    Example:
        >>> escape_latex("real_and_fake 100%")
        'real\\_and\\_fake 100\\%'
    """
    return single_line(text).translate(_SPECIAL)


def _cell(cell: Cell) -> str:
    if not cell.text:
        return _MISSING
    text = escape_latex(cell.text)
    text = {"best": rf"\textbf{{{text}}}", "second": rf"\underline{{{text}}}", "": text}[cell.mark]
    return rf"{text} $\pm$ {escape_latex(cell.spread)}" if cell.spread else text


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
