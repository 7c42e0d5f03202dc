"""The documentation as a site: `sphinx-build -W -b html docs docs/_build/html` (extra `docs`)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

import pages

project = "cosup-jax"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
exclude_patterns = ["_build", "**/README.md"]
html_theme = "furo"
html_title = "cosup-jax"
# The docstrings' single backquotes are code.
default_role = "code"
napoleon_google_docstring, napoleon_numpy_docstring = True, False
napoleon_use_ivar = True
suppress_warnings = ["ref.python"]  # names that two modules have are led to neither
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True


def setup(app):
    """Writes the pages that are made of the code, and leads links out of docs/ into the site."""
    app.connect("builder-inited", lambda app: pages.write(Path(app.srcdir)))
    app.connect("source-read", pages.lead_inside)
    app.connect("autodoc-skip-member", pages.skip_numbered)
    app.connect("autodoc-process-docstring", pages.show_code, priority=100)
