"""The HTML report of a fusion."""

from __future__ import annotations

from hyperfuse.runtime.optional import require

require("jinja2", "a report")
