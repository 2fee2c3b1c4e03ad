"""Weights that were trained elsewhere, for a network of ours."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import torch

from pycroclass import networks
from pycroclass.array_value import ArrayValue
from pycroclass.bundle import Bundle
from pycroclass.errors import DataError, ParameterError
from pycroclass.networks.checkpoints import Checkpoint, read_checkpoint, read_header
from pycroclass.networks.downloads import MICRONET_LICENCE, download, is_micronet, micronet_address
from pycroclass.networks.key_names import Fit, fit
from pycroclass.operators.network import Classify, Network

log = logging.getLogger(__name__)

_LEAST_MATCHED: Final = 0.9
_UNKNOWN: Final = "not stated"
_TORCHVISION: Final = "https://download.pytorch.org/models/"


@dataclass(frozen=True)
class Normalisation:
    """What a network was used to in training: ``(x - mean) / std`` of each channel, where ``x`` runs from 0 (black) to 1 (white).

    Parameters
    ----------
    mean, std : tuple of float
        One value for each channel.

    Raises
    ------
    ParameterError
        If they are not as many, or a standard deviation is not positive.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.mean or not all(value > 0 for value in self.std):
            raise ParameterError(f"one mean and one positive std for each channel are needed, got {self.mean} and {self.std}")

    def for_channels(self, n_channels: int) -> Self:
        """Itself, or for another number of channels the means over its own."""
        if n_channels == len(self.mean):
            return self
        return type(self)((float(np.mean(self.mean)),) * n_channels, (float(np.mean(self.std)),) * n_channels)


IMAGENET: Final = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Of the photographs that torchvision's weights, and most others, were trained on."""
MICRONET: Final = Normalisation((0.4723, 0.4599, 0.4468), (0.1684, 0.1575, 0.1675))
"""Of NASA's micrographs; their own examples use `IMAGENET` with these weights too, and so do we."""


@dataclass(frozen=True)
class Pretrained:
    """Weights for a network, and where they come from.

    Parameters
    ----------
    weights : mapping of str to array
        Entries of the network's state dict; those of the last layer only where the number of classes is the same.
    matched : float
        Share of the entries that found their place, of those of the network or of the source, whichever are more; the last layer does not
        count.
    missing : tuple of str
        Entries of the network that the source has not: they keep their random start. The last layer, if it is new, is among them.
    licence : str
        Of the weights; ``not stated`` where nothing is known.
    source, digest : str
        Where they come from, and ``sha256:`` and the hash of the file, or of the content where there is none.
    normalisation : Normalisation, optional
        Of the images that the weights were trained on, for the channels of the network, where it is known.
    """

    weights: Mapping[str, ArrayValue] = field(repr=False, hash=False)
    matched: float
    missing: tuple[str, ...]
    licence: str
    source: str
    digest: str
    normalisation: Normalisation | None = None

    def load_into(self, module: networks.Classifier) -> None:
        """Give the weights to a network of the architecture that they were matched to; what is `missing` stays as it is.

        Raises
        ------
        ParameterError
            If the network has other weights.
        """
        mine = module.state_dict()
        unlike = [name for name, value in self.weights.items() if name not in mine or tuple(mine[name].shape) != value.shape]
        if unlike:
            raise ParameterError(f"the weights are for another network: {', '.join(unlike[:3])} ({len(unlike)} in all) do not fit")
        module.load_state_dict({name: torch.from_numpy(value.values.copy()) for name, value in self.weights.items()}, strict=False)

    def record(self) -> dict[str, Any]:
        """All but the weights, JSON-ready."""
        normalisation = self.normalisation and {"mean": list(self.normalisation.mean), "std": list(self.normalisation.std)}
        return {
            "source": self.source,
            "digest": self.digest,
            "licence": self.licence,
            "matched": self.matched,
            "missing": list(self.missing),
            "normalisation": normalisation,
        }


