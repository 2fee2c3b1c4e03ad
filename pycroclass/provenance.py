"""Where a dataset came from, as a recipe: a tree of what was read and what was done with it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, Self

from pycroclass.array_value import ArrayValue

DigestKind = Literal["sampled", "full"]
_MIB: Final = 1 << 20
_N_SPACED: Final = 64


@dataclass(frozen=True)
class FileStamp:
    """One source file as it was when it was read.

    Parameters
    ----------
    path : str
        Absolute.
    size : int
        In bytes.
    modified : int
        Nanoseconds since the epoch.
    digest : str, optional
        ``sampled:…`` or ``full:…``; filled in when a result is written, because it reads the file.
    """

    path: str
    size: int
    modified: int
    digest: str | None = None

    @classmethod
    def of(cls, path: str | Path) -> Self:
        """The stamp of a file as it is now, without its digest."""
        status = os.stat(path)
        return cls(str(Path(path).absolute()), status.st_size, status.st_mtime_ns)

    def is_current(self) -> bool:
        """Whether size and time of the file are still those of the stamp."""
        try:
            now = os.stat(self.path)
        except OSError:
            return False
        return (now.st_size, now.st_mtime_ns) == (self.size, self.modified)

    def digested(self, kind: DigestKind) -> Self:
        """The same with its digest."""
        return replace(self, digest=digest_file(self.path, kind))


@dataclass(frozen=True)
class Provenance:
    """One node of the tree: a verb with its parameters, applied to inputs.

    Parameters
    ----------
    verb : str
        ``read``, ``run``, ``mean_by_label``, ``components``, ``maps``; ``given`` for data of unknown origin.
    parameters : mapping
        JSON-ready; a ``run`` holds pipeline, chunks and output.
    inputs : tuple of Provenance
        What the verb was applied to.
    files : tuple of FileStamp
        Of a ``read``.
    arrays : mapping of digest to ArrayValue
        The arrays that the pipeline names; kept beside the JSON.
    """

    verb: str
    parameters: Mapping[str, Any]
    inputs: tuple[Provenance, ...] = ()
    files: tuple[FileStamp, ...] = ()
    arrays: Mapping[str, ArrayValue] = field(default_factory=dict, repr=False)

    def walk(self) -> Iterator[Provenance]:
        """This node and all below it."""
        yield self
        for node in self.inputs:
            yield from node.walk()

    @property
    def is_replayable(self) -> bool:
        """Whether the tree begins with files alone."""
        return all(node.verb != "given" for node in self.walk())

    def all_arrays(self) -> dict[str, ArrayValue]:
        """The arrays of the whole tree by digest."""
        return {digest: array for node in self.walk() for digest, array in node.arrays.items()}

    def digested(self, kind: DigestKind) -> Provenance:
        """The same tree with a digest for each file."""
        return replace(
            self,
            inputs=tuple(node.digested(kind) for node in self.inputs),
            files=tuple(stamp.digested(kind) for stamp in self.files),
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, without the arrays."""
        return {
            "verb": self.verb,
            "parameters": dict(self.parameters),
            "inputs": [node.to_dict() for node in self.inputs],
            "files": [vars(stamp) for stamp in self.files],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], arrays: Mapping[str, ArrayValue] | None = None) -> Provenance:
        """The tree from its JSON; every node sees all ``arrays``."""
        return cls(
            verb=data["verb"],
            parameters=data["parameters"],
            inputs=tuple(cls.from_dict(node, arrays) for node in data["inputs"]),
            files=tuple(FileStamp(**stamp) for stamp in data["files"]),
            arrays=dict(arrays or {}),
        )


def timeless(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON of a tree without the times of its files: a digest tells more."""
    files = [{name: stamp[name] for name in ("path", "size", "digest")} for stamp in tree["files"]]
    return {**tree, "files": files, "inputs": [timeless(node) for node in tree["inputs"]]}


def digest_file(path: str | Path, kind: DigestKind = "sampled") -> str:
    """A file's digest: ``full:`` is SHA-256 of all of it, ``sampled:`` of its size, first, last and 64 evenly spaced MiB.

    A sampled digest of a file of up to 66 MiB reads all of it. It does not see a change between the samples of a larger one.
    """
    sha = hashlib.sha256()
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if kind == "full" or size <= (_N_SPACED + 2) * _MIB:
            while chunk := file.read(_MIB):
                sha.update(chunk)
        else:
            last = size - _MIB
            for i in range(_N_SPACED + 2):
                file.seek(last * i // (_N_SPACED + 1))
                sha.update(file.read(_MIB))
    if kind == "sampled":
        sha.update(str(size).encode())
    return f"{kind}:{sha.hexdigest()}"
