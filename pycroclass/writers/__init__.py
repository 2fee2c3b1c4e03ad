"""Files that hold results: NSID; detector frames: CXI; photons: EMC; labelled images: TFRecord."""

from pycroclass.writers.blocks import Written
from pycroclass.writers.cxi import write_cxi
from pycroclass.writers.emc import write_emc
from pycroclass.writers.nsid import append, write
from pycroclass.writers.pack import pack
from pycroclass.writers.tfrecord import write_tfrecord

__all__ = ["Written", "append", "pack", "write", "write_cxi", "write_emc", "write_tfrecord"]
