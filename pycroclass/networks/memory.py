"""How much memory a network needs while it answers."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pycroclass.networks.classifier import Classifier


def measured_workspace(module: Classifier, shape: tuple[int, ...]) -> int:
    """Bytes in use at once, weights aside, while one item of ``shape`` is answered in float32; twice the largest tensor at least, for
    whatever takes it may make another one.

    Parameters
    ----------
    module : Classifier
        On the meta device: nothing is computed.
    shape : tuple of int

    Examples
    --------
    >>> from pycroclass.networks import architecture
    >>> outline = architecture("hit_network").outline({})
    >>> measured_workspace(outline, (1, 350, 350)) // 344**2  # the item, and what its 4 filters give, twice
    36
    """
    live = _Live()
    with torch.inference_mode(), live:
        items = torch.empty((1, *shape), device="meta")
        module.eval()(items)
    return max(live.most, 2 * live.largest)


class _Live(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not type it
    """Counts the bytes of the tensors that are made within it and still there."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch does not type it
        self.most = self.largest = 0
        self._tensors: dict[int, tuple[int, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **kwargs or {})
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                key, size = storage._cdata, storage.nbytes()  # views share it
                self._tensors[key] = (self._tensors.get(key, (0, 0))[0] + 1, size)
                weakref.finalize(tensor, self._forget, key)
                self.largest = max(self.largest, size)
        self.most = max(self.most, sum(size for _, size in self._tensors.values()))
        return result

    def _forget(self, key: int) -> None:
        count, size = self._tensors.pop(key)
        if count > 1:
            self._tensors[key] = (count - 1, size)
