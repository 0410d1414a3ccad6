"""A STAC item in a file or in memory: which of its assets are meant, and where their files lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from hyperfuse.errors import InputError
from hyperfuse.io.products.stac import assets_of
from hyperfuse.text import shortened

_WEB = ("http", "https")
_MOST_SHOWN = 12


@dataclass(frozen=True)
class Item:
    """A STAC item and where it lies.

    Attributes:
        fields: of the item, as in its JSON.
        folder: that relative addresses start from; None of an item that lies nowhere.
        elsewhere: whether assets may lie outside of this folder, or at an address of the web.
    """

    fields: Mapping[str, Any]
    folder: Path | None
    elsewhere: bool = False

    @property
    def name(self) -> str:
        """Its id."""
        return str(self.fields.get("id", "without id"))

    def choose(self, asked: str | Sequence[str] | None) -> list[str]:
        """Return the keys of the assets that are meant; None: of the only one that holds data.

        Raises:
            InputError: no such asset, or none is named and there are several.
        """
        assets = assets_of(self.fields)
        shown = ", ".join(list(assets)[:_MOST_SHOWN]) + (", ..." if len(assets) > _MOST_SHOWN else "")
        if asked is None:
            data = [key for key, asset in assets.items() if _holds(asset.get("roles"), "data")] or list(assets)
            if len(data) != 1:
                raise InputError(f"has the assets {shown or '(none)'}; name one, or several with commas", "asset")
            return data
        keys = [asked] if isinstance(asked, str) and asked in assets else asked
        keys = keys.split(",") if isinstance(keys, str) else list(keys)
        unknown = next((key for key in keys if key not in assets), None)
        if unknown is not None:
            raise InputError(f"has no asset {shortened(unknown, 60)!r}; it has {shown or 'none'}", "asset")
        return keys

    def file(self, key: str) -> Path:
        """Return the path of the file of an asset, one on the web as GDAL names it.

        Raises:
            InputError: a file that is not there, or lies elsewhere where that is not allowed.
        """
        href = assets_of(self.fields)[key].get("href")
        if not isinstance(href, str) or not href:
            raise InputError(f"the asset {key} has no address (href)")
        try:
            return self._path(key, href)
        except InputError:
            raise
        except (OSError, ValueError):  # a name that is too long, or holds NUL
            raise InputError(f"the asset {key} has no usable address, {shortened(repr(href), 80)}") from None

    def _path(self, key: str, href: str) -> Path:
        parts = urlsplit(href)
        if parts.scheme in _WEB:
            if not self.elsewhere:
                raise InputError(
                    f"the asset {key} is at {shortened(href, 80)}; download it, or hyperfuse.read_stac(...,"
                    " elsewhere=True) reads it there"
                )
            return Path(f"/vsicurl/{href}")
        local = url2pathname(parts.path) if parts.scheme == "file" and parts.netloc in ("", "localhost") else href
        if "://" in local or local.startswith(("/vsi", "//", "\\\\")):
            raise InputError(f"the asset {key} is at {shortened(href, 80)}, which is no file here; download it")
        path = Path(local)
        if not path.is_absolute():
            if self.folder is None:
                raise InputError(f"the asset {key} is at {href}, and the item does not say where it lies itself")
            path = self.folder / path
        inside = self.folder is not None and path.resolve().is_relative_to(self.folder.resolve())
        if not inside and not self.elsewhere:
            raise InputError(
                f"the asset {key} is {shortened(href, 80)}, outside of the folder of the item; hyperfuse.read_stac(...,"
                " elsewhere=True) reads it, or name that file itself"
            )
        if not path.exists():
            raise InputError(f"the asset {key} is {shortened(href, 80)}, which does not exist")
        return path


def _holds(listed: Any, text: str) -> bool:
    return isinstance(listed, list) and text in listed
