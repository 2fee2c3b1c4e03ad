"""Training beside a loop in plain PyTorch: same tensors, same batches, same steps, and so the same losses, up to the rounding of AdamW."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.harness import Case, Group

TITLE = "Training a network on a CPU, beside a bare PyTorch loop"


def groups(*, quick: bool) -> Iterator[Group]:
    """The small network on images and on spectra, and a deep one."""
    yield _group(
        "resnet_small, 64 x 64",
        "image",
        {"architecture": "resnet_small", "shape": (1, 64, 64), "n": 1280, "batch": 32, "epochs": 2, "rate": 1e-3},
    )
    yield _group(
        "resnet_spectrum, 512 channels",
        "spectrum",
        {"architecture": "resnet_spectrum", "shape": (512,), "n": 5000, "batch": 64, "epochs": 3, "rate": 1e-3},
    )
    if not quick:
        # in so few steps from random weights a larger rate makes of differences in rounding differences in the loss
        yield _group(
            "ResNet-18, 3 x 96 x 96",
            "image",
            {"architecture": "resnet18", "shape": (3, 96, 96), "n": 160, "batch": 16, "epochs": 1, "rate": 1e-5},
        )


def _group(name: str, unit: str, work: dict[str, Any]) -> Group:
    cases = (
        Case("pycroclass", "training:ours", work, role="ours"),
        Case("bare PyTorch loop", "training:bare", {**work, "fused": False}),
        Case("bare PyTorch loop, fused AdamW", "training:bare", {**work, "fused": True}),
    )
    return Group(f"{name}, batches of {work['batch']}", work["epochs"] * work["n"], unit, cases, tolerance=0.03)
