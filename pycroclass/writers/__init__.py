"""Files that hold results: NSID; files that hold detector frames: CXI."""

from pycroclass.writers.cxi import write_cxi
from pycroclass.writers.nsid import append, write

__all__ = ["append", "write", "write_cxi"]
