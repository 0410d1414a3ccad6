"""Draw the Mermaid diagrams of docs/*.md that have no picture yet: `make diagrams`, by npm, Chromium, Playwright."""

import subprocess
import tempfile
from pathlib import Path

from mermaid_pictures import FENCE, PICTURES, THEMES, picture_of
from playwright.sync_api import sync_playwright

MERMAID = "mermaid@12.3.0"
# As a file of its own a picture is XML with a size; labels are texts of the SVG, which every program knows.
DRAW = """async ([text, theme]) => {
    mermaid.initialize({
        startOnLoad: false, theme: theme === "dark" ? "dark" : "neutral", fontFamily: "sans-serif", look: "classic",
        htmlLabels: false,
        flowchart: {rankSpacing: 28, nodeSpacing: 30, padding: 10, wrappingWidth: 420, htmlLabels: false},
    });
    document.body.innerHTML = (await mermaid.render("diagram", text)).svg;
    const picture = document.querySelector("svg"), box = picture.viewBox.baseVal;
    picture.setAttribute("width", Math.ceil(box.width));
    picture.setAttribute("height", Math.ceil(box.height));
    return new XMLSerializer().serializeToString(picture);
}"""


def main() -> None:
    """Draw what is missing, and remove what no page shows."""
    texts = [text for page in sorted(PICTURES.parent.glob("*.md")) for text in FENCE.findall(page.read_text("utf-8"))]
    wanted = {picture_of(text, theme): (text, theme) for text in texts for theme in THEMES}
    for picture in PICTURES.glob("mermaid-*.svg"):
        if picture not in wanted:
            picture.unlink()
    missing = {picture: job for picture, job in wanted.items() if not picture.exists()}
    if not missing:
        return
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        subprocess.run(["npm", "install", "--silent", "--prefix", folder, MERMAID], check=True)
        script = Path(folder) / "node_modules" / "mermaid" / "dist" / "mermaid.min.js"
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for picture, job in missing.items():
            page = browser.new_page()
            page.add_script_tag(path=script)
            text, theme = job
            plain = text.replace("<b>", "").replace("</b>", "")
            picture.write_text(page.evaluate(DRAW, [plain, theme]) + "\n", "utf-8")
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
