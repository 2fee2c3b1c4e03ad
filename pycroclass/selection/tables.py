"""Selections as tables: CSV for people and spreadsheets, Parquet for programs.

Both hold a row for each frame that was looked at, kept or not, and ``about``: CSV in its first line, behind ``#``, as JSON, so that
``pandas.read_csv(path, comment="#")`` reads it; Parquet in its metadata, under ``pycroclass``.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pycroclass.errors import ParameterError, ReadError
from pycroclass.selection.frame_selection import COLUMNS, FrameSelection
from pycroclass.selection.lists import LISTED, ONLY_KEPT
from pycroclass.writers.atomic import whole_or_nothing

if TYPE_CHECKING:
    import pandas as pd

_FORMAT: Final = "pycroclass selection 1"
_KEY: Final = b"pycroclass"
_NEEDED: Final = ("file", "index")


def write_table(selection: FrameSelection, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write all frames of a selection, with all that is known of each and ``about``.

    Parameters
    ----------
    selection : FrameSelection
    path : path
        Ends in ``.csv`` or ``.parquet``.
    overwrite : bool
        Replace a file that exists.

    Returns
    -------
    Path
        Of the table.

    Raises
    ------
    ParameterError
        If the name ends otherwise.
    WriteError
        If the file exists or cannot be written.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> frames = {"file": ["/data/run.cxi"] * 2, "dataset": ["/data"] * 2, "index": [3, 7], "event": ["", ""]}
    >>> chosen = FrameSelection(**frames, score=[0.9, 0.1], decision=["hit", "miss"], reason=["hit", ""])
    >>> path = write_table(chosen, Path(mkdtemp()) / "run.csv")
    >>> import pandas as pd
    >>> pd.read_csv(path, comment="#").score.tolist(), read_table(path).decision.tolist()
    ([0.9, 0.1], ['hit', 'miss'])
    """
    target = Path(path)
    to_bytes, _ = _codec(target)
    types = {name: values.dtype.str for name, values in selection.more.items()}
    record = json.dumps({"format": _FORMAT, "types": types, "about": dict(selection.about)}, allow_nan=False)
    with whole_or_nothing(target, overwrite=overwrite) as partial:
        partial.write(to_bytes(selection.table(), record))
    return target


def read_table(path: str | os.PathLike[str]) -> FrameSelection:
    """Read what `write_table` wrote, exactly; or a table of another program.

    Parameters
    ----------
    path : path
        Of another program's table ``file`` and ``index`` are wanted, and ``dataset``, ``event``, ``score``, ``decision`` and ``reason``
        taken where they are there. Without decisions all its frames count as kept. Relative paths are from its own folder on.

    Raises
    ------
    ParameterError
        If the name ends neither in ``.csv`` nor in ``.parquet``.
    ReadError
        If the table is missing, damaged, or has not these columns.
    """
    source = Path(path)
    _, from_bytes = _codec(source)
    try:
        table, record = from_bytes(source.read_bytes())
        known = json.loads(record) if record else {"types": {}, "about": {}}
        about, types = dict(known["about"]), dict(known["types"])
    except OSError as error:
        raise ReadError(f"cannot read the table {source}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ReadError(f"{source} is no table, or a damaged one: {error}") from error
    if missing := [name for name in _NEEDED if name not in table]:
        raise ReadError(f"{source} has no column {' and '.join(missing)}; wanted the file and the number of each frame")
    columns = _completed(table, source.absolute().parent)
    if "decision" not in table:
        about = {ONLY_KEPT: True, **about}
    more = {name: table[name].to_numpy() for name in table if name not in COLUMNS}
    try:
        return FrameSelection(
            **columns, more={name: values.astype(types.get(name, _plain(values))) for name, values in more.items()}, about=about
        )
    except (ValueError, TypeError) as error:  # DataError is a ValueError
        raise ReadError(f"{source}: {error}") from error


def _completed(table: pd.DataFrame, folder: Path) -> dict[str, Any]:
    n = len(table)
    whole = {file: os.path.normpath(folder / file) for file in set(table["file"])}  # few files have many frames
    decisions = table["decision"] if "decision" in table else ["hit"] * n
    reasons = table["reason"] if "reason" in table else [LISTED if one != "miss" else "" for one in decisions]
    return {
        "file": [whole[file] for file in table["file"]],
        "dataset": list(table["dataset"]) if "dataset" in table else [""] * n,
        "index": table["index"].to_numpy(np.int64),
        "event": [str(event) for event in table["event"]] if "event" in table else [""] * n,
        "score": table["score"].to_numpy(np.float64) if "score" in table else np.full(n, np.nan),
        "decision": list(decisions),
        "reason": list(reasons),
    }


def _plain(values: Any) -> Any:
    """Of a column that does not say: text where it holds objects."""
    return np.str_ if values.dtype.kind == "O" else values.dtype


def _to_csv(table: pd.DataFrame, record: str) -> bytes:
    text = table.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")  # in quotes '#' begins no comment
    return f"# {record}\n{text}".encode()


def _from_csv(data: bytes) -> tuple[pd.DataFrame, str]:
    import pandas as pd  # takes half a second, which few need

    text = data.decode("utf-8-sig")
    first, _, rest = text.partition("\n")
    record = first[1:].strip() if first.startswith("# {") else ""
    names = pd.read_csv(io.StringIO(rest if record else text), comment="#", nrows=0).columns
    kinds: Mapping[str, Any] = {name: str for name in COLUMNS if name in names and name not in ("index", "score")}
    types = json.loads(record)["types"] if record else {}
    texts = {name: str for name, kind in types.items() if np.dtype(kind).kind == "U"}
    table = pd.read_csv(
        io.StringIO(rest if record else text),
        comment="#",
        dtype={**kinds, **texts},
        keep_default_na=False,
        na_values={name: ["", "nan", "NaN"] for name in names if name not in kinds and name not in texts},
        float_precision="round_trip",
    )
    return table, record


def _to_parquet(table: pd.DataFrame, record: str) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = pa.Table.from_pandas(table, preserve_index=False)
    buffer = io.BytesIO()
    pq.write_table(arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), _KEY: record.encode()}), buffer)
    return buffer.getvalue()


def _from_parquet(data: bytes) -> tuple[pd.DataFrame, str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        arrow = pq.read_table(io.BytesIO(data))
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error
    return arrow.to_pandas(), (arrow.schema.metadata or {}).get(_KEY, b"").decode()


Codec = tuple[Callable[["pd.DataFrame", str], bytes], Callable[[bytes], tuple["pd.DataFrame", str]]]
_CODECS: Final[dict[str, Codec]] = {".csv": (_to_csv, _from_csv), ".parquet": (_to_parquet, _from_parquet)}


def _codec(path: Path) -> Codec:
    if path.suffix.lower() not in _CODECS:
        raise ParameterError(f"a table ends in {' or '.join(_CODECS)}, got {path.name}")
    return _CODECS[path.suffix.lower()]
