"""How a network is trained, in small groups of parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, TypeVar, get_args

import numpy as np
import numpy.typing as npt

from pycroclass.errors import ParameterError
from pycroclass.operator import set_field

Method = Literal["none", "weights", "sampler", "logits"]
TrainingPrecision = Literal["float32", "bfloat16", "float16"]
_SMALL_BATCH: Final = 16
Group = TypeVar("Group")


@dataclass(frozen=True)
class Balance:
    """What is done about classes that are more frequent than others, and how frequent they are where the network will be used.

    Parameters
    ----------
    method : {"weights", "sampler", "logits", "none"}
        ``weights`` weighs the loss of an item by the inverse frequency of its class; ``sampler`` shows items of rare classes more
        often; ``logits`` adds the logarithm of the frequencies to the logits in the loss; ``none`` does nothing.
    prior : mapping of class name to float, optional
        The frequency of each class for which the probabilities hold, up to a factor. By default all alike, and with ``none`` as in the
        training items. It is recorded in ``bundle.training["balance"]``.

    Raises
    ------
    ParameterError
        If the method is not known, or a frequency is not positive.

    Notes
    -----
    A network trained on the loss of ``logits + log(seen / prior)``, where the loss sees the classes with the frequencies ``seen``, gives
    logits that hold for ``prior``: nothing is left to be corrected when it is used. With ``seen`` as in the data and an even prior this
    is the logit adjustment of Menon et al., ICLR 2021 (arXiv:2007.07314).

    Examples
    --------
    >>> Balance("logits").shift(np.array([90, 10]), ("clear", "crystal")).round(3).tolist()
    [0.588, -1.609]
    """

    method: Method = "weights"
    prior: Mapping[str, float] | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise ParameterError(f"the method of balance must be one of {get_args(Method)}, got {self.method!r}")
        if self.prior is not None:
            set_field(self, "prior", {str(name): float(value) for name, value in self.prior.items()})
            if not all(math.isfinite(value) and value > 0 for value in self.prior.values()):
                raise ParameterError(f"the prior of each class must be positive, got {self.prior}")

    def stated(self, counts: npt.NDArray[np.int64], classes: tuple[str, ...]) -> npt.NDArray[np.float64]:
        """The frequencies for which the probabilities hold, shape ``(n_classes,)``; their sum is 1.

        Raises
        ------
        ParameterError
            If the prior names other classes.
        """
        if self.prior is None:
            values = counts.astype(np.float64) if self.method == "none" else np.ones(len(counts))
        elif set(self.prior) != set(classes):
            raise ParameterError(f"the prior names the classes {sorted(self.prior)}, wanted {sorted(classes)}")
        else:
            values = np.array([self.prior[name] for name in classes])
        stated: npt.NDArray[np.float64] = values / values.sum()
        return stated

    def seen(self, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """The frequencies with which the loss sees the classes."""
        values = counts if self.method in ("none", "logits") else np.ones(len(counts))
        seen: npt.NDArray[np.float64] = values / values.sum()
        return seen

    def shift(self, counts: npt.NDArray[np.int64], classes: tuple[str, ...]) -> npt.NDArray[np.float64]:
        """What the loss adds to the logits."""
        shift: npt.NDArray[np.float64] = np.log(self.seen(counts) / self.stated(counts, classes))
        return shift

    def inverse_frequency(self, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """How often an item of each class must count so that the classes count alike; 1 in the mean over all items."""
        inverse: npt.NDArray[np.float64] = counts.sum() / (len(counts) * counts)
        return inverse


@dataclass(frozen=True)
class Optimisation:
    """The fine print of gradient descent: AdamW with a cosine schedule over the epochs.

    Parameters
    ----------
    weight_decay : float
    label_smoothing : float
        Share of the truth that is given to all classes alike.
    patience : int, optional
        Stop after so many epochs in a row without a lower validation loss.
    averaging : float
        Decay of an exponential moving average of the weights, such as 0.999, which is then what is validated and kept; 0 for none. It
        begins as a plain mean, so that short trainings gain too.
    accumulate : int
        Batches whose gradients are added up before each step.
    precision : {"float32", "bfloat16", "float16"}
        Number type of the activations. The weights stay in float32. ``float16`` is for GPUs, with scaled gradients.

    Raises
    ------
    ParameterError
        If a value cannot be used.
    """

    weight_decay: float = 0.01
    label_smoothing: float = 0.0
    patience: int | None = None
    averaging: float = 0.0
    accumulate: int = 1
    precision: TrainingPrecision = "float32"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ParameterError(f"weight_decay must be zero or positive, got {self.weight_decay}")
        for name in ("label_smoothing", "averaging"):
            if not 0 <= getattr(self, name) < 1:
                raise ParameterError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        if self.accumulate < 1 or (self.patience is not None and self.patience < 1):
            raise ParameterError(f"accumulate and patience must be at least 1, got {self.accumulate} and {self.patience}")
        if self.precision not in get_args(TrainingPrecision):
            raise ParameterError(f"precision must be one of {get_args(TrainingPrecision)}, got {self.precision!r}")


@dataclass(frozen=True)
class Transfer:
    """How to begin with weights that were learned from other images: the new head first, then all, the first layers most slowly.

    Parameters
    ----------
    source : str
        What `pycroclass.pretrained` takes: the path of a checkpoint or a bundle, or such as ``micronet``.
    head_epochs : int
        Epochs that train the head alone, at ``head_rate``; they count among the epochs of the training.
    head_rate : float
        Learning rate of the head in those epochs.
    layer_decay : float
        Each part of the network learns at this times the rate of the part behind it.
    licence : str, optional
        Of the weights; by default what the source says.
    freeze_norm : bool, optional
        Whether batch normalisation keeps the statistics that it came with; by default with fewer than 16 items in a batch, of which it
        could not learn good ones.

    Raises
    ------
    ParameterError
        If a value cannot be used.
    """

    source: str
    head_epochs: int = 5
    head_rate: float = 1e-3
    layer_decay: float = 0.75
    licence: str | None = None
    freeze_norm: bool | None = None

    def __post_init__(self) -> None:
        set_field(self, "source", str(self.source))
        if self.head_epochs < 0:
            raise ParameterError(f"head_epochs must be zero or more, got {self.head_epochs}")
        if not (math.isfinite(self.head_rate) and self.head_rate > 0):
            raise ParameterError(f"head_rate must be positive, got {self.head_rate}")
        if not 0 < self.layer_decay <= 1:
            raise ParameterError(f"layer_decay must be in (0, 1], got {self.layer_decay}")

    def freezes_norm(self, batch_size: int) -> bool:
        """Whether batch normalisation keeps its statistics with batches of this size."""
        return batch_size < _SMALL_BATCH if self.freeze_norm is None else self.freeze_norm


def group(kind: type[Group], value: Any) -> Group:
    """A group of parameters from itself or from values by name, as a recipe has them.

    Raises
    ------
    ParameterError
        If a name is not known or a value is refused.
    """
    if isinstance(value, kind):
        return value
    if not isinstance(value, Mapping):
        raise ParameterError(f"{kind.__name__} is given by names and values, got {value!r}")
    known = [each.name for each in fields(kind)]  # type: ignore[arg-type]  # only dataclasses are given
    if unknown := sorted(set(value) - set(known)):
        raise ParameterError(f"{kind.__name__} has no {', '.join(unknown)}; it has {', '.join(known)}")
    try:
        return kind(**value)
    except TypeError as error:
        raise ParameterError(f"{kind.__name__} cannot be made from {dict(value)}: {error}") from None
