"""What one call of `write` computes, as data: enough to tell whether a second call would give the same bits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import h5py

from pycroclass.array_value import ArrayValue
from pycroclass.metadata_json import HIDDEN
from pycroclass.provenance import timeless
from pycroclass.readers.hdf5_file import Stored
from pycroclass.readers.records import RECORD, records
from pycroclass.sid import unwrap
from pycroclass.writers.layout import COMPLETE, Output
from pycroclass.writers.record import Sources, versions

_DECIDING: Final = ("pycroclass", "torch", "numpy", "scipy")
_WORDS: Final = {
    "pipeline": "the recipe",
    "fit": "how the recipe was fitted",
    "bundle": "the bundle",
    "execution": "the execution",
    "device": "the device",
    "plugins": "the versions of plug-ins",
    "chunks": "the block sizes",
    "blocks": "the block sizes",
    "tree": "how it is computed",
}

Run = Mapping[str, Any]
"""JSON-ready."""


def describe(outputs: Sequence[Output], sources: Sources, group: str) -> Run:
    """Outputs with their blocks and axes, the trees they come from with digests of the sources, and versions."""
    run = {
        "group": group.strip("/"),
        "outputs": {output.name: _describe(output, sources) for output in outputs},
        "versions": deciding(versions()),
    }
    plain: Run = json.loads(json.dumps(run, allow_nan=False))
    return plain


def deciding(known: Mapping[str, str]) -> dict[str, str]:
    """Of versions, those that may change the bits of a result."""
    return {name: known[name] for name in _DECIDING if name in known}


def _describe(output: Output, sources: Sources) -> dict[str, Any]:
    _, spec = unwrap(output.dataset)
    return {
        "dtype": output.array.dtype.str,
        "blocks": [list(sizes) for sizes in output.array.chunks],
        "axes": [[axis.name, axis.kind, axis.quantity, axis.units, ArrayValue(axis.values).digest] for axis in spec.axes],
        "quantity": [spec.quantity, spec.units],
        "tree": timeless(sources.digested(output.provenance).to_dict()),
    }


def digest(run: Run) -> str:
    """``sha256:`` and the hash of the description."""
    return f"sha256:{hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()}"


def differences(old: Run, new: Run) -> list[str]:
    """What is not the same, in words."""
    found = []
    if old["group"] != new["group"]:
        found.append(f"the group ({old['group']}, now {new['group']})")
    if (before := sorted(old["outputs"])) != (after := sorted(new["outputs"])):
        found.append(f"the datasets ({', '.join(before)}, now {', '.join(after)})")
    for name in (name for name in before if name in after):
        found += _in_output(name, old["outputs"][name], new["outputs"][name])
    for package in dict.fromkeys((*old["versions"], *new["versions"])):
        if (was := old["versions"].get(package)) != (now := new["versions"].get(package)):
            found.append(f"the version of {package} ({was}, now {now})")
    return list(dict.fromkeys(found))


def _in_output(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    if old["tree"] != new["tree"]:
        found = list(_in_tree(old["tree"], new["tree"]))
        yield from found or [f"{_WORDS['tree']} of {name!r}"]
    for part in ("dtype", "blocks", "axes", "quantity"):
        if part in old and old[part] != new[part]:
            yield f"{_WORDS.get(part, 'the ' + part)} of {name!r}"


def _in_tree(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    if old["verb"] != new["verb"] or len(old["inputs"]) != len(new["inputs"]):
        return
    for was, now in zip(old["files"], new["files"]):  # as far as both go
        if was != now:
            yield f"the source {now['path']}"
    if len(old["files"]) != len(new["files"]):
        yield "the number of source files"
    before, after = old["parameters"], new["parameters"]
    for key in dict.fromkeys((*before, *after)):
        if before.get(key) != after.get(key) and not (key == "path" and old["files"] != new["files"]):  # that was said above
            yield _WORDS.get(key, f"the {key} of {new['verb']}")
    for was, now in zip(old["inputs"], new["inputs"], strict=True):
        yield from _in_tree(was, now)


def differences_to(path: Path, run: Run) -> list[str]:
    """What is not the same in a finished file, in words, as far as its records tell."""
    try:
        known = records(path)
    except OSError:  # ReadError is one
        return []
    if not known:
        return []
    first, *_ = known.values()
    old = {
        "group": next(iter(known)).rsplit("/", 2)[0],
        "outputs": {key.rsplit("/", 1)[1]: {"tree": timeless(record.provenance.to_dict())} for key, record in known.items()},
        "versions": deciding(first.versions),
    }
    return differences(old, run)


def is_result_of(path: Path, run: Run) -> bool:
    """Whether a file holds all that a run computes, complete."""
    try:
        with h5py.File(path, "r") as file:
            return all(_is_from(path, file, f"{run['group']}/{name}/{name}", digest(run)) for name in run["outputs"])
    except (OSError, KeyError, ValueError):  # ReadError is an OSError: no HDF5, damaged, or a shard is missing
        return False


def _is_from(path: Path, file: h5py.File, key: str, wanted: str) -> bool:
    main = file[key]
    Stored.of(path, main)
    return COMPLETE in main.attrs and json.loads(main.parent[HIDDEN][RECORD][()]).get("run") == wanted
