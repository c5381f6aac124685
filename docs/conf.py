"""Settings of the documentation site: `make docs` builds it into docs/_build/html."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]
# Notebook kernels inherit these: pages run as their tests do, with small budgets, and on the CPU.
os.environ |= {"NOISEJAX_QUICK": "1", "MPLBACKEND": "Agg", "JAX_PLATFORMS": "cpu"}
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))

import noisejax  # noqa: E402

project, author, copyright = "noisejax", "The noisejax authors", "The noisejax authors"
release = version = noisejax.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "_site.pages",
    "_site.reference",
]
exclude_patterns = ["_build", "_site", "assets"]
nitpicky = False
toc_object_entries = False  # each name has a heading of its own
default_role = "py:obj"  # `name` in a docstring links to that name, and is plain code where there is none
suppress_warnings = ["mystnb.unknown_mime_type"]

myst_enable_extensions = ["colon_fence", "deflist"]  # no mathematics: its fonts would come from another host
myst_heading_anchors = 3
myst_url_schemes = ["http", "https", "mailto"]

# Each page is a program of its own. An executed page is kept until one of its blocks changes.
nb_execution_mode = "cache"
nb_execution_cache_path = str(ROOT / "docs" / "_build" / "executed")
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_merge_streams = True

autodoc_typehints = "none"
autodoc_default_options = {"members": False}
napoleon_numpy_docstring = False
napoleon_use_rtype = False
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "furo"
html_title = "noisejax"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/favicon.svg"
html_search_scorer = str(ROOT / "docs" / "_static" / "scorer.js")
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
