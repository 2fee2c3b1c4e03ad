"""What commands say, and where."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

out = Console()
err = Console(stderr=True)


def say(line: str, console: Console = out) -> None:
    """Print it as it is, however long."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def wrote(path: Path, console: Console = out) -> None:
    """Tell where a result is."""
    say(f"wrote {path}", console)


def complain(error: Exception) -> None:
    """An error in one line."""
    err.print(f"[bold red]error[/] {type(error).__name__}: ", end="")
    say(" ".join(str(error).split()), err)
