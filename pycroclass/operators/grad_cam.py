"""Where in an image a network saw what it answered."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import ClassVar, Final, Self

import numpy as np
import torch
import torch.nn.functional as F

from pycroclass.errors import AxisError, ParameterError
from pycroclass.networks.classifier import ImageClassifier
from pycroclass.operator import Composable, Pipeline, set_field
from pycroclass.operators.network import Classify, _build, _NetworkOperator
from pycroclass.spec import Domain, Spec

_N_KEPT: Final = 2


@dataclass(frozen=True)
class GradCAM(_NetworkOperator):
    """Which places of an image speak for a class, after the last convolutions of a network: Grad-CAM.

    With :math:`A_k` the last feature maps and :math:`s` the logit of the class, it is
    :math:`\\max(0, \\sum_k A_k \\, \\overline{\\partial s / \\partial A_k})`, where the bar is the mean over the map, brought to
    the size of the image by linear interpolation.

    Parameters
    ----------
    architecture : str
        Registered name of a network that sorts images, such as ``resnet_small``.
    parameters : mapping
        Of the architecture.
    weights : mapping of str to array
        The state dict of the network; tensors and arrays will do.
    classes : tuple of str
        Names of the classes, in the order of the logits.
    target : str, optional
        The class that is asked about; by default for each image the one that the network finds most probable.

    Raises
    ------
    ParameterError
        If the architecture is unknown, sorts no images or does not take the parameters or the weights, or there is no such class.
    AxisError
        On data with other channels or complex values.

    Notes
    -----
    Selvaraju et al., ICCV 2017, https://doi.org/10.1109/ICCV.2017.74. The map is as coarse as the last layer: what looks sharp comes from
    interpolation. It tells where the evidence lies, not what it is, and nothing about whether the answer is right. An image that holds
    NaN or inf gets NaN.

    Examples
    --------
    >>> from pycroclass.networks import ImageResNet
    >>> module = ImageResNet(n_classes=2)
    >>> maps = GradCAM("resnet_small", {"n_classes": 2}, module.state_dict(), classes=("miss", "hit"), target="hit")
    >>> maps.transform(torch.rand(5, 1, 20, 30)).shape
    torch.Size([5, 20, 30])
    """

    domain: ClassVar[Domain] = Domain.IMAGE
    tolerance: ClassVar[float] = 1e-4

    classes: tuple[str, ...]
    target: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "classes", tuple(str(name) for name in self.classes))
        if not isinstance(self.outline, ImageClassifier):
            raise ParameterError(f"Grad-CAM is for networks that sort whole images by a map of features; {self.architecture} is none")
        if len(self.classes) != self.outline.n_classes:
            raise ParameterError(f"the network has {self.outline.n_classes} classes, got the names {self.classes}")
        if self.target is not None and self.target not in self.classes:
            raise ParameterError(f"no class {self.target!r}; the network knows {', '.join(self.classes)}")

    @classmethod
    def of(cls, classify: Classify, target: str | None = None) -> Self:
        """The Grad-CAM of the network that a `Classify` runs."""
        return cls(
            classify.architecture, classify.parameters, classify.weights, classes=classify.classes, target=target, axes=classify.axes
        )

    def output(self, spec: Spec) -> Spec:
        self.check(spec)
        if len(spec.axes) != 3:
            raise AxisError(f"Grad-CAM is for images (channel, y, x), got {spec.names}")
        return replace(spec, axes=spec.axes[1:], dtype=np.dtype(np.float32), quantity="evidence", units="generic", classes=())

    def workspace(self, spec: Spec, device: torch.device) -> int:
        return super().workspace(spec, device) + 8 * int(np.prod(spec.shape[1:]))

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        items = block.to(torch.float32)
        module = _MODULES.get(self, block.device)
        maps = module.feature_map(items)
        with torch.inference_mode(False), torch.enable_grad():
            seen = maps.clone().requires_grad_()
            logits = module.logits(module.pool(seen))
            asked = logits.argmax(1) if self.target is None else torch.full((len(items),), self.classes.index(self.target))
            score = logits.gather(1, asked.to(logits.device)[:, None])
            (slope,) = torch.autograd.grad(score.sum(), seen)
        evidence = (maps * slope.mean((-2, -1), keepdim=True)).sum(1, keepdim=True).relu()
        grown = F.interpolate(evidence, size=block.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
        is_finite = torch.isfinite(items).flatten(1).all(1) & torch.isfinite(logits).all(1)
        return grown.where(is_finite[:, None, None], torch.nan)


def with_grad_cam(pipeline: Composable, target: str | None = None) -> Pipeline:
    """The pipeline up to its network, which then answers with `GradCAM` instead of the class.

    Parameters
    ----------
    pipeline : Pipeline
        Such as that of a bundle.
    target : str, optional
        The class that is asked about; by default for each image the one that the network finds most probable.

    Raises
    ------
    ParameterError
        If no step sorts into classes with a network for whole images.

    Examples
    --------
    >>> from pycroclass.networks import ImageResNet
    >>> from pycroclass.operators import Classify, Log1p
    >>> module = ImageResNet(n_classes=2)
    >>> pipeline = Log1p() | Classify("resnet_small", {"n_classes": 2}, module.state_dict(), classes=("miss", "hit"))
    >>> [type(step).__name__ for step in with_grad_cam(pipeline)]
    ['Log1p', 'GradCAM']
    """
    steps = pipeline.steps()
    for place, step in enumerate(steps):
        if isinstance(step, Classify):
            return Pipeline((*steps[:place], GradCAM.of(step, target)))
    raise ParameterError(f"no step of the pipeline is a Classify: {', '.join(type(step).__name__ for step in steps)}")


class _Modules:
    """The networks that this process asked last, able to be differentiated, on their devices."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, torch.device], ImageClassifier] = OrderedDict()

    def get(self, operator: GradCAM, device: torch.device) -> ImageClassifier:
        key = (operator.digest, device)
        with self._lock:
            if key not in self._kept:
                with torch.inference_mode(False):  # weights made in that mode cannot take part in a gradient
                    module = _build(operator)
                if not isinstance(module, ImageClassifier):
                    raise ParameterError(f"{operator.architecture} has no map of features")
                self._kept[key] = module.eval().requires_grad_(requires_grad=False).to(device)
                while len(self._kept) > _N_KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]


_MODULES: Final = _Modules()
