"""What a tissue is made of and where, from a Raman map: NMF with the bands of each component, and layers by the form of their spectra.

Run it with::

    python raman_layers.py path/to/map.csv [folder for the results]

The table has one line for each spectrum: a column for each Raman shift, named by it in 1/cm, then x, y and a label. The background is taken
off already. ``components.png`` and ``layers.png`` are the pictures; ``components.h5`` and ``layers.h5`` hold what they show, and how it was
made from ``map.h5``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import sidpy
from scipy.signal import find_peaks

import pycroclass as pc


def main(source: Path, folder: Path = Path(), *, n_components: int = 3) -> tuple[list[npt.NDArray[np.float64]], sidpy.Dataset]:
    pc.write({"raman": read_table(source)}, folder / "map.h5", overwrite=True)  # as a file, results can be replayed from it
    (raman,) = pc.read(folder / "map.h5").values()

    found = pc.decompose(pc.Clip(low=0) | pc.NMF(n_components), raman)  # less its background, noise lies below zero as well
    pc.write(found, folder / "components.h5", overwrite=True)
    shift, spectra = found["components"]._axes[0].values, np.asarray(found["components"].compute()).T
    bands = [shift[peaks(spectrum)] for spectrum in spectra]
    page = pc.component_page(found["components"], found["maps"], found["residual"])
    for i, spectrum in enumerate(spectra):
        print(f"bands of component {i + 1} (1/cm):", *(f"{band:.0f}" for band in bands[i]))
        page.axes[2 * i].set_ymargin(0.2)
        for peak in peaks(spectrum):
            page.axes[2 * i].text(shift[peak], spectrum[peak], f" {shift[peak]:.0f}", fontsize=6, rotation=90, ha="center", va="bottom")
    page.savefig(folder / "components.png", dpi=150)

    # The form of a spectrum tells the material, its height how much of it the laser met: hence angles, and means of forms.
    layers = pc.fit(pc.SphericalKMeans(n_components + 1, seed=0), raman)(raman)
    means = pc.mean_by_label(pc.UnitLength()(raman), layers)
    pc.write({"layer": layers, **means}, folder / "layers.h5", overwrite=True)
    pc.cluster_page(layers, means).savefig(folder / "layers.png", dpi=150)
    return bands, layers


def read_table(source: Path) -> sidpy.Dataset:
    table = pd.read_csv(source).sort_values(["y", "x"])
    shift = table.columns[:-3].astype(float)
    cube = table.iloc[:, :-3].to_numpy("float32").reshape(table["y"].nunique(), table["x"].nunique(), -1)
    dataset = sidpy.Dataset.from_array(cube, title="Raman", units="counts", quantity="intensity")
    dataset.data_type = "spectral_image"
    for i, name in enumerate(("y", "x")):
        dataset.set_dimension(i, sidpy.Dimension(table[name].unique(), name, units="pixel", dimension_type="spatial"))
    dataset.set_dimension(2, sidpy.Dimension(shift, "shift", units="1/cm", quantity="Raman shift", dimension_type="spectral"))
    return dataset


def peaks(spectrum: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Where bands stand well out of the noise, which the differences of neighbours tell."""
    noise = 1.4826 * np.median(np.abs(np.diff(spectrum, 2))) / np.sqrt(6)
    return np.asarray(find_peaks(spectrum, prominence=max(8 * noise, 0.05 * np.ptp(spectrum)))[0])


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3])) if len(sys.argv) > 1 else sys.exit(__doc__)
