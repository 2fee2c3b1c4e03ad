"""Trained networks as operators."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Final, get_args

import numpy as np
import torch

from pycroclass.array_value import ArrayValue
from pycroclass.device import turn
from pycroclass.errors import AxisError, DataError, ParameterError
from pycroclass.networks import Classifier, PixelClassifier, architecture
from pycroclass.networks.inference import Precision, computing_in, precision, prepared
from pycroclass.networks.memory import measured_workspace
from pycroclass.operator import Operator, set_field
from pycroclass.spec import Axis, AxisKind, Domain, Spec

_N_KEPT: Final = 4
_NO_CLASS: Final = -1


@dataclass(frozen=True)
class _NetworkOperator(Operator):
    """What `Network` and `Classify` share: weights that fit their architecture, and items that fit the network."""

    domain: ClassVar[Domain] = Domain.ITEM
    tolerance: ClassVar[float] = 1e-4
    takes_any_dtype: ClassVar[bool] = True

    architecture: str
    parameters: Mapping[str, Any] = field(hash=False)
    weights: Mapping[str, ArrayValue] = field(hash=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        known = architecture(self.architecture)
        set_field(self, "domain", known.domain)
        set_field(self, "parameters", {k: tuple(v) if isinstance(v, list) else v for k, v in self.parameters.items()})
        set_field(self, "weights", {name: _array(value) for name, value in self.weights.items()})
        _check_weights(self.architecture, self.outline, self.weights)

    @cached_property
    def outline(self) -> Classifier:
        """The network without its weights."""
        return architecture(self.architecture).outline(self.parameters)

    @cached_property
    def digest(self) -> str:
        """``sha256:`` and the hash of architecture, parameters and weights."""
        content = [self.architecture, dict(self.parameters), {name: value.digest for name, value in self.weights.items()}]
        return f"sha256:{hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()}"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "outline"}

    def check(self, spec: Spec) -> None:
        """Refuse items that the network was not made for.

        Raises
        ------
        AxisError
            If number of axes, channels or length differ, or the items are complex.
        """
        wanted = self.outline.item_shape
        fits = len(wanted) == len(spec.shape) and all(w in (None, size) for w, size in zip(wanted, spec.shape, strict=True))
        if not fits:
            shape = ", ".join("any" if size is None else str(size) for size in wanted)
            got = ", ".join(f"{axis.name} {axis.size}" for axis in spec.axes)
            raise AxisError(
                f"the network {self.architecture} takes items of shape ({shape}), got ({got}). "
                "Preprocess the data as those it was trained on."
            )
        if spec.dtype.kind == "c":
            raise AxisError(f"the network {self.architecture} takes real numbers, got {spec.dtype}. Take the modulus or the phase first.")

    def workspace(self, spec: Spec, device: torch.device) -> int:
        return measured_workspace(self.outline, spec.shape, device)

    def answer(self, block: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Embedding and logits of each item, and whether the item and its logits are finite, of a shape that broadcasts to them.

        They are computed in the number type that `pycroclass.networks.inference.precision` tells.
        """
        items = block.to(torch.float32)
        embedding, logits = _MODULES.get(self, block.device, precision.get())(items)
        can_fail = (items, logits) if block.is_floating_point() else (logits,)
        extremes = torch.stack([extreme for values in can_fail for extreme in _extremes(values)])
        return embedding, logits, torch.isfinite(extremes).all(0).reshape(-1, *(1,) * (logits.ndim - 1))

    def _place(self, spec: Spec, *axes: Axis) -> tuple[Axis, ...]:
        """The axes of an answer: those given, and with a network that sorts pixels those of the image."""
        return (*axes, *spec.axes[1:]) if isinstance(self.outline, PixelClassifier) else axes

    def _answers(self, spec: Spec) -> Spec:
        """What all answers have in common; those for pixels stay where the pixels are."""
        geometry = spec.geometry if isinstance(self.outline, PixelClassifier) else None
        return replace(spec, axes=self._place(spec), dtype=np.dtype(np.float32), units="generic", geometry=geometry, classes=())

    def _features(self, spec: Spec) -> Spec:
        """The answer that is the embedding."""
        features = Axis("feature", self.outline.n_features, kind=AxisKind.SPECTRAL, quantity="feature")
        return replace(self._answers(spec), axes=self._place(spec, features), quantity="embedding")


