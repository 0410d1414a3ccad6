"""Text from files and calls as it is shown: without control characters, on one line, of bounded length."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

_LAYOUT_CONTROLS = "\n\t"
# What str.split takes for white space, without the spaces that do not break.
_BREAKS = re.compile(r"[ \t-\r\x1c-\x1f\x85\u2028\u2029]+")


def printable(value: Any) -> str:
    """Return the text of a value without control and format characters.

    Control characters are commands to a terminal. Format characters go because with them a file name could change the
    text around it (right-to-left overrides).
    """
    text = str(value)
    if text.isascii() and text.isprintable():
        return text
    text = text.encode("utf-8", "replace").decode("utf-8")  # lone surrogates of odd file names
    return "".join(c for c in text if c in _LAYOUT_CONTROLS or not _is_control(c))


def single_line(value: Any) -> str:
    r"""Return the text of a value on one line, without control characters.

    Example:
        >>> single_line("two\n lines")
        'two lines'
    """
    without = printable(_BREAKS.sub(" ", str(value)))
    return _BREAKS.sub(" ", without).strip()  # spaces on both sides of a control character


def shortened(value: Any, length: int = 80) -> str:
    """Return the text of a value, one that is longer than ``length`` cut off after as many characters.

    Example:
        >>> shortened("wavelength", 4)
        'wave…'
    """
    text = str(value)
    return text if len(text) <= length else f"{text[:length]}…"


def escape_json(text: str) -> str:
    """Return JSON with its control and format characters escaped; what it states stays the same."""
    return "".join(c if c in _LAYOUT_CONTROLS or not _is_control(c) else _escaped(c) for c in text)


def _is_control(character: str) -> bool:
    # Zl and Zp: separators of lines and paragraphs, where some readers start another line.
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
