"""Sort every frame, pixel and spectrum that a microscope or an X-ray laser records."""

import lazy_loader as _lazy

from pycroclass._version import __version__ as __version__

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
