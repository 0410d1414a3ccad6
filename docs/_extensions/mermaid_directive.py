"""The directive ```mermaid of the site's pages: a diagram by the pictures that were drawn of it."""

from docutils import nodes
from docutils.parsers.rst import Directive, directives
from mermaid_pictures import THEMES, picture_of


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
