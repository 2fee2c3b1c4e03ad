"""How much memory a network needs while it answers."""

from __future__ import annotations

import weakref
from typing import Any, Final

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from pycroclass.networks.classifier import Classifier
from pycroclass.networks.inference import prepared

_META: Final = torch.device("meta")
_MANY: Final = 16


def measured_workspace(module: Classifier, shape: tuple[int, ...], device: torch.device) -> int:
    """Bytes in use at once, weights aside, for each of many items of ``shape`` that the network answers in float32.

    At least twice its share of the largest tensor, for whatever takes that may make another one.

    Parameters
    ----------
    module : Classifier
        On the meta device: nothing is computed.
    shape : tuple of int
    device : torch.device
        What runs there is another form of the network on a CPU than on a GPU.

    Examples
    --------
    >>> from pycroclass.networks import architecture
    >>> outline = architecture("hit_network").outline({})
    >>> measured_workspace(outline, (1, 350, 350), torch.device("cuda")) // 344**2  # the item, and what its 4 filters give, twice
    36
    >>> measured_workspace(outline, (1, 350, 350), torch.device("cpu")) // 344**2  # two items at a time up to the pool
    8
    """
    runs: nn.Module = module.eval() if device.type == "cuda" else prepared(module, _META)
    live = _Live()
    with torch.inference_mode(), live:
        items = torch.empty((_MANY, *shape), device=_META)
        runs(items)
    return -(-max(live.most, 2 * live.largest) // _MANY)


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
