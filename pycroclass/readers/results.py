"""What a run wrote, by the names of its outputs."""

from __future__ import annotations

from pathlib import Path

import sidpy

from pycroclass.readers.opening import read


def read_results(path: str | Path) -> dict[str, sidpy.Dataset]:
    """The datasets of a file that pycroclass wrote; the key of each is the last part of its path.

    Raises
    ------
    ReadError
        If the file cannot be read.
    """
    return {key.rsplit("/", 1)[-1]: dataset for key, dataset in read(path).items()}
