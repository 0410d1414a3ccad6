"""Settings, options and configuration sections: frozen, typed, unknown names refused with one line."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from hyperfuse.errors import nearest_name
from hyperfuse.text import shortened


class Settings(BaseModel):
    """Base of everything that is set by name: it cannot be changed; unknown names, NaN and infinity are refused.

    Attributes:
        renamed: former names of fields, with their names now: a file that uses one is refused with the new name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    renamed: ClassVar[Mapping[str, str]] = {}


class Setting(NamedTuple):
    """A field of a settings class: its name, default, and the line of the class's docstring that explains it."""

    name: str
    default: Any
    text: str


def list_settings(kind: type[Settings]) -> list[Setting]:
    """Return the fields of a settings class, in their order; what a base class explains holds for its subclasses.

    Example:
        >>> class Blur(Settings):
        ...     '''A blur.
        ...
        ...     Attributes:
        ...         sigma: standard deviation in pixels.
        ...     '''
        ...     sigma: float = 1.0
        >>> list_settings(Blur)
        [Setting(name='sigma', default=1.0, text='standard deviation in pixels.')]
    """
    texts = {name: text for one in reversed(kind.__mro__) for name, text in _attribute_texts(one).items()}
    return [
        Setting(name, field.get_default(call_default_factory=True), field.description or texts.get(name, ""))
        for name, field in kind.model_fields.items()
    ]


# What a JSON schema states of a field, by the name that a form gives it.
_LIMITS = {
    "enum": "choices",
    "minimum": "minimum",
    "maximum": "maximum",
    "exclusiveMinimum": "above",
    "exclusiveMaximum": "below",
    "minItems": "fewest",
    "maxItems": "most",
}


def list_limits(kind: type[Settings]) -> dict[str, dict[str, Any]]:
    """Return what a form needs to ask for each field of a settings class, by its name, in plain values.

    Returns:
        ``type`` (boolean, integer, number, string or array) and ``nullable`` (None is a value); where there are such:
        ``choices``, ``minimum`` and ``maximum`` (inclusive), ``above`` and ``below`` (exclusive), and of an array
        ``items`` (these keys for each item), ``fewest`` and ``most`` items.

    Example:
        >>> from pydantic import Field
        >>> class Blur(Settings):
        ...     sigma: float | None = Field(default=None, gt=0)
        >>> list_limits(Blur)
        {'sigma': {'type': 'number', 'nullable': True, 'above': 0}}
    """
    return {name: _limits(schema) for name, schema in kind.model_json_schema()["properties"].items()}


def _limits(schema: Mapping[str, Any]) -> dict[str, Any]:
    options = schema.get("anyOf", [schema])
    (typed,) = [one for one in options if one.get("type") != "null"]
    found = {"type": typed["type"], "nullable": len(options) > 1}
    found |= {name: typed[key] for key, name in _LIMITS.items() if key in typed}
    if "items" in typed:
        found["items"] = _limits(typed["items"])
    return found


def describe(error: ValidationError, kind: Any, *, noun: str = "key", root: str = "") -> str:
    """Return the first thing that is wrong as one line, with the nearest name where a name is unknown.

    Args:
        error: what pydantic raised.
        kind: the model that was validated, or a union of models distinguished by a field.
        noun: what the message calls a field: key, setting, option.
        root: dotted name that the fields lie under, such as ``psf``.

    Example:
        >>> class Blur(Settings):
        ...     sigma: float = 1.0
        >>> try:
        ...     Blur(sigam=2.0)
        ... except ValidationError as error:
        ...     print(describe(error, Blur))
        no key 'sigam'; did you mean 'sigma'?
    """
    # Among the errors of one field an unknown name explains the others, such as the one that is missing for it.
    first = sorted(error.errors(), key=lambda item: item["type"] != "extra_forbidden")[0]
    path = [str(part) for part in first["loc"]]
    sections = [below for _, below in _walk(kind, path)]
    names = [part for part, below in zip(path, sections, strict=True) if below is not None]
    where = ".".join([*([root] if root else []), *names])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        models = _models_at(kind, path[:-1])
        renamed = {old: new for model in models for old, new in getattr(model, "renamed", {}).items()}
        if path[-1] in renamed:
            return f"the {noun} {where!r} is called {renamed[path[-1]]!r} now"
        return f"no {noun} {where!r}{nearest_name(path[-1], {name for model in models for name in model.model_fields})}"
    if first["type"] == "union_tag_invalid":
        tags = [tag.strip().strip("'") for tag in str(first["ctx"]["expected_tags"]).split(",")]
        tag, field = first["ctx"]["tag"], first["ctx"]["discriminator"].strip("'")
        return f"{where}.{field}: no {where} is called {tag!r}{nearest_name(tag, tags)}"
    if first["type"] == "union_tag_not_found":
        return f"the {noun} '{where}.{first['ctx']['discriminator'].strip(chr(39))}' is missing"
    if first["type"] == "missing":
        return f"the {noun} {where!r} is missing"
    if first["type"] == "value_error" and (not path or sections[-1] is None or sections[-1]):
        return message  # a check across the fields of a section, which names them
    if first["type"] in ("model_type", "model_attributes_type", "dict_type"):
        message = "should be a mapping"
    given = f" (given: {shortened(repr(first['input']))})" if not isinstance(first["input"], dict) else ""
    return f"{where}: {message[:1].lower() + message[1:]}{given}"


def _attribute_texts(kind: type) -> dict[str, str]:
    """Return the texts of the ``Attributes:`` section of a docstring by name, each as one line."""
    _, _, section = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")
    texts: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        start = re.match(r" {4}(\w+): (.*)", line)
        if start:
            name = start[1]
            texts[name] = start[2]
        elif name and line.startswith(" " * 8):
            texts[name] += " " + line.strip()
        elif line.strip():
            break
    return {key: text.replace("``", "") for key, text in texts.items()}


def _sections(annotation: Any) -> dict[str, type[BaseModel]]:
    """Return the models that a field can hold, by the value of the field that distinguishes them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        tags = (
            typing.get_args(field.annotation)
            for field in annotation.model_fields.values()
            if typing.get_origin(field.annotation) is typing.Literal
        )
        return {str(next((values[0] for values in tags if len(values) == 1), "")): annotation}
    if typing.get_origin(annotation) is typing.Annotated:
        return _sections(typing.get_args(annotation)[0])
    found: dict[str, type[BaseModel]] = {}
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        for option in typing.get_args(annotation):
            found |= _sections(option)
    return found


def _walk(kind: Any, path: Sequence[str]) -> Iterator[tuple[str, dict[str, type[BaseModel]] | None]]:
    """Follow the location of an error; yield each part with the models below it, None for the tag of a union."""
    tagged = _sections(kind)
    current: type[BaseModel] | None = next(iter(tagged.values()), None)
    for part in path:
        if part in tagged and len(tagged) > 1:
            current, tagged = tagged[part], {}
            yield part, None
            continue
        field = current.model_fields.get(part) if current is not None else None
        tagged = _sections(field.annotation) if field is not None else {}
        current = next(iter(tagged.values()), None)
        yield part, tagged


def _models_at(kind: Any, path: Sequence[str]) -> list[type[BaseModel]]:
    current = _sections(kind)
    for part, sections in _walk(kind, path):
        current = {part: current[part]} if sections is None else sections
    return list(current.values())
