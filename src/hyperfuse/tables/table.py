"""A table: columns, rows of values, and which value of a column is best."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from hyperfuse.text import single_line

Mark = Literal["best", "second", ""]


class Code(str):
    """Text that is typed as it stands, such as the name of a method: set in a code font where there is one."""

    __slots__ = ()


class MeanStd(NamedTuple):
    """A mean with its standard deviation; NaN where a deviation is not defined."""

    mean: float
    std: float


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        key: of its values in the rows.
        title: heading, without the unit.
        unit: of the values.
        format: format specification of its numbers, such as ``.2f``; numbers are aligned to the right.
        better: which end is better, where the best and second-best values are to be marked.
    """

    key: str
    title: str
    unit: str = ""
    format: str = ""
    better: Literal["high", "low"] | None = None

    @property
    def heading(self) -> str:
        """Title and unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def text(self, value: Any) -> str:
        """Return a value as text on one line: numbers by ``format``; nothing for None and NaN.

        Example:
            >>> Column("psnr_db", "PSNR", "dB", ".2f").text(46.714)
            '46.71'
        """
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return ""
        return single_line(value if isinstance(value, str) or not self.format else format(value, self.format))


class Cell(NamedTuple):
    """A value as renderers show it.

    Attributes:
        text: empty where the value is missing.
        spread: standard deviation, or empty.
        mark: best or second best of its column.
        code: whether the text is typed as it stands.
    """

    text: str
    spread: str = ""
    mark: Mark = ""
    code: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of values under columns.

    Attributes:
        columns: in the order in which they are shown.
        rows: values by the key of their column: numbers, text, :class:`Code`, :class:`MeanStd`; None, NaN and keys
            that are absent are missing values.
        caption: what the table shows, without a full stop.
        notes: sentences below it.
        groups: a label per row; best values are marked among the rows of one label, and rows of the label None take no
            part. Empty: all rows are compared.

    Example:
        >>> columns = (Column("name", "method"), Column("psnr_db", "PSNR", "dB", ".2f", "high"))
        >>> table = Table(columns, [{"name": "a", "psnr_db": 40.0}, {"name": "b", "psnr_db": 41.0}])
        >>> [cell.mark for _, cell in table.cells()]
        ['second', 'best']
    """

    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]
    caption: str = ""
    notes: Sequence[str] = ()
    groups: Sequence[Hashable] = ()

    def only(self, *keys: str) -> Table:
        """Return the table with these columns, in this order."""
        columns = {column.key: column for column in self.columns}
        return replace(self, columns=tuple(columns[key] for key in keys))

    def is_numeric(self, column: Column) -> bool:
        """Return whether a column is aligned as numbers: it has a format, or holds nothing but numbers."""
        values = [value for row in self.rows if (value := row.get(column.key)) is not None]
        numbers = bool(values) and all(isinstance(value, int | float | MeanStd) for value in values)
        return numbers or bool(column.format)

    def cells(self) -> list[list[Cell]]:
        """Return the cells of each row, in the order of the columns."""
        columns = [self._cells_of(column) for column in self.columns]
        return [list(row) for row in zip(*columns, strict=True)] if columns else [[] for _ in self.rows]

    def _cells_of(self, column: Column) -> list[Cell]:
        values = [row.get(column.key) for row in self.rows]
        cells = []
        for value, mark in zip(values, self._marks(column, values), strict=True):
            shown, spread = value if isinstance(value, MeanStd) else (value, None)
            cells.append(Cell(column.text(shown), column.text(spread), mark, isinstance(value, Code)))
        return cells

    def _marks(self, column: Column, values: Sequence[Any]) -> list[Mark]:
        found: list[Mark] = [""] * len(values)
        if column.better is None:
            return found
        groups = self.groups or [""] * len(values)
        for group in dict.fromkeys(label for label in groups if label is not None):
            members = [index for index, label in enumerate(groups) if label == group]
            for index, mark in zip(members, rank([values[index] for index in members], column), strict=True):
                found[index] = mark
        return found


def rank(values: Sequence[Any], column: Column) -> list[Mark]:
    """Mark the best and second-best values as a column shows them: values that look equal have the same mark.

    Values other than numbers and :class:`MeanStd` take no part.

    Example:
        >>> rank([46.714, 46.709, 44.0, None], Column("psnr_db", "PSNR", "dB", ".2f", "high"))
        ['best', 'best', 'second', '']
    """
    numbers = [value.mean if isinstance(value, MeanStd) else value for value in values]
    shown = [
        float(format(value, column.format).replace(",", ""))
        if isinstance(value, int | float) and not math.isnan(value)
        else None
        for value in numbers
    ]
    ordered = sorted({value for value in shown if value is not None}, reverse=column.better == "high")
    marks: dict[float, Mark] = dict(zip(ordered, ("best", "second"), strict=False))
    return ["" if value is None else marks.get(value, "") for value in shown]
