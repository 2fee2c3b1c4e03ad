"""Of which spectra an EELS spectrum image is made, and where each is: number of components, NMF, unmixing, replay.

Run it with::

    python eels_components.py path/to/scan [folder for the results]

The scan is a file with one spectrum image, such as a .dm3. ``scree.png`` says how many components there may be at most; compare
``components.png`` and ``endmembers.png`` of fewer, and keep the most whose spectra are ones that you know. ``components.h5`` and
``endmembers.h5`` hold spectra and maps, and how they were made.
"""

from __future__ import annotations

import sys
from pathlib import Path

import sidpy
from matplotlib.figure import Figure

import pycroclass as pc

EDGES = {"Ti L3": 456, "O K": 532, "Mn L3": 640, "La M5": 832}
"""Where to look for which edge, in eV."""


def main(source: Path, folder: Path = Path(), *, n_components: int = 4) -> dict[str, sidpy.Dataset]:
    (scan,) = pc.read(source).values()
    scree = pc.scree(pc.Anscombe()(scan))
    scree.plot().savefig(folder / "scree.png")
    print(f"{scree.rank} components stand out of a noise of variance {scree.noise_variance:.1f}; that of bare counts is 1")

    found = pc.decompose(pc.PoissonNMF(n_components), scan)
    pc.write(found, folder / "components.h5", overwrite=True)
    draw(found["components"], found["maps"], found["residual"]).savefig(folder / "components.png", dpi=150)

    # NMF gives the background a component of its own; each end member has it. Abundances need not sum to one, as thickness varies.
    unmixed = pc.unmix(pc.VCA(n_components - 1, abundances="nnls"), scan)
    pc.write(unmixed, folder / "endmembers.h5", overwrite=True)
    draw(unmixed["endmembers"], unmixed["abundance"], unmixed["residual"]).savefig(folder / "endmembers.png", dpi=150)

    for name in ("components.h5", "endmembers.h5"):
        for report in pc.replay(folder / name):
            print(f"replayed {name}, {report.dataset}: {report.verdict.value}")
    return {name: result for results in (found, unmixed) for name, result in results.items() if name != "residual"}


def draw(spectra: sidpy.Dataset, maps: sidpy.Dataset, residual: sidpy.Dataset) -> Figure:
    """Spectra beside their maps, with the edges marked."""
    page = pc.component_page(spectra, maps, residual)
    for axes in page.axes[: 2 * len(maps) : 2]:
        for name, energy in EDGES.items():
            if axes.get_xlim()[0] < energy < axes.get_xlim()[1]:
                axes.axvline(energy, color="0.6", lw=0.7, ls=":")
                axes.text(energy - 3, 1, name, transform=axes.get_xaxis_transform(), rotation=90, fontsize=6, ha="right", va="top")
    return page


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3])) if len(sys.argv) > 1 else sys.exit(__doc__)
