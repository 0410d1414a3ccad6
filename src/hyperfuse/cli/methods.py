"""``hyperfuse methods``: the fusion methods with their settings and capabilities."""

from __future__ import annotations

import json as json_text
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from hyperfuse.cli.options import COMMON, CommonOptions
from hyperfuse.cli.session import Session
from hyperfuse.tables import Column, Table

if TYPE_CHECKING:
    from hyperfuse.methods import Method

# Capabilities that an option of `fuse` of the same name asks for.
_OPTIONS = ("uncertainty", "budget", "weights")


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
    from hyperfuse.methods import DEFAULT_METHOD, list_methods

    found = [_describe(method) for method in list_methods()]
    if json:
        session.result_json(found)
        return
    _show_table(found, session)
    session.result(f"\nDefault: {DEFAULT_METHOD}.")
    for method in found:
        session.result(f"\n{method['name']}: {method['reference']}")
        for name, setting in method["settings"].items():
            session.result(f"  --set {name}={setting['shown']}  {setting['description']}".rstrip())


def _describe(method: Method[Any]) -> dict[str, Any]:
    from hyperfuse.settings import list_settings

    can = asdict(method.capabilities)
    return {
        "name": method.name,
        "cost": method.cost,
        "needs_srf": method.capabilities.needs_srf,
        "capabilities": {name: value for name, value in can.items() if isinstance(value, bool)},
        "summary": method.summary,
        "reference": method.reference,
        "settings": {
            # What --set takes: text as it is, anything else as JSON.
            one.name: {
                "default": one.default,
                "shown": one.default if isinstance(one.default, str) else json_text.dumps(one.default),
                "description": one.text,
            }
            for one in list_settings(method.settings)
        },
    }


def _show_table(found: list[dict[str, Any]], session: Session) -> None:
    from hyperfuse.tables.terminal import render_terminal

    columns = (
        Column("name", "method"),
        Column("cost", "time"),
        Column("srf", "SRF"),
        Column("options", "options"),
        Column("summary", "summary"),
    )
    rows = [
        method
        | {
            "srf": "needed" if method["needs_srf"] else None,
            "options": ", ".join(f"--{name}" for name in _OPTIONS if method["capabilities"][name]) or None,
        }
        for method in found
    ]
    session.result_table(render_terminal(Table(columns, rows)))
