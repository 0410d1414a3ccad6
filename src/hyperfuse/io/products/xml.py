"""XML metadata of products from any source: no document types, no entities, bounded in size."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DTDForbidden
from defusedxml.ElementTree import fromstring

from hyperfuse.errors import InputError
from hyperfuse.io.products.members import Members, finite_number


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
        return finite_number(text, f"{self.name}: {what}")

    def child_numbers(self, elements: Iterable[Element], tag: str) -> list[float]:
        """Return the number that the child ``tag`` of each element holds.

        Raises:
            InputError: a child that is missing or holds no finite number.
        """
        return [self.number(element.findtext(f"{{*}}{tag}"), tag) for element in elements]
