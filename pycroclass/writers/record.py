"""What is written beside a result so that it can be computed again: sources with digests, steps, versions, times."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Final, Self, get_args

from pycroclass._version import __version__
from pycroclass.errors import ParameterError, WriteError
from pycroclass.provenance import DigestKind, FileStamp, Provenance
from pycroclass.readers.records import FORMAT, digest_dataset

_PACKAGES: Final = ("torch", "numpy", "scipy", "dask", "sidpy", "h5py")


def now() -> str:
    """The time, ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Sources:
    """The files that results come from, each with its digest as it was before anything was computed.

    Parameters
    ----------
    stamps : dict of FileStamp to FileStamp
        A stamp as it was read, and the same with its digest.
    kind : {"sampled", "full"}
    grows : str, optional
        Path of the file among them that the results are added to.
    """

    stamps: dict[FileStamp, FileStamp]
    kind: DigestKind
    grows: str | None = None
    started: str = field(default_factory=now)

    @classmethod
    def of(cls, stamps: Iterable[FileStamp], kind: DigestKind, *, grows: str | None = None) -> Self:
        """Digest each distinct file once.

        Raises
        ------
        ParameterError
            If the kind is unknown.
        WriteError
            If a file is missing or was changed since it was read.
        """
        if kind not in get_args(DigestKind):
            raise ParameterError(f"digest must be one of {get_args(DigestKind)}, got {kind!r}")
        distinct = dict.fromkeys(stamps)
        for stamp in distinct:
            if not stamp.is_current():
                raise WriteError(f"{stamp.path} was changed or removed since it was read. Read it again, then write.")
        return cls({stamp: stamp.digested(kind) for stamp in distinct}, kind, grows)

    def refuse_changed(self) -> None:
        """Raise `WriteError` if a file's content changed since its digest was taken; a new time alone is no change."""
        for stamp, digested in self.stamps.items():
            if not stamp.is_current() and self._digest_now(stamp) != digested.digest:
                raise WriteError(f"{stamp.path} changed while results were computed from it; nothing was written")

    def _digest_now(self, stamp: FileStamp) -> str | None:
        try:
            return stamp.digested(self.kind).digest
        except OSError:
            return None

    def digested(self, tree: Provenance) -> Provenance:
        """The tree with the digests of its files."""
        return replace(
            tree,
            inputs=tuple(self.digested(node) for node in tree.inputs),
            files=tuple(self._known(stamp, tree) for stamp in tree.files),
        )

    def _known(self, stamp: FileStamp, node: Provenance) -> FileStamp:
        """The stamp with its digest: of the dataset alone in the file that results are added to, which will not stay as it was."""
        if os.path.realpath(stamp.path) != self.grows:
            return self.stamps[stamp]
        return replace(stamp, digest=digest_dataset(stamp.path, node.parameters["key"]))

    def record(self, tree: Provenance, dataset: str, run: str | None) -> str:
        """The JSON text that is kept beside a dataset; no name of the machine is in it.

        ``run`` is the digest of all that was computed with it, where it made a file of its own.
        """
        device = next((node.parameters["device"] for node in tree.walk() if "device" in node.parameters), None)
        return json.dumps(
            {
                "format": FORMAT,
                "dataset": dataset,
                "run": run,
                "tree": self.digested(tree).to_dict(),
                "versions": versions(),
                "device": device,
                "started": self.started,
                "finished": now(),
            },
            allow_nan=False,
        )


@cache
def versions() -> dict[str, str]:
    """Versions of Python, pycroclass and what it computes with; nothing is imported for it."""
    known = {"python": python_version(), "pycroclass": __version__}
    for package in _PACKAGES:
        try:
            known[package] = version(package)
        except PackageNotFoundError:
            continue
    return known
