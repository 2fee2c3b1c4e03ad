"""What a classifier answered for items whose classes are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from pycroclass.array_value import frozen
from pycroclass.errors import DataError, ParameterError
from pycroclass.operator import set_field

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]
Strings = npt.NDArray[np.str_]

UNCERTAIN: Final = "uncertain"
"""How tables name the answer of an item that was left undecided."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Probabilities of items whose classes are known, and the groups that the items belong to.

    Parameters
    ----------
    probability : array of float, shape (n_items, n_classes)
        Between 0 and 1; those of one item add up to 1.
    labels : array of int, shape (n_items,)
        True class of each item, from 0.
    classes : tuple of str
        Names of the classes, in the order of the columns.
    groups : array of str, shape (n_items,), optional
        Run, plate, patient: what items share that makes them resemble each other.
    names : array of str, shape (n_items,), optional
        Name of each item, such as its file.
    decided : array of int, shape (n_items,), optional
        The class that each item was given, where that is not always the most probable one; ``n_classes`` where it was left uncertain.

    Raises
    ------
    DataError
        If shapes do not fit together, a label is no class, or probabilities are none.

    Examples
    --------
    >>> sorted_ = Predictions([[0.9, 0.1], [0.4, 0.6]], [0, 0], ("miss", "hit"))
    >>> sorted_.label.tolist(), sorted_.confidence.tolist()
    ([0, 1], [0.9, 0.6])
    """

    probability: Floats
    labels: Integers
    classes: tuple[str, ...]
    groups: Strings | None = None
    names: Strings | None = None
    decided: Integers | None = None

    def __post_init__(self) -> None:
        set_field(self, "classes", tuple(str(name) for name in self.classes))
        set_field(self, "probability", frozen(self.probability, np.float64))
        for name, dtype in (("labels", np.int64), ("groups", np.str_), ("names", np.str_), ("decided", np.int64)):
            if getattr(self, name) is not None:
                set_field(self, name, frozen(getattr(self, name), dtype))
        self._check()

    @property
    def n_items(self) -> int:
        """Number of items."""
        return len(self.labels)

    @property
    def n_classes(self) -> int:
        """Number of classes, `UNCERTAIN` not counted."""
        return len(self.classes)

    @property
    def label(self) -> Integers:
        """The class that each item was given: what was decided, else the most probable one (of equals the first)."""
        return self.most_probable if self.decided is None else self.decided

    @property
    def most_probable(self) -> Integers:
        """The most probable class of each item."""
        most: Integers = self.probability.argmax(1).astype(np.int64)
        return most

    @property
    def confidence(self) -> Floats:
        """The probability of the most probable class."""
        largest: Floats = self.probability.max(1, initial=0.0)
        return largest

    @property
    def group_names(self) -> tuple[str, ...]:
        """The groups, in the order of their first items."""
        if self.groups is None:
            return ()
        names, first = np.unique(self.groups, return_index=True)
        return tuple(names[np.argsort(first)].tolist())

    def class_index(self, name: str) -> int:
        """Number of a class.

        Raises
        ------
        ParameterError
            If there is no class of that name.
        """
        if name not in self.classes:
            raise ParameterError(f"no class {name!r}: the classes are {', '.join(self.classes)}")
        return self.classes.index(name)

    def take(self, items: Integers | Booleans) -> Predictions:
        """Some of the items, by number or by a mask."""
        groups, names = (None if values is None else values[items] for values in (self.groups, self.names))
        decided = None if self.decided is None else self.decided[items]
        return Predictions(self.probability[items], self.labels[items], self.classes, groups=groups, names=names, decided=decided)

    def one_of_each_group(self, *, seed: int = 0) -> Predictions:
        """One item of each class of each group, drawn at random: items that no longer share a group.

        A threshold for a sensitivity that is guaranteed for independent items is guaranteed for an item of a new group if it was found
        on these. The share of each class is no longer that of all items: find thresholds for a precision or a workload otherwise.

        Raises
        ------
        DataError
            If there are no groups.
        """
        if self.groups is None:
            raise DataError("the predictions have no groups; evaluate with groups=…")
        shuffled = np.random.default_rng(seed).permutation(self.n_items)
        keys = np.stack([np.unique(self.groups, return_inverse=True)[1][shuffled], self.labels[shuffled]])
        first = np.unique(keys, axis=1, return_index=True)[1]
        return self.take(np.sort(shuffled[first]))

    def table(self) -> pd.DataFrame:
        """A row for each item: name, group, true class, given class, confidence, and the probability of each class."""
        import pandas as pd  # takes half a second, which few need

        names = np.array([*self.classes, UNCERTAIN])
        columns: dict[str, Any] = {"name": self.names, "group": self.groups, "truth": names[self.labels], "label": names[self.label]}
        columns |= {"confidence": self.confidence}
        columns |= {f"probability[{name}]": self.probability[:, i] for i, name in enumerate(self.classes)}
        return pd.DataFrame({name: values for name, values in columns.items() if values is not None})

    def _check(self) -> None:
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            raise DataError(f"wanted the names of at least two classes, each once, got {self.classes}")
        if self.probability.ndim != 2 or self.probability.shape[1] != len(self.classes):
            raise DataError(f"probabilities have the shape {self.probability.shape}, wanted (items, {len(self.classes)})")
        for name in ("labels", "groups", "names", "decided"):
            values = getattr(self, name)
            if values is not None and values.shape != (len(self.probability),):
                raise DataError(f"{name} have the shape {values.shape}, wanted ({len(self.probability)},): one for each item")
        self._check_range("labels", self.labels, len(self.classes) - 1)
        if self.decided is not None:
            self._check_range("decided", self.decided, len(self.classes))
        in_range = (self.probability >= 0) & (self.probability <= 1 + 1e-6)
        if not in_range.all() or not np.allclose(self.probability.sum(1), 1, atol=1e-3):
            raise DataError("probabilities must lie between 0 and 1 and add up to 1 for each item; are these scores?")

    def _check_range(self, name: str, values: Integers, largest: int) -> None:
        if values.size and not 0 <= values.min() <= values.max() <= largest:
            raise DataError(f"{name} run from {values.min()} to {values.max()}, wanted 0 to {largest} for {self.classes}; leave out others")
