"""Finding hits in a run of large frames, from CXI to NSID on the CPU, and what bounds it."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import data
from benchmarks.harness import Case, Group
from benchmarks.nets import make_bundle

TITLE = "Finding hits, from CXI (int32, bitshuffle-LZ4) to NSID"
_SIZE = 1750
_N = 512


def groups(*, quick: bool) -> Iterator[Group]:
    """The hit network on the middle of each frame, and a peak search in all of it."""
    n = _N // 8 if quick else _N
    make_bundle("hit network")
    common = {"path": str(data.run_of_frames(_SIZE, n))}
    for what, name in (("network", "crop 350 x 350, z-score, hit network"), ("peaks", "peaks of the whole frame")):
        given = {**common, "what": what}
        cases = (
            Case("pycroclass", "hits:ours", given, role="ours"),
            Case("read alone", "hits:read", given),
            Case("read and decode alone", "hits:decoded", given, role="limit"),
            Case("computing alone, pixels in memory", "hits:computed", given, role="limit"),
        )
        yield Group(f"{_SIZE} x {_SIZE}, {name}", n, "frame", cases, tolerance=None)
