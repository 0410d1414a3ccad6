"""Diagrams in Mermaid as pictures that are drawn beforehand, so that a page loads no script for them.

`make diagrams` draws every fence of docs/*.md that has no picture yet into docs/images/, in the colours of the light
and of the dark theme. A picture is named after its text: one that is out of date is missing, which the build refuses.
"""

import hashlib
import re
from pathlib import Path

PICTURES = Path(__file__).parents[1] / "images"
THEMES = ("light", "dark")
FENCE = re.compile(r"^```mermaid\n(.*?)^```", re.MULTILINE | re.DOTALL)


def picture_of(text: str, theme: str) -> Path:
    """Return the file of a diagram."""
    return PICTURES / f"mermaid-{hashlib.sha256(text.strip().encode()).hexdigest()[:12]}-{theme}.svg"
