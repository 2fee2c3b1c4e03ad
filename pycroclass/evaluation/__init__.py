"""How good a classifier is, how sure that is, and at which threshold to use it."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
