"""``hyperfuse methods``: the fusion methods and networks with their settings and what they need."""

from __future__ import annotations

import json as json_text
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from hyperfuse.cli.options import COMMON, CommonOptions
from hyperfuse.cli.session import Session
from hyperfuse.tables import Column, Table
from hyperfuse.version import __version__

if TYPE_CHECKING:
    from hyperfuse.methods import Capabilities, Method
    from hyperfuse.networks import FusionNetwork
    from hyperfuse.settings import Settings

# Capabilities that an option of `fuse` of the same name asks for.
_OPTIONS = ("uncertainty", "effort", "budget", "weights")


def methods(
    *,
    json: bool = False,
    common: CommonOptions = COMMON,
    session: Annotated[Session, Parameter(parse=False)],
) -> None:
    """List the fusion methods with their settings and papers.

    Networks follow, which other authors published, or which are trained on other scenes: `hyperfuse fuse --network`
    takes their weights.

    Args:
        json: Write as JSON all that a form for a fusion asks: the lists with types and ranges of settings and what is
            needed, and the names of SRFs and presets.
        common: Options of every command.
        session: Where results and notes go.
    """
    from hyperfuse.methods import DEFAULT_METHOD, list_methods
    from hyperfuse.networks import list_networks, network_class
    from hyperfuse.sensor.presets import list_presets
    from hyperfuse.sensor.srf.names import list_srfs

    found = [_describe(method) for method in list_methods()]
    # That of a method of the same name is fitted by it.
    alone = [name for name in list_networks() if name not in {method["name"] for method in found}]
    networks = [_describe_network(network_class(name)) for name in alone]
    if json:
        session.result_json(
            {
                "version": __version__,
                "default": DEFAULT_METHOD,
                "methods": found,
                "networks": networks,
                "srfs": list_srfs(),
                "presets": list_presets(),
            }
        )
        return
    _show_table(found, session)
    session.result(f"\nDefault: {DEFAULT_METHOD}.")
    for method in found:
        session.result(f"\n{method['name']}: {method['reference']}")
        for name, setting in method["settings"].items():
            session.result(f"  --set {name}={setting['shown']}  {setting['description']}".rstrip())
    _show_networks(networks, session)


def _describe(method: Method[Any]) -> dict[str, Any]:
    can = asdict(method.capabilities)
    return {
        "name": method.name,
        "kind": "network fitted to the pair" if method.capabilities.weights else "classical",
        "year": method.year,
        "cost": method.cost,
        "needs": "; ".join(_needs(method.capabilities)) or None,
        "needs_srf": method.capabilities.needs_srf,
        "inputs": _inputs(
            srf="estimated" if method.capabilities.needs_srf else "unused",
            weights="optional" if method.capabilities.weights else "unused",
        ),
        "options": [name for name in _OPTIONS if can[name]],
        "capabilities": {name: value for name, value in can.items() if isinstance(value, bool)},
        "summary": method.summary,
        "reference": method.reference,
        "settings": _settings(method.settings),
    }


def _needs(able: Capabilities) -> Iterator[str]:
    if able.needs_srf:
        yield "SRF"
    if able.whole_ratios:
        yield "whole ratios"
    if not able.displaced:
        yield "pixels at regular positions"


def _describe_network(network: type[FusionNetwork]) -> dict[str, Any]:
    return {
        "name": network.name,
        "kind": "trained network",
        "year": network.year,
        "cost": network.cost,
        "needs": f"weights; {network.needs}",
        "needs_srf": False,
        "inputs": _inputs(srf="unused", weights="required"),
        "options": ["weights"],
        "capabilities": {"weights": True},
        "summary": f"{network.name}, to be used as it is: --network {network.name} --weights FILE",
        "reference": network.reference,
        "program": network.program,
        "published": network.published,
        "settings": _settings(network.options_class),
    }


def _inputs(*, srf: str, weights: str) -> dict[str, str]:
    """Return what a fusion takes: required; optional; estimated or read from the files if not given; or unused."""
    return {"hsi": "required", "msi": "required", "srf": srf, "weights": weights}


def _settings(kind: type[Settings]) -> dict[str, dict[str, Any]]:
    """Return each setting: what a form asks, and as what --set takes the default (text as it is, else JSON)."""
    from hyperfuse.settings import list_limits, list_settings

    limits = list_limits(kind)
    return {
        one.name: {
            "default": one.default,
            "shown": one.default if isinstance(one.default, str) else json_text.dumps(one.default),
            "description": one.text,
            **limits[one.name],
        }
        for one in list_settings(kind)
    }


def _show_table(found: list[dict[str, Any]], session: Session) -> None:
    from hyperfuse.tables.terminal import render_terminal

    columns = (
        Column("name", "method"),
        Column("year", "year"),
        Column("kind", "kind"),
        Column("cost", "time"),
        Column("needs", "needs"),
        Column("options", "options"),
        Column("summary", "summary"),
    )
    rows = [
        method
        | {
            "options": ", ".join(f"--{name}" for name in method["options"]) or None,
        }
        for method in found
    ]
    session.result_table(render_terminal(Table(columns, rows)))


def _show_networks(found: list[dict[str, Any]], session: Session) -> None:
    """Show the networks that are used as they are, with weights."""
    from hyperfuse.tables.terminal import render_terminal

    session.result("\nNetworks, trained on other scenes: --network NAME --weights FILE.\n")
    columns = (
        Column("name", "network"),
        Column("year", "year"),
        Column("cost", "time"),
        Column("needs", "needs"),
        Column("published", "published weights"),
    )
    session.result_table(render_terminal(Table(columns, found)))
    for network in found:
        session.result(f"\n{network['name']}: {network['reference']}")
        session.result(f"  equal to {network['program']}; trained by configs/{network['name']}-cave-x4.yaml")
