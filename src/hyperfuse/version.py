"""The version of the package; pyproject.toml states the same, which a test checks."""

from __future__ import annotations

__version__ = "0.1.0"
