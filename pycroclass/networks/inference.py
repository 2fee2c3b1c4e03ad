"""The form of a trained network that answers fastest: the same numbers to rounding, from fewer passes over memory."""

from __future__ import annotations

import copy
import logging
import operator
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, Literal

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pycroclass.networks.classifier import Classifier
from pycroclass.networks.hit import RowNorm

log = logging.getLogger(__name__)

Precision = Literal["float32", "bfloat16"]
precision: Final[ContextVar[Precision]] = ContextVar("precision", default="float32")
"""The number type in which networks compute in this context; set by whoever runs them."""


@contextmanager
def computing_in(number_type: Precision) -> Iterator[None]:
    """Let networks compute in this number type."""
    before = precision.set(number_type)
    try:
        yield
    finally:
        precision.reset(before)


_CACHED_BYTES: Final = 4 << 20
"""Of what lies between a convolution and its pool."""
_N_LANES: Final = 16
"""float32 numbers in the widest vector of a CPU."""
_CONVOLUTIONS: Final = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS: Final = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_RELUS: Final = (F.relu, torch.relu)


def prepared(module: Classifier, device: torch.device, precision: Precision = "float32") -> nn.Module:
    """A module that maps items to ``(embedding, logits)``, both float32, as ``module`` in eval mode would.

    Batch normalisation is folded into the convolution before it, weights lie in memory with their channels last, and on a CPU
    convolutions with few channels compute several columns at once. What cannot be traced runs as it is.

    Parameters
    ----------
    module : Classifier
        Is not changed.
    device : torch.device
    precision : {"float32", "bfloat16"}
        Number type of weights and activations.

    Examples
    --------
    >>> from pycroclass.networks import HitNetwork
    >>> embedding, logits = prepared(HitNetwork(size=70), torch.device("cpu"))(torch.zeros(3, 1, 70, 70))
    >>> embedding.shape, logits.shape
    (torch.Size([3, 16]), torch.Size([3, 2]))
    """
    plain = _Answer(copy.deepcopy(module)).eval().requires_grad_(requires_grad=False)
    try:
        traced = fx.GraphModule(plain, _Tracer().trace(plain))
    except (fx.proxy.TraceError, TypeError, RuntimeError, ValueError, AttributeError) as error:
        log.info("%s runs as it is, for it cannot be traced: %s", type(module).__name__, error)
        return _Typed(plain.to(device), precision)
    _drop_dropout(traced)
    _fold_norms(traced)
    if device.type != "cuda":
        _join_narrow(traced)
    _rectify_in_place(traced)
    traced.graph.lint()
    traced.recompile()
    traced.delete_all_unused_submodules()
    for child in traced.modules():
        if isinstance(child, nn.Conv2d | nn.ConvTranspose2d):
            child.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # its stub wants a dtype too
    return _Typed(traced.to(device), precision)


