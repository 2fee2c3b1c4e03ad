"""What an earlier run of the same command has left: the pipeline that it fitted, in its result or beside its unfinished output."""

from __future__ import annotations

import fcntl
import glob
import json
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import sidpy

from pycroclass.bundle import Bundle
from pycroclass.errors import ReadError, WriteError
from pycroclass.item_spec import ItemSpec
from pycroclass.operator import Pipeline
from pycroclass.provenance import Provenance
from pycroclass.readers.records import records
from pycroclass.recipe import Recipe
from pycroclass.serialize import from_dict, to_dict
from pycroclass.sid import provenance_of, unwrap
from pycroclass.spec import Domain
from pycroclass.stage import Execution
from pycroclass.writers.atomic import journal_of, partial_of, refuse_taken, try_lock
from pycroclass.writers.in_place import Ground
from pycroclass.writers.journal import read_journal

log = logging.getLogger(__name__)

_ANY_ITEM: Final = ItemSpec(Domain.PIXEL, ())
"""The fitted pipeline of an unfinished run is bound to its source instead."""


def fitted(recipe: Recipe, dataset: sidpy.Dataset, output: Path, execution: Execution, *, overwrite: bool = False) -> Pipeline:
    """The recipe's pipeline, fitted to the dataset, and kept until the output is finished.

    It is not fitted again where the same run has done so: in the output, or before it was cut off.

    Raises
    ------
    WriteError
        If there is an unfinished run of another recipe or source, or the output could not be written later.
    """
    task = _task(recipe, dataset, execution)
    if (known := _fitted_in(output, task)) is not None:
        return known
    path = kept_pipeline(output)
    if path.exists():
        kept = Bundle.load(path)
        if kept.training["task"] != task:
            raise WriteError(
                f"{path} belongs to an unfinished run of another recipe or source, or with other blocks. Finish that one with the command "
                "that began it, or throw it away: --restart"
            )
        log.info("the pipeline was fitted before the run was cut off: %s", path)
        return replace(kept.pipeline, fitted=kept.training["fitted"])
    refuse_taken(output, overwrite=overwrite)  # a fit may take hours
    model = recipe.fit(dataset, execution=execution)
    classes = next((step.classes for step in reversed(model.members) if hasattr(step, "classes")), ())
    Bundle(model, _ANY_ITEM, classes, training={"task": task, "fitted": model.fitted}).save(path)
    return model


def kept_pipeline(output: Path) -> Path:
    """Where the fitted pipeline of an unfinished run lies."""
    return Path(f"{output}.partial.safetensors")


def discard(output: Path) -> None:
    """Throw away what an unfinished run has left beside its output.

    Raises
    ------
    WriteError
        If that run is still going on.
    """
    partial = partial_of(output)
    with suppress(FileNotFoundError), open(partial, "rb") as file:
        if not try_lock(file.fileno(), fcntl.LOCK_EX):
            raise WriteError(f"{partial} is being written by another run. Wait for it, or stop it.")
        is_result = output.exists() and os.path.samefile(partial, output)  # it was killed when all was done but the names
        if not is_result and (begun := read_journal(journal_of(partial))) is not None:
            Ground.from_dict(begun[0]["ground"]).remove_shards(output.parent)
    for path in sorted(output.parent.glob(f"{glob.escape(output.name)}.partial*"), reverse=True):
        path.unlink(missing_ok=True)


def _task(recipe: Recipe, dataset: sidpy.Dataset, execution: Execution) -> dict[str, Any]:
    """All that the fitted pipeline depends on."""
    return _plain(
        {
            "recipe": to_dict(recipe.pipeline)[0],
            "nonfinite": recipe.nonfinite,
            "source": _timeless(provenance_of(dataset).digested("sampled").to_dict()),
            "chunks": unwrap(dataset)[0].chunks,
            "execution": vars(execution),
            "device": str(execution.resolve()),
        }
    )


def _fitted_in(output: Path, task: Mapping[str, Any]) -> Pipeline | None:
    """The pipeline that a finished result came from, if it was fitted to do this task."""
    if not output.exists():
        return None
    with suppress(ReadError):
        for record in records(output).values():
            for node in record.provenance.walk():
                if _task_of(node) == task:
                    return Pipeline(from_dict(node.parameters["pipeline"], node.arrays).members, fitted=node.parameters["fit"])
    return None


def _task_of(node: Provenance) -> dict[str, Any] | None:
    fit = node.parameters.get("fit")
    if node.verb != "run" or not fit or fit["masked"]:
        return None
    of_run = {name: node.parameters[name] for name in ("chunks", "execution", "device")}
    return _plain({"recipe": fit["recipe"], "nonfinite": fit["nonfinite"], "source": _timeless(fit["source"]), **of_run})


def _timeless(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The tree without the times of its files: a digest tells more."""
    files = [{name: value for name, value in stamp.items() if name != "modified"} for stamp in tree["files"]]
    return {**tree, "files": files, "inputs": [_timeless(node) for node in tree["inputs"]]}


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    """As JSON gives it back."""
    plain: dict[str, Any] = json.loads(json.dumps(value))
    return plain
