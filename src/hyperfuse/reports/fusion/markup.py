"""HTML as text that cannot be broken out of: what is not :class:`Markup` is escaped wherever it is put in."""

from __future__ import annotations

import html
import math
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

_VOID = {"img", "input", "br", "hr"}
_KEPT_CONTROLS = "\n\t"
_THIN = "\u202f"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Markup(str):
    """Text that is HTML already, and is put in as it is."""

    __slots__ = ()


def escape(value: Any) -> Markup:
    r"""Return any value as HTML text: characters with a meaning become entities, control characters vanish.

    Format characters go as well: with them a file name could turn the text around it (right-to-left overrides).

    Example:
        >>> str(escape("<b> & \u202e'"))
        '&lt;b&gt; &amp; &#x27;'
    """
    return value if isinstance(value, Markup) else Markup(html.escape(printable(value), quote=True))


def printable(value: Any) -> str:
    """Return the text of a value without control and format characters."""
    text = str(value).encode("utf-8", "replace").decode("utf-8")  # lone surrogates of odd file names
    return "".join(c for c in text if c in _KEPT_CONTROLS or unicodedata.category(c) not in ("Cc", "Cf"))


def tag(name: str, /, *children: Any, **attributes: Any) -> Markup:
    """Return an element; children and values of attributes are escaped, attributes of None or False left out.

    In the names of attributes a last underscore falls away and the others become hyphens.

    Example:
        >>> str(tag("p", "a < b", class_="note", aria_label="x"))
        '<p class="note" aria-label="x">a &lt; b</p>'
    """
    shown = ""
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        word = key.removesuffix("_").replace("_", "-")
        shown += f" {word}" if value is True else f' {word}="{escape(value)}"'
    if name in _VOID:
        return Markup(f"<{name}{shown}>")
    return Markup(f"<{name}{shown}>{join(children)}</{name}>")


def join(parts: Iterable[Any]) -> Markup:
    """Return several pieces of text or HTML one after the other; None is nothing."""
    return Markup("".join(escape(part) for part in parts if part is not None))


def section(identifier: str, heading: str, *body: Any) -> Markup:
    """Return a section with its heading."""
    return tag(
        "section",
        tag("h2", heading, id=f"{identifier}-heading"),
        *body,
        id=identifier,
        aria_labelledby=f"{identifier}-heading",
    )


def figure(body: Any, caption: Any, *, class_: str | None = None) -> Markup:
    """Return a figure with what it shows below it."""
    return tag("figure", body, tag("figcaption", caption), class_=class_)


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]], *, numbers: Iterable[int] = ()) -> Markup:
    """Return a table; the first column names the row, and the columns ``numbers`` (from 0) are set as numbers."""
    numeric = set(numbers)

    def cells(row: Sequence[Any]) -> Markup:
        return join(
            tag("th", cell, scope="row")
            if column == 0
            else tag("td", cell, class_="number" if column in numeric else None)
            for column, cell in enumerate(row)
        )

    heading = join(
        tag("th", cell, scope="col", class_="number" if column in numeric else None) for column, cell in enumerate(head)
    )
    body = join(tag("tr", cells(row)) for row in rows)
    whole = tag("table", tag("thead", tag("tr", heading)), tag("tbody", body))
    # Keyboards can scroll what is wider than the page only where it takes the focus.
    return tag("div", whole, class_="scroll", tabindex="0", role="group", aria_label=f"table: {head[0] or 'values'}")


def facts(pairs: Iterable[tuple[str, Any]]) -> Markup:
    """Return a list of terms and what they are; a value of None or of no text leaves its term out."""
    return tag(
        "dl",
        *(
            tag("div", tag("dt", term), tag("dd", value))
            for term, value in pairs
            if value is not None and str(value) != ""
        ),
    )


def bullets(lines: Iterable[Any], *, class_: str | None = None) -> Markup:
    """Return a list of lines."""
    return tag("ul", *(tag("li", line) for line in lines), class_=class_)


def number(value: float | None, digits: int = 4, unit: str = "") -> str:
    """Return a measured number with as many significant digits and its unit; what is not defined is a dash.

    Example:
        >>> number(12.3456, 3, "dB"), number(0.00001234, 3), number(float("nan")), number(float("inf"), unit="dB")
        ('12.3 dB', '1.23 × 10⁻⁵', '–', '∞ dB')
    """
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        shown = "∞" if value > 0 else "−∞"
    elif value == 0 or 1e-3 <= abs(value) < 1e6:
        decimals = max(digits - 1 - (math.floor(math.log10(abs(value))) if value else 0), 0)
        shown = f"{value:,.{decimals}f}".replace(",", _THIN)
    else:
        mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
        shown = f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
    return _with_unit(shown.replace("-", "−"), unit)


def exact(value: float, unit: str = "", digits: int = 6) -> str:
    """Return a number that was given rather than measured, without digits that say nothing.

    Example:
        >>> exact(3.0), exact(30.0, "m"), exact(3.2)
        ('3', '30 m', '3.2')
    """
    return _with_unit(f"{value:.{digits}g}".replace("-", "−"), unit)


def _with_unit(shown: str, unit: str) -> str:
    return f"{shown}{unit}" if unit == "°" else f"{shown} {unit}" if unit else shown


def counted(count: int, singular: str, plural: str | None = None) -> str:
    """Return a count with its noun.

    Example:
        >>> counted(1, "band"), counted(3, "band")
        ('1 band', '3 bands')
    """
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}".replace(",", _THIN)


def memory(size: int) -> str:
    """Return a number of bytes as people say it.

    Example:
        >>> memory(1_500_000)
        '1.5 MB'
    """
    for unit, bytes_of in (("GB", 1e9), ("MB", 1e6)):
        if size >= bytes_of:
            return f"{size / bytes_of:.3g} {unit}"
    return f"{size / 1e3:.3g} kB"


def duration(seconds: float) -> str:
    """Return a time in the units one would say it in.

    Example:
        >>> duration(4.21), duration(75), duration(7320)
        ('4.2 s', '1 min 15 s', '2 h 2 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    if seconds < 3600:
        whole = round(seconds)
        return f"{whole // 60} min {whole % 60} s"
    return f"{minutes // 60} h {minutes % 60} min"
