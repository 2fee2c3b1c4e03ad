"""Where each frame of a dataset was recorded: file, dataset in it, number, name."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self, get_args

import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass.array_value import frozen
from pycroclass.errors import AxisError, DataError
from pycroclass.geometry import MODULE
from pycroclass.operator import Selection, set_field
from pycroclass.provenance import DigestKind, FileStamp, Provenance
from pycroclass.readers.hdf5_file import Hdf5Array
from pycroclass.readers.records import Record, records
from pycroclass.replay import located, pipeline_of, rebuild
from pycroclass.selection.frame_selection import PLACE, Booleans, Integers, Strings
from pycroclass.serialize import registry
from pycroclass.sid import provenance_of, unwrap
from pycroclass.source import sources_along
from pycroclass.spec import Domain, Spec
from pycroclass.stage import Cut, plan

log = logging.getLogger(__name__)

_REMEDY: Final = "Read recordings with pycroclass.read, run pipelines on them, and join them with take and concatenate alone"


@dataclass(frozen=True, eq=False)
class Places:
    """Where frames lie: what `FrameSelection` begins with.

    Parameters
    ----------
    file : array of str, shape (n_frames,)
        Absolute path.
    dataset : array of str, shape (n_frames,)
        Path of the frames inside an HDF5 file; empty in other files, and where the file holds one frame.
    index : array of int, shape (n_frames,)
        Position along the first axis.
    event : array of str, shape (n_frames,)
        Name of the shot, where the recording names it; else empty.

    Raises
    ------
    DataError
        If lengths differ.

    Examples
    --------
    >>> some = Places(["/data/run.cxi"] * 3, ["/entry_1/data_1/data"] * 3, [4, 5, 6], [""] * 3)
    >>> len(some), some.take(np.array([2, 0])).index.tolist()
    (3, [6, 4])
    """

    file: Strings
    dataset: Strings
    index: Integers
    event: Strings

    def __post_init__(self) -> None:
        for name, dtype in PLACE.items():
            set_field(self, name, frozen(getattr(self, name), dtype))
        for name in PLACE:
            if getattr(self, name).shape != (len(self.index),):
                raise DataError(f"{name} has the shape {getattr(self, name).shape}, wanted ({len(self.index)},): one value for each frame")

    def __len__(self) -> int:
        return len(self.index)

    def take(self, frames: Integers | Booleans | slice) -> Places:
        """Some of the frames, by number, by a mask or by a slice."""
        return Places(**{name: getattr(self, name)[frames] for name in PLACE})

    @classmethod
    def joined(cls, parts: Sequence[Places]) -> Self:
        """Those of several datasets, one behind the other."""
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in PLACE})

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays by name."""
        return {name: getattr(self, name) for name in PLACE}


def places(dataset: sidpy.Dataset) -> Places:
    """Where each frame of a dataset, or of a result, was recorded. No frame is read.

    Parameters
    ----------
    dataset : sidpy.Dataset
        Frames that `read` opened, perhaps after `take`, `concatenate` or `Select`; what a pipeline made of them, with one value for each
        frame; or the same from a file that `write` or ``pycroclass run`` wrote, which names its sources. Sources that were moved are
        looked for beside that file.

    Returns
    -------
    Places
        One place for each position of the first axis. In a stack of images it is the file of each.

    Raises
    ------
    DataError
        If data did not come from files alone, were changed by other means, or have no frames any more.
    AxisError
        If the frames lie along several axes.
    ReadError
        If a source is missing.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> from pycroclass.per_item import take
    >>> from pycroclass.readers import read
    >>> file = Path(mkdtemp()) / "frames.npy"
    >>> np.save(file, np.zeros((5, 8, 8)))
    >>> found = places(take(next(iter(read(file).values())), [3, 1]))
    >>> Path(found.file[0]).name, found.index.tolist()
    ('frames.npy', [3, 1])
    """
    tree = provenance_of(dataset)
    found = _of_read(tree, dataset, None) if tree.verb == "read" else _of(tree, None)
    wanted = dataset.shape[0] if dataset.ndim and _frame_axes(unwrap(dataset)[1]) else 1
    if len(found) != wanted:
        raise _unknown(f"{dataset.title!r} has {wanted} positions on its first axis, and comes from {len(found)} frames")
    return found


def origins(tree: Provenance) -> Iterator[Provenance]:
    """All that a dataset went through, the last step first, on through files that hold results."""
    for node in tree.walk():
        yield node
        if (record := _record_of(node, node.parameters.get("path"))) is not None:
            yield from origins(record.provenance)


def _record_of(tree: Provenance, path: Any) -> Record | None:
    """How a result was computed that was read from a file at this path; None for a recording."""
    if tree.verb != "read" or tree.parameters.get("format") != "NSID" or not Path(path).exists():
        return None
    return records(path).get(tree.parameters["key"])