@dataclass(frozen=True)
class Network(_NetworkOperator):
    """What a network answers for each item, as it is: logits of shape ``(batch, n_classes)``.

    Parameters
    ----------
    architecture : str
        Registered name, such as ``resnet_small`` (items ``(channel, y, x)``) or ``resnet_spectrum`` (items ``(length,)``).
    parameters : mapping
        Of the architecture.
    weights : mapping of str to array
        The state dict of the network; tensors and arrays will do. Items are converted to float32.

    Raises
    ------
    ParameterError
        If the architecture is unknown, or does not take the parameters or the weights.
    DataError
        If a weight is not finite.
    AxisError
        On data with other channels, another length or complex values.

    Notes
    -----
    An item that holds NaN or inf gets NaN. A process keeps the last four networks that it used on each device.

    Examples
    --------
    >>> from pycroclass.networks import ImageResNet
    >>> module = ImageResNet(n_classes=2)
    >>> network = Network("resnet_small", {"n_classes": 2}, module.state_dict())
    >>> network.transform(torch.zeros(5, 1, 20, 30)).shape
    torch.Size([5, 2])
    """

    def output(self, spec: Spec) -> Spec:
        self.check(spec)
        axis = Axis("logit", self.outline.n_classes, kind=AxisKind.SPECTRAL, quantity="logit")
        return replace(self._answers(spec), axes=self._place(spec, axis), quantity="logit")

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        _, logits, is_finite = self.answer(block)
        return logits.where(is_finite, torch.nan)


@dataclass(frozen=True)
class Embedding(_NetworkOperator):
    """What a network knows of each item before its last layer judges it: features of shape ``(batch, n_features)``, float32.

    Items of which a network knows the same look alike to it, whether or not they belong to a class that it was trained for.

    Parameters, errors and notes are those of `Network`; the weights hold the last layer too.

    Examples
    --------
    >>> from pycroclass.networks import ImageResNet
    >>> module = ImageResNet(n_classes=2)
    >>> embedding = Embedding("resnet_small", {"n_classes": 2}, module.state_dict())
    >>> embedding.transform(torch.zeros(5, 1, 20, 30)).shape == (5, module.n_features)
    True
    """

    @classmethod
    def of(cls, network: Network | Classify) -> Embedding:
        """The embedding of a network that answers with logits or classes."""
        return cls(network.architecture, network.parameters, network.weights, axes=network.axes)

    def output(self, spec: Spec) -> Spec:
        self.check(spec)
        return self._features(spec)

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        embedding, _, is_finite = self.answer(block)
        return embedding.where(is_finite, torch.nan)


@dataclass(frozen=True)
class Classify(_NetworkOperator):
    """Sorts each item into one of the classes of a trained network, all answers in one pass.

    ``probability`` is the softmax of the logits (float32, axis ``class``), ``label`` the number of the most probable class (int32),
    ``confidence`` its probability (float32), and, where asked for, ``embedding`` the features before the last layer (float32, axis
    ``feature``).

    Parameters
    ----------
    architecture : str
        Registered name, such as ``resnet_small`` (items ``(channel, y, x)``) or ``resnet_spectrum`` (items ``(length,)``).
    parameters : mapping
        Of the architecture.
    weights : mapping of str to array
        The state dict of the network; tensors and arrays will do. Items are converted to float32.
    classes : tuple of str
        Names of the classes, in the order of the logits.
    embedding : bool
        Whether to give the embedding too.

    Raises
    ------
    ParameterError
        If the architecture is unknown or does not take the parameters or the weights, or the classes do not fit.
    DataError
        If a weight is not finite.
    AxisError
        On data with other channels, another length or complex values.

    Notes
    -----
    An item that holds NaN or inf gets label -1 and NaN everywhere else: never a confident answer. A process keeps the last four
    networks that it used on each device.

    Examples
    --------
    >>> from pycroclass.networks import ImageResNet
    >>> module = ImageResNet(n_classes=2)
    >>> classify = Classify("resnet_small", {"n_classes": 2}, module.state_dict(), classes=("miss", "hit"))
    >>> {name: tuple(result.shape) for name, result in classify.transform(torch.zeros(5, 1, 20, 30)).items()}
    {'probability': (5, 2), 'label': (5,), 'confidence': (5,)}
    """

    classes: tuple[str, ...]
    embedding: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "classes", tuple(str(name) for name in self.classes))
        if len(self.classes) != self.outline.n_classes or len(set(self.classes)) != len(self.classes):
            raise ParameterError(
                f"the network has {self.outline.n_classes} classes, got the names {self.classes}. "
                "Name each once, in the order of the logits."
            )

    def output(self, spec: Spec) -> dict[str, Spec]:
        self.check(spec)
        item = replace(self._answers(spec), classes=self.classes)
        classes = Axis("class", len(self.classes), kind=AxisKind.SPECTRAL, quantity="class")
        outputs = {
            "probability": replace(item, axes=self._place(spec, classes), quantity="probability"),
            "label": replace(item, dtype=np.dtype(np.int32), quantity="label"),
            "confidence": replace(item, quantity="probability", classes=()),
        }
        if self.embedding:
            outputs["embedding"] = self._features(spec)
        return outputs

    def transform(self, block: torch.Tensor) -> dict[str, torch.Tensor]:
        embedding, logits, is_finite = self.answer(block)
        probability = logits.softmax(1).where(is_finite, torch.nan)
        confidence, label = probability.max(1)
        label = label.to(torch.int32).where(is_finite.squeeze(1), _NO_CLASS)
        results = {"probability": probability, "label": label, "confidence": confidence}
        return {**results, "embedding": embedding.where(is_finite, torch.nan)} if self.embedding else results


