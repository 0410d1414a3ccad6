"""XML metadata of products from any source: no document types, no entities, bounded in size."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DTDForbidden
from defusedxml.ElementTree import fromstring

from hyperfuse.errors import InputError
from hyperfuse.io.products.members import Members, finite_number


class Metadata:
    """A metadata file in XML, one of the members of a product.

    Raises:
        InputError: no XML, cut off, or with a document type.
    """

    def __init__(self, members: Members, name: str) -> None:
        self.name = name
        raw = members.read_text(name)
        try:
            self.root: Element = fromstring(raw, forbid_dtd=True)
        except DTDForbidden as error:
            # Entities, those that nest into gigabytes among them, need a document type; no product has one.
            raise InputError(f"{name} declares a document type (DTD), which no product's metadata does") from error
        except (ParseError, LookupError, ValueError) as error:
            raise InputError(f"{name} is no XML, or is cut off ({error})") from error

    def find(self, *tags: str) -> str | None:
        """Return the text of the first element with one of the tags, whatever its namespace; None without one."""
        for tag in tags:
            text = (self.root.findtext(f".//{{*}}{tag}") or "").strip()
            if text:
                return text
        return None

    def text(self, *tags: str) -> str:
        """Return the text of the first element with one of the tags, which has to be there."""
        found = self.find(*tags)
        if found is None:
            raise InputError(f"{self.name} has no {tags[0]}; it is cut off or of another format")
        return found

    def elements(self, path: str) -> list[Element]:
        """Return all elements below the root whose path ends so; tags are given with ``{*}`` before them."""
        return self.root.findall(f".//{path}")

    def number(self, text: str | None, what: str) -> float:
        """Return a text as a finite number; ``what`` names it where it is none."""
        return finite_number(text, f"{self.name}: {what}")

    def child_numbers(self, elements: Iterable[Element], tag: str) -> list[float]:
        """Return the finite number that the child ``tag`` of each element holds."""
        return [self.number(element.findtext(f"{{*}}{tag}"), tag) for element in elements]
