"""From a folder of labelled images to a report: sort crystallisation drops, and say how well that goes on plates that were not seen.

The drops are simulated, so that the script needs no data::

    drops/Clear/site_1-plate_2-A7.png …
    drops/Crystals/site_1-plate_1-C3.png …

Run it with ``python sort_drops.py [folder for the results]``.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import imageio.v3 as imageio
import rich

import pycroclass as pc
from pycroclass.simulate import draw_site, simulate_drops

SITES = (1, 2)
CLASSIFIER = pc.NetworkClassifier(epochs=14, batch_size=32, augmentation="dihedral", baselines=True, seed=0)


def main(folder: Path) -> float:
    save_drops(folder / "drops")

    drops = pc.read(folder / "drops")["image"]
    parts = pc.split(drops, by=plates(drops.metadata["files"]), fraction=0.25, seed=0)
    training, testing = parts.training, parts.testing
    bundle = pc.train(training, CLASSIFIER, preprocessing=pc.Bin(2, "mean"), groups=plates(training.metadata["files"]))
    bundle.save(folder / "drops.safetensors")

    evaluation = pc.evaluate(bundle, testing, groups=plates(testing.metadata["files"]))
    rich.print(evaluation.summary())
    print("report:", pc.report(evaluation, folder / "report.html", bundle=bundle, dataset=testing))
    return evaluation.pooled.balanced_accuracy


def save_drops(folder: Path) -> None:
    """Your images lie in folders already."""
    screen = simulate_drops([draw_site(seed) for seed in SITES], n_plates=16, n_wells=24)
    images, columns = screen["image"].compute(), screen["image"].metadata
    classes = columns["classes"]
    for i, (image, label) in enumerate(zip(images, columns["labels"], strict=True)):
        plate, well = (columns["items"][name][i] for name in ("plate", "well"))
        path = folder / classes[label] / f"{plate.replace(', ', '-').replace(' ', '_')}-{well}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        imageio.imwrite(path, image)


def plates(files: list[str]) -> list[str]:
    """Drops of one plate look alike: they must not be on both sides of a split."""
    return [Path(file).stem.rsplit("-", 1)[0] for file in files]


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with TemporaryDirectory() as temporary:
            main(Path(temporary))
