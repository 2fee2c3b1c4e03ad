"""Tables of labelled images in Parquet; see `pycroclass.readers.table`."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet
import sidpy

from pycroclass.readers.options import ReadOptions
from pycroclass.readers.table import open_table


def open_file(path: Path, options: ReadOptions) -> dict[str, sidpy.Dataset]:
    """The images that the table lists, as ``image``, and their labels as ``label``."""
    table = pyarrow.parquet.read_table(path)
    names = [name for name in table.column_names if not name.startswith("__index_level_")]  # pandas' number of the row
    return open_table(path, {name: [_plain(value) for value in table[name].to_pylist()] for name in names}, options)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value != value:
        return None
    return value.isoformat() if isinstance(value, datetime | date) else value
