"""Which items a network does not see, so that they can tell how good it is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold, StratifiedShuffleSplit

from pycroclass.errors import DataError

Integers = npt.NDArray[np.int64]


def is_validation(
    labels: Integers, groups: Integers | None, *, fraction: float, seed: int, classes: tuple[str, ...]
) -> npt.NDArray[np.bool_]:
    """True for the items held back: about ``fraction`` of them, all classes among them, and whole groups where there are groups.

    Raises
    ------
    DataError
        If a class has fewer than two items (or groups), so that it cannot be on both sides.
    """
    what = "items" if groups is None else "groups"
    members = np.arange(len(labels)) if groups is None else groups
    for number, name in enumerate(classes):
        n = len(np.unique(members[labels == number]))
        if n < 2:
            raise DataError(f"class {name!r} occurs in {n} {what}; at least 2 are needed, one to learn from and one to validate with")
    if groups is None:
        n_held = min(max(round(fraction * len(labels)), len(classes)), len(labels) - len(classes))
        splits = StratifiedShuffleSplit(1, test_size=n_held, random_state=seed).split(labels, labels)
    else:
        n_splits = min(round(1 / fraction), len(np.unique(groups)), int(np.bincount(labels).min()))
        splits = StratifiedGroupKFold(n_splits, shuffle=True, random_state=seed).split(labels, labels, groups)
    masks = [np.isin(np.arange(len(labels)), held) for _, held in splits]
    complete = [mask for mask in masks if all(len(np.unique(labels[side])) == len(classes) for side in (mask, ~mask))]
    if not complete:
        raise DataError(f"no split of the {what} has all classes {classes} on both sides. Give more groups, or another seed or fraction.")
    return min(complete, key=lambda mask: abs(float(mask.mean()) - fraction))
