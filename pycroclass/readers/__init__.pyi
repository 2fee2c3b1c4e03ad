from .detection import detect
from .emc import read_emc
from .formats import Format
from .opening import read
from .options import ReadOptions

__all__ = ["Format", "ReadOptions", "detect", "read", "read_emc"]
