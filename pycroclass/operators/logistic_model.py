"""Two classes told apart by a weighted sum of features."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch

from pycroclass.array_value import ArrayValue
from pycroclass.errors import AxisError, ParameterError
from pycroclass.operator import Operator, set_field
from pycroclass.operators._checks import check_real, finite
from pycroclass.spec import Axis, AxisKind, Domain, Spec

_NO_CLASS = -1


@dataclass(frozen=True)
class LogisticModel(Operator):
    """Sorts items into two classes by the log odds ``weights · features + bias`` of the second, all answers in one pass.

    ``(feature,)`` becomes ``probability`` of each class (float32, axis ``class``), that of the second being ``1 / (1 + exp(-score))``;
    ``label`` (int32), the number of the more probable class; ``confidence`` (float32), its probability; and ``score`` (float32), the log
    odds, which still tell items apart whose probability is 1.

    Parameters
    ----------
    weights : array, shape (n_features,)
    bias : float
    classes : tuple of str
        Names of both classes.

    Raises
    ------
    ParameterError
        If weights or bias are not finite, or there are not two classes.
    AxisError
        If items have another number of features, or are complex.

    Notes
    -----
    An item with a feature that is NaN or inf gets label -1 and NaN everywhere else: never a confident answer. `ClassThreshold`,
    `TemperatureScale` and the like may stand behind.

    Examples
    --------
    >>> answer = LogisticModel([1.0, 2.0], -1.0).transform(torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
    >>> answer["score"].tolist(), answer["label"].tolist(), answer["probability"][0].tolist()
    ([0.0, 2.0], [0, 1], [0.5, 0.5])
    """

    domain: ClassVar[Domain] = Domain.SPECTRUM
    tolerance: ClassVar[float] = 1e-5

    weights: ArrayValue
    bias: float
    classes: tuple[str, ...] = ("miss", "hit")

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "weights", ArrayValue(np.asarray(ArrayValue(self.weights).values, np.float64)))
        set_field(self, "bias", finite("bias", self.bias))
        set_field(self, "classes", tuple(str(name) for name in self.classes))
        if self.weights.values.ndim != 1 or not np.isfinite(self.weights.values).all():
            raise ParameterError(f"weights must be one finite number for each feature, got {self.weights.values!r}")
        if len(set(self.classes)) != 2:
            raise ParameterError(f"wanted the names of two classes, got {self.classes}")

    def output(self, spec: Spec) -> dict[str, Spec]:
        check_real(self, spec)
        if spec.shape != self.weights.shape:
            raise AxisError(f"LogisticModel has the weights of {self.weights.shape[0]} features, got items of shape {spec.shape}")
        one = replace(spec, axes=(), dtype=np.dtype(np.float32), quantity="probability", units="generic", geometry=None, classes=())
        axis = Axis("class", 2, kind=AxisKind.SPECTRAL, quantity="class")
        return {
            "probability": replace(one, axes=(axis,), classes=self.classes),
            "label": replace(one, dtype=np.dtype(np.int32), quantity="label", classes=self.classes),
            "confidence": one,
            "score": replace(one, quantity="log odds"),
        }

    def score(self, features: torch.Tensor) -> torch.Tensor:
        """The log odds of items ``(batch, feature)``, float64."""
        weights = torch.from_numpy(self.weights.values.copy()).to(features.device)
        return (features.double() * weights).sum(1) + self.bias

    def transform(self, block: torch.Tensor) -> dict[str, torch.Tensor]:
        score = self.score(block)
        is_answered = score.isfinite()
        score = score.where(is_answered, torch.nan)
        probability = torch.stack((score.neg().sigmoid(), score.sigmoid()), 1)
        return {
            "probability": probability.float(),
            "label": (score > 0).int().where(is_answered, _NO_CLASS),
            "confidence": probability.amax(1).float(),
            "score": score.float(),
        }
