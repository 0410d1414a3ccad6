"""The HTML report of a fusion."""

from __future__ import annotations

from hyperfuse.runtime.optional import require

require("jinja2", "a report")

from hyperfuse.reports.fusion.content import Provenance, ReportContent, this_process  # noqa: E402  (after the check)
from hyperfuse.reports.fusion.page import render_report, write_report  # noqa: E402

__all__ = ["Provenance", "ReportContent", "render_report", "this_process", "write_report"]
