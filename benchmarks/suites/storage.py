"""Writing and reading NSID files beside pyNSID and SciFiReaders."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import data
from benchmarks.harness import Case, Group

TITLE = "Writing and reading NSID files"
_GB = 96 * 96 * 1024 * 4 / 1e9


def groups(*, quick: bool) -> Iterator[Group]:
    """Both ways."""
    file = {"path": str(data.spectrum_image(96, 96, 1024))}
    write = (Case("pycroclass", "storage:ours_write", file, role="ours"), Case("pyNSID", "storage:pynsid_write", file))
    yield Group("write, 38 MB of float32", _GB, "GB", write)
    read = (Case("pycroclass", "storage:ours_read", file, role="ours"), Case("SciFiReaders", "storage:scifireaders_read", file))
    yield Group("read, 38 MB of float32", _GB, "GB", read)
