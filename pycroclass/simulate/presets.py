"""Three experiments that a classifier of frames may meet, and three settings of what makes it fail on the next run.

The experiments differ in all that a network must not depend on: detector, carrier of the crystals, cell, background. Each value is a
parameter: ``replace(CSPAD, wavelength=1.3e-10)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pycroclass.simulate.parameters import Crystal, Detector, Experiment, Ring, Scatter, Setting

CSPAD: Final = Experiment(Detector(layout="quadrants", hole=0.0))
"""A: a CSPAD-like detector of many small modules, a liquid jet, small monoclinic cells like streptavidin's."""

MODULES: Final = Experiment(
    Detector(
        pixel_size=200e-6,
        distance=0.19,
        gain=9.0,
        gain_spread=0.02,
        read_noise=2.0,
        dark_spread=0.8,
        common_mode=0.6,
        point_spread=0.4,
        hole=12.0,
        module=(128, 512),
        gap=14,
    ),
    Crystal(cell=(79.0, 79.0, 38.0, 90.0, 90.0, 90.0), domain=(800.0, 3000.0), structure=1),
    Scatter(rings=(Ring(7.0, 4.6, 0.022), Ring(2.0, 3.6, 0.06)), centre=45.0, centre_power=2.4, streak=3.0, flat=0.9),
    wavelength=1.33e-10,
    bandwidth=0.002,
    seed=1,
)
"""B: few large modules of large pixels, a viscous stream of lipids (a sharp ring at 4.6 Angstrom), tetragonal cells like lysozyme's."""

CCD: Final = Experiment(
    Detector(
        pixel_size=78e-6,
        distance=0.15,
        gain=1.8,
        gain_spread=0.015,
        read_noise=4.0,
        dark_spread=0.8,
        common_mode=0.0,
        saturation=65535.0,
        point_spread=1.1,
        hole=0.0,
        module=(1920, 1920),
        gap=0,
        beamstop=13.0,
        arm=7.0,
    ),
    Crystal(cell=(281.0, 281.0, 165.0, 90.0, 90.0, 120.0), domain=(1000.0, 4000.0), amplitude=40000.0, structure=2),
    Scatter(rings=(Ring(8.0, 3.6, 0.06), Ring(2.0, 2.1, 0.06)), centre=60.0, centre_width=0.016, streak=2.0, flat=1.5),
    wavelength=1.3e-10,
    bandwidth=0.005,
    seed=2,
)
"""C: a CCD without gaps, blurred over its pixels, with a beamstop and its arm; large hexagonal cells like those of photosystem I."""

EXPERIMENTS: Final[Mapping[str, Experiment]] = MappingProxyType({"A": CSPAD, "B": MODULES, "C": CCD})

SETTINGS: Final[Mapping[str, Setting]] = MappingProxyType(
    {
        "S1": Setting(hot_known=0.0, hot_limit=8000.0, crystal=0.4),
        "S2": Setting(hot_known=1.0, hot_limit=8000.0),
        "S3": Setting(hot=0.1, hot_known=0.0, hot_limit=1500.0, crystal=0.56),
    }
)
"""S1: weak crystals, and hot pixels of up to 8000 ADU, other ones in each run, that no mask names: what spoils a network most. S2: the mask
names all of them, and the crystals are 2.5 times as bright. S3: a tenth of the hot pixels, up to 1500 ADU, unnamed; crystals 1.4 times as
bright as in S1."""
