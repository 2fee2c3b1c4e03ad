"""A labelled stack in two: to learn from, and to test with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass.errors import DataError
from pycroclass.per_item import column, columns, take
from pycroclass.sid import unwrap
from pycroclass.stratified import held_out

if TYPE_CHECKING:
    import pandas

NO_CLASS: Final = "(none)"
_TRAINING: Final = ("train", "training")
_TESTING: Final = ("test", "testing")


@dataclass(frozen=True, eq=False)
class Split:
    """Two parts of a dataset that share no item.

    Parameters
    ----------
    training, testing : sidpy.Dataset
        Lazy; whatever is known of the items goes with them.
    training_items, testing_items : array of int64
        Their numbers in the whole dataset, ascending.
    by : str, optional
        What no value of is in both, in words: the name of a column, or "given groups".
    """

    training: sidpy.Dataset
    testing: sidpy.Dataset
    training_items: npt.NDArray[np.int64]
    testing_items: npt.NDArray[np.int64]
    by: str | None = None

    @property
    def class_counts(self) -> pandas.DataFrame:
        """How many items of each class are on each side."""
        import pandas

        sides = {"training": self.training, "testing": self.testing}
        counts = {name: count_classes(side)["items"] for name, side in sides.items()}
        return pandas.DataFrame(counts).fillna(0).astype(int).loc[_rows_of(self.training, *counts.values())]


def split(dataset: sidpy.Dataset, by: str | npt.ArrayLike | None = None, *, fraction: float = 0.2, seed: int = 0) -> Split:
    """Split a labelled stack in two, at random, with the same share of each class on both sides.

    Pictures of one drop, one plate or one run are alike for reasons that have nothing to do with their class. A network that was shown
    some is tested too kindly on others: say with ``by`` what must not be on both sides.

    Parameters
    ----------
    dataset : sidpy.Dataset
        Items along its first axis. Those without a label are split too.
    by : str or array, shape (n_items,), optional
        The column that names the group of each item (``"plate"``, ``"run"``), or the groups themselves. A group is never on both sides.
    fraction : float
        Of the items that go to ``testing``; met as nearly as whole groups allow.
    seed : int

    Returns
    -------
    Split

    Raises
    ------
    ParameterError
        If there is no such column.
    DataError
        If a class occurs in one group only.

    Examples
    --------
    >>> import numpy as np, sidpy
    >>> drops = sidpy.Dataset.from_array(np.zeros((8, 4, 4)))
    >>> drops.metadata = {"labels": [0, 1] * 4, "items": {"plate": list("AABBCCDD")}}
    >>> parts = split(drops, by="plate", fraction=0.25)
    >>> parts.training.shape, parts.testing.shape
    ((6, 4, 4), (2, 4, 4))
    >>> set(parts.training.metadata["items"]["plate"]) & set(parts.testing.metadata["items"]["plate"])
    set()
    """
    groups = column(dataset, by) if isinstance(by, str) else by
    labels = column(dataset, "labels") if "labels" in columns(dataset) else np.full(dataset.shape[0], -1)
    try:
        testing = held_out(labels, groups, fraction=fraction, seed=seed)
    except DataError as error:
        names = ", ".join(f"{number} {name!r}" for number, name in enumerate(unwrap(dataset)[1].classes))
        raise DataError(f"{error} (Classes: {names or 'none'}.)") from None
    return _parted(dataset, ~testing, testing, by if isinstance(by, str) or by is None else "given groups")


def split_as_given(dataset: sidpy.Dataset, name: str = "split") -> Split:
    """Split a stack as a column of its items says: ``train`` or ``training``, and ``test`` or ``testing``.

    Parameters
    ----------
    dataset : sidpy.Dataset
        Read from folders ``train`` and ``test``, from shards of these names, or from a table with such a column.
    name : str
        Of the column.

    Returns
    -------
    Split
        Items of which the column says something else, such as ``validation``, are in neither part.

    Raises
    ------
    DataError
        If one side has no item.
    """
    values = np.char.lower(column(dataset, name).astype(str))
    training, testing = np.isin(values, _TRAINING), np.isin(values, _TESTING)
    if not training.any() or not testing.any():
        raise DataError(
            f"the column {name!r} has the values {', '.join(np.unique(values))}; wanted {_TRAINING[0]!r} and {_TESTING[0]!r}. "
            "Use split to draw the items to test with."
        )
    return _parted(dataset, training, testing, None)


def count_classes(dataset: sidpy.Dataset, by: str | None = None) -> pandas.DataFrame:
    """How many items of each class there are.

    Parameters
    ----------
    dataset : sidpy.Dataset
        Items with labels; or labels themselves, as operators give them, which are computed.
    by : str, optional
        A column of the items, such as ``"plate"``: one column of the table for each of its values.

    Returns
    -------
    pandas.DataFrame
        A row for each class, and one for items without a class where there are any.

    Examples
    --------
    >>> import numpy as np, sidpy
    >>> drops = sidpy.Dataset.from_array(np.zeros((3, 4, 4)))
    >>> drops.metadata = {"labels": [0, 1, 1], "classes": ["clear", "crystals"], "items": {"plate": ["A", "A", "B"]}}
    >>> print(count_classes(drops, by="plate"))
    plate     A  B
    class
    clear     1  0
    crystals  1  1
    """
    import pandas  # half a second

    spec = unwrap(dataset)[1]
    classes = spec.classes
    are_labels = spec.quantity == "label" and spec.dtype.kind in "iu"
    labels = np.ravel(np.asarray(dataset) if are_labels else column(dataset, "labels")).astype(np.int64)
    names = [*classes, *map(str, range(len(classes), int(labels.max(initial=-1)) + 1)), *([NO_CLASS] if (labels < 0).any() else [])]
    what = column(dataset, by) if by is not None else np.full(len(labels), "items")
    rows = np.where(labels < 0, len(names) - 1, labels)
    values, numbers = np.unique(what, return_inverse=True)
    table = np.zeros((len(names), len(values)), np.int64)
    np.add.at(table, (rows, numbers), 1)
    return pandas.DataFrame(table, index=pandas.Index(names, name="class"), columns=pandas.Index(values, name=by))


def _rows_of(dataset: sidpy.Dataset, *counts: Any) -> list[str]:
    """All classes in their order, then what else was counted."""
    found = dict.fromkeys([*unwrap(dataset)[1].classes, *(name for count in counts for name in count.index if name != NO_CLASS)])
    return [*found, *([NO_CLASS] if any(NO_CLASS in count.index for count in counts) else [])]


def _parted(dataset: sidpy.Dataset, training: npt.NDArray[np.bool_], testing: npt.NDArray[np.bool_], by: str | None) -> Split:
    return Split(take(dataset, training), take(dataset, testing), np.flatnonzero(training), np.flatnonzero(testing), by)
