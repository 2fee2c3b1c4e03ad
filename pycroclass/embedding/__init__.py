"""Collections of images by their appearance: what is alike, what stands apart, and a map of them all."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