class NarrowConvolution(nn.Module):
    """A convolution with few channels and what follows it up to the max-pool, exactly, several columns at once.

    With 4 channels out a CPU would use 4 of its 16 lanes. Here ``m`` neighbouring columns are channels of one convolution of stride
    ``m`` whose kernel is ``m - 1`` columns wider: its result, channels last, *is* the picture with channels last. ReLU commutes with
    the maximum, so it comes after the pool; the normalisation of rows may have negative scales, so it comes before.

    Parameters
    ----------
    convolution : torch.nn.Conv2d
        See `is_narrow`.
    norm : RowNorm, optional
    has_relu : bool
    pool : int
        Size and stride of the max-pool; 1 is none.
    """

    def __init__(self, convolution: nn.Conv2d, norm: RowNorm | None, *, has_relu: bool, pool: int) -> None:
        super().__init__()
        n_out, width = convolution.out_channels, convolution.kernel_size[1]
        self.n_columns = _N_LANES // n_out
        self.width = width
        self.padding = _pair(convolution.padding)
        self.has_relu = has_relu
        self.pool = pool
        weight = convolution.weight.new_zeros(self.n_columns, *convolution.weight.shape[:3], width + self.n_columns - 1)
        for column in range(self.n_columns):
            weight[column, ..., column : column + width] = convolution.weight
        self.weight = nn.Buffer(weight.flatten(0, 1).to(memory_format=torch.channels_last))
        bias = convolution.weight.new_zeros(n_out) if convolution.bias is None else convolution.bias
        self.bias = nn.Buffer(bias.repeat(self.n_columns))
        self.affine: torch.Tensor | None
        self.register_buffer("affine", None if norm is None else norm.affine_rows()[..., None, None])

    @staticmethod
    def is_narrow(module: nn.Conv2d) -> bool:
        """Whether a convolution leaves half of the lanes empty or more, and is of the kind that can be joined."""
        return (
            2 * module.out_channels <= _N_LANES
            and module.kernel_size[1] > 2  # else the wider kernel costs what the lanes gain
            and (module.stride, module.dilation, module.groups) == ((1, 1), (1, 1), 1)
            and module.padding_mode == "zeros"
            and not isinstance(module.padding, str)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(batch, channel, y, x)`` to what convolution, normalisation, ReLU and pool would make of it.

        A few items at a time: what is wide before the pool stays in the cache.
        """
        n_bytes = x.element_size() * len(self.bias) // self.n_columns * x.shape[-2] * x.shape[-1]
        n_at_once = max(1, _CACHED_BYTES // n_bytes)
        pooled = [self._pooled(part) for part in torch.split(x, n_at_once)]
        return (torch.cat(pooled) if len(pooled) > 1 else pooled[0]).permute(0, 3, 1, 2)

    def _pooled(self, x: torch.Tensor) -> torch.Tensor:
        """``(batch, y, x, channel)`` of the result."""
        rows = self._convolve(x)
        if self.affine is not None:
            rows.mul_(self.affine[0]).add_(self.affine[1])
        if self.pool > 1:
            rows = self._maxima(rows)
        return rows.relu_() if self.has_relu else rows

    def _convolve(self, x: torch.Tensor) -> torch.Tensor:
        """``(batch, y, x, channel)``; of the columns only those that the pool uses."""
        width, (above, left) = self.width, self.padding
        n_columns = x.shape[-1] + 2 * left - width + 1
        n_columns -= n_columns % self.pool
        n_groups = max(2, -(-n_columns // self.n_columns))  # of one alone oneDNN leaves most unwritten, if there is one channel in
        missing = n_groups * self.n_columns + width - 1 - x.shape[-1] - left
        if left or above or missing > 0:
            x = F.pad(x, (left, missing, above, above))
        y = F.conv2d(x, self.weight, self.bias, (1, self.n_columns))[..., :n_groups].permute(0, 2, 3, 1)
        return y.reshape(*y.shape[:2], n_groups * self.n_columns, -1)[:, :, :n_columns]

    def _maxima(self, y: torch.Tensor) -> torch.Tensor:
        """Over squares of ``pool``: rows first, which are long and vectorise well."""
        n_rows = y.shape[1] // self.pool
        rows = y[:, : n_rows * self.pool].reshape(len(y), n_rows, self.pool, *y.shape[2:]).amax(2)
        maxima = rows[:, :, 0 :: self.pool].contiguous()
        for column in range(1, self.pool):
            torch.maximum(maxima, rows[:, :, column :: self.pool], out=maxima)
        return maxima


class _Answer(nn.Module):
    """Embedding and logits in one call."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, items: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        embedding = self.classifier.embed(items)
        return embedding, self.classifier.logits(embedding)


class _Typed(nn.Module):
    """A module that computes in one number type and answers in float32."""

    def __init__(self, module: nn.Module, precision: Precision) -> None:
        super().__init__()
        self.dtype = getattr(torch, precision)
        self.module = module.to(self.dtype)

    def forward(self, items: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        embedding, logits = self.module(items.to(self.dtype))
        return embedding.float(), logits.float()


class _Tracer(fx.Tracer):
    """Takes the normalisation of rows as one piece, and does not trace other threads.

    While fx traces, each module of the process that is called asks the tracer first, whichever thread calls it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, fx.Proxy]) -> Any:
        if threading.get_ident() != self._thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, RowNorm) or super().is_leaf_module(m, module_qualified_name)


def _drop_dropout(traced: fx.GraphModule) -> None:
    for node in list(traced.graph.nodes):
        if isinstance(_called(traced, node), nn.Dropout | nn.Identity):
            node.replace_all_uses_with(node.args[0])
            traced.graph.erase_node(node)


def _fold_norms(traced: fx.GraphModule) -> None:
    for node in list(traced.graph.nodes):
        follower = _next(node)
        convolution, norm = _called(traced, node), _called(traced, follower)
        if follower is None or not isinstance(convolution, _CONVOLUTIONS) or not isinstance(norm, _NORMS) or isinstance(norm, RowNorm):
            continue
        if norm.running_mean is not None:
            _replace(traced, node, follower, fuse_conv_bn_eval(convolution, norm))


def _join_narrow(traced: fx.GraphModule) -> None:
    for node in list(traced.graph.nodes):
        convolution = _called(traced, node)
        if not isinstance(convolution, nn.Conv2d) or not NarrowConvolution.is_narrow(convolution):
            continue
        last, norm, has_relu, pool = node, None, False, 1
        if (follower := _next(last)) and isinstance(found := _called(traced, follower), RowNorm):
            last, norm = follower, found
        if (follower := _next(last)) and _is_relu(traced, follower):
            last, has_relu = follower, True
        if (follower := _next(last)) and (size := _pool_size(_called(traced, follower))):
            last, pool = follower, size
        _replace(traced, node, last, NarrowConvolution(convolution, norm, has_relu=has_relu, pool=pool))


def _rectify_in_place(traced: fx.GraphModule) -> None:
    """ReLU without a new array, where nothing else asks for the one it is given and that was made just before."""
    for node in list(traced.graph.nodes):
        is_new = isinstance(_called(traced, node), (*_CONVOLUTIONS, *_NORMS)) or node.target is operator.add
        follower = _next(node)
        if is_new and follower and _is_relu(traced, follower):
            _replace(traced, follower, follower, nn.ReLU(inplace=True))


def _replace(traced: fx.GraphModule, first: fx.Node, last: fx.Node, module: nn.Module) -> None:
    """Put a module in the place of a chain of nodes."""
    name = f"{first.name}_prepared"
    traced.add_submodule(name, module)
    with traced.graph.inserting_after(last):
        new = traced.graph.call_module(name, (first.args[0],))
    last.replace_all_uses_with(new)
    chain = [last]
    while chain[-1] is not first:
        chain.append(chain[-1].all_input_nodes[0])
    for node in chain:
        traced.graph.erase_node(node)


def _called(traced: fx.GraphModule, node: fx.Node | None) -> nn.Module | None:
    is_plain = node is not None and node.op == "call_module" and len(node.args) == 1 and not node.kwargs
    return traced.get_submodule(str(node.target)) if node is not None and is_plain else None


def _next(node: fx.Node) -> fx.Node | None:
    """What alone takes the result of a node."""
    users = list(node.users)
    return users[0] if len(users) == 1 and users[0].args and users[0].args[0] is node else None


def _is_relu(traced: fx.GraphModule, node: fx.Node) -> bool:
    is_function = (node.op == "call_function" and node.target in _RELUS) or (node.op == "call_method" and node.target == "relu")
    return is_function or isinstance(_called(traced, node), nn.ReLU)


def _pool_size(module: nn.Module | None) -> int:
    """Of a square max-pool without overlap, padding or partial windows; else 0."""
    if not isinstance(module, nn.MaxPool2d) or module.ceil_mode or module.return_indices:
        return 0
    (height, width), stride, padding, dilation = (
        _pair(value) for value in (module.kernel_size, module.stride, module.padding, module.dilation)
    )
    return height if height == width and (stride, padding, dilation) == ((height, height), (0, 0), (1, 1)) else 0


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)
