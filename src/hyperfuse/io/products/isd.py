"""Image support data (ISD) of Maxar: the metadata and tiles of an image, as texts (IMD, TIL) or in its XML."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hyperfuse.errors import InputError
from hyperfuse.io.products.members import Members, Source, base_name, finite_number, match
from hyperfuse.io.products.names import WORLDVIEW_FILE, WORLDVIEW_IMAGE
from hyperfuse.io.products.odl import Groups
from hyperfuse.io.products.xml import Metadata

_PAN = "P"  # the first letter of the code of a panchromatic product, such as P2AS


@dataclass(frozen=True)
class SupportData:
    """The support data of an image: name, groups of IMD, and the entries of each tile.

    Names are in upper case; entries outside of groups are those of the group "".
    """

    members: Members
    name: str
    groups: Groups
    tiles: list[dict[str, str]]

    def text(self, key: str, *groups: str) -> str:
        """Return an entry of the first group that has it."""
        for group in groups:
            if key in self.groups.get(group, {}):
                return self.groups[group][key]
        raise InputError(f"{self.name} has no {key}; it is cut off or of another format")

    def number(self, key: str, *groups: str) -> float:
        """Return an entry as a finite number above 0."""
        value = finite_number(self.text(key, *groups), f"{self.name}: {key}")
        if value <= 0:
            raise InputError(f"{self.name}: {key} is {value:g}, which has to be above 0")
        return value


def support_pattern(start: str, order: str) -> str:
    """Return the pattern of the support data of an image."""
    return rf"{re.escape(start + order)}\.(?:IMD|XML)"


def read_support_data(source: Source) -> SupportData:
    """Return the support data of the image that is named, or that a folder or archive holds.

    Raises:
        InputError: none, those of several images, or damaged ones.
    """
    members, chosen = source.members, source.chosen
    named = match(WORLDVIEW_IMAGE, base_name(chosen)) if chosen else None
    if named is not None:
        pattern = support_pattern(named["start"], named["order"])
    else:
        stem = re.escape(base_name(chosen).rpartition(".")[0]) if chosen else None
        pattern = WORLDVIEW_FILE if stem is None else rf"{stem}\.(?:IMD|XML)"
    found = members.find(pattern)
    stem = _stem({base_name(name).rpartition(".")[0] for name in found}, source)
    found = [name for name in found if re.fullmatch(re.escape(stem) + r"\.(?:IMD|XML)", base_name(name), re.IGNORECASE)]
    texts = [name for name in found if name.lower().endswith(".imd")]
    if not found:
        raise InputError(f"the metadata *.IMD or *.XML are missing in {members.root}")
    if not texts:
        return _from_xml(members, found[0])
    groups = _parse(members, texts[0])
    til = members.find(re.escape(stem) + r"\.TIL")
    tiles = [group for name, group in _parse(members, til[0]).items() if name.startswith("TILE_")] if til else []
    return SupportData(members, texts[0], groups, tiles)


def _stem(stems: set[str], source: Source) -> str:
    """Return the name of the image that is meant among those of a delivery: the panchromatic one, else another."""
    pan = {stem for stem in stems if (named := match(WORLDVIEW_IMAGE, f"{stem}.TIF")) and named["start"][-4] == _PAN}
    images = pan if source.part else stems - pan or stems
    if len(images) > 1:
        raise InputError(f"holds {len(images)} images ({', '.join(sorted(images)[:3])}); name the .IMD of one of them")
    if source.part and not images:
        raise InputError("holds no panchromatic image")
    return images.pop() if images else ""


def _parse(members: Members, name: str) -> Groups:
    """Return the groups of a text of ``key = value;`` between BEGIN_GROUP and END_GROUP."""
    groups: Groups = {}
    current = ""
    for line in members.read_text(name).decode("utf-8", "replace").splitlines():
        key, equals, value = (part.strip() for part in line.partition("="))
        if key == "BEGIN_GROUP":
            current = value.rstrip(";").upper()
            groups.setdefault(current, {})
        elif key == "END_GROUP":
            current = ""
        elif key.upper() == "END;":
            return groups
        elif equals:
            groups.setdefault(current, {}).setdefault(key.upper(), value.rstrip(";").strip().strip('"'))
    raise InputError(f"{name} does not end with END; it is cut off or of another format")


def _from_xml(members: Members, name: str) -> SupportData:
    metadata = Metadata(members, name)
    groups: Groups = {"": {}}
    for entry in metadata.root.findall("{*}IMD/*"):
        if len(entry):
            group = groups.setdefault(entry.tag.upper(), {})
            for item in entry:
                group.setdefault(item.tag.upper(), (item.text or "").strip())
        else:
            groups[""][entry.tag.upper()] = (entry.text or "").strip()
    found = metadata.root.findall("{*}TIL/{*}TILE")
    tiles = [{item.tag.upper(): (item.text or "").strip() for item in tile} for tile in found]
    return SupportData(members, name, groups, tiles)
