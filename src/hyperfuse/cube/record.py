"""Metadata as text: what a file format has no field for travels as JSON in two tags."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from hyperfuse.cube.header import CubeHeader, Shape, as_affine, six_numbers
from hyperfuse.errors import warn

HISTORY_TAG = "HYPERFUSE_HISTORY"
RECORD_TAG = "HYPERFUSE"

_PLAIN_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_PLAIN_TEXT = re.compile(r"[!-~]([ -~]*[!-~])?")


def is_plain_text(text: str) -> bool:
    """Return whether a text is printable ASCII without blanks around it, which every format can hold."""
    return _PLAIN_TEXT.fullmatch(text) is not None


def finite_or_text(value: float) -> float | str:
    """Return a number as JSON can hold it: NaN and infinity as text."""
    number = float(value)
    return number if math.isfinite(number) else str(number)


def _encode_numbers(values: Any) -> list[float | str]:
    return [finite_or_text(value) for value in values]


def _decode_numbers(values: Any) -> Any:
    return np.asarray([float(value) for value in values])


# How each field is written as JSON, and read from it.
_FIELDS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "wavelengths": (_encode_numbers, _decode_numbers),
    "fwhm": (_encode_numbers, _decode_numbers),
    "good_bands": (lambda values: [bool(flag) for flag in values], lambda values: np.asarray(values, np.bool_)),
    "band_names": (list, lambda values: tuple(map(str, values))),
    "transform": (lambda transform: _encode_numbers(six_numbers(transform)), as_affine),
    "crs": (str, str),
    "units": (str, str),
    "nodata": (finite_or_text, float),
    "scale": (finite_or_text, float),
    "offset": (finite_or_text, float),
    "attributes": (dict, lambda values: {str(key): str(value) for key, value in values.items()}),
}
_PER_BAND = ("wavelengths", "fwhm", "good_bands", "band_names")
_DEFAULTS: dict[str, Any] = {"scale": 1.0, "offset": 0.0, "attributes": {}}


def encode_record(header: CubeHeader, names: Collection[str]) -> dict[str, Any]:
    """Return those of the named fields that the header has, as JSON-able values."""
    known = {name: value for name, value in header.fields().items() if name in names and value is not None}
    return {
        name: _FIELDS[name][0](value)
        for name, value in known.items()
        if name not in _DEFAULTS or value != _DEFAULTS[name]
    }


def encode_tags(header: CubeHeader, record: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags to write: the history and the record, each where there is one, as ASCII JSON on one line."""
    tags = {}
    if header.history:
        tags[HISTORY_TAG] = json.dumps([dict(step) for step in header.history], default=_plain)
    if record:
        tags[RECORD_TAG] = json.dumps(dict(record))
    return tags


def decode_tags(tags: Mapping[str, str], shape: Shape, where: str) -> CubeHeader:
    """Return the header that the tags of a file state: the inverse of :func:`encode_record` with :func:`encode_tags`.

    A damaged tag or field is left out with a warning, which names the file as ``where``. Lists of another length than
    the bands are left out: another program has taken bands out of the file and copied its tags.
    """
    fields: dict[str, Any] = {}
    for name, value in load_record(tags, where).items():
        try:
            if name in _FIELDS and (name not in _PER_BAND or len(value) == shape[0]):
                fields[name] = _FIELDS[name][1](value)
        except (TypeError, ValueError, AttributeError):
            warn(f"{where}: {name} in the tag {RECORD_TAG} is damaged and left out")
    history = _load(tags, HISTORY_TAG, list, where) or ()
    return CubeHeader(shape=shape, history=tuple(step for step in history if isinstance(step, dict))).replace(**fields)


def load_record(tags: Mapping[str, str], where: str) -> dict[str, Any]:
    """Return the record in the tags of a file, as JSON gives it; a damaged one is left out with a warning."""
    record: dict[str, Any] | None = _load(tags, RECORD_TAG, dict, where)
    return record or {}


def split_attributes(
    attributes: Mapping[str, str],
    reserved: Collection[str] = (),
    fits: Callable[[str, str], bool] = lambda key, value: True,
) -> tuple[dict[str, str], dict[str, Any]]:
    """Split attributes into those that a format can hold as tags, and the part of the record that holds the rest.

    Tags have plain keys that differ by more than their case and are not ``reserved`` by the format, and values of
    printable ASCII without blanks around them; ``fits`` states what else the format asks of a key and its value.
    """
    taken = {name.lower() for name in reserved} | {HISTORY_TAG.lower(), RECORD_TAG.lower()}
    plain: dict[str, str] = {}
    rest: dict[str, str] = {}
    for key, value in attributes.items():
        is_plain = _PLAIN_KEY.fullmatch(key) and is_plain_text(value) and key.lower() not in taken
        (plain if is_plain and fits(key, value) else rest)[key] = value
        taken.add(key.lower())
    return plain, {"attributes": rest} if rest else {}


def _plain(value: Any) -> Any:
    """Turn numpy values in a history into JSON; anything else becomes text."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return dict(value) if isinstance(value, Mapping) else str(value)


def _load(tags: Mapping[str, str], tag: str, kind: type, where: str) -> Any:
    text = tags.get(tag)
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, kind):
        warn(f"{where}: the tag {tag} is damaged and left out")
        return None
    return value
