"""Metadata of USGS products in ODL: ``KEY = VALUE`` between GROUP and END_GROUP."""

from __future__ import annotations

from hyperfuse.errors import InputError
from hyperfuse.io.products.members import Members

# Entries of the groups, by their names.
Groups = dict[str, dict[str, str]]


def read_odl(members: Members, name: str) -> Groups:
    """Return the groups of a metadata file, each with its own entries.

    The last group that is closed ends a file, with or without ``END`` after it: many copies lack that.

    Raises:
        InputError: groups that are not closed.
    """
    text = members.read_text(name).decode("utf-8", "replace")
    groups: Groups = {}
    current: list[str] = []
    for line in text.splitlines():
        key, equals, value = (part.strip() for part in line.partition("="))
        if key == "GROUP":
            current.append(value)
        elif key == "END_GROUP":
            current = current[:-1]
        elif key == "END" and not equals:
            return groups
        elif equals and current:
            groups.setdefault(current[-1], {}).setdefault(key, value.strip('"'))
    if groups and not current:
        return groups
    raise InputError(f"{name} does not close its groups (END_GROUP); it is cut off or of another format")
