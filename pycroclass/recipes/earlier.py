"""What an earlier run of the same command has left: the pipeline that it fitted, in its result or beside its unfinished output."""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import sidpy

from pycroclass.bundle import Bundle
from pycroclass.errors import ReadError, WriteError
from pycroclass.item_spec import ItemSpec
from pycroclass.operator import Pipeline
from pycroclass.plugins import plugin_versions
from pycroclass.provenance import DigestKind, Provenance, timeless
from pycroclass.readers.records import Record, records
from pycroclass.recipes.recipe import Recipe
from pycroclass.serialize import from_dict, to_dict
from pycroclass.sid import provenance_of, unwrap
from pycroclass.spec import Domain
from pycroclass.stage import Execution
from pycroclass.worker_device import device_name
from pycroclass.writers.atomic import journal_of, partial_of, refuse_taken, try_lock
from pycroclass.writers.in_place import Ground
from pycroclass.writers.journal import read_journal
from pycroclass.writers.record import versions
from pycroclass.writers.run import deciding

log = logging.getLogger(__name__)

_ANY_ITEM: Final = ItemSpec(Domain.PIXEL, ())
"""The fitted pipeline of an unfinished run is bound to its source instead."""
_GO_ON: Final = "Finish that one with the command that began it, or throw it away: --restart"
_WORDS: Final = {
    "recipe": "the recipe",
    "plugins": "the versions of plug-ins",
    "nonfinite": "what is done with items that are not finite",
    "fitted_to": "the source",
    "source": "the source",
    "chunks": "the block sizes",
    "execution": "the execution",
    "device": "the device",
    "versions": "the versions of packages",
}


def fitted(
    recipe: Recipe,
    dataset: sidpy.Dataset,
    output: Path,
    execution: Execution,
    *,
    digest: DigestKind = "sampled",
    overwrite: bool = False,
    restart: bool = False,
) -> Pipeline:
    """The recipe's pipeline, fitted to the dataset, and kept until the output is finished.

    It is not fitted again where the same run has done so: before it was cut off, or, unless with ``restart``, in the output.

    Raises
    ------
    WriteError
        If there is an unfinished run of another recipe or source, or the output could not be written later.
    """
    task = _task(recipe, dataset, execution, digest)
    if not restart and (known := _fitted_in(output, task)) is not None:
        log.info("the pipeline is that of the finished result: %s", output)
        return known
    path, journal = kept_pipeline(output), journal_of(partial_of(output))
    if path.exists():
        kept = Bundle.load(path)
        if kept.training["task"] != task:
            different = "; ".join(_differences(kept.training["task"], task))
            raise WriteError(f"{path} belongs to an unfinished run that is not this one. Not the same: {different}. {_GO_ON}")
        log.info("the pipeline was fitted before the run was cut off: %s", path)
        return replace(kept.pipeline, fitted=kept.training["fitted"])
    if journal.exists():  # a fit may take hours: what stands in the way of its result is to be known before
        raise WriteError(f"{journal} belongs to an unfinished run of another recipe. {_GO_ON}")
    refuse_taken(output, overwrite=overwrite, differences=_differences_to(output, task))
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
    with ExitStack() as stack:
        with suppress(FileNotFoundError):
            file = stack.enter_context(open(partial, "rb"))
            if not try_lock(file.fileno(), fcntl.LOCK_EX):
                raise WriteError(f"{partial} is being written by another run. Wait for it, or stop it.")
            is_result = output.exists() and os.path.samefile(partial, output)  # it was killed when all was done but the names
            if not is_result and (begun := read_journal(journal_of(partial))) is not None:
                Ground.from_dict(begun[0]["ground"]).remove_shards(output.parent)
        for path in (kept_pipeline(output), journal_of(partial), partial):
            path.unlink(missing_ok=True)


def _task(recipe: Recipe, dataset: sidpy.Dataset, execution: Execution, digest: DigestKind) -> dict[str, Any]:
    """All that the fitted pipeline depends on; its source as the fit knows it, and as the output is to know it."""
    origin = provenance_of(dataset)
    fitted_to = timeless(origin.digested("sampled").to_dict())
    return _plain(
        {
            "recipe": to_dict(recipe.pipeline)[0],
            "plugins": plugin_versions(recipe.pipeline),
            "nonfinite": recipe.nonfinite,
            "fitted_to": fitted_to,
            "source": fitted_to if digest == "sampled" else timeless(origin.digested(digest).to_dict()),
            "chunks": unwrap(dataset)[0].chunks,
            "execution": vars(execution),
            "device": device_name(execution),
            "versions": deciding(versions()),
        }
    )


def _fitted_in(output: Path, task: Mapping[str, Any]) -> Pipeline | None:
    """The pipeline that a finished result came from, if it was fitted to do this task."""
    for node, record in _steps_of(output):
        if _task_of(node, record) == task:
            return Pipeline(from_dict(node.parameters["pipeline"], node.arrays).members, fitted=node.parameters["fit"])
    return None


def _steps_of(output: Path) -> Iterator[tuple[Provenance, Record]]:
    if output.exists():
        with suppress(ReadError):
            yield from [(node, record) for record in records(output).values() for node in record.provenance.walk()]


def _differences_to(output: Path, task: Mapping[str, Any]) -> list[str]:
    """In what a finished result is another's, in words."""
    steps = list(_steps_of(output))
    before = next(filter(None, (_task_of(node, record) for node, record in steps)), None)
    if before is None:
        return [_WORDS["recipe"]] if steps else []
    return _differences(before, task)


def _differences(before: Mapping[str, Any], task: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(_WORDS[name] for name in task if before.get(name) != task[name]))


def _task_of(node: Provenance, record: Record) -> dict[str, Any] | None:
    fit = node.parameters.get("fit")
    if node.verb != "run" or not fit or fit["masked"]:
        return None
    return _plain(
        {
            "recipe": fit["recipe"],
            "plugins": fit.get("plugins"),
            "nonfinite": fit["nonfinite"],
            "fitted_to": timeless(fit["source"]),
            "source": timeless(node.inputs[0].to_dict()),
            **{name: node.parameters[name] for name in ("chunks", "execution", "device")},
            "versions": deciding(record.versions),
        }
    )


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    """As JSON gives it back."""
    plain: dict[str, Any] = json.loads(json.dumps(value))
    return plain
