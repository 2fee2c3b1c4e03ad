"""Classifying frames from HDF5 to HDF5 on the CPU: naive loop, DataLoader, dask, ours, and the parts of the work alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.data import STORAGES
from benchmarks.harness import Case, Group
from benchmarks.nets import NETS, make_bundle

TITLE = "Classifying the frames of an HDF5 file on a CPU"
_TOLERANCE = 0.01


def groups(*, quick: bool) -> Iterator[Group]:
    """The hit network on each storage, the others on one; users' own loops, the slowest, once for each network."""
    yield _group("hit network", "none", _resident, ", frames in memory")
    for storage in ("none", "gzip-4 + shuffle") if quick else STORAGES:
        yield _group("hit network", storage, _all_ways if storage == "gzip-4 + shuffle" else _with_our_network)
    if not quick:
        yield _group("hit network", "none", _beside_its_limit, ", a longer run", times=8)
        for name in ("ResNet-18", "U-Net"):
            yield _group(name, "none", _all_ways)
            yield _group(name, "none", _in_bfloat16, ", bfloat16")
        yield _group("ResNet-18", "none", _beside_its_limit, ", a longer run", times=4)


def _group(name: str, storage: str, cases: Callable[[dict[str, Any]], Iterator[Case]], remark: str = "", *, times: int = 1) -> Group:
    net = NETS[name]
    make_bundle(name)
    n = times * net.n
    common = {"path": str(net.frames(n, storage)), "name": name, "n": n}
    title = f"{name}, {'uncompressed' if storage == 'none' else storage}{remark}"
    return Group(title, n, "image", tuple(cases(common)), tolerance=_TOLERANCE)


def _resident(common: dict[str, Any]) -> Iterator[Case]:
    yield Case("pycroclass", "resident:forward", {**common, "form": "prepared"}, role="ours")
    yield Case("pool folded into the convolution", "resident:forward", {**common, "form": "folded"})
    yield Case("as written", "resident:forward", {**common, "form": "eager"})


def _all_ways(common: dict[str, Any]) -> Iterator[Case]:
    yield from _with_our_network(common)
    eager = {**common, "form": "eager"}
    yield Case("naive loop", "classify:naive", eager)
    for n in (0, 1, 2):
        yield Case(f"DataLoader, {n} workers", "classify:loader", {**eager, "n_workers": n})
    yield Case("dask map_blocks", "classify:map_blocks", eager)


def _beside_its_limit(common: dict[str, Any]) -> Iterator[Case]:
    yield Case("pycroclass", "classify:ours", common, role="ours")
    yield from _limits(common, "float32")


def _with_our_network(common: dict[str, Any]) -> Iterator[Case]:
    prepared = {**common, "form": "prepared"}
    yield from _beside_its_limit(common)
    yield Case("naive loop, our form of the network", "classify:naive", prepared)
    yield Case("DataLoader, 2 workers, our form", "classify:loader", {**prepared, "n_workers": 2})
    yield Case("dask map_blocks, our form", "classify:map_blocks", prepared)


def _in_bfloat16(common: dict[str, Any]) -> Iterator[Case]:
    yield Case("pycroclass", "classify:ours", {**common, "precision": "bfloat16"}, role="ours")
    yield Case("naive loop, float32", "classify:naive", {**common, "form": "eager"})
    yield from _limits(common, "bfloat16")


def _limits(common: dict[str, Any], precision: str) -> Iterator[Case]:
    yield Case("forward alone", "classify:forward_alone", {**common, "precision": precision}, role="limit")
    yield Case("decode alone", "classify:decode_alone", {**common, "dtype": "float32"}, role="limit")
