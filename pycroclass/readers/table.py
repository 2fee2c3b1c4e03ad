"""Tables of labelled images: a row for each image, or for each time that somebody scored it.

Columns are known by their names, whatever their case: the path of the image (`PATH`, relative to the folder of the table), its class
(`LABEL`), who says so (`SCORER`). All others become columns of the items. Where images have several rows, the class that most of them name
is the label; an image on which they tie has none. What differs between the rows of an image becomes a column for each scorer:
``label by anna``, the number of the class that anna gave, -1 for none.
"""

from __future__ import annotations

import csv
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath
from typing import Any, Final

import sidpy

from pycroclass.readers.class_names import number_classes
from pycroclass.readers.failure import failure
from pycroclass.readers.labelled import ItemFacts, complete, open_labelled
from pycroclass.readers.opening import read_stack
from pycroclass.readers.options import ReadOptions
from pycroclass.sid import unwrap

log = logging.getLogger(__name__)

Table = Mapping[str, Sequence[Any]]
"""Columns by name, all of one length; None for what is missing."""

Rows = dict[str, list[int]]
"""The rows of each image by its path."""

PATH: Final = ("path", "image_path", "file_path", "filepath", "file", "file_name", "filename", "image", "image_file")
"""Names for the column of paths; the first that a table has counts, here and below."""
LABEL: Final = ("label", "label_text", "class", "class_name", "category")
SCORER: Final = ("scorer", "annotator", "rater", "observer")
_SHOWN: Final = 5


@dataclass(frozen=True)
class Roles:
    """Which column of a table is what."""

    path: str
    label: str | None
    scorer: str | None


def open_file(path: Path, options: ReadOptions) -> dict[str, sidpy.Dataset]:
    """The images that a table with commas, semicolons or tabs lists, as ``image``, and their labels as ``label``.

    Raises
    ------
    ReadError
        If the table has no column of paths, rows of different length, images that are not there, or labels that are no classes.
    """
    return open_table(path, _read_text(path), options)


def open_table(path: Path, table: Table, options: ReadOptions) -> dict[str, sidpy.Dataset]:
    """The images that a table lists, with what it says of them."""
    roles = _roles(path, table)
    rows = _rows_of_images(path, table[roles.path])
    files = _located(path, list(rows), rows)
    stack = read_stack(files, replace(options, classes=None, key=None, format=""))["image"]
    array, spec = unwrap(stack)
    facts = _facts(path, table, roles, rows, options)
    return open_labelled(array, replace(spec, title=path.stem, classes=()), facts, path, options, also=files)


