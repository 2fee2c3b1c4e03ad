"""The same on a GPU, where reading, copying and computing run beside each other."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import machine
from benchmarks.harness import Case, Group
from benchmarks.nets import NETS, make_bundle

TITLE = "Classifying the frames of an HDF5 file on a GPU"
_TOLERANCE = 0.01
_N = {"hit network": 4096, "ResNet-18": 8192, "U-Net": 256}
_BATCH = {"hit network": 256, "ResNet-18": 256, "U-Net": 16}


def groups(*, quick: bool) -> Iterator[Group]:
    """Each network in the two precisions."""
    for name in NETS:
        make_bundle(name)
        n = _N[name] // (8 if quick else 1)
        for precision in ("float32",) if quick else ("float32", "bfloat16"):
            cases = tuple(_cases(name, n, precision))
            yield Group(f"{name}, uncompressed, {precision}", n, "image", cases, limit="max", tolerance=_TOLERANCE)


def _cases(name: str, n: int, precision: str) -> Iterator[Case]:
    common = {"path": str(NETS[name].frames(n)), "name": name, "n": n}
    on = {**common, "device": "cuda"}
    eager = {**on, "form": "eager", "batch": _BATCH[name]}
    yield Case("pycroclass", "classify:ours", {**on, "precision": precision, "block_bytes": 64 << 20}, role="ours")
    yield Case("naive loop", "classify:naive", eager)
    n_workers = min(8, machine.n_cores())
    yield Case(f"DataLoader, {n_workers} workers, pinned", "classify:loader", {**eager, "n_workers": n_workers})
    stored = "uint8" if name == "ResNet-18" else "uint16"
    yield Case("read alone", "classify:decode_alone", {**common, "dtype": stored}, role="limit")
    yield Case("copy alone", "classify:copy_alone", on, role="limit")
    yield Case("forward alone", "classify:forward_alone", {**on, "precision": precision}, role="limit")