def _of(tree: Provenance, beside: Path | None) -> Places:
    """The places at a node of a tree; ``beside`` is the result file that holds the tree."""
    match tree.verb:
        case "read":
            return _of_read(tree, None, beside)
        case "run":
            return _of_run(tree, beside)
        case "take":
            return _of(tree.inputs[0], beside).take(tree.arrays[tree.parameters["index"]].values)
        case "concatenate":
            return Places.joined([_of(node, beside) for node in tree.inputs])
        case "with_geometry":
            return _of(tree.inputs[0], beside)
        case "given":
            raise _unknown(f"{tree.parameters.get('title')!r} was {tree.parameters.get('reason', 'made elsewhere')}")
    raise _unknown(f"{tree.verb} makes no value for each frame")


def _of_run(tree: Provenance, beside: Path | None) -> Places:
    """Operators keep the frames, but for those that select some along the first axis."""
    found = _of(tree.inputs[0], beside)
    kinds = [registry().get(name) for step in tree.parameters["pipeline"] for name in ([step] if isinstance(step, str) else step)]
    if not any(kind is not None and issubclass(kind, Selection) for kind in kinds):
        return found
    spec = unwrap(rebuild(tree.inputs[0], beside or Path()))[1]
    for stage in plan(pipeline_of(tree, beside or Path()), spec):
        if isinstance(stage, Cut) and spec.names[0] in stage.result.names:
            found = found.take(stage.slices[stage.result.names.index(spec.names[0])])
    return found


def _of_read(tree: Provenance, dataset: sidpy.Dataset | None, beside: Path | None) -> Places:
    """Those of a recording, or of what a result came from; ``dataset`` where it is open already."""
    path = tree.parameters["path"]
    if isinstance(path, list | tuple):  # a stack of images
        return _single([located(one, beside or Path(one)) for one in path])
    where = located(path, beside or Path(path))
    if (record := _record_of(tree, where)) is not None:
        return _of(record.provenance, Path(where))
    _warn_of_changes(tree, beside)
    return _recorded(rebuild(tree, beside or Path(where)) if dataset is None else dataset, where)


def _warn_of_changes(tree: Provenance, beside: Path | None) -> None:
    for stamp in tree.files:
        now = replace(stamp, path=located(stamp.path, beside or Path(stamp.path)))
        if Path(now.path).exists() and not now.is_current() and not _has_same_content(now):
            log.warning("%s was changed since it was read: its frames may not be those of the result", now.path)


def _has_same_content(stamp: FileStamp) -> bool:
    kind = (stamp.digest or "").partition(":")[0]
    return kind in get_args(DigestKind) and stamp.digested(kind) == stamp  # type: ignore[arg-type]  # checked by the first half


def _recorded(dataset: sidpy.Dataset, file: str) -> Places:
    """The places of frames that `read` opened."""
    array, spec = unwrap(dataset)
    axes = _frame_axes(spec)
    if len(axes) > 1 or (axes and axes[0] != spec.names[0]):
        raise AxisError(f"{spec.title!r} has frames along {', '.join(axes)}; wanted them along its first axis alone")
    if not axes:
        return _single([str(Path(file).absolute())])
    parts = []
    for source in sources_along(array):
        if (paths := getattr(source.load, "paths", None)) is not None:
            parts.append(_single(list(paths)))
        elif isinstance(source.load, Hdf5Array):
            parts.append(_numbered(source.load.path, source.load.name, source.shape[0]))
        else:
            parts.append(_numbered(str(Path(file).absolute()), "", source.shape[0]))
    if not parts:
        raise _unknown(f"{spec.title!r} of {file} does not say which frames it reads from where")
    return _named(Places.joined(parts), dataset.metadata.get("event_ids"))


def _frame_axes(spec: Spec) -> tuple[str, ...]:
    """The axes that count frames: all but those of an image; the only one of a list of values."""
    if len(spec.axes) == 1:
        return spec.names
    try:
        core = spec.core(Domain.IMAGE)
    except AxisError:
        return spec.names[:1]
    return tuple(name for name in spec.names if name not in core and name != MODULE)


def _single(files: Sequence[str]) -> Places:
    """One frame in each file."""
    n = len(files)
    return Places(np.array([str(Path(file).absolute()) for file in files], np.str_), [""] * n, [0] * n, [""] * n)  # type: ignore[arg-type]  # made arrays


def _numbered(file: str, dataset: str, n: int) -> Places:
    return Places(np.full(n, file), np.full(n, dataset), np.arange(n), np.full(n, ""))


def _named(found: Places, names: Any) -> Places:
    """With names of shots, where there is one for each."""
    if names is None or len(names) != len(found):
        return found
    return Places(found.file, found.dataset, found.index, np.array([str(name) for name in names], np.str_))


def _unknown(problem: str) -> DataError:
    return DataError(f"nobody can tell where its frames lie: {problem}. {_REMEDY}.")
