"""Files that hold results: NSID; files that hold detector frames: CXI; labelled images: TFRecord."""

from pycroclass.writers.blocks import Written
from pycroclass.writers.cxi import write_cxi
from pycroclass.writers.nsid import append, write
from pycroclass.writers.pack import pack
from pycroclass.writers.tfrecord import write_tfrecord

__all__ = ["Written", "append", "pack", "write", "write_cxi", "write_tfrecord"]
