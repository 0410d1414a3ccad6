"""The command ``hyperfuse``: a module per command, each of which parses, calls and prints."""

from __future__ import annotations

from hyperfuse.cli.app import main

__all__ = ["main"]
