"""Cluster the spectra of a spectrum image, and average each cluster: PCA, k-means, mean spectra, NSID file, replay."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import sidpy

import pycroclass as pc


def main(folder: Path) -> None:
    pc.write({"scan": spectrum_image()}, folder / "scan.h5")
    (dataset,) = pc.read(folder / "scan.h5").values()

    model = pc.fit(pc.Select(energy=(450, 700)) | pc.PCA(n_components=3) | pc.KMeans(n_clusters=3, seed=0), dataset)
    labels = model(dataset)
    means = pc.mean_by_label(dataset, labels)
    pc.write({"label": labels, "mean": means["mean"], "count": means["count"]}, folder / "clusters.h5")

    for name, result in pc.read(folder / "clusters.h5").items():
        axes = ", ".join(f"{axis.name} ({axis.units})" for axis in result._axes.values())
        print(f"{name}: {result.shape}, axes {axes}, values in {result.units}")
    for report in pc.replay(folder / "clusters.h5"):
        print(f"replayed {report.dataset}: {report.verdict.value}")


def spectrum_image() -> sidpy.Dataset:
    """Two materials side by side with an edge each, at 530 and 640 eV, and a particle of both."""
    rng = np.random.default_rng(0)
    energy = 400 + 0.5 * np.arange(600)
    background = 2000 * (energy / 400) ** -3
    oxygen, manganese = (120 * (energy > onset) * (energy / onset) ** -3 for onset in (530, 640))
    y, x = np.mgrid[:40, :50]
    both = (y - 20) ** 2 + (x - 25) ** 2 < 64
    left, right = ((x < 25) | both)[..., None], ((x >= 25) | both)[..., None]
    counts = rng.poisson(background + left * oxygen + right * manganese).astype("float32")

    dataset = sidpy.Dataset.from_array(counts, title="EELS", units="counts", quantity="intensity")
    dataset.data_type = "spectral_image"
    dataset.set_dimension(0, sidpy.Dimension(2.0 * np.arange(40), "y", units="nm", dimension_type="spatial"))
    dataset.set_dimension(1, sidpy.Dimension(2.0 * np.arange(50), "x", units="nm", dimension_type="spatial"))
    dataset.set_dimension(2, sidpy.Dimension(energy, "energy", units="eV", dimension_type="spectral"))
    return dataset


if __name__ == "__main__":
    with TemporaryDirectory() as temporary:
        main(Path(temporary))
