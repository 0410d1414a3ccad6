"""QGIS plugin: the algorithms of hyperfuse in the Processing toolbox, by way of the program ``hyperfuse``."""

from __future__ import annotations


def classFactory(iface):
    """Return the plugin; QGIS calls this by name."""
    from .plugin import Plugin

    return Plugin(iface)
