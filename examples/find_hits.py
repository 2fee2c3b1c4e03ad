"""Find the frames with a crystal in a run of serial crystallography: simulate, train on two runs, classify a third."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import pycroclass as pc
from pycroclass.simulate import draw_run, simulate_run
from pycroclass.writers import write_cxi

N_FRAMES = 120


def main(folder: Path) -> None:
    runs = [folder / f"run_{seed}.cxi" for seed in (1, 2, 4)]
    for seed, path in zip((1, 2, 4), runs, strict=True):
        write_cxi(simulate_run(draw_run(seed=seed, hit_rate=0.4), N_FRAMES), path)
    *training, test = runs

    frames = [pc.read(path)["image"] for path in training]
    labels = np.concatenate([true_labels(path) for path in training])
    peaks = pc.RadialSNR() | pc.Clip(4, 30) | pc.Bin(5, "mean")
    classifier = pc.NetworkClassifier(classes=("miss", "hit"), epochs=10, batch_size=32, augmentation="dihedral", seed=0)
    pc.train(frames, classifier, preprocessing=peaks, labels=labels).save(folder / "hits.safetensors")

    result = pc.classify(pc.read(test)["image"], folder / "hits.safetensors")
    pc.write(result, folder / "result.h5")

    (label,) = pc.read(folder / "result.h5::/Measurement_000/Channel_000/label/label").values()
    is_hit, found = true_labels(test) == 1, np.asarray(label) == 1
    print(f"{test.stem} has {is_hit.sum()} hits among {N_FRAMES} frames")
    print(f"found {np.sum(found & is_hit)} of them; {np.sum(found & ~is_hit)} misses were taken for hits")


def true_labels(path: Path) -> np.ndarray:
    """0 for a miss, 1 for a hit; the simulator knows."""
    label = pc.read(path)["label"]
    return np.asarray(label)


if __name__ == "__main__":
    with TemporaryDirectory() as temporary:
        main(Path(temporary))
