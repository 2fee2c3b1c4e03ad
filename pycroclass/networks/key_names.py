"""Which weight of a file is which of a network, whatever program gave it its name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import torch

from pycroclass.errors import ParameterError
from pycroclass.networks.classifier import Classifier

_COUNTER: Final = "num_batches_tracked"
_HEADS: Final = ("fc", "classifier", "head", "head.fc", "last_linear", "classifier.1", "class_layers.out")
"""What the last layer is called elsewhere."""

_RULES: Final[tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...]] = (
    # several GPUs, and compiled networks
    (re.compile(r"(^|\.)(?:(?:module|_orig_mod)\.)+"), r"\1"),
    # the first torchvision's DenseNet, and MONAI's
    (re.compile(r"(denselayer\d+)\.(norm|conv)\.([12])\."), r"\1.\2\3."),
    (re.compile(r"(denselayer\d+)\.layers\."), r"\1."),
    # VGG of timm, whose hidden layers are convolutions
    (re.compile(r"\bpre_logits\.fc1\."), "classifier.0."),
    (re.compile(r"\bpre_logits\.fc2\."), "classifier.3."),
    # ResNet of transformers
    (re.compile(r"\bembedder\.embedder\.convolution\."), "conv1."),
    (re.compile(r"\bembedder\.embedder\.normalization\."), "bn1."),
    (re.compile(r"\bencoder\.stages\.(\d+)\.layers\.(\d+)\."), lambda m: f"layer{int(m[1]) + 1}.{m[2]}."),
    (re.compile(r"\blayer\.(\d+)\.convolution\."), lambda m: f"conv{int(m[1]) + 1}."),
    (re.compile(r"\blayer\.(\d+)\.normalization\."), lambda m: f"bn{int(m[1]) + 1}."),
    (re.compile(r"\bshortcut\.convolution\."), "downsample.0."),
    (re.compile(r"\bshortcut\.normalization\."), "downsample.1."),
)


@dataclass(frozen=True)
class Fit:
    """How the weights of a file fit a network.

    Parameters
    ----------
    tensors : mapping of str to tensor
        By the names of the network, with its shapes and number types.
    matched : float
        Share of the entries that found their place, of those of the network or of the file, whichever are more; the last layer and the
        counters of batches do not count.
    missing : tuple of str
        Entries of the network that the file has not, or has in another shape; the last layer among them.
    unused : tuple of str
        Entries of the file, by their names there, that have no place in the network; its last layer is not among them.
    """

    tensors: Mapping[str, torch.Tensor] = field(repr=False)
    matched: float
    missing: tuple[str, ...]
    unused: tuple[str, ...]


def fit(tensors: Mapping[str, torch.Tensor], outline: Classifier) -> Fit:
    """Find the place of each weight.

    Names are taken as they are, or as torchvision would have them, whichever fits better, and without what stands before all of them
    (``model.``, ``encoder.``, ``backbone.``…). A first convolution for another number of channels becomes one that answers the same
    where all channels are alike.

    Parameters
    ----------
    tensors : mapping of str to tensor
        Of the file.
    outline : Classifier
        Of which only names, shapes and number types are used.

    Examples
    --------
    >>> from pycroclass.networks import ResNet
    >>> state = {f"model.{name}": tensor for name, tensor in ResNet(18, n_classes=9).state_dict().items()}
    >>> found = fit(state, ResNet(18, n_classes=2))
    >>> found.matched, found.missing
    (1.0, ('fc.weight', 'fc.bias'))
    """
    wanted = outline.state_dict()
    own = tuple(f"{name}." for name in outline.depth_groups()[-1])
    body = [name for name in wanted if not name.startswith(own) and not name.endswith(_COUNTER)]
    reading = max(_readings(tensors, body), key=lambda reading: sum(name in reading.inside for name in body))
    stem = _stem(outline)
    placed = {}
    for name, like in wanted.items():
        for candidate in _names(name, own):
            source = reading.inside.get(candidate, reading.outside.get(candidate) if name.startswith(own) else None)
            if source is not None and (shaped := _shaped(tensors[source], like, is_stem=name == stem)) is not None:
                placed[name] = shaped
                break
    n_found = sum(name in placed for name in body)
    heads = (*own, *(f"{name}." for name in _HEADS))
    unused = [s for name, s in reading.inside.items() if name not in placed and not name.startswith(heads) and not name.endswith(_COUNTER)]
    return Fit(
        tensors=placed,
        matched=n_found / max(len(body), n_found + len(unused), 1),
        missing=tuple(name for name in wanted if name not in placed and not name.endswith(_COUNTER)),
        unused=tuple(unused),
    )


@dataclass(frozen=True)
class _Reading:
    """Names of a file as a network may have them, each with its name in the file: those behind a common prefix, and the others."""

    inside: Mapping[str, str]
    outside: Mapping[str, str]


def _readings(tensors: Mapping[str, torch.Tensor], body: Sequence[str]) -> Iterator[_Reading]:
    """All that can be meant: prefixes are what stands before the first weight of the network."""
    for names in ({name: name for name in tensors}, {_as_torchvision(name): name for name in tensors}):
        prefixes = [name.removesuffix(body[0]) for name in names if f".{name}".endswith(f".{body[0]}")]
        for prefix in prefixes or [""]:
            inside = {name.removeprefix(prefix): source for name, source in names.items() if name.startswith(prefix)}
            yield _Reading(inside, {name: source for name, source in names.items() if not name.startswith(prefix)})


def _as_torchvision(name: str) -> str:
    for pattern, replacement in _RULES:
        name = pattern.sub(replacement, name)
    return name


def _names(name: str, head: tuple[str, ...]) -> list[str]:
    """The name itself, and for the last layer what it may be called elsewhere."""
    for prefix in head:
        if name.startswith(prefix):
            return [name, *(f"{other}.{name.removeprefix(prefix)}" for other in _HEADS)]
    return [name]


def _shaped(tensor: torch.Tensor, like: torch.Tensor, *, is_stem: bool) -> torch.Tensor | None:
    """With the shape and the number type of another; None where that cannot be had."""
    if tensor.ndim == 4 and like.ndim == 2 and tensor.shape[0] == like.shape[0]:
        tensor = tensor.flatten(1)  # a convolution over all positions, which is a linear layer
    if is_stem and tensor.shape != like.shape and (tensor.shape[0], *tensor.shape[2:]) == (like.shape[0], *like.shape[2:]):
        n_channels = like.shape[1]
        tensor = (tensor.double().sum(1, keepdim=True) / n_channels).expand_as(like)
    return tensor.to(like.dtype).contiguous() if tensor.shape == like.shape else None


def _stem(outline: Classifier) -> str | None:
    try:
        return f"{outline.first_convolution()}.weight"
    except ParameterError:
        return None
