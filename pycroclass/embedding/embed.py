"""Each image of a collection as a row of numbers: those of a trained network, or classical ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import sidpy
import torch

from pycroclass import networks
from pycroclass.api import fit, loaded_for, run
from pycroclass.array_value import ArrayValue
from pycroclass.bundle import Bundle
from pycroclass.errors import AxisError, ParameterError
from pycroclass.estimators.patches import PatchPCA
from pycroclass.operator import Composable, Pipeline
from pycroclass.operators.image_features import FEATURES, ImageFeatures
from pycroclass.operators.network import Classify, Embedding, Network
from pycroclass.passes import Nonfinite
from pycroclass.reduction import Estimator
from pycroclass.sid import unwrap
from pycroclass.stage import Execution
from pycroclass.transfer import pretrained

By = str | Path | Bundle | Composable
BY_NAME: Final[Mapping[str, Composable]] = {
    "classical": ImageFeatures(),
    **{kind: ImageFeatures((kind,)) for kind in FEATURES},
    "patches": PatchPCA(),
}
"""What describes an image without a network."""
_BUNDLE: Final = ".safetensors"


def embed(
    dataset: sidpy.Dataset, by: By = "classical", *, nonfinite: Nonfinite = "refuse", execution: Execution | None = None
) -> sidpy.Dataset:
    """Describe each item of a stack by a row of features, lazily.

    Parameters
    ----------
    dataset : sidpy.Dataset
        Items, such as images, along its first axis.
    by : str, path, Bundle, Operator, Estimator or Pipeline
        What describes them. A bundle (or its path) with a network gives what that knows before its last layer, as does any pipeline with
        a `Network` or `Classify`, or with the `backbone` of weights from elsewhere. Without a network: ``hog``, ``lbp``, ``radial`` or
        ``quantiles`` as `ImageFeatures` computes them; ``classical``, all four; ``patches``, what `PatchPCA` learns of the images.
    nonfinite : {"refuse", "mask"}
        Whether an item with NaN or inf is an error or left out where something is learned.
    execution : Execution, optional

    Returns
    -------
    sidpy.Dataset
        Shape (n_items, n_features). To go over it often, write it to a file first.

    Raises
    ------
    ParameterError
        If ``by`` is not understood.
    AxisError
        If the items do not lie along the first axis, or ``by`` does not give one row of numbers for each.
    BundleError
        If a bundle is damaged or was made for other data.

    Examples
    --------
    >>> import numpy as np, sidpy
    >>> images = sidpy.Dataset.from_array(np.random.default_rng(0).random((6, 32, 32)))
    >>> images.data_type = "image_stack"
    >>> embed(images, "hog").shape
    (6, 576)
    """
    return features_by(describer(dataset, by, nonfinite=nonfinite, execution=execution), dataset, execution)


def describer(dataset: sidpy.Dataset, by: By, *, nonfinite: Nonfinite = "refuse", execution: Execution | None = None) -> Pipeline:
    """The operators that make features of the items of a dataset, fitted to it where they learn; for parameters and errors see `embed`."""
    wanted = _described_by(dataset, by)
    if any(isinstance(step, Estimator) for step in wanted.steps()):
        return fit(wanted, dataset, nonfinite=nonfinite, execution=execution)
    return Pipeline(wanted.steps(), getattr(wanted, "fitted", None))


def features_by(pipeline: Pipeline, dataset: sidpy.Dataset, execution: Execution | None = None) -> sidpy.Dataset:
    """What a fitted pipeline tells of each item, shape (n_items, n_features); for errors see `embed`."""
    result = run(pipeline, dataset, execution=execution)
    if isinstance(result, dict):
        raise AxisError(f"one row of numbers for each item is wanted; {_named(pipeline)} gives several results: {', '.join(result)}")
    check_features(result, dataset.shape[:1])
    return result


def check_features(features: sidpy.Dataset, n_items: tuple[int, ...] | None = None) -> None:
    """Make sure that a dataset holds one row of numbers for each item.

    Raises
    ------
    AxisError
        If it does not.
    """
    if features.ndim != 2 or (n_items is not None and features.shape[:1] != n_items):
        spec = unwrap(features)[1]
        got = ", ".join(f"{axis.name} {axis.size}" for axis in spec.axes)
        raise AxisError(f"wanted one row of numbers for each item of a stack, shape (item, feature); got the axes ({got})")


def backbone(source: Any, architecture: str, *, n_channels: int = 1, licence: str | None = None) -> Embedding:
    """A network with weights from elsewhere that describes images: all of it but its last layer.

    Parameters
    ----------
    source : str, Path, Bundle or mapping of str to tensor
        As for `pycroclass.pretrained`.
    architecture : str
        Registered name, such as ``resnet50``.
    n_channels : int
        Of your images; filters for colours are summed for grey ones.
    licence : str, optional
        Of the weights.

    Returns
    -------
    Embedding
        Put what brings your images to the scale of those that it was trained on before it: ``pc.ZScore() | backbone(…)``.

    Raises
    ------
    ReadError
        If the weights cannot be had or read.
    ParameterError
        If weights of any layer but the last are missing.

    Examples
    --------
    >>> from pycroclass.networks import ResNet
    >>> describe = backbone(ResNet(18, n_classes=1000).state_dict(), "resnet18")
    >>> describe.transform(torch.zeros(2, 1, 64, 64)).shape
    torch.Size([2, 512])
    """
    parameters = {"n_classes": 2, "n_channels": n_channels}
    found = pretrained(source, architecture, parameters, licence=licence)
    outline = networks.architecture(architecture).outline(parameters)
    last = tuple(f"{name}." for name in outline.depth_groups()[-1])
    weights = {
        name: found.weights[name] if name in found.weights else ArrayValue(np.zeros(tuple(tensor.shape), _dtype(tensor)))
        for name, tensor in outline.state_dict().items()
    }
    lacking = [name for name in found.missing if not name.startswith(last)]
    if lacking:
        raise ParameterError(
            f"{found.source} lacks weights of {architecture}: {', '.join(lacking[:3])} ({len(lacking)} in all). "
            "A network that was trained in part describes nothing. Is it another architecture?"
        )
    return Embedding(architecture, parameters, weights)


def _described_by(dataset: sidpy.Dataset, by: By) -> Composable:
    if isinstance(by, str) and by in BY_NAME:
        return BY_NAME[by]
    if isinstance(by, Path | Bundle) or (isinstance(by, str) and by.endswith(_BUNDLE)):
        return _before_its_judgement(loaded_for(dataset, by).pipeline)
    if isinstance(by, Composable):
        return _before_its_judgement(by)
    raise ParameterError(f"by must be one of {', '.join(BY_NAME)}, a bundle or its path ({_BUNDLE}), or a pipeline; got {by!r}")


def _before_its_judgement(pipeline: Composable) -> Composable:
    """The pipeline up to its network, of which the embedding is taken; itself if it has none."""
    steps = pipeline.steps()
    for place, step in enumerate(steps):
        if isinstance(step, Network | Classify):
            return Pipeline((*steps[:place], Embedding.of(step)), getattr(pipeline, "fitted", None))
    return pipeline


def _dtype(tensor: torch.Tensor) -> np.dtype[Any]:
    return np.dtype(str(tensor.dtype).removeprefix("torch."))


def _named(pipeline: Pipeline) -> str:
    return " | ".join(type(step).__name__ for step in pipeline)
