"""Training configurations as files: YAML, overrides of single keys, and errors that name the key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from hyperfuse.errors import InputError
from hyperfuse.settings import describe
from hyperfuse.training.configuration import TrainingConfig


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> TrainingConfig:
    """Read a configuration from a YAML file and apply overrides.

    Overrides are ``key=value`` texts; dots separate sections (``optimiser.learning_rate=1e-3``), values are YAML
    (``augmentation.scales=[1,2]``, ``average=null``).

    Raises:
        InputError: a file that is missing or no YAML, or a key that is wrong or renamed, or a wrong value: one line.

    Example:
        >>> import tempfile, pathlib
        >>> folder = tempfile.TemporaryDirectory()
        >>> file = pathlib.Path(folder.name) / "run.yaml"
        >>> _ = file.write_text(
        ...     "{output: run, length: 100, data: {kind: cave, folder: data, train: uestc-train, hold_out: 0.2}}")
        >>> load_config(file, ["batch=8"]).batch
        8
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({(error.strerror or str(error)).lower()})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a YAML file ({_first_line(error)})") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: a training configuration is a mapping of keys, such as 'output: runs/first'")
    for word in overrides:
        _override(values, word)
    try:
        return TrainingConfig.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{path}: {describe(error, TrainingConfig)}") from None


def to_yaml(config: TrainingConfig) -> str:
    """Return the configuration with every key as YAML; :func:`load_config` reads it back."""
    values = config.model_dump(mode="json")
    return yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=120, allow_unicode=True)


def differences(first: TrainingConfig, second: TrainingConfig) -> Iterator[tuple[str, Any, Any]]:
    """Give each dotted key whose value differs, with both values (None where a section does not have the key)."""
    one, other = (dict(_flat(config.model_dump(mode="json"))) for config in (first, second))
    for key in dict.fromkeys([*one, *other]):
        if one.get(key) != other.get(key):
            yield key, one.get(key), other.get(key)


def _override(values: dict[str, Any], word: str) -> None:
    key, equals, text = word.partition("=")
    names = key.strip().split(".")
    if not equals or not all(names):
        raise InputError(f"an override is key=value, such as optimiser.learning_rate=1e-3; got {word!r}")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"the override {word!r} is not a value in YAML ({_first_line(error)})") from error
    section = values
    for depth, name in enumerate(names[:-1], 1):
        if section.get(name) is None:  # not there, or a section that was switched off
            section[name] = {}
        section = section[name]
        if not isinstance(section, dict):
            raise InputError(f"the override {word!r}: {'.'.join(names[:depth])} is a value, it has no keys below it")
    section[names[-1]] = value


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _first_line(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"{problem} in line {mark.line + 1}" if mark is not None else str(problem)
