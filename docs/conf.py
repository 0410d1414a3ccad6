"""The documentation site, by Sphinx: `make docs` builds it into site/, without network.

The folder of its sources is the repository, so that pages outside docs/ are pages of the site and links between files
are links of the site. What is generated lies in docs/api and docs/gallery.
"""

import hashlib
import shutil
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "docs" / "_extensions")]

from hyperfuse.version import __version__  # noqa: E402


def sources_digest() -> str:
    """Return what changes when the code that the gallery shows may give something else."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "src" / "hyperfuse").rglob("*.py*")):
        if path.suffix in {".py", ".pyi"}:
            digest.update(path.read_bytes())
    return digest.hexdigest()


CACHE = ROOT / "build" / "docs"
STAMP, NOTEBOOKS = CACHE / "package.sha256", CACHE / "notebooks"
# Scripts and notebooks that were run with another state of the package are run again.
STALE = not STAMP.exists() or STAMP.read_text() != sources_digest()
if STALE:
    shutil.rmtree(NOTEBOOKS, ignore_errors=True)


def keep_stamp(app: object, failure: Exception | None) -> None:
    """Note, after a build that ran them without a failure, the package that the results belong to."""
    if failure is None and str(app.config.plot_gallery) not in {"0", "False"}:  # type: ignore[attr-defined]
        CACHE.mkdir(parents=True, exist_ok=True)
        STAMP.write_text(sources_digest())


def add_title(app: object, name: str, text: list[str]) -> None:
    """Give a page of measurements that begins with its text a title, the name of its file."""
    if name.startswith("benchmarks/results/") and not text[0].startswith("# "):
        text[0] = f"# {name.rpartition('/')[2]}\n\n{text[0]}"


def setup(app: object) -> None:
    """Connect to the build."""
    app.connect("source-read", add_title)  # type: ignore[attr-defined]
    app.connect("build-finished", keep_stamp)  # type: ignore[attr-defined]


# Of warnings on the pages of scripts: what they say, not where on this machine.
warnings.formatwarning = lambda message, category, *_: f"{category.__name__}: {message}\n"  # type: ignore[misc]

project = "hyperfuse"
author = "The hyperfuse contributors"
project_copyright = "The hyperfuse contributors, Apache-2.0"
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "mermaid_directive",
]
root_doc = "docs/index"
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "docs/**",
    "notebooks/*.ipynb",
    "benchmarks/README.md",
    "benchmarks/results/*.md",
    "src/hyperfuse/**/README.md",
]
exclude_patterns = [
    "docs/_*",
    "docs/gallery/*.ipynb",
    "docs/gallery/*.py",
    "docs/gallery/*.zip",
    "**/.*",
    ".*",
    "build",
    "dist",
    "site",
]
templates_path = ["_templates"]
nitpicky = False

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]

# Notebooks are stored without outputs and run when the site is built.
nb_execution_mode = "cache"
nb_execution_cache_path = str(NOTEBOOKS)
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_merge_streams = True

autosummary_generate = True
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
napoleon_use_rtype = False
python_use_unqualified_type_names = True

sphinx_gallery_conf = {
    "examples_dirs": [str(ROOT / "examples")],
    "gallery_dirs": ["docs/gallery"],
    "filename_pattern": r"/\d\d_",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 10**9,
    # That page loads a script from elsewhere.
    "write_computation_times": False,
    "run_stale_examples": STALE,
    "abort_on_example_error": True,
    "backreferences_dir": "docs/gallery/backreferences",
    "doc_module": ("hyperfuse",),
    "reference_url": {"hyperfuse": None},
    "matplotlib_animations": False,
    "image_scrapers": ("matplotlib",),
    # What an expression returns is shown where it has a form for that, such as a cube; axes and legends have none.
    "capture_repr": ("_repr_html_",),
    "plot_gallery": "True",
}

html_theme = "pydata_sphinx_theme"
html_title = f"hyperfuse {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["_site_root"]
# Pages that stand alone have no section to show next to them.
html_sidebars = {"docs/faq": [], "README": []}
html_show_sourcelink = False
html_copy_source = False
html_context = {"default_mode": "auto"}
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": True,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "header_links_before_dropdown": 7,
    "back_to_top_button": True,
}
