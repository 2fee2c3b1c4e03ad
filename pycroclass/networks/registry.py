"""Network architectures by name: the only ones that a file may name."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Final, TypeVar

import torch

from pycroclass.errors import ParameterError
from pycroclass.networks.classifier import Classifier
from pycroclass.spec import Domain

log = logging.getLogger(__name__)

Builder = TypeVar("Builder", bound="Callable[..., Classifier]")


@dataclass(frozen=True)
class Architecture:
    """A way to build a network.

    Parameters
    ----------
    name : str
    domain : Domain
        What one item is: ``IMAGE`` (its block is ``(batch, channel, y, x)``) or ``SPECTRUM`` (``(batch, length)``).
    builder : callable
        Takes keyword parameters and returns a `Classifier` with random weights.
    """

    name: str
    domain: Domain
    builder: Callable[..., Classifier]

    def build(self, parameters: Mapping[str, Any]) -> Classifier:
        """A network with random weights.

        Raises
        ------
        ParameterError
            If the builder does not take these parameters.
        """
        try:
            inspect.signature(self.builder).bind(**parameters)
        except TypeError as error:
            raise ParameterError(f"architecture {self.name!r}: {error}. It is {self.name}{inspect.signature(self.builder)}.") from None
        return self.builder(**parameters)

    def outline(self, parameters: Mapping[str, Any]) -> Classifier:
        """The network without memory for its weights: to ask for shapes, not to compute with."""
        with torch.device("meta"):
            return self.build(parameters)


_ARCHITECTURES: Final[dict[str, Architecture]] = {}


def network(name: str, *, domain: Domain) -> Callable[[Builder], Builder]:
    """Decorate a builder to make its networks known under ``name``.

    Packages offer theirs by an entry point in the group ``pycroclass.networks`` that names the module with the builders.

    Raises
    ------
    ParameterError
        If another builder has that name.

    Examples
    --------
    >>> @network("mean_level", domain=Domain.SPECTRUM)
    ... class MeanLevel(Classifier):
    ...     def __init__(self, *, n_classes: int) -> None:
    ...         super().__init__((None,), n_features=1, n_classes=n_classes)
    ...
    ...     def embed(self, items: torch.Tensor) -> torch.Tensor:
    ...         return items.mean(-1, keepdim=True)
    >>> architecture("mean_level").build({"n_classes": 3})(torch.zeros(5, 200)).shape
    torch.Size([5, 3])
    """

    def register(builder: Builder) -> Builder:
        known = _ARCHITECTURES.get(name)
        if known is not None and _origin(known.builder) != _origin(builder):
            raise ParameterError(f"architecture {name!r} is that of {'.'.join(_origin(known.builder))} already; choose another name")
        _ARCHITECTURES[name] = Architecture(name, domain, builder)
        return builder

    return register


def architecture(name: str) -> Architecture:
    """The architecture of that name.

    Raises
    ------
    ParameterError
        If it is not known.
    """
    if name not in _ARCHITECTURES:
        _load_plugins()
    if name not in _ARCHITECTURES:
        raise ParameterError(f"no architecture {name!r}; known are {', '.join(architectures())}. If it is a plug-in's, install that.")
    return _ARCHITECTURES[name]


def architectures() -> tuple[str, ...]:
    """Names of all known architectures."""
    _load_plugins()
    return tuple(sorted(_ARCHITECTURES))


@cache
def _load_plugins() -> None:
    for plugin in entry_points(group="pycroclass.networks"):
        try:
            plugin.load()
        except Exception as error:  # noqa: BLE001  # a broken plug-in must not take down the rest
            log.warning("plug-in %s of %s cannot be loaded: %s", plugin.name, plugin.value, error)


def _origin(builder: Callable[..., Classifier]) -> tuple[str, str]:
    return builder.__module__, builder.__qualname__
