"""The demonstration: simulate three runs, train on two, classify the third, write, replay, draw."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sidpy
from rich.table import Table
from scipy.stats import binomtest

from pycroclass.api import classify, fit
from pycroclass.bundle import Bundle
from pycroclass.estimators import DefectMask, NetworkClassifier
from pycroclass.operators import Bin, Clip, RadialSNR
from pycroclass.pictures import hit_page
from pycroclass.readers import read
from pycroclass.replay import replay
from pycroclass.simulate import draw_run, simulate_run
from pycroclass.training import train
from pycroclass.writers import write, write_cxi

N_FRAMES: Final = 300
RUNS: Final = {"run_1": (1, 0.4), "run_2": (2, 0.4), "run_3": (4, 0.3)}
"""Seed and hit rate of each run; the last one is classified."""

PEAKS: Final = RadialSNR() | Clip(4, 30) | Bin(5, "mean")
"""What stands out of the rings around the beam of a run, small enough to learn from in half a minute."""


@dataclass(frozen=True)
class Score:
    """A proportion with its 95 % interval (Wilson)."""

    name: str
    right: int
    of: int

    def __str__(self) -> str:
        interval = binomtest(self.right, self.of).proportion_ci(method="wilson")
        return f"{self.right / self.of:.3f}  [{interval.low:.3f}, {interval.high:.3f}]  ({self.right} of {self.of})"


def demonstrate(folder: Path) -> Iterator[str | Table]:
    """Do it all in ``folder``; gives lines and tables to print as it goes."""
    folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    truth = {name: _simulate(folder / f"{name}.cxi", *settings) for name, settings in RUNS.items()}
    yield f"simulated {len(RUNS)} runs of {N_FRAMES} frames as CXI, one frame in {N_FRAMES / sum(truth['run_3']):.1f} of the last is a hit"

    frames = {name: _without_defects(folder / f"{name}.cxi") for name in RUNS}
    *training, test = RUNS
    bundle = _train([frames[name] for name in training], np.concatenate([truth[name] for name in training]))
    bundle.save(folder / "hits.safetensors", overwrite=True)
    yield f"trained on {' and '.join(training)}: hits.safetensors"

    results = classify(frames[test], folder / "hits.safetensors")
    write(results, folder / "result.h5", overwrite=True)
    yield f"classified {test}: result.h5"
    label, probability = (np.asarray(read_back(folder / "result.h5", name)) for name in ("label", "probability"))
    yield _table(label, truth[test], test)

    verdicts = {report.dataset.rsplit("/", 1)[-1]: report.verdict.value for report in replay(folder / "result.h5")}
    yield "replayed: " + ", ".join(f"{name} {verdict}" for name, verdict in verdicts.items())
    hit_page(np.asarray(frames[test]), probability[:, 1], truth[test]).savefig(folder / "demo.png", dpi=110)
    yield f"drew demo.png; all of it is in {folder} ({time.perf_counter() - start:.0f} s)"


def read_back(path: Path, name: str) -> sidpy.Dataset:
    """The dataset of that name in a result file."""
    return next(dataset for key, dataset in read(path).items() if key.endswith(f"/{name}"))


def _simulate(path: Path, seed: int, hit_rate: float) -> npt.NDArray[np.int64]:
    run = simulate_run(replace(draw_run(seed=seed), hit_rate=hit_rate), N_FRAMES)
    write_cxi(run, path, overwrite=True)
    truth: npt.NDArray[np.int64] = np.asarray(read(path)["label"])
    return truth


def _without_defects(path: Path) -> sidpy.Dataset:
    """The frames of a run with its bad pixels filled in: they are found by the statistics of the run itself."""
    image = read(path)["image"]
    return fit(DefectMask(), image)(image)


def _train(runs: list[sidpy.Dataset], truth: npt.NDArray[np.int64]) -> Bundle:
    classifier = NetworkClassifier(
        parameters={"width": 8}, classes=("miss", "hit"), epochs=12, batch_size=32, augmentation="dihedral", seed=0
    )
    return train(runs, classifier, preprocessing=PEAKS, labels=truth)


def _table(label: npt.NDArray[Any], truth: npt.NDArray[Any], name: str) -> Table:
    table = Table(name, "value  [95 % interval]")
    hit = truth == 1
    for score in (
        Score("accuracy", int((label == truth).sum()), truth.size),
        Score("sensitivity", int((label[hit] == 1).sum()), int(hit.sum())),
        Score("specificity", int((label[~hit] == 0).sum()), int((~hit).sum())),
    ):
        table.add_row(score.name, str(score))
    return table
