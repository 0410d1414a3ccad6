"""``hyperfuse methods``: what there is to fuse with."""

from __future__ import annotations

import inspect
import json as json_text
import re
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from hyperfuse.cli.options import COMMON, CommonOptions
from hyperfuse.cli.session import Session
from hyperfuse.tables import Column, Table

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from hyperfuse.methods import Method


def methods(
    *,
    json: bool = False,
    common: CommonOptions = COMMON,
    session: Annotated[Session, Parameter(parse=False)],
) -> None:
    """List the fusion methods with their settings and papers.

    Args:
        json: Write the list as JSON.
        common: Options of every command.
        session: Where results and notes go.
    """
    from hyperfuse.methods import list_methods

    found = [_describe(method) for method in list_methods()]
    if json:
        session.result_json(found)
        return
    _show_table(found, session)
    for method in found:
        session.result(f"\n{method['name']}: {method['reference']}")
        for name, setting in method["settings"].items():
            session.result(f"  --set {name}={setting['shown']}  {setting['description']}".rstrip())


def _describe(method: Method[Any]) -> dict[str, Any]:
    texts = _attribute_texts(method.settings)
    return {
        "name": method.name,
        "cost": method.cost,
        "needs_srf": method.capabilities.needs_srf,
        "summary": method.summary,
        "reference": method.reference,
        "settings": {
            name: _describe_setting(field, texts.get(name, "")) for name, field in method.settings.model_fields.items()
        },
    }


def _describe_setting(field: FieldInfo, text: str) -> dict[str, Any]:
    default = field.get_default(call_default_factory=True)
    # What --set takes: text as it is, anything else as JSON.
    shown = default if isinstance(default, str) else json_text.dumps(default)
    return {"default": default, "shown": shown, "description": field.description or text}


def _attribute_texts(settings: type) -> dict[str, str]:
    """Return the texts of the ``Attributes:`` section of a docstring by name, each as one line."""
    _, _, section = inspect.cleandoc(settings.__doc__ or "").partition("Attributes:\n")
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


def _show_table(found: list[dict[str, Any]], session: Session) -> None:
    from hyperfuse.tables.terminal import render_terminal

    columns = (Column("name", "method"), Column("cost", "takes"), Column("srf", "SRF"), Column("summary", "does"))
    rows = [method | {"srf": "needed" if method["needs_srf"] else None} for method in found]
    session.result_table(render_terminal(Table(columns, rows)))
