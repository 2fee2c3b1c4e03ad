"""The spine beside its peers: PCA, k-means, writing and reading NSID, imports. Ratios from interleaved runs.

    python benchmarks/spine.py [repeats]

Prints a table and writes ``benchmarks/results/<machine>.json``. A ratio below 1 means that pycroclass was faster.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import h5py
import numpy as np
import pyNSID
import SciFiReaders
import sidpy
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

import pycroclass as pc
from pycroclass.writers.record import versions

Work = Callable[[], object]


def spectra(rows: int, columns: int, channels: int, folder: Path) -> sidpy.Dataset:
    """A spectrum image of four mixed components with Poisson noise, written once and read back lazily."""
    rng = np.random.default_rng(0)
    shapes = np.exp(-(((np.arange(channels) / channels - rng.random((4, 1))) / 0.08) ** 2))
    values = rng.poisson(rng.dirichlet(np.ones(4), (rows, columns)) @ shapes * 100).astype(np.float32)
    dataset = sidpy.Dataset.from_array(values, title="map", units="counts", quantity="intensity")
    for i, (name, kind) in enumerate((("y", "spatial"), ("x", "spatial"), ("energy", "spectral"))):
        dataset.set_dimension(i, sidpy.Dimension(np.arange(values.shape[i]), name=name, units="nm", dimension_type=kind))
    dataset.data_type = "spectral_image"
    (found,) = pc.read(pc.write({"map": dataset}, folder / f"map{rows}.h5")).values()
    return found


def cases(folder: Path) -> dict[str, tuple[Work, Work]]:
    """Ours and the peer's, by name."""
    image = spectra(96, 96, 1024, folder)
    rows = np.asarray(image).reshape(-1, 1024)
    small = spectra(320, 320, 5, folder)
    points = np.asarray(small).reshape(-1, 5)
    counter = iter(range(1_000_000))

    def ours_write() -> None:
        pc.write({"copy": image}, folder / f"ours{next(counter)}.h5").unlink()

    def theirs_write() -> None:
        path = folder / f"theirs{next(counter)}.h5"
        with h5py.File(path, "w") as file:
            pyNSID.hdf_io.write_nsid_dataset(image, file.create_group("Measurement_000/Channel_000"), main_data_name="copy")
        path.unlink()

    def theirs_read() -> None:
        reader = SciFiReaders.NSIDReader(str(folder / "map96.h5"))
        np.asarray(reader.read()["Channel_000"])
        reader.close()

    return {
        "PCA(20), 9216 x 1024 float32 | scikit-learn full": (
            lambda: pc.fit(pc.PCA(20), image),
            lambda: PCA(20, svd_solver="full").fit(rows),
        ),
        "PCA(20), 9216 x 1024 float32 | scikit-learn auto": (
            lambda: pc.fit(pc.PCA(20), image),
            lambda: PCA(20).fit(rows),
        ),
        "KMeans(8), 102400 x 5, 10 starts | scikit-learn": (
            lambda: pc.fit(pc.KMeans(8, seed=0), small),
            lambda: KMeans(8, n_init=10, random_state=0).fit(points),
        ),
        "write NSID, 38 MB | pyNSID": (ours_write, theirs_write),
        "read NSID, 38 MB | SciFiReaders": (lambda: np.asarray(next(iter(pc.read(folder / "map96.h5").values()))), theirs_read),
        "import | sidpy": (lambda: fresh("import pycroclass"), lambda: fresh("import sidpy")),
    }


def fresh(code: str) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def measure(ours: Work, theirs: Work, repeats: int) -> dict[str, float]:
    """Seconds and their ratio; each pair is measured side by side, after one run that does not count."""
    pairs = []
    for _ in range(repeats + 1):
        pair = []
        for work in (ours, theirs):
            start = time.perf_counter()
            work()
            pair.append(time.perf_counter() - start)
        pairs.append(pair)
    pairs = pairs[1:]
    ratios = [a / b for a, b in pairs]
    return {
        "ours_s": statistics.median(a for a, _ in pairs),
        "peer_s": statistics.median(b for _, b in pairs),
        "ratio": statistics.median(ratios),
        "ratio_low": min(ratios),
        "ratio_high": max(ratios),
    }


def main(repeats: int) -> None:
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as temporary:
        results = {name: measure(ours, theirs, repeats) for name, (ours, theirs) in cases(Path(temporary)).items()}
    machine = {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "repeats": repeats,
        "versions": versions(),
    }
    for name, result in results.items():
        print("{:52} {ours_s:8.3f} s {peer_s:8.3f} s  ratio {ratio:.2f} [{ratio_low:.2f}, {ratio_high:.2f}]".format(name, **result))
    target = Path(__file__).parent / "results" / f"spine-{platform.machine()}-{os.cpu_count()}cores.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
