"""The records that say how the datasets of a result file were computed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from pycroclass.array_value import ArrayValue
from pycroclass.errors import ReadError
from pycroclass.metadata_json import HIDDEN
from pycroclass.provenance import Provenance

FORMAT: Final = 1
"""Of a record."""
RECORD: Final = "provenance_json"
"""Member of the hidden group: how to compute the dataset again."""
ARRAYS: Final = "arrays"
"""Group in the hidden group: the arrays that the record names, by digest."""
_PIECE_BYTES: Final = 32 << 20


@dataclass(frozen=True)
class Record:
    """How one dataset was computed.

    Parameters
    ----------
    provenance : Provenance
        With the arrays that its pipelines name.
    versions : mapping of str to str
        Of Python and the packages that computed it.
    device : str or None
    started, finished : str
        ISO 8601, UTC.
    """

    provenance: Provenance
    versions: Mapping[str, str]
    device: str | None
    started: str
    finished: str


def records(path: str | Path) -> dict[str, Record]:
    """The record of each dataset in a file that pycroclass wrote, by HDF5 path without the leading slash.

    Raises
    ------
    ReadError
        If the file cannot be read, or a record was written by a later version or is damaged.
    """
    found: dict[str, Record] = {}

    def visit(name: str, node: h5py.Group | h5py.Dataset) -> None:
        hidden = node.get(HIDDEN) if isinstance(node, h5py.Group) else None
        main = f"{name}/{name.rsplit('/', 1)[-1]}"
        if isinstance(hidden, h5py.Group) and RECORD in hidden and main in file:
            found[main] = _record(path, hidden)

    try:
        with h5py.File(path, "r") as file:
            file.visititems(visit)
    except OSError as error:
        raise ReadError(f"{path} cannot be read as an NSID file: {error}") from error
    return found


def digest_dataset(path: str | Path, key: str) -> str:
    """``dataset:`` and the SHA-256 of one dataset's dtype, shape and values: what stays the same when others are added to its file.

    Raises
    ------
    OSError, KeyError
        If the file cannot be read, or has no such dataset.
    """
    with h5py.File(path, "r") as file:
        dataset = file[key]
        sha = hashlib.sha256(f"{dataset.dtype.str} {dataset.shape} ".encode())
        row_bytes = max(1, dataset.nbytes // max(1, dataset.shape[0]))
        step = max(1, _PIECE_BYTES // row_bytes)
        for start in range(0, dataset.shape[0], step):
            sha.update(np.ascontiguousarray(dataset[start : start + step]).data)
    return f"dataset:{sha.hexdigest()}"


def _record(path: str | Path, hidden: h5py.Group) -> Record:
    try:
        data: dict[str, Any] = json.loads(hidden[RECORD][()])
        if data["format"] != FORMAT:
            raise ReadError(f"{path}: a record of format {data['format']}, this version of pycroclass knows {FORMAT}; upgrade it")
        arrays = {digest: ArrayValue(values[()]) for digest, values in hidden.get(ARRAYS, {}).items()}
        damaged = [digest for digest, array in arrays.items() if array.digest != digest]
        if damaged:
            raise ReadError(f"{path}: the stored array {damaged[0]} does not match its digest: the file was changed")
        tree = Provenance.from_dict(data["tree"], arrays)
        return Record(tree, data["versions"], data["device"], data["started"], data["finished"])
    except (KeyError, TypeError, ValueError) as error:
        raise ReadError(f"{path}: the record in {hidden.name} is damaged: {error}") from error
