"""The documentation site: what Sphinx reads, and from where. `make docs` builds it into `build/docs`.

The root of the project is the root of the site, so a link from one page to another is the same in a clone, on a code host and here.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from pelrp_nb.version import __version__  # noqa: E402

project, author, copyright = "pelrp_nb", "The pelrp_nb authors", "The pelrp_nb authors, MIT licence"
version = release = __version__

extensions = ["sphinx.ext.autodoc", "myst_nb", "pages", "docstrings", "mathml"]
root_doc = "docs/index"
include_patterns = [
    "docs/**", "tutorials/*.md", "tutorials/*.ipynb", "pelrp_nb/engine/README.md", "CHANGELOG.md", "CONTRIBUTING.md",
]  # fmt: skip
exclude_patterns = ["build", "dist", ".git", ".venv*", ".*_cache", "**/.ipynb_checkpoints", "tests", "binder", "**/__pycache__"]

myst_enable_extensions = ["dollarmath", "deflist", "colon_fence", "attrs_block"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # notebooks are shown as they were saved; the tests run them
nb_ipywidgets_js = {}  # nothing from another host

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90

html_theme = "furo"
html_title = f"pelrp_nb {__version__}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["atlas.js"]
html_extra_path = ["_root"]
html_math_renderer = "mathml"
html_show_search_summary = False  # it would read pages again, which a browser forbids to a page that was opened as a file
html_copy_source = False
html_show_sphinx = False
