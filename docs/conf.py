"""Sphinx's settings: `sphinx-build -W docs docs/_build/html` builds these pages offline and executes the lessons."""

import re
from importlib import metadata
from typing import Any

project = "jaxgen"
author = "jaxgen authors"
release = metadata.version("jaxgen")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx-mathjax-offline", "sphinx.ext.viewcode", "sphinx_copybutton"]
exclude_patterns = ["_build", "results"]

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

nb_execution_mode = "cache"  # a lesson runs again when its code has changed
nb_execution_timeout = 600  # seconds a cell
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_merge_streams = True
nb_output_stderr = "remove"

html_theme = "sphinx_book_theme"
html_title = "jaxgen"
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_theme_options = {"show_toc_level": 2, "use_download_button": False, "navbar_persistent": []}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

default_role = "code"
autodoc_class_signature = "separated"  # fields have their own lines
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the shapes and units in a docstring say more
autodoc_default_options = {"members": True, "exclude-members": "__init__, __new__"}
autodoc_preserve_defaults = True


def as_rst(lines: list[str]) -> list[str]:
    """A docstring, written as plain text, as reStructuredText: indented and aligned paragraphs stay as they are."""
    done: list[str] = []
    for block in re.split(r"\n\s*\n", "\n".join(lines).strip("\n")):
        if re.search(r"^ |\S {2,}\S", block, re.MULTILINE):
            done += [".. code-block:: text", "", *("    " + line for line in block.split("\n")), ""]
        else:
            text = re.sub(r"([*_|\\])", r"\\\1", block)
            done += [*re.sub(r"`([^`]*)`(\w?)", _literal, text).split("\n"), ""]
    return done


def _literal(code: re.Match[str]) -> str:
    text = re.sub(r"\\([*_|\\])", r"\1", code[1])
    return f"``{text}``" + (f"\\ {code[2]}" if code[2] else "")  # a letter behind, as in `stack`ed


def _rewrite(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = as_rst(lines)


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", _rewrite)