def _read_text(path: Path) -> dict[str, list[Any]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            delimiter = max(",;\t", key=first.count)
            header, *rows = [row for row in csv.reader(file, delimiter=delimiter, strict=True) if row]
    except csv.Error as error:
        raise failure(path, f"is no table: {error}", "Save it as CSV again.") from error
    header = [name.strip() for name in header]
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            remedy = f"Its columns are {', '.join(header)}; a value with a {delimiter!r} in it needs quotes."
            raise failure(path, f"has {len(row)} values in row {number}, wanted {len(header)}", remedy)
    if len(set(header)) < len(header):
        raise failure(path, f"has two columns of one name: {', '.join(header)}", "Rename one.")
    return {name: _typed([row[i].strip() for row in rows]) for i, name in enumerate(header)}


def _typed(texts: list[str]) -> list[Any]:
    """Numbers where nothing is lost by it: ``007`` and ``1.50`` stay texts."""
    for kind in (int, float):
        try:
            values = [kind(text) if text else None for text in texts]
        except ValueError:
            continue
        if any(texts) and all(value is None or str(value) == text for value, text in zip(values, texts)):
            return values
    return [text or None for text in texts]


def _roles(path: Path, table: Table) -> Roles:
    plain = {name.strip().casefold().replace(" ", "_"): name for name in table}
    paths, label, scorer = (next((plain[name] for name in names if name in plain), None) for names in (PATH, LABEL, SCORER))
    if paths is None:
        remedy = f"It has {', '.join(table)}. Name the column of paths {PATH[0]!r}."
        raise failure(path, "has no column with the paths of images", remedy)
    return Roles(paths, label, scorer)


def _rows_of_images(path: Path, names: Sequence[Any]) -> Rows:
    """The rows of each image, in the order in which images first occur."""
    if not len(names):
        raise failure(path, "has no rows", "A table of images has one for each image.")
    rows: Rows = {}
    for row, name in enumerate(names):
        if name is None:
            raise failure(path, f"has no path in row {row + 2}", "Each row needs the path of its image.")
        rows.setdefault(os.path.normpath(str(name)), []).append(row)
    return rows


def _located(table: Path, names: Sequence[str], rows: Rows) -> list[Path]:
    """Paths as the table means them: from its own folder on, whatever the kind of slash."""
    found = [table.parent / name for name in names]
    found = [file if file.is_file() or "\\" not in file.name else file.parent / PureWindowsPath(file.name).as_posix() for file in found]
    missing = [name for name, file in zip(names, found) if not file.is_file()]
    if missing:
        shown = ", ".join(f"{name} (row {rows[name][0] + 2})" for name in missing[:_SHOWN])
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        problem = f"lists {len(missing)} of {len(names)} images that are not there: {shown}{more}"
        raise failure(table, problem, f"Paths are relative to {table.absolute().parent}.")
    return found


def _facts(path: Path, table: Table, roles: Roles, rows: Rows, options: ReadOptions) -> ItemFacts:
    """The class of each image, and all other columns."""
    labels = None if roles.label is None else [_as_name(value) for value in table[roles.label]]
    others = {name: values for name, values in table.items() if name not in (roles.path, roles.label)}
    if len(rows) == len(table[roles.path]):
        return ItemFacts(list(rows), labels, {name: complete(values) for name, values in others.items()})
    scorers = _scorers(others.pop(roles.scorer) if roles.scorer else None, rows)
    columns: dict[str, list[Any]] = {}
    for name, values in others.items():
        if all(values[row] == values[of[0]] for of in rows.values() for row in of):
            columns[name] = complete([values[of[0]] for of in rows.values()])
        else:
            columns |= {f"{name} by {who}": complete(found) for who, found in _by_scorer(values, scorers, rows).items()}
    if labels is None:
        return ItemFacts(list(rows), None, columns)
    classes, numbers = number_classes(labels, options.class_names, str(path))
    for who, found in _by_scorer(numbers, scorers, rows).items():
        columns[f"label by {who}"] = [-1 if number is None else number for number in found]
    names = [classes[number] if number >= 0 else "" for number in _majority(path, classes, numbers, rows)]
    return ItemFacts(list(rows), names, columns, dict.fromkeys(classes, ()))


def _as_name(value: Any) -> str:
    """A label as text; a number that some program made real is whole again."""
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _scorers(names: Sequence[Any] | None, rows: Rows) -> list[str]:
    """Who scored in each row; who scored an image again is a scorer of his own, ``anna 2``."""
    scorers = [""] * sum(map(len, rows.values()))
    for of in rows.values():
        times: Counter[str] = Counter()
        for row in of:
            name = "scorer" if names is None else str(names[row] or "unknown")
            times[name] += 1
            number = times[name]
            scorers[row] = name if number == 1 and names is not None else f"{name} {number}"
    return scorers


def _by_scorer(values: Sequence[Any], scorers: Sequence[str], rows: Rows) -> dict[str, list[Any]]:
    """What each scorer says of each image, None where he says nothing."""
    columns = {who: [None] * len(rows) for who in sorted(set(scorers))}
    for image, of in enumerate(rows.values()):
        for row in of:
            columns[scorers[row]][image] = values[row]
    return columns


def _majority(path: Path, classes: Sequence[str], numbers: Sequence[int], rows: Rows) -> list[int]:
    """The class that most rows of an image name, -1 where they tie."""
    labels, tied = [], []
    for image, of in rows.items():
        votes = Counter(numbers[row] for row in of if numbers[row] >= 0).most_common()
        is_tied = len(votes) > 1 and votes[0][1] == votes[1][1]
        labels.append(-1 if is_tied or not votes else votes[0][0])
        if is_tied:
            tied.append(f"{image} ({', '.join(f'{n} {classes[k]}' for k, n in votes)})")
    n_several = sum(len(of) > 1 for of in rows.values())
    log.warning(
        "%s: %d of %d images were scored several times; the majority is their label. %d tie and are left unlabelled%s",
        path,
        n_several,
        len(rows),
        len(tied),
        f": {', '.join(tied[:_SHOWN])}{' …' if len(tied) > _SHOWN else ''}" if tied else "",
    )
    return labels
