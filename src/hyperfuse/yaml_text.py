"""YAML from any source: plain values, no aliases, bounded in size; what is wrong is one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from hyperfuse.errors import InputError
from hyperfuse.text import shortened

# A sensor with the responses of 13 bands to 400, or one PSF of 25 x 25 for each of 200 bands, is below this.
_LARGEST = 4 * 2**20


class _Loader(yaml.SafeLoader):
    """Plain values; an alias is refused, because a few that nest make gigabytes of some hundred bytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            alias: yaml.AliasEvent = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.YAMLError(f"*{shortened(alias.anchor, 20)} refers to another value; write the value out")
        return super().compose_node(parent, index)


def parse_yaml(text: str) -> Any:
    """Return the values of a YAML text.

    Raises:
        InputError: no YAML, an alias, nesting without end, or a number of thousands of digits.

    Example:
        >>> parse_yaml("ratio: [2, 3]")
        {'ratio': [2, 3]}
    """
    try:
        return yaml.load(text, _Loader)
    except RecursionError:
        raise InputError("nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(_first_line(error)) from error


def save_yaml(path: str | Path, values: Any) -> None:
    """Write plain values to a YAML file, which :func:`load_yaml` reads back.

    Raises:
        InputError: a path that cannot be written to.
    """
    text = yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=120)
    try:
        Path(path).write_text(text, "utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written to ({error.strerror})", "path") from error


def load_yaml(path: str | Path) -> Any:
    """Return the values of a YAML file of at most 4 MB; see :func:`parse_yaml`.

    Raises:
        InputError: a file that cannot be read, that is too large, or that is no such YAML.
    """
    try:
        with Path(path).open("rb") as file:
            raw = file.read(_LARGEST + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({(error.strerror or str(error)).lower()})") from error
    if len(raw) > _LARGEST:
        raise InputError(f"{path}: larger than {_LARGEST // 2**20} MB, which no file of settings is")
    try:
        return parse_yaml(raw.decode("utf-8"))
    except (InputError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a YAML file ({error})") from error


def _first_line(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"{problem} in line {mark.line + 1}" if mark is not None else str(problem)
