"""XML metadata of products, which come from anywhere: no entities, no document types, bounded in size."""

from __future__ import annotations

import math
from collections.abc import Iterable
from xml.etree import ElementTree

from hyperfuse.errors import InputError
from hyperfuse.io.products.members import Members

Element = ElementTree.Element

_CHUNK = 1 << 16


class _NoDoctype(ElementTree.TreeBuilder):
    """Entities, those that nest into gigabytes among them, need a document type; no product has one."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise InputError("declares a document type (DTD), which the metadata of no product does")


class Metadata:
    """A metadata file in XML.

    Args:
        members: the files of the product.
        name: the file among them.

    Raises:
        InputError: no XML, cut off, or with a document type.
    """

    def __init__(self, members: Members, name: str) -> None:
        self.name = name
        self.root = _parse(members.read_text(name), name)

    def find(self, *tags: str) -> str | None:
        """Return the text of the first element with one of the tags, whatever its namespace; None without one."""
        for tag in tags:
            found = self.root.find(f".//{{*}}{tag}")
            if found is not None and found.text and found.text.strip():
                return found.text.strip()
        return None

    def text(self, *tags: str) -> str:
        """Return the text of the first element with one of the tags.

        Raises:
            InputError: there is none.
        """
        found = self.find(*tags)
        if found is None:
            raise InputError(f"{self.name} has no {tags[0]}; it is cut off or of another format")
        return found

    def elements(self, path: str) -> list[Element]:
        """Return all elements below the root whose path ends so; tags are given with ``{*}`` before them."""
        return self.root.findall(f".//{path}")

    def number(self, text: str | None, what: str) -> float:
        """Return a text as a finite number.

        Raises:
            InputError: it is none; ``what`` names it.
        """
        try:
            value = float(text or "")
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise InputError(f"{self.name}: {what} is {text!r}, not a number")
        return value

    def child_numbers(self, elements: Iterable[Element], tag: str) -> list[float]:
        """Return the number that the child ``tag`` of each element holds.

        Raises:
            InputError: a child that is missing or holds no finite number.
        """
        return [self.number(element.findtext(f"{{*}}{tag}"), tag) for element in elements]


def _parse(raw: bytes, name: str) -> Element:
    parser = ElementTree.XMLParser(target=_NoDoctype())
    try:
        # In pieces, so that a document type is met before what it declares is used.
        for start in range(0, len(raw), _CHUNK):
            parser.feed(raw[start : start + _CHUNK])
        root: Element = parser.close()
    except InputError as error:
        raise InputError(f"{name} {error}") from error.__cause__
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise InputError(f"{name} is no XML, or is cut off ({error})") from error
    return root
