"""Tables as values: rows under columns, rendered as Markdown, CSV, LaTeX, HTML or on a terminal."""

from hyperfuse.tables.table import Cell, Code, Column, Mark, MeanStd, Table

__all__ = ["Cell", "Code", "Column", "Mark", "MeanStd", "Table"]
