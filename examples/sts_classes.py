"""Which kinds of spectra a grid of scanning tunnelling spectroscopy holds, where, and how far to believe it: PCA and k-means.

Run it with::

    python sts_classes.py path/to/grid.3ds [folder for the results]

The grid holds the current and the output of a lock-in amplifier, which is dI/dV up to a factor. ``count.png`` shows what says how many
classes there are, ``classes.png`` where they are, with their mean spectra; ``classes.h5`` also holds how sure each label is.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import sidpy
from matplotlib.ticker import EngFormatter
from scipy.ndimage import gaussian_filter1d

import pycroclass as pc


def main(source: Path, folder: Path = Path(), *, lockin: str = "LockinX (V)") -> tuple[pc.ClusterCount, dict[str, sidpy.Dataset]]:
    channels = pc.read(source)
    conductance = channels[lockin]
    print("channels:", ", ".join(channels))
    print(f"correlation of {lockin} with the derivative of the current: {likeness(conductance, channels['Current (A)']):.3f}")

    # Spectra of length 1 are alike where they differ by a factor, as those are that the tip took nearer or farther away.
    scores = pc.UnitLength() | pc.PCA(n_components=4)
    count = pc.cluster_count(pc.fit(scores, conductance)(conductance), largest=8)
    count.figure().savefig(folder / "count.png", dpi=150)
    print(count)

    model = pc.fit(scores | pc.KMeans(count.recommended, seed=0), conductance)
    labels = model(conductance)
    means = pc.mean_by_label(conductance, labels)
    confidence = pc.run(model[:-1] | model[-1].confidence, conductance)["confidence"]
    results = {"label": labels, "confidence": confidence, **means}
    pc.write(results, folder / "classes.h5", overwrite=True)

    page = pc.cluster_page(labels, means)
    page.axes[0].xaxis.set_major_formatter(EngFormatter("m"))
    page.axes[0].yaxis.set_major_formatter(EngFormatter("m"))
    page.axes[0].set(xlabel="x", ylabel="y")
    page.savefig(folder / "classes.png", dpi=150)
    return count, results


def likeness(conductance: sidpy.Dataset, current: sidpy.Dataset) -> float:
    """Correlation of dI/dV as the lock-in has it with the derivative of I: far below 1, the phase was wrong or the channel is."""
    measured = gaussian_filter1d(np.asarray(conductance.compute()), sigma=4, axis=2)
    derived = gaussian_filter1d(np.asarray(current.compute()), sigma=4, axis=2, order=1)
    return float(np.corrcoef(measured[..., 10:-10].ravel(), derived[..., 10:-10].ravel())[0, 1])


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3])) if len(sys.argv) > 1 else sys.exit(__doc__)
