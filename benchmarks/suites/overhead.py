"""Imports, planning and blocks without work: what limits the number of frames in one run."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import data, machine
from benchmarks.harness import Case, Group

TITLE = "What it costs beside the work"
_SIZE = 8
_PER_BLOCK = 128
_BLOCK_BYTES = _PER_BLOCK * _SIZE * _SIZE * 2


def groups(*, quick: bool) -> Iterator[Group]:
    """From the import to the run of a million frames."""
    codes = {"pycroclass": "import pycroclass", "pycroclass, until it can read and run": "import pycroclass as pc; pc.read, pc.run"}
    codes["sidpy, SciFiReaders"] = "import sidpy, SciFiReaders"
    cases = tuple(Case(name, "overhead:fresh", {"code": code}, "ours" if "pyc" in name else "peer") for name, code in codes.items())
    yield Group("import", 1, "import", cases, tolerance=None)
    for n in (10_000, 100_000, 1_000_000):
        file = {"path": str(data.sparse_frames(n, 350, 1))}
        cases = (Case("pycroclass", "overhead:plan", file, role="ours"), Case("dask map_blocks", "overhead:plan_with_dask", file))
        yield Group(f"plan for {n:,} frames of 350 x 350".replace(",", " "), n, "frame", cases, tolerance=None)
    yield _blocks(2**17, "threads", 0)
    yield _blocks(2**17, f"{machine.n_cores()} processes", machine.n_cores())
    if not quick:
        yield _blocks(2**20, "threads", 0, repeats=1)
        yield _blocks(2**20, f"{machine.n_cores()} processes", machine.n_cores(), repeats=1)


def _blocks(n: int, where: str, n_processes: int, *, repeats: int | None = None) -> Group:
    path = str(data.sparse_frames(n, _SIZE, _PER_BLOCK))
    n_blocks = n // _PER_BLOCK
    cases = (
        Case(
            "pycroclass, to NSID", "overhead:run_and_write", {"path": path, "block_bytes": _BLOCK_BYTES, "n_processes": n_processes}, "ours"
        ),
        Case("dask map_blocks", "overhead:run_with_dask", {"path": path, "per_block": _PER_BLOCK, "n_processes": n_processes}),
    )
    return Group(f"{n_blocks} blocks of {_PER_BLOCK} tiny frames, {where}", n_blocks, "block", cases, repeats=repeats)
