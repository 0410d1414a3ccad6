"""Metadata as text: what a file format has no field for travels as JSON in two tags."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from hyperfuse.cube.header import CubeHeader, Shape, as_affine, six_numbers
from hyperfuse.errors import InputError, warn

HISTORY_TAG = "HYPERFUSE_HISTORY"
RECORD_TAG = "HYPERFUSE"

_DAMAGED = object()
# Of lists and mappings in each other: what is written has four.
_DEEPEST = 32
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


def _decode_number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError
    return float(value)


def _decode_finite(value: Any) -> float:
    number = _decode_number(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _decode_scale(value: Any) -> float:
    number = _decode_finite(value)
    if number == 0:
        raise ValueError
    return number


def _decode_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _decode_transform(values: Any) -> Affine:
    transform = as_affine([_decode_finite(value) for value in _list(values)])
    if transform.determinant == 0:
        raise ValueError
    return transform


def _decode_crs(value: Any) -> str:
    from hyperfuse.cube.crs import parse_crs  # it loads rasterio

    parse_crs(_decode_text(value))
    return str(value)


def _decode_flags(values: Any) -> NDArray[np.bool_]:
    if not all(isinstance(flag, bool) for flag in _list(values)):
        raise TypeError
    return np.asarray(values, np.bool_)


def _decode_lengths(values: Any) -> NDArray[np.float64]:
    lengths = np.asarray([_decode_number(value) for value in _list(values)], np.float64)
    if not (np.isnan(lengths) | ((lengths > 0) & np.isfinite(lengths))).all():
        raise ValueError
    return lengths


def _list(values: Any) -> list[Any]:
    if not isinstance(values, list):
        raise TypeError
    return values


# How each field is written as JSON, and read from it.
_FIELDS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "wavelengths": (_encode_numbers, _decode_lengths),
    "fwhm": (_encode_numbers, _decode_lengths),
    "good_bands": (lambda values: [bool(flag) for flag in values], _decode_flags),
    "band_names": (list, lambda values: tuple(_decode_text(value) for value in _list(values))),
    "transform": (lambda transform: _encode_numbers(six_numbers(transform)), _decode_transform),
    "crs": (str, _decode_crs),
    "units": (str, _decode_text),
    "nodata": (finite_or_text, _decode_number),
    "scale": (finite_or_text, _decode_scale),
    "offset": (finite_or_text, _decode_finite),
    "attributes": (dict, lambda values: {_decode_text(key): _decode_text(value) for key, value in values.items()}),
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

    What is damaged is left out with one warning, which names the file as ``where``. Lists of another length than the
    bands are left out: another program has taken bands out of the file and copied its tags.
    """
    record, history = (_load(tags, tag, kind) for tag, kind in ((RECORD_TAG, dict), (HISTORY_TAG, list)))
    damaged = [f"the tag {tag}" for tag, value in ((RECORD_TAG, record), (HISTORY_TAG, history)) if value is _DAMAGED]
    fields: dict[str, Any] = {}
    for name, value in load_record(tags).items():
        if name not in _FIELDS or (name in _PER_BAND and isinstance(value, list) and len(value) != shape[0]):
            continue
        try:
            fields[name] = _FIELDS[name][1](value)
        except (TypeError, ValueError, AttributeError, OverflowError):
            damaged.append(f"{name} in the tag {RECORD_TAG}")
    steps = history if isinstance(history, list) else []
    if not all(isinstance(step, dict) for step in steps):
        damaged.append(f"a step in the tag {HISTORY_TAG}")
    if damaged:
        warn(f"{where}: {', '.join(damaged)} {'is' if len(damaged) == 1 else 'are'} damaged and left out")
    return CubeHeader(shape=shape, history=tuple(step for step in steps if isinstance(step, dict))).replace(**fields)


def load_record(tags: Mapping[str, str]) -> dict[str, Any]:
    """Return the record in the tags of a file, as JSON gives it; empty where it is damaged."""
    record = _load(tags, RECORD_TAG, dict)
    return record if isinstance(record, dict) else {}


def decode_coding(record: Mapping[str, Any]) -> tuple[float, float]:
    """Return the scale and offset of stored numbers that a record states in ``coding``.

    Raises:
        InputError: they are damaged: without them the values are not known.
    """
    try:
        scale, offset = record.get("coding", (1.0, 0.0))
        return _decode_scale(scale), _decode_finite(offset)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"scale and offset in its record {RECORD_TAG} are damaged; state them with scale= and offset="
        ) from error


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


def _load(tags: Mapping[str, str], tag: str, kind: type) -> Any:
    """Return what a tag states, None where there is none, or ``_DAMAGED``."""
    text = tags.get(tag)
    if text is None:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return _DAMAGED
    return value if isinstance(value, kind) and _is_shallow(value, _DEEPEST) else _DAMAGED


def _is_shallow(value: Any, depth: int) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return depth > 0 and all(_is_shallow(part, depth - 1) for part in parts)
