"""Rigid drift of a stack of images."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import numpy as np
import torch

from pycroclass.array_value import ArrayValue
from pycroclass.errors import DataError, ParameterError
from pycroclass.estimators._items import check_real, positive
from pycroclass.estimators._registration import Correlator, Image, Pair, Vector, positions
from pycroclass.operator import set_field
from pycroclass.operators._checks import finite
from pycroclass.operators._checks import positive as above_zero
from pycroclass.operators.shift import Shift
from pycroclass.reduction import Data, Estimator
from pycroclass.spec import Domain, Spec

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RigidDrift(Estimator):
    """How each image of a stack must be shifted to lie on the first one.

    The shift between two images is the peak of their cross-correlation, to ``1 / upsample`` pixels. Each image is compared with those
    ``lags`` before it, and the shifts that agree best with all these measurements are found by robust least squares: sums of shifts
    from one image to the next alone would drift themselves, and one wrong measurement would move all later images.

    It reads the stack once, in order, and holds the last ``max(lags)`` images and their spectra. Channels are averaged. Images that
    are left out (masked, or not finite) get shifts in between those of their neighbours. Fitting gives a `Shift`, whose ``shifts`` are
    in pixels.

    Parameters
    ----------
    upsample : int
        Parts of a pixel to which a shift is measured.
    lags : tuple of int
        Numbers of images between the two of a pair; 1 must be among them.
    search_radius : float, optional
        The most that an image moves from the one before it, in pixels; by default anything. A lattice correlates as well when it is moved
        by a lattice vector: give less than half of the shortest. Images farther apart are looked for around where the smaller lags
        put them.
    normalization : "none" or "phase"
        How much a spatial frequency weighs: as its power, which is best where there is noise, or all the same (phase correlation), which
        makes a sharper peak and is for images without noise or under a light that is not even.
    window : "hann" or "none"
        What is laid over each image before. Without it the borders, which do not move, and what a real image shows there anew, weigh in.
    fill : float, optional
        What `Shift` puts where nothing was recorded; by default NaN.

    Raises
    ------
    ParameterError
        If a parameter cannot be used.
    DataError
        If there are fewer than two images, they are complex or not finite, or they are not in order along one axis.

    References
    ----------
    M. Guizar-Sicairos, S. T. Thurman and J. R. Fienup, Opt. Lett. 33, 156 (2008).

    Examples
    --------
    >>> import pycroclass as pc
    >>> model = pc.fit(pc.RigidDrift(search_radius=6), stack)  # doctest: +SKIP
    >>> aligned = model(stack)  # doctest: +SKIP
    """

    domain: ClassVar[Domain] = Domain.IMAGE

    _: KW_ONLY
    upsample: int = 100
    lags: tuple[int, ...] = (1, 2, 4, 8, 16)
    search_radius: float | None = None
    normalization: str = "none"
    window: str = "hann"
    fill: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "upsample", positive("upsample", self.upsample))
        lags = self.lags if isinstance(self.lags, tuple | list) else (self.lags,)
        set_field(self, "lags", tuple(sorted({positive("each of lags", lag) for lag in lags})))
        if self.lags[:1] != (1,):
            raise ParameterError(f"lags must hold 1, so that each image is compared with the one before it; got {self.lags}")
        if self.search_radius is not None:
            set_field(self, "search_radius", above_zero("search_radius", self.search_radius))
        for name, known in (("normalization", ("none", "phase")), ("window", ("hann", "none"))):
            if getattr(self, name) not in known:
                raise ParameterError(f"{name} must be one of {known}, got {getattr(self, name)!r}")
        if self.fill is not None:
            set_field(self, "fill", finite("fill", self.fill))

    def fit(self, data: Data, spec: Spec) -> Shift:
        """The shifts that bring each image onto the first."""
        check_real(spec)
        if data.n_items < 2:
            raise DataError(f"the drift of {spec.title!r} cannot be seen: there is {data.n_items} image to use, and it takes two")
        correlator = Correlator(spec.shape[-2:], self.upsample, is_phase=self.normalization == "phase", tapers=self.window == "hann")
        index, pairs = self._measured(_in_order(data, spec), correlator)
        found = positions(pairs, len(index), 1 / self.upsample)
        shifts = np.stack([np.interp(np.arange(data.n_total), index, along) for along in found.T], axis=1)
        log.info("drift of %d images: from %s to %s pixels", len(index), shifts.min(0).round(2), shifts.max(0).round(2))
        return Shift(ArrayValue(shifts), self.fill, axes=self.axes)

    def _measured(self, images: Iterable[tuple[int, torch.Tensor]], correlator: Correlator) -> tuple[list[int], list[Pair]]:
        """The images' indices in the dataset, and the shifts between them; a pair counts the images that can be used."""
        radius = math.inf if self.search_radius is None else self.search_radius
        index: list[int] = []
        pairs: list[Pair] = []
        last: deque[tuple[Image, Vector]] = deque(maxlen=self.lags[-1])
        for n, (number_in_data, values) in enumerate(images):
            image = correlator.prepared(values)
            place = last[-1][1] if last else (0.0, 0.0)
            for lag in (lag for lag in self.lags if lag <= len(last)):
                theirs, (y, x) = last[-lag]
                shift = correlator.shift(theirs, image, (place[0] - y, place[1] - x), radius)
                pairs.append(Pair(n - lag, n, shift))
                if lag == 1:
                    place = y + shift[0], x + shift[1]
            last.append((image, place))
            index.append(number_in_data)
        return index, pairs


def _in_order(data: Data, spec: Spec) -> Iterator[tuple[int, torch.Tensor]]:
    """Each image ``(y, x)`` that can be used, with its index."""
    before = -1
    for block, items in data.blocks():
        for number_in_data, image in zip(items.index.tolist(), block, strict=True):
            if number_in_data < before:
                raise DataError(f"the images of {spec.title!r} lie along several axes: which one drifts from which cannot be told")
            before = number_in_data
            yield number_in_data, image.to("cpu", torch.float64).mean(0).to(torch.float32)
