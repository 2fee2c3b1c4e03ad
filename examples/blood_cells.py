"""Tell blood cells apart: cut cells from micrographs, train on some of the micrographs, test on the cells of the others, report.

The data are those of https://github.com/Shenggan/BCCD_Dataset (MIT): a folder ``img`` and a table ``boxes.csv`` with the columns
file, class, xmin, ymin, xmax, ymax. Run it with::

    python blood_cells.py path/to/bccd [folder for the results]
"""

from __future__ import annotations

import csv
import logging
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import imageio.v3 as imageio
import numpy as np
import numpy.typing as npt
import rich

import pycroclass as pc

SIZE = 32
CLASSIFIER = pc.NetworkClassifier(epochs=12, augmentation="dihedral", seed=0)


def main(source: Path, folder: Path) -> float:
    cut_cells(source, folder)
    training, testing = (pc.read(folder / part, size=(SIZE, SIZE), fit="resize")["image"] for part in ("training", "testing"))
    bundle = pc.train(training, CLASSIFIER, groups=micrographs(training.metadata["files"]))
    path = bundle.save(folder / "cells.safetensors")
    pc.write(pc.classify(testing, path), folder / "classified.h5")

    evaluation = pc.evaluate(bundle, testing, groups=micrographs(testing.metadata["files"]))
    rich.print(evaluation.summary())
    print("report:", pc.report(evaluation, folder / "report.html", bundle=bundle, dataset=testing, title="Blood cells"))
    return evaluation.pooled.balanced_accuracy


def cut_cells(source: Path, folder: Path) -> None:
    """Every fifth micrograph is for testing. A cell is the square around its box, cut to its part inside the micrograph."""
    with open(source / "boxes.csv", newline="") as table:
        rows = list(csv.DictReader(table))
    files = sorted({row["file"] for row in rows})
    for number, file in enumerate(files):
        image = imageio.imread(source / "img" / file)
        for i, row in enumerate(row for row in rows if row["file"] == file):
            cell = square(image, *(int(row[side]) for side in ("xmin", "ymin", "xmax", "ymax")))
            if cell.size == 0:
                continue  # a few boxes are empty
            path = folder / ("testing" if number % 5 == 0 else "training") / row["class"] / f"{Path(file).stem}-{i:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            imageio.imwrite(path, cell)


def square(image: npt.NDArray[np.uint8], x_min: int, y_min: int, x_max: int, y_max: int) -> npt.NDArray[np.uint8]:
    half = max(x_max - x_min, y_max - y_min) // 2
    x, y = (x_min + x_max) // 2, (y_min + y_max) // 2
    return image[max(0, y - half) : y + half, max(0, x - half) : x + half]


def micrographs(files: list[str]) -> list[str]:
    """Which micrograph each cell was cut from: its neighbours must not tell how good the network is."""
    return [Path(file).stem.split("-")[0] for file in files]


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if len(sys.argv) > 2:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        with TemporaryDirectory() as temporary:
            main(Path(sys.argv[1]), Path(temporary))
