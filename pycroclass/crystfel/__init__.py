"""CrystFEL's geometry files (``.geom``): panels, where their data lie in a file, bad pixels, beam."""

from pycroclass.crystfel.panel import BadRegion, CrystFELPanel, PixelMask
from pycroclass.crystfel.parsing import read_crystfel
from pycroclass.crystfel.quantity import Quantity
from pycroclass.crystfel.value import CrystFELGeometry

__all__ = ["BadRegion", "CrystFELGeometry", "CrystFELPanel", "PixelMask", "Quantity", "read_crystfel"]
