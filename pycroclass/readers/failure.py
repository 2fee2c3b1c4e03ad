"""How a file that cannot be read is reported: its path, what is wrong, what would help; its first bytes where its format is in doubt."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from pycroclass.errors import ReadError

_SHOWN: Final = 12


def failure(path: Path | str, problem: str, remedy: str) -> ReadError:
    """The error to raise for a file.

    Parameters
    ----------
    path : Path or str
    problem : str
        What is wrong with it, to be read after ``path:``.
    remedy : str
        What would help, as a sentence.

    Examples
    --------
    >>> str(failure("scan.dm3", "does not exist", "Check the path."))
    'scan.dm3: does not exist. Check the path.'
    """
    return ReadError(f"{path}: {problem}. {remedy}")


def foreign(path: Path | str, problem: str, remedy: str) -> ReadError:
    """The error to raise for a file that is not of the format that was expected: as `failure`, with the file's first bytes."""
    return failure(path, f"{problem} (it begins with {first_bytes(path)})", remedy)


def first_bytes(path: Path | str) -> str:
    """The first bytes of a file as hexadecimal and as text, empty where there are none to be read.

    Examples
    --------
    >>> from pathlib import Path; from tempfile import mkdtemp
    >>> file = Path(mkdtemp()) / "a.png"; _ = file.write_bytes(b"\\x89PNG\\r\\n")
    >>> first_bytes(file)
    "89 50 4e 47 0d 0a = '.PNG..'"
    """
    if not os.path.isfile(path):
        return ""
    try:
        with open(path, "rb") as file:
            head = file.read(_SHOWN)
    except OSError:
        return ""
    text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in head)
    return f"{head.hex(' ')} = {text!r}" if head else ""
