"""Readers: from an instrument's file to lazy datasets. The table of formats is in `pycroclass.readers.formats`."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
