"""What people said about the items of a dataset, as its table of labels told."""

from __future__ import annotations

from typing import Final

import numpy as np
import sidpy

from pycroclass.errors import DataError
from pycroclass.evaluation.judgements import Judgements
from pycroclass.per_item import column, columns
from pycroclass.sid import unwrap

_COLUMN: Final = "label by "
_SECOND: Final = " 2"


def judgements_of(dataset: sidpy.Dataset) -> Judgements:
    """The judgements of several people that a dataset carries as columns ``label by Ann``; those of ``Ann 2`` are her second look.

    Items are in the order of the dataset, so that a model's labels for it can be given to `human_ceiling` as they are.

    Parameters
    ----------
    dataset : sidpy.Dataset
        As read from a table with a column of scorers.

    Raises
    ------
    DataError
        If there are no such columns.

    Examples
    --------
    >>> drops = sidpy.Dataset.from_array(np.zeros((2, 4, 4)))
    >>> drops.metadata = {"classes": ["clear", "crystal"], "items": {"label by Ann": [0, 1], "label by Ben": [1, 1]}}
    >>> judgements_of(drops).pairs().loc["Ann", "Ben"].item()
    0.5
    """
    said = {name.removeprefix(_COLUMN): column(dataset, name).astype(np.int64) for name in columns(dataset) if name.startswith(_COLUMN)}
    first = [name for name in said if name.removesuffix(_SECOND) == name or name.removesuffix(_SECOND) not in said]
    if not first:
        raise DataError(f"the dataset {dataset.title!r} has no columns {_COLUMN + '…'!r}: read a table with a column of scorers")
    n_items = dataset.shape[0]
    names = column(dataset, "files").tolist() if "files" in columns(dataset) else [str(i) for i in range(n_items)]
    again = np.stack([said.get(name + _SECOND, np.full(n_items, -1)) for name in first], axis=1)
    labels = np.stack([said[name] for name in first], axis=1)
    return Judgements(labels, unwrap(dataset)[1].classes, tuple(first), tuple(names), again if (again >= 0).any() else None)
