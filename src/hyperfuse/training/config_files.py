"""Training configurations as files: YAML, overrides of single keys, and errors that name the key."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from hyperfuse.errors import InputError, nearest_name
from hyperfuse.training.configuration import TrainingConfig


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> TrainingConfig:
    """Read a configuration and apply overrides.

    Args:
        path: a YAML file.
        overrides: ``key=value`` words; dots go into sections (``optimiser.learning_rate=1e-3``), values are YAML
            (``augmentation.scales=[1,2]``, ``average=null``).

    Raises:
        InputError: a file that is missing or no YAML, or a key or value that is wrong: one line that names it.

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
        raise InputError(f"{path}: {describe_first(error, TrainingConfig)}") from None


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


def describe_first(error: ValidationError, model: type[BaseModel]) -> str:
    """Return one line on the first thing that is wrong, with the nearest name where a key is unknown."""
    # Among the errors of one key an unknown name explains the others, such as the one that is missing for it.
    found = sorted(error.errors(), key=lambda item: item["type"] != "extra_forbidden")[0]
    place = [str(part) for part in found["loc"]]
    if found["type"] == "extra_forbidden":
        known = _fields_at(model, place[:-1])
        return f"no key {'.'.join(_without_tags(model, place))!r}{nearest_name(place[-1], known)}"
    where = ".".join(_without_tags(model, place))
    message = found["msg"].removeprefix("Value error, ")
    if found["type"] == "union_tag_invalid":
        tags = [tag.strip().strip("'") for tag in str(found["ctx"]["expected_tags"]).split(",")]
        return f"{where}.name: no {where} is called {found['ctx']['tag']!r}{nearest_name(found['ctx']['tag'], tags)}"
    if found["type"] == "union_tag_not_found":
        return f"the key '{where}.name' is missing"
    if found["type"] == "missing":
        return f"the key {where!r} is missing"
    sections = [below for _, below in _walk(model, place)]
    if found["type"] == "value_error" and (not place or sections[-1] is None or sections[-1]):
        return message  # a check across the keys of a section, which names them
    given = f" (given: {found['input']!r})" if not isinstance(found["input"], dict) else ""
    return f"{where}: {message[:1].lower() + message[1:]}{given}"


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
        below = section.setdefault(name, {})
        if below is None:  # a section that was switched off
            below = section[name] = {}
        if not isinstance(below, dict):
            raise InputError(f"the override {word!r}: {'.'.join(names[:depth])} is a value, it has no keys below it")
        section = below
    section[names[-1]] = value


def _sections(annotation: Any) -> dict[str, type[BaseModel]]:
    """Return the sections that a field can hold, by their tag where several can be told apart by ``name``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        tag = annotation.model_fields.get("name")
        return {str(tag.default) if tag is not None else "": annotation}
    found: dict[str, type[BaseModel]] = {}
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        for option in typing.get_args(annotation):
            found |= _sections(option)
    return found


def _walk(model: type[BaseModel], place: Sequence[str]) -> Iterator[tuple[str, dict[str, type[BaseModel]] | None]]:
    """Go down the error's place; give each part with the sections below it, None for a tag of several sections."""
    current: type[BaseModel] | None = model
    tagged: dict[str, type[BaseModel]] = {}
    for part in place:
        if part in tagged and len(tagged) > 1:
            current, tagged = tagged[part], {}
            yield part, None
            continue
        field = current.model_fields.get(part) if current is not None else None
        tagged = _sections(field.annotation) if field is not None else {}
        current = next(iter(tagged.values())) if tagged else None
        yield part, tagged


def _without_tags(model: type[BaseModel], place: Sequence[str]) -> list[str]:
    return [part for part, sections in _walk(model, place) if sections is not None]


def _fields_at(model: type[BaseModel], place: Sequence[str]) -> list[str]:
    current: dict[str, type[BaseModel]] = {"": model}
    for part, sections in _walk(model, place):
        current = {part: current[part]} if sections is None else sections
    return sorted({name for section in current.values() for name in section.model_fields})


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
