"""Names of classes as people write them, and the numbers that stand for them."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from pycroclass.errors import ReadError

log = logging.getLogger(__name__)

Classes = Mapping[str, tuple[str, ...]]
"""Names of classes in the order of their numbers, each with other names for it."""

ALIASES: Final = {
    "crystal": "crystals",
    "xtal": "crystals",
    "xtals": "crystals",
    "precipitates": "precipitate",
    "precip": "precipitate",
    "others": "other",
}
"""Words for the outcome of a crystallisation trial that mean the same."""
SPLITS: Final = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})
"""Names of folders that are no classes but say what their images are for."""
_SHOWN: Final = 8


def number_classes(names: Sequence[str], classes: Classes | None, where: str) -> tuple[tuple[str, ...], list[int]]:
    """The classes that names stand for, and the number of each name's class.

    A name is matched exactly, else whatever its case, spaces, dashes and underscores and by `ALIASES`. Whole numbers, where no class is
    named so, are the numbers of the ``classes``.

    Parameters
    ----------
    names : sequence of str
        Of the class of each item; empty for none, which has the number -1.
    classes : mapping of str to tuple of str, optional
        All classes with their other names. By default those that occur, in alphabetical order, each spelled as it is most often.
    where : str
        The file, for messages.

    Raises
    ------
    ReadError
        If a name stands for no class.

    Examples
    --------
    >>> number_classes(["Clear", "crystal", "", "clear", "Crystals", "crystal"], None, "table")
    (('Clear', 'crystal'), [0, 1, -1, 0, 1, 1])
    >>> number_classes(["crystal", "CLEAR"], {"Clear": (), "Crystals": ()}, "table")
    (('Clear', 'Crystals'), [1, 0])
    """
    counts = Counter(name for name in names if name)
    known = _found(counts, where) if classes is None else classes
    numbers = _numbers(known, counts)
    if unknown := [name for name in counts if name not in numbers]:
        shown = ", ".join(f"{name!r} ({counts[name]})" for name in sorted(unknown)[:_SHOWN])
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        raise ReadError(
            f"{where}: the labels {shown}{more} are none of the classes {', '.join(known)}. "
            "Correct them, or name them in classes={name: [other names]}."
        )
    return tuple(known), [numbers[name] if name else -1 for name in names]


def key_of(name: str) -> str:
    """What is the same for all spellings of a name.

    Examples
    --------
    >>> key_of(" Light_Precip "), key_of("XTAL")
    ('light precip', 'crystals')
    """
    plain = " ".join(re.split(r"[\s_-]+", name.strip().casefold()))
    return ALIASES.get(plain, plain)


def _found(counts: Counter[str], where: str) -> Classes:
    """The classes that occur, under the spelling that occurs most."""
    spellings: dict[str, list[str]] = {}
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        spellings.setdefault(key_of(name), []).append(name)
    for same in spellings.values():
        if len(same) > 1:
            log.warning("%s: %s are taken as one class, %r", where, ", ".join(f"{name!r} ({counts[name]})" for name in same), same[0])
    return {same[0]: tuple(same[1:]) for same in sorted(spellings.values())}


def _numbers(classes: Classes, names: Mapping[str, int]) -> dict[str, int]:
    """The number of each name that stands for a class."""
    exact = {name: number for number, (main, others) in enumerate(classes.items()) for name in (main, *others)}
    loose: dict[str, set[int]] = {}
    for name, number in exact.items():
        loose.setdefault(key_of(name), set()).add(number)
    found = {name: exact[name] for name in names if name in exact}
    if not found and names and all(name.isdecimal() and int(name) < len(classes) for name in names):
        return {name: int(name) for name in names}
    near = {name: loose.get(key_of(name), set()) for name in names if name not in exact}
    return found | {name: min(numbers) for name, numbers in near.items() if len(numbers) == 1}