def pretrained(
    source: str | Path | Bundle | Mapping[str, torch.Tensor],
    architecture: str,
    parameters: Mapping[str, Any],
    *,
    licence: str | None = None,
    normalisation: Normalisation | None = None,
) -> Pretrained:
    """Weights from elsewhere for a network of ours.

    Names of weights are understood as torchvision, timm, transformers, MONAI (DenseNets) and pycroclass write them, with whatever stands
    before them all. Where the last layer is for another number of classes it is left out; where the first convolution is for another
    number of channels it is summed over its channels, which gives the same answers where all channels are alike, as in a grey image.

    Parameters
    ----------
    source : str, Path, Bundle or mapping of str to tensor
        A file of `torch.save`, a ``.safetensors`` file, the ``.index.json`` of several, a folder of the Hugging Face hub, a bundle, an
        address that begins with ``https://``, or ``micronet`` or ``image-micronet``: NASA's networks trained on micrographs alone, or on
        photographs before. What is downloaded is kept in the user's cache. A mapping is a state dict.
    architecture : str
        Registered name, such as ``resnet50``.
    parameters : mapping
        Of the architecture: number of classes, of channels and the like.
    licence : str, optional
        Of the weights. By default what the source says.
    normalisation : Normalisation, optional
        Of the images that the weights were trained on. By default what is known of the source.

    Raises
    ------
    ReadError
        If the file cannot be had or read, or holds objects other than weights.
    ParameterError
        If less than nine tenths of the weights fit.
    DataError
        If a weight is not finite.

    Examples
    --------
    >>> from pycroclass.networks import ResNet
    >>> colours = ResNet(18, n_classes=1000)
    >>> found = pretrained(colours.state_dict(), "resnet18", {"n_classes": 4, "n_channels": 1}, licence="BSD-3-Clause")
    >>> found.matched, found.missing
    (1.0, ('fc.weight', 'fc.bias'))
    >>> found.load_into(ResNet(18, n_classes=4, n_channels=1))
    """
    name, checkpoint, known = _opened(source, architecture)
    outline = networks.architecture(architecture).outline(parameters)
    found = fit(checkpoint.tensors, outline)
    _check(found, name, architecture)
    if checkpoint.statistics is not None:
        known = Normalisation(*checkpoint.statistics)
    normalisation = normalisation or known
    n_channels = outline.item_shape[0] if len(outline.item_shape) == 3 else None
    return Pretrained(
        weights={key: ArrayValue(tensor.numpy()) for key, tensor in found.tensors.items()},
        matched=found.matched,
        missing=found.missing,
        licence=licence or checkpoint.licence or _UNKNOWN,
        source=name,
        digest=checkpoint.digest,
        normalisation=normalisation and normalisation.for_channels(n_channels or 1),
    )


def _opened(source: Any, architecture: str) -> tuple[str, Checkpoint, Normalisation | None]:
    """What the source is called, what it holds, and the normalisation that all of its kind have."""
    if isinstance(source, Bundle):
        return "bundle", _of_bundle(source), None
    if isinstance(source, Mapping):
        return "state dict", _of_state(source), None
    name = str(source)
    if is_micronet(name):
        address = micronet_address(name, architecture)
        checkpoint = read_checkpoint(download(address))
        return address, replace(checkpoint, licence=MICRONET_LICENCE), IMAGENET
    if name.startswith(("https://", "http://")):
        return name, read_checkpoint(download(name)), IMAGENET if name.startswith(_TORCHVISION) else None
    path = Path(name)
    if path.is_file() and path.suffix == ".safetensors" and "pycroclass" in read_header(path):
        return name, _of_bundle(Bundle.load(path)), None
    return name, read_checkpoint(path), None


def _of_bundle(bundle: Bundle) -> Checkpoint:
    for step in reversed(bundle.pipeline.steps()):
        if isinstance(step, Classify | Network):
            tensors = {name: torch.from_numpy(value.values.copy()) for name, value in step.weights.items()}
            return Checkpoint(tensors, bundle.digest, bundle.licence or None)
    raise ParameterError("the bundle holds no network, and so no weights to start from")


def _of_state(state: Mapping[str, Any]) -> Checkpoint:
    tensors = {name: torch.as_tensor(value).detach().cpu().contiguous() for name, value in state.items()}
    digest = hashlib.sha256()
    for name, tensor in tensors.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return Checkpoint(tensors, f"sha256:{digest.hexdigest()}")


def _check(found: Fit, name: str, architecture: str) -> None:
    report = f"{found.matched:.1%} of the weights of {name} and {architecture} match"
    lacking = f"missing: {', '.join(found.missing[:3]) or 'none'} ({len(found.missing)})"
    left = f"without a place: {', '.join(found.unused[:3]) or 'none'} ({len(found.unused)})"
    if found.matched < _LEAST_MATCHED:
        raise ParameterError(f"{report}, wanted {_LEAST_MATCHED:.0%} at least; {lacking}; {left}. Is it another architecture?")
    broken = [key for key, tensor in found.tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise DataError(f"the weights {', '.join(broken[:3])} of {name} hold NaN or inf: its training diverged or the file is damaged")
    log.log(logging.INFO if found.matched == 1 else logging.WARNING, "%s; %s; %s", report, lacking, left)
