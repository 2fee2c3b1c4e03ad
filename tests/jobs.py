"""Runs in processes of their own, which can be killed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

import pycroclass as pc

PAUSE = 0.1
"""Seconds after each block, so that there is time to kill something, on a fast machine too."""
COMMAND = """
import sys, time
from pycroclass import cli
from pycroclass.recipes import batch
from pycroclass.commands import running
from pycroclass.stage import Execution
pause = float(sys.argv.pop())
add = batch.Tallies.add
batch.Tallies.add = lambda tallies, written: (add(tallies, written), time.sleep(pause if written.is_new else 0))
running._execution = lambda device: Execution(device=device, block_bytes=1 << 18)
if __name__ == "__main__":
    cli.main()
"""
SIMPLE = "dataset: data\npipeline:\n  - GaussianBlur: {sigma: 2.0}\n  - Log1p\n"
FITTED = (
    "dataset: data\nmean_by_label: true\npipeline:\n  - Bin: {factor: 8}\n  - PCA: {n_components: 4, axes: [y, x]}\n"
    "  - KMeans: {n_clusters: 3, seed: 0}\n"
)


@dataclass(frozen=True)
class Work:
    """``pycroclass run`` over 400 frames in 50 blocks."""

    folder: Path

    @classmethod
    def of(cls, folder: Path, recipe: str) -> Work:
        rng = np.random.default_rng(0)
        with h5py.File(folder / "source.h5", "w") as file:
            data = file.create_dataset("data", (400, 128, 128), "u2", chunks=(8, 128, 128))
            for i in range(400):
                data[i] = rng.poisson(20 + 10 * (i % 3), (128, 128))
        (folder / "recipe.yaml").write_text(recipe)
        return cls(folder)

    @property
    def out(self) -> Path:
        return self.folder / "out.h5"

    @property
    def partial(self) -> Path:
        return self.folder / "out.h5.partial"

    @property
    def journal(self) -> Path:
        return self.folder / "out.h5.partial.journal"

    @property
    def left_over(self) -> set[str]:
        return {path.name for path in self.folder.glob("out.h5?*")}

    def start(self, *options: str, pause: float = PAUSE) -> subprocess.Popen[str]:
        files = [str(self.folder / name) for name in ("recipe.yaml", "source.h5")]
        command = [sys.executable, "-W", "ignore", "-c", COMMAND, "run", *files, "-o", str(self.out), *options, str(pause)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finish(self, *options: str) -> dict[str, np.ndarray]:
        """Its values, computed without a break."""
        process = self.start(*options, pause=0)
        _, errors = process.communicate()
        assert process.returncode == 0, errors
        return self.values()

    def values(self) -> dict[str, np.ndarray]:
        return {key: np.asarray(dataset) for key, dataset in pc.read(self.out).items()}

    def assert_finished_as(self, whole: dict[str, np.ndarray]) -> None:
        found = self.values()
        assert found.keys() == whole.keys()
        for key, values in whole.items():
            np.testing.assert_array_equal(found[key], values)
        assert self.left_over <= {"out.h5.shards"}
