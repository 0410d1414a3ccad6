"""Diagrams in Mermaid as pictures that are drawn beforehand, so that a page loads no script for them.

`make diagrams` draws every fence of docs/*.md that has no picture yet into docs/images/, in the colours of the light
and of the dark theme. A picture is named after its text: one that is out of date is missing, which the build refuses.
"""

import hashlib
import re
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive, directives

PICTURES = Path(__file__).parents[1] / "images"
THEMES = ("light", "dark")
FENCE = re.compile(r"^```mermaid\n(.*?)^```", re.MULTILINE | re.DOTALL)


def picture_of(text: str, theme: str) -> Path:
    """Return the file of a diagram."""
    return PICTURES / f"mermaid-{hashlib.sha256(text.strip().encode()).hexdigest()[:12]}-{theme}.svg"


class Mermaid(Directive):
    """A fence ```mermaid: its two pictures, of which the theme shows one."""

    has_content = True
    option_spec = {"alt": directives.unchanged}  # noqa: RUF012  # of docutils

    def run(self) -> list[nodes.Node]:
        """Return the two images."""
        text = "\n".join(self.content)
        images: list[nodes.Node] = []
        for theme in THEMES:
            picture = picture_of(text, theme)
            if not picture.exists():
                raise self.error(f"no picture of this diagram ({picture.name}); make diagrams draws it")
            alt = self.options.get("alt", "diagram, as text in the source of this page")
            images.append(nodes.image(uri=f"/docs/images/{picture.name}", alt=alt, classes=[f"only-{theme}"]))
        return images


def setup(app: object) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("mermaid", Mermaid)  # type: ignore[attr-defined]
    return {"parallel_read_safe": True, "parallel_write_safe": True}