def label_agreement(operator: Network | Classify, block: torch.Tensor) -> float:
    """Share of the labels, of items or of pixels, that are the same in bfloat16 as in float32; 1 where bfloat16 may be used.

    Parameters
    ----------
    operator : Network or Classify
    block : tensor, shape (batch, ...)
        Some of the items that the operator is meant for.

    Examples
    --------
    >>> from pycroclass.networks import ImageResNet
    >>> network = Network("resnet_small", {"n_classes": 2}, ImageResNet(n_classes=2).state_dict())
    >>> 0 <= label_agreement(network, torch.rand(5, 1, 20, 30)) <= 1
    True
    """
    labels = []
    with turn(block.device):
        for one in get_args(Precision):
            with computing_in(one):
                _, logits, is_finite = operator.answer(block)
            labels.append(logits.argmax(1).where(is_finite.squeeze(1), _NO_CLASS))
        return (labels[0] == labels[1]).double().mean().item()


class _Modules:
    """The networks that this process used last, ready on their devices."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, torch.device, Precision], torch.nn.Module] = OrderedDict()

    def get(self, operator: _NetworkOperator, device: torch.device, precision: Precision) -> torch.nn.Module:
        """The prepared network, built once also where several threads ask for it at the same time."""
        key = (operator.digest, device, precision)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = prepared(_build(operator), device, precision)
                while len(self._kept) > _N_KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]


_MODULES: Final = _Modules()


def _build(operator: _NetworkOperator) -> Classifier:
    with torch.random.fork_rng(devices=()):  # the random weights that are about to be replaced must not cost the user's seed
        module = architecture(operator.architecture).build(operator.parameters)
    module.load_state_dict({name: torch.from_numpy(value.values.copy()) for name, value in operator.weights.items()})
    return module


def _extremes(block: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Least and largest value of each item, which are not finite where one of its values is not: cheaper than to look at each."""
    values = block.flatten(1)
    return values.amin(1), values.amax(1)


def _array(value: Any) -> ArrayValue:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    return value if isinstance(value, ArrayValue) else ArrayValue(value)


def _check_weights(name: str, outline: Classifier, weights: Mapping[str, ArrayValue]) -> None:
    wanted = {key: tuple(tensor.shape) for key, tensor in outline.state_dict().items()}
    got = {key: value.shape for key, value in weights.items()}
    if wanted != got:
        wrong = [f"{key}: wanted {wanted.get(key)}, got {got.get(key)}" for key in (wanted | got) if wanted.get(key) != got.get(key)]
        raise ParameterError(f"the weights do not fit the architecture {name!r}: {'; '.join(wrong[:3])} ({len(wrong)} differ)")
    broken = [key for key, value in weights.items() if not np.isfinite(value.values).all()]
    if broken:
        raise DataError(f"the weights {', '.join(broken)} hold NaN or inf: the training diverged or the file is damaged")
