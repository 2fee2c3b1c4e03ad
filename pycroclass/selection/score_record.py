"""What is noted of the scores that decisions were made by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sidpy

from pycroclass.array_value import ArrayValue
from pycroclass.selection.frame_places import origins
from pycroclass.selection.frame_selection import Floats
from pycroclass.selection.scores import named
from pycroclass.sid import provenance_of


def scores_record(parts: Sequence[Any], values: Floats) -> dict[str, Any]:
    """What the scores are: their digest, the files that held them where they were stored, and what computed them."""
    results = [one for part in parts if isinstance(part, Mapping | sidpy.Dataset) for one in named(part).values()]
    trees = [provenance_of(one) for one in results]
    stamps = {stamp.path: stamp for tree in trees if tree.verb == "read" for stamp in tree.files}
    files = [{"path": path, "size": stamp.size, "digest": stamp.digested("sampled").digest} for path, stamp in stamps.items()]
    steps: list[Any] = []
    for node in (node for tree in trees for node in origins(tree) if node.verb == "run"):
        step = node.parameters.get("bundle") or node.parameters["pipeline"]
        if step not in steps:
            steps.append(step)
    return {"digest": ArrayValue(values).digest, "files": files, "steps": steps}
