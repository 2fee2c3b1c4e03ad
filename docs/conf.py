"""Settings of the documentation: Markdown pages, and a reference made from docstrings."""

from __future__ import annotations

from pathlib import Path

from sphinx.application import Sphinx
from typer.main import get_command
from typer.testing import CliRunner

from pycroclass import __version__
from pycroclass.cli import app

project = "pycroclass"
author = "pycroclass contributors"
copyright = "pycroclass contributors, MIT licence"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc"]
exclude_patterns = ["_build", "reference/benchmarks-table.md"]  # the table is included by its page
templates_path = ["_templates"]
html_theme = "furo"
html_title = f"pycroclass {version}"
html_static_path: list[str] = []

default_role = "py:obj"
python_use_unqualified_type_names = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autosummary_generate = True
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
myst_heading_anchors = 3

_GENERATED = Path(__file__).parent / "reference" / "generated"


def write_help(_: Sphinx) -> None:
    """Write what ``pycroclass COMMAND --help`` prints, for the page of the command line to include."""
    folder = _GENERATED / "help"
    folder.mkdir(parents=True, exist_ok=True)
    for command in ("", *get_command(app).commands):  # type: ignore[attr-defined]  # a group, since it has several
        words = [command, "--help"] if command else ["--help"]
        shown = CliRunner().invoke(app, words, prog_name="pycroclass", env={"COLUMNS": "100", "TERM": "dumb"})
        lines = (line.rstrip() for line in shown.output.strip().splitlines())
        (folder / f"{command or 'pycroclass'}.txt").write_text("\n".join(lines) + "\n")


def setup(application: Sphinx) -> None:
    application.connect("builder-inited", write_help)
