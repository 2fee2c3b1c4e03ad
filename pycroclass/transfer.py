"""Weights that were trained elsewhere, for a network of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycroclass.array_value import ArrayValue
from pycroclass.networks import Classifier


@dataclass(frozen=True)
class Normalisation:
    """What the network was used to: ``(x - mean) / std`` of each channel, where ``x`` runs from 0 to 1.

    Parameters
    ----------
    mean, std : tuple of float
        One value for each channel.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Pretrained:
    """Weights for a network, and where they come from.

    Parameters
    ----------
    weights : mapping of str to array
        Entries of the state dict; those of the last layer only where its number of classes is that of the network.
    matched : float
        Share of the entries that fit by name and shape, the last layer apart.
    missing : tuple of str
        Entries of the network that the source has not: those keep their random start.
    licence, source : str
    digest : str
        ``sha256:`` and the hash of the file.
    normalisation : Normalisation, optional
        Of the images that the weights were trained on, where that is known.
    """

    weights: Mapping[str, ArrayValue]
    matched: float
    missing: tuple[str, ...]
    licence: str
    source: str
    digest: str
    normalisation: Normalisation | None = None

    def load_into(self, module: Classifier) -> None:
        """Give the weights to a network of that architecture; what is `missing` stays as it is."""
        raise NotImplementedError

    def record(self) -> dict[str, Any]:
        """All but the weights, JSON-ready."""
        raise NotImplementedError


def pretrained(source: str | Path, architecture: str, parameters: Mapping[str, Any], *, licence: str | None = None) -> Pretrained:
    """Weights for an architecture from a file, a bundle, an address or the collection ``micronet`` or ``image-micronet``."""
    raise NotImplementedError
