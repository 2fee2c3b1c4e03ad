"""The command line ``pycroclass``: all commands, and what becomes of their errors."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

from pycroclass._version import __version__
from pycroclass.commands import evaluating, exploring, looking, running, selecting, training
from pycroclass.commands.console import complain, out
from pycroclass.errors import PycroclassError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Sort every frame, pixel and spectrum that a microscope or an X-ray laser records.",
)
for commands in (looking, running, exploring, training, evaluating, selecting):
    app.add_typer(commands.app)


def _version(asked: bool) -> None:
    if asked:
        out.print(f"pycroclass {__version__}")
        raise typer.Exit


@app.callback()
def main_options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the trace of an error.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Read by `main` itself: what it does with errors is decided before a command runs."""


def main() -> None:
    """Entry point: errors in one line, with their trace under ``--debug``."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    try:
        app(standalone_mode=True)
    except (PycroclassError, OSError) as error:
        if "--debug" in sys.argv:
            raise
        complain(error)
        raise SystemExit(2) from None
