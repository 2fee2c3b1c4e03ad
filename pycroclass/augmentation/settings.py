"""What may be changed in an item without changing its class, and how much."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, Final

from pycroclass.errors import ParameterError
from pycroclass.spec import Domain

_OF_SPECTRA: Final = frozenset({"flip", "shift_points", "brightness", "tilt", "gain", "noise", "mixup"})
_ONLY_OF_SPECTRA: Final = frozenset({"tilt"})


@dataclass(frozen=True)
class Augmentation:
    """What is changed at random in each item each time that a network learns from it; 0 and False leave it as it is.

    Amounts are relative to the item itself, so they mean the same for counts, volts and grey values: "sd" is the standard deviation
    of the values of the item.

    Parameters
    ----------
    flip : bool
        Mirror along each axis.
    turn : bool
        Turn by multiples of 90 degrees, where y and x are equally long; exact.
    rotation : float
        Turn by up to so many degrees either way. Interpolates, as ``shift`` and ``scale`` do; all in one step.
    shift : float
        Move by up to this share of the size.
    scale : float
        Make larger or smaller by up to this share.
    shift_points : int
        Move by up to so many whole pixels (or points of a spectrum). Exact; what comes in repeats the edge.
    brightness : float
        Add up to so many sd either way.
    contrast : float
        Multiply the distance from the mean by up to ``exp(contrast)``, or divide.
    gamma : float
        Raise to a power of up to ``exp(gamma)``, or its inverse, between the least and the largest value.
    gain : float
        Multiply all by up to ``exp(gain)``, or divide.
    tilt : float
        Add a slope of up to so many sd from end to end of a spectrum.
    noise : float
        Add Gaussian noise of up to so many sd.
    blur : float
        Blur by a Gaussian of up to so many pixels.
    cutout : float
        Replace a square of up to this share of the size by the mean.
    hot_pixels : float
        Share of the pixels that become as bright as the brightest, or brighter.
    streaks : float
        Probability of a straight streak across the image.
    mixup : float
        Mix pairs of items, and their classes, in shares from a Beta distribution with both parameters so; 0.2 is usual.

    Raises
    ------
    ParameterError
        If an amount is negative, not finite or too large.

    Notes
    -----
    Of the whole list ``rotation``, ``shift``, ``scale`` and ``blur`` interpolate. Where a peak is one pixel wide they destroy what is
    to be recognised, and the preset ``diffraction`` uses none of them. mixup: Zhang et al., ICLR 2018 (arXiv:1710.09412); cutout:
    DeVries and Taylor 2017 (arXiv:1708.04552).

    Examples
    --------
    >>> Augmentation.of("diffraction").interpolates
    False
    >>> Augmentation.of({"preset": "micrograph", "mixup": 0.2}).mixup
    0.2
    """

    flip: bool = False
    turn: bool = False
    rotation: float = 0.0
    shift: float = 0.0
    scale: float = 0.0
    shift_points: int = 0
    brightness: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    gain: float = 0.0
    tilt: float = 0.0
    noise: float = 0.0
    blur: float = 0.0
    cutout: float = 0.0
    hot_pixels: float = 0.0
    streaks: float = 0.0
    mixup: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (math.isfinite(value) and value >= 0):
                raise ParameterError(f"the amount of {name} must be zero or positive, got {value!r}")
        for name, most in (("shift", 0.5), ("scale", 0.9), ("cutout", 1.0), ("hot_pixels", 1.0), ("streaks", 1.0), ("rotation", 180.0)):
            if getattr(self, name) > most:
                raise ParameterError(f"the amount of {name} must be at most {most}, got {getattr(self, name)}")
        if self.shift_points != int(self.shift_points):
            raise ParameterError(f"shift_points must be a whole number, got {self.shift_points}")

    @staticmethod
    def of(value: Augmentation | str | Mapping[str, Any]) -> Augmentation:
        """From the name of a preset, or amounts by name, where ``preset`` names what they change.

        Raises
        ------
        ParameterError
            If a name is not known.
        """
        if isinstance(value, Augmentation):
            return value
        if isinstance(value, str):
            value = {"preset": value}
        changes = dict(value)
        preset = changes.pop("preset", "none")
        if preset not in PRESETS:
            raise ParameterError(f"no augmentation {preset!r}; known are {', '.join(PRESETS)}, or amounts by name")
        known = [field.name for field in fields(Augmentation)]
        if unknown := sorted(set(changes) - set(known)):
            raise ParameterError(f"an augmentation has no {', '.join(unknown)}; it has {', '.join(known)}")
        return replace(PRESETS[preset], **changes)

    @property
    def interpolates(self) -> bool:
        """Whether values are computed from their neighbours."""
        return any((self.rotation, self.shift, self.scale, self.blur))

    def check(self, domain: Domain) -> None:
        """Refuse what cannot be done to items of a domain.

        Raises
        ------
        ParameterError
            If an amount has no meaning there.
        """
        asked = {name for name, value in vars(self).items() if value}
        wrong = asked - _OF_SPECTRA if domain is Domain.SPECTRUM else asked & _ONLY_OF_SPECTRA
        if wrong:
            raise ParameterError(f"the augmentation {', '.join(sorted(wrong))} has no meaning for a {domain}")


PRESETS: Final[Mapping[str, Augmentation]] = MappingProxyType(
    {
        "none": Augmentation(),
        "dihedral": Augmentation(flip=True, turn=True),
        "micrograph": Augmentation(
            flip=True, turn=True, rotation=10, shift=0.05, scale=0.1, brightness=0.2, contrast=0.2, gamma=0.1, noise=0.05, blur=0.7
        ),
        "drop": Augmentation(
            flip=True, turn=True, rotation=180, shift=0.05, scale=0.1, brightness=0.4, contrast=0.3, gamma=0.2, noise=0.05, cutout=0.25
        ),
        "diffraction": Augmentation(flip=True, turn=True, shift_points=4, gain=0.2, hot_pixels=2e-5, streaks=0.05),
        "spectrum": Augmentation(shift_points=2, gain=0.2, brightness=0.1, tilt=0.2, noise=0.1),
    }
)
"""Augmentations by what is looked at."""
