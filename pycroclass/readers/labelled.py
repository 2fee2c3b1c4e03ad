"""Stacks of images with what is known of each image: how folders, tables and records of labelled images become datasets."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import sidpy

from pycroclass.per_item import ITEMS
from pycroclass.readers.building import wrap_read
from pycroclass.readers.class_names import SPLITS, Classes, number_classes
from pycroclass.readers.options import ReadOptions
from pycroclass.spec import Spec


@dataclass(frozen=True)
class ItemFacts:
    """What is known of each image of a stack.

    Parameters
    ----------
    files : sequence of str
        Short names of the images, for people.
    names : sequence of str, optional
        Of the class of each, empty for none; None where there are no labels at all.
    columns : mapping of str to sequence
        Whatever else is known, one value for each image.
    classes : mapping of str to tuple of str, optional
        All classes with their other names, where they are known already.
    """

    files: Sequence[str]
    names: Sequence[str] | None = None
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    classes: Classes | None = None


def facts_of_folders(paths: Sequence[Path], options: ReadOptions) -> ItemFacts:
    """What the folders say that images lie in.

    Folders of different names are classes, ``hit/1.png`` and ``miss/2.png``. Above them, or in their place, may stand one of `SPLITS`:
    ``train/hit/1.png``, ``test/2.png``.

    Examples
    --------
    >>> facts = facts_of_folders([Path("train/hit/1.png"), Path("Test/miss/2.png"), Path("test/3.png")], ReadOptions())
    >>> facts.names, facts.columns
    (['hit', 'miss', ''], {'split': ['train', 'test', 'test']})
    >>> facts_of_folders([Path("run/1.png"), Path("run/2.png")], ReadOptions()).names is None
    True
    """
    folders = [path.absolute().parent for path in paths]
    root = common_folder(paths)
    splits = [_split_of(folder) for folder in folders]
    is_split = all(splits)
    names = ["" if is_split and _is_split(folder.name) else folder.name for folder in folders]
    has_labels = len(set(names) - {""}) > 1 or options.classes is not None
    files = [path.absolute().relative_to(root).as_posix() for path in paths]
    return ItemFacts(files, names if has_labels else None, {"split": splits} if is_split else {})


def common_folder(paths: Sequence[Path]) -> Path:
    """The lowest folder that all files lie in."""
    return Path(os.path.commonpath({path.absolute().parent for path in paths}))


def open_labelled(
    array: da.Array, spec: Spec, facts: ItemFacts, path: Path | Sequence[Path], options: ReadOptions, *, also: Sequence[Path] = ()
) -> dict[str, sidpy.Dataset]:
    """The stack as ``image``, with the labels as ``label`` where there are any.

    Parameters
    ----------
    array : dask array
    spec : Spec
        Of the stack; the classes are filled in.
    facts : ItemFacts
    path : Path or sequence of Path
        What was opened.
    options : ReadOptions
    also : sequence of Path
        Further files that the data come from.

    Raises
    ------
    ReadError
        If a label is none of ``options.classes``.
    """
    metadata: dict[str, Any] = {"files": list(facts.files)}
    datasets = {}
    if facts.columns:
        metadata[ITEMS] = {name: list(values) for name, values in facts.columns.items()}
    if facts.names is not None:
        where = str(path) if isinstance(path, Path) else f"{len(path)} files in {common_folder(path)}"
        classes, numbers = number_classes(facts.names, facts.classes or options.class_names, where)
        spec = replace(spec, classes=classes)
        metadata["labels"] = numbers
        labels = np.array(numbers, dtype=np.int32)
        label = Spec(spec.axes[:1], labels.dtype, quantity="class", title=f"{spec.title} label", classes=classes)
        datasets["label"] = wrap_read("label", da.from_array(labels, chunks=-1), label, path, options, also=also)
    image = wrap_read("image", array, spec, path, options, metadata=metadata, also=also)
    return {"image": image, **datasets}


def complete(values: Sequence[Any]) -> list[Any]:
    """A column without gaps: what is missing becomes NaN among numbers and the empty text among others.

    Examples
    --------
    >>> complete([1, None]), complete(["a", None]), complete([True, False])
    ([1.0, nan], ['a', ''], [True, False])
    """
    kinds = {type(value) for value in values}
    if type(None) not in kinds:
        return list(values)
    if {type(None)} < kinds <= {int, float, type(None)}:
        return [float("nan") if value is None else float(value) for value in values]
    return ["" if value is None else str(value) for value in values]


def _is_split(name: str) -> bool:
    return name.casefold() in SPLITS


def _split_of(folder: Path) -> str:
    """What images in this folder are for, empty where no folder says so."""
    return next((name.casefold() for name in (folder.name, folder.parent.name) if _is_split(name)), "")
