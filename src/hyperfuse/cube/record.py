"""Metadata as text: what a file format has no place of its own for travels as JSON in two tags."""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import HyperfuseWarning

HISTORY_TAG = "HYPERFUSE_HISTORY"
RECORD_TAG = "HYPERFUSE"

_PLAIN_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_PLAIN_VALUE = re.compile(r"[!-~]([ -~]*[!-~])?")
_ARRAYS = ("wavelengths", "fwhm", "good_bands")
_TEXTS = ("crs", "units")
_NUMBERS = ("nodata", "scale", "offset")


def record_fields(cube: Cube, fields: Collection[str]) -> dict[str, Any]:
    """Return those of the named fields that the cube has, as JSON-able values (NaN becomes the text "nan")."""
    record: dict[str, Any] = {}
    for name in fields:
        value = getattr(cube, name)
        if value is None or (name, value) in (("scale", 1.0), ("offset", 0.0)):
            continue
        if name in _NUMBERS:
            record[name] = _number(value)
        elif name in _TEXTS:
            record[name] = value
        elif name == "attributes":
            record.update({name: dict(value)} if value else {})
        elif name == "good_bands":
            record[name] = [bool(flag) for flag in value]
        elif name == "band_names":
            record[name] = list(value)
        else:
            record[name] = [_number(number) for number in value]
    return record


def cube_fields(record: Mapping[str, Any], bands: int) -> dict[str, Any]:
    """Return the record as keyword arguments of :class:`Cube`; per-band lists of another length are left out.

    Such lists stay behind where another program has taken bands out of a file and copied its tags.
    """
    fields: dict[str, Any] = {}
    for name in (*_ARRAYS, "band_names"):
        if name in record and len(record[name]) == bands:
            values = record[name]
            fields[name] = (
                tuple(values)
                if name == "band_names"
                else np.asarray(values, np.bool_)
                if name == "good_bands"
                else np.asarray([float(value) for value in values])
            )
    fields.update({name: str(record[name]) for name in _TEXTS if name in record})
    fields.update({name: float(record[name]) for name in _NUMBERS if name in record})
    if "transform" in record:
        fields["transform"] = tuple(float(value) for value in record["transform"])
    if "attributes" in record:
        fields["attributes"] = {str(key): str(value) for key, value in record["attributes"].items()}
    return fields


def to_tags(cube: Cube, record: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags to write: the history and the record, each where there is one, as ASCII JSON on one line."""
    tags = {}
    if cube.history:
        tags[HISTORY_TAG] = json.dumps([dict(step) for step in cube.history], default=_plain)
    if record:
        tags[RECORD_TAG] = json.dumps(dict(record))
    return tags


def from_tags(tags: Mapping[str, str], where: str) -> tuple[dict[str, Any], tuple[Mapping[str, Any], ...]]:
    """Return the record and the history found in the tags of a file; a damaged one is left out with a warning."""
    record, history = _load(tags, RECORD_TAG, dict, where), _load(tags, HISTORY_TAG, list, where)
    return record or {}, tuple(step for step in history or () if isinstance(step, dict))


def split_attributes(
    attributes: Mapping[str, str], reserved: Collection[str] = ()
) -> tuple[dict[str, str], dict[str, str]]:
    """Split attributes into those any format can hold as a tag of their own and the rest, which go into the record.

    A tag needs a plain key that is not ``reserved`` and differs from others by more than its case, and a value of
    printable ASCII without blanks around it.
    """
    taken = {name.lower() for name in reserved} | {HISTORY_TAG.lower(), RECORD_TAG.lower()}
    plain: dict[str, str] = {}
    rest: dict[str, str] = {}
    for key, value in attributes.items():
        fits = _PLAIN_KEY.fullmatch(key) and _PLAIN_VALUE.fullmatch(value) and key.lower() not in taken
        (plain if fits else rest)[key] = value
        taken.add(key.lower())
    return plain, rest


def _number(value: float) -> float | str:
    number = float(value)
    return number if math.isfinite(number) else str(number)


def _plain(value: Any) -> Any:
    """Turn numpy values in a history into JSON; anything else is told by its text."""
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
        warnings.warn(f"{where}: the tag {tag} is damaged and left out", HyperfuseWarning, stacklevel=3)
        return None
    return value
