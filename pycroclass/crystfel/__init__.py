"""CrystFEL's geometry files (``.geom``): panels, where their data lie in a file, bad pixels, beam."""

from pycroclass.crystfel.parsing import read_crystfel
from pycroclass.crystfel.value import BadRegion, CrystFELGeometry, CrystFELPanel, PixelMask, Quantity

__all__ = ["BadRegion", "CrystFELGeometry", "CrystFELPanel", "PixelMask", "Quantity", "read_crystfel"]
