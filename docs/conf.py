"""The documentation site, as `tox -e docs` builds it. Its source is the whole checkout: no page had to move."""

from __future__ import annotations

import sys
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS), str(DOCS.parent / "tools")]

import reference  # noqa: E402

import otaseal  # noqa: E402

project = "otaseal"
release = otaseal.__version__
extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = [
    "docs/**.md",
    "firmware/README.md",
    "firmware/OtaSeal/README.md",
    "examples/*/README.md",
    *(f"{name}.md" for name in ("ARCHITECTURE", "CHANGELOG", "CONTRIBUTING", "SECURITY")),
]
exclude_patterns = [".*", "build", "dist"]  # not walked, either
myst_heading_anchors = 4
smartquotes = False  # it makes one dash of the two of an option

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_title = f"otaseal {release}"
html_copy_source = False
html_show_copyright = False
html_theme_options = {"top_of_page_buttons": []}


def setup(app: Sphinx) -> None:
    """Write the generated pages before Sphinx looks for pages, and the door of the site after the last one."""
    app.connect("builder-inited", lambda _: reference.write(DOCS / "reference"))
    app.connect("build-finished", _redirect)


def _redirect(app: Sphinx, _: Exception | None) -> None:
    """Lead from the top of the site to its first page."""
    page = '<!doctype html><title>otaseal</title><meta http-equiv="refresh" content="0; url=docs/index.html">\n'
    (Path(app.outdir) / "index.html").write_text(page, encoding="utf-8")
