"""Compute a result again from its sources, and say whether it is the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import sidpy

from pycroclass import engine
from pycroclass.api import concatenate, mean_by_label
from pycroclass.bundle import Bundle
from pycroclass.errors import BundleError, PycroclassError, ReplayError
from pycroclass.exploring.decomposition import components, maps
from pycroclass.geometry import geometry_from_dict
from pycroclass.operator import Composable, Operator
from pycroclass.per_item import take
from pycroclass.placement import with_geometry
from pycroclass.provenance import FileStamp, Provenance, digest_file
from pycroclass.readers import read
from pycroclass.readers.records import Record, digest_dataset, records
from pycroclass.serialize import from_dict
from pycroclass.sid import unwrap, wrap
from pycroclass.stage import Execution


class Verdict(Enum):
    """What a replay found."""

    IDENTICAL = "identical"
    WITHIN_TOLERANCE = "within tolerance"
    DIFFERENT = "different"
    SOURCE_MISSING = "source missing"
    SOURCE_CHANGED = "source changed"
    NOT_REPLAYABLE = "cannot be replayed"

    @property
    def exit_code(self) -> int:
        """0: the same; 1: different; 2: cannot be told."""
        if self in (Verdict.IDENTICAL, Verdict.WITHIN_TOLERANCE):
            return 0
        return 1 if self is Verdict.DIFFERENT else 2


@dataclass(frozen=True)
class Replayed:
    """What became of one dataset of a result file.

    Parameters
    ----------
    dataset : str
        Its HDF5 path.
    verdict : Verdict
    reason : str
        Why, in words.
    difference : float, optional
        Largest absolute difference, where both were computed.
    """

    dataset: str
    verdict: Verdict
    reason: str = ""
    difference: float | None = None


def replay(path: str | Path, *, execution: Execution | None = None) -> list[Replayed]:
    """Compute each dataset of a result file again from its sources and compare, block by block.

    Parameters
    ----------
    path : path
        A file written by `write` or `append`.
    execution : Execution, optional
        Where to run; the blocks are those of the first run.

    Returns
    -------
    list of Replayed
        One for each dataset that pycroclass wrote.

    Raises
    ------
    ReadError
        If the file cannot be read.
    ReplayError
        If it holds nothing that pycroclass wrote.
    """
    path = Path(path)
    found = records(path)
    if not found:
        raise ReplayError(f"{path} holds no dataset with the provenance of a pycroclass run")
    stored = read(path)
    seen: dict[tuple[str, str], str] = {}
    return [_replay_one(key, record, stored[key], path, seen, execution) for key, record in found.items()]


def _replay_one(
    key: str, record: Record, stored: sidpy.Dataset, path: Path, seen: dict[tuple[str, str], str], execution: Execution | None
) -> Replayed:
    tree = record.provenance
    if not tree.is_replayable:
        reasons = {str(node.parameters.get("reason", "unknown origin")) for node in tree.walk() if node.verb == "given"}
        return Replayed(key, Verdict.NOT_REPLAYABLE, f"its data were {'; '.join(sorted(reasons))}")
    for node in tree.walk():
        for stamp in node.files:
            if trouble := _check_source(stamp, str(node.parameters["key"]), path, seen):
                return Replayed(key, *trouble)
    try:
        again, tolerance = rebuild(tree, path, execution), _tolerance(tree, path)
    except PycroclassError as error:
        return Replayed(key, Verdict.NOT_REPLAYABLE, str(error))
    return _compare(key, stored, again, tolerance)


def rebuild(tree: Provenance, beside: Path, execution: Execution | None = None) -> sidpy.Dataset:
    """The lazy dataset that a provenance tree describes.

    Raises
    ------
    ReplayError
        If a step is unknown or cannot be repeated.
    """
    inputs = [rebuild(node, beside, execution) for node in tree.inputs]
    match tree.verb:
        case "read":
            return _read_again(tree, beside)
        case "run":
            return _run_again(tree, inputs[0], beside, execution)
        case "concatenate":
            return concatenate(inputs)
        case "with_geometry":
            named = tree.parameters["axes"]
            return with_geometry(inputs[0], geometry_from_dict(tree.parameters["geometry"]), axes=None if named is None else tuple(named))
        case "take":
            return take(inputs[0], tree.arrays[tree.parameters["index"]].values)
        case "components":
            return components(pipeline_of(tree, beside))
        case "maps":
            return maps(inputs[0])
        case "mean_by_label":
            parameters = tree.parameters
            recorded = _as_recorded(parameters, execution)
            axes = tuple(parameters["axes"])
            means = mean_by_label(*inputs, axes=axes, nonfinite=parameters["nonfinite"], execution=recorded)
            return means[parameters["output"]]
    raise ReplayError(f"this version does not know the step {tree.verb!r}")


def _read_again(tree: Provenance, beside: Path) -> sidpy.Dataset:
    parameters = tree.parameters
    path = parameters["path"]
    where: Any = [located(p, beside) for p in path] if isinstance(path, list | tuple) else located(path, beside)
    options = {name: value for name, value in parameters.get("options", {}).items() if value is not None}
    return read(where, **options)[parameters["key"]]


def _run_again(tree: Provenance, dataset: sidpy.Dataset, beside: Path, execution: Execution | None) -> sidpy.Dataset:
    parameters = tree.parameters
    array, spec = unwrap(dataset)
    chunks = tuple(tuple(sizes) for sizes in parameters["chunks"])
    recorded = _as_recorded(parameters, execution)
    lazy, meaning = engine.run(pipeline_of(tree, beside), array.rechunk(chunks), spec, recorded)[parameters["output"]]
    return wrap(lazy, meaning, provenance=tree, metadata=dataset.metadata)


def _as_recorded(parameters: Mapping[str, Any], execution: Execution | None) -> Execution:
    """The blocks of the first run, on the device of this one."""
    return Execution(**{**parameters["execution"], "device": (execution or Execution()).device})


def pipeline_of(tree: Provenance, beside: Path) -> Composable:
    """The pipeline that a run of a tree used; that of a bundle comes from the bundle's file.

    Raises
    ------
    ReplayError
        If the bundle cannot be loaded or is another.
    """
    bundle = tree.parameters.get("bundle")
    if not bundle or not bundle["path"]:
        return from_dict(tree.parameters["pipeline"], tree.arrays)
    path = located(bundle["path"], beside)
    try:
        loaded = Bundle.load(path)
    except (BundleError, OSError) as error:
        raise ReplayError(f"the bundle {path} cannot be loaded: {error}") from error
    if loaded.digest != bundle["digest"]:
        raise ReplayError(f"the bundle {path} is not the one of the run: its digest is {loaded.digest}, wanted {bundle['digest']}")
    return loaded.pipeline


def _check_source(stamp: FileStamp, key: str, beside: Path, seen: dict[tuple[str, str], str]) -> tuple[Verdict, str] | None:
    path = located(stamp.path, beside)
    if not Path(path).exists():
        return Verdict.SOURCE_MISSING, f"{stamp.path} is not there, nor beside the result"
    if stamp.digest is None:
        return Verdict.NOT_REPLAYABLE, f"no digest of {stamp.path} was recorded"
    kind = stamp.digest.partition(":")[0]
    what = (path, key if kind == "dataset" else kind)
    if what not in seen:
        try:
            seen[what] = digest_dataset(path, key) if kind == "dataset" else digest_file(path, "full" if kind == "full" else "sampled")
        except (OSError, KeyError) as error:
            return Verdict.SOURCE_CHANGED, f"{path} can no longer be read as it was: {error}"
    if seen[what] != stamp.digest:
        return Verdict.SOURCE_CHANGED, f"{path} is not what was read: its digest differs"
    return None


def located(path: str, beside: Path) -> str:
    """The recorded path, or the file of that name beside the result where the recorded one is gone."""
    moved = beside.parent / Path(path).name
    return str(moved) if not Path(path).exists() and moved.exists() else path


def _tolerance(tree: Provenance, beside: Path) -> float:
    """The largest that an operator of the tree states; sums and means may differ by 1e-6."""
    steps = [step for node in tree.walk() if node.verb == "run" for step in pipeline_of(node, beside).steps()]
    return max([1e-6, *(step.tolerance for step in steps if isinstance(step, Operator))])


def _compare(key: str, stored: sidpy.Dataset, again: sidpy.Dataset, tolerance: float) -> Replayed:
    if stored.shape != again.shape or stored.dtype != again.dtype:
        return Replayed(key, Verdict.DIFFERENT, f"now {again.shape} {again.dtype}, stored {stored.shape} {stored.dtype}")
    (old, _), (new, _) = unwrap(stored), unwrap(again)
    old = old.rechunk(new.chunks)
    is_real = old.dtype.kind in "fc"
    both_nan = da.isnan(old) & da.isnan(new) if is_real else False
    gap = da.where(both_nan, 0, abs(old.astype("c16" if old.dtype.kind == "c" else "f8") - new))
    equal, largest, size, n_differ = da.compute(
        da.all((old == new) | both_nan), gap.max(), da.where(da.isfinite(old), abs(old), 0).max(), ((old != new) & ~both_nan).sum()
    )
    if equal:
        return Replayed(key, Verdict.IDENTICAL, "bit for bit", 0.0)
    if is_real and np.isfinite(largest) and largest <= tolerance * max(1.0, float(size)):
        return Replayed(key, Verdict.WITHIN_TOLERANCE, f"relative tolerance {tolerance:g}", float(largest))
    return Replayed(key, Verdict.DIFFERENT, f"{int(n_differ)} of {old.size} values differ", float(largest))
