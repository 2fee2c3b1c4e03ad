"""What tells a hit from a miss, as a few numbers for each frame: what a network says, and what its Bragg peaks are like."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce
from typing import ClassVar, Final

import numpy as np
import torch

from pycroclass.errors import AxisError, ParameterError
from pycroclass.kernels.peak_tables import COLUMNS
from pycroclass.operator import Composable, Operator, Pipeline, set_field
from pycroclass.operators._boxes import box_means, box_sizes
from pycroclass.operators._checks import check_real, positive
from pycroclass.operators._tensor import as_tensor, floating
from pycroclass.operators.network import Classify
from pycroclass.operators.peak_finder import PeakFinder8
from pycroclass.spec import Axis, AxisKind, Domain, Spec

_OF_NETWORK: Final = "network"
_OF_PEAKS: Final = ("n_peaks", "n_small", "n_medium", "n_large", "n_off_ring", "snr")
_MEDIUM: Final = 4
_LARGE: Final = 10
"""Pixels from which a peak is of medium size, and large."""
_RING: Final = 10.0
"""Width of the rings that peaks are sorted into, in pixels."""
_LEAST: Final = 1e-6
"""Of a probability: the softmax of float32 cannot tell smaller ones from 0."""


@dataclass(frozen=True)
class HitFeatures(Operator):
    """A few numbers that say how much a frame looks like that of a crystal: of a network, and of the peaks that `PeakFinder8` finds.

    ``(channel, y, x)``, one channel, becomes ``(feature,)``, float32. The names of the features are the ``classes`` of the result:

    - ``network``: log odds of the last class, ``log(p / (1 - p))`` with ``p`` kept in ``[1e-6, 1 - 1e-6]``; only where there is a network.
    - ``n_peaks``: the number of peaks; ``n_small``, ``n_medium``, ``n_large``: of fewer than 4, 4 to 9, 10 or more pixels.
    - ``n_off_ring``: how many remain without those on the fullest of the rings ``[10 k, 10 k + 10)`` pixels around the beam. Ice,
      powder and the edge of a beamstop put their peaks on one ring, a crystal does not.
    - ``snr``: the sum of the peaks' signal to noise.
    - ``weak_n_peaks`` … ``weak_snr``: the same six of all peaks down to ``weak_snr``; only where that is given. Noise makes some of them in
      most frames, but weak hits have hardly any stronger ones.

    Peaks are looked for in the frame, and in its means over boxes of pixels (``boxes``), where those of a blurred detector stand out; each
    feature is the larger one. Numbers ``n`` of peaks and the sum of their signal to noise count as ``log(1 + n)``: what tells a miss from
    a hit is the difference of 0 and 10 peaks, not that of 100 and 110. Of frames with more peaks than the table of the finder has room
    for, the strongest tell the sizes, rings and signal to noise.

    Parameters
    ----------
    finder : PeakFinder8
        With ``threshold=0`` its bounds are in standard deviations of each ring alone, and hold for any detector.
    network : Operator or Pipeline, optional
        Fitted, on images; ends with `Classify` into two classes, the second of which is the hit.
    boxes : tuple of int
        Odd sizes of the boxes over whose means peaks are looked for.
    weak_snr : float, optional
        In place of the ``min_snr`` of ``finder``, and below it.

    Raises
    ------
    ParameterError
        If there is no such finder, the network does not end with two classes, or ``weak_snr`` is not below that of the finder.
    AxisError
        If the frames are complex or of several channels, or do not fit finder or network.

    Notes
    -----
    Pixels that are NaN are bad, as both parts take them; a frame that is all NaN has features that are NaN. `RunCalibration` makes a
    label of the features.

    Examples
    --------
    >>> from pycroclass.geometry import Geometry
    >>> frame = torch.zeros(1, 1, 20, 20)
    >>> frame[0, 0, 5, 6:9] = torch.tensor([30.0, 60.0, 30.0])
    >>> frame[0, 0, ::3, ::3] += 1
    >>> features = HitFeatures(PeakFinder8(20, geometry=Geometry((12, 12))))
    >>> dict(zip(features.names, features.transform(frame)[0].expm1().round().int().tolist()))["n_peaks"]
    1
    """

    domain: ClassVar[Domain] = Domain.IMAGE
    tolerance: ClassVar[float] = 1e-4
    takes_any_dtype: ClassVar[bool] = True

    finder: PeakFinder8
    network: Pipeline | None = None
    boxes: tuple[int, ...] = (1, 3)
    weak_snr: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        finder = self.finder.steps()[0] if isinstance(self.finder, Composable) and len(self.finder.steps()) == 1 else None
        if not isinstance(finder, PeakFinder8):
            raise ParameterError(f"finder must be a PeakFinder8, got {self.finder!r}")
        set_field(self, "finder", finder)
        if self.network is not None:
            set_field(self, "network", _sorting(self.network))
        set_field(self, "boxes", box_sizes(self.boxes))
        if self.weak_snr is not None:
            set_field(self, "weak_snr", positive("weak_snr", self.weak_snr))
            if self.weak_snr >= finder.min_snr:
                raise ParameterError(f"weak_snr must be below min_snr={finder.min_snr:g} of the finder, got {self.weak_snr:g}")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the features, in order."""
        of_weak = () if self.weak_snr is None else tuple("weak_" + name for name in _OF_PEAKS)
        return (*(() if self.network is None else (_OF_NETWORK,)), *_OF_PEAKS, *of_weak)

    @property
    def _finders(self) -> tuple[PeakFinder8, ...]:
        return (self.finder,) if self.weak_snr is None else (self.finder, replace(self.finder, min_snr=self.weak_snr))

    def bind(self, spec: Spec) -> HitFeatures:
        if spec.shape[0] != 1:
            raise AxisError(f"HitFeatures takes frames of one channel, got {spec.shape[0]}. Take one, or their sum.")
        network = self.network and Pipeline(tuple(bound for bound, _ in _bound(self.network, spec)))
        return replace(self, finder=self.finder.bind(spec), network=network)

    def output(self, spec: Spec) -> Spec:
        check_real(self, spec)
        self.finder.output(spec)
        axis = Axis("feature", len(self.names), kind=AxisKind.SPECTRAL, quantity="feature")
        return replace(
            spec, axes=(axis,), dtype=np.dtype(np.float32), quantity="features of a hit", units="generic", geometry=None, classes=self.names
        )

    def workspace(self, spec: Spec, device: torch.device) -> int:
        needed = self.finder.workspace(spec, device)
        for bound, given in _bound(self.network, spec) if self.network else ():
            needed = max(needed, bound.workspace(given, device))
        return needed

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        means = [self._means(block, size) for size in self.boxes]
        features = torch.cat([reduce(torch.maximum, (self._of_peaks(finder, image) for image in means)) for finder in self._finders], 1)
        if self.network is not None:
            features = torch.cat((_log_odds(self.network, block)[:, None], features), 1)
        if block.is_floating_point():
            is_empty = block.isnan().flatten(1).all(1)
            features = features.masked_fill(is_empty[:, None], torch.nan)
        return features.float()

    def _means(self, block: torch.Tensor, size: int) -> torch.Tensor:
        """Of boxes without bad pixels; the frame as it is where boxes are pixels."""
        if size == 1:
            return block
        values = floating(block)
        if self.finder.mask is not None:
            values = values.masked_fill(as_tensor(self.finder.mask, values) != 0, torch.nan)
        return box_means(values, size)

    def _of_peaks(self, finder: PeakFinder8, block: torch.Tensor) -> torch.Tensor:
        """``(batch, feature)`` in float64."""
        found = finder.transform(block)
        column = dict(zip(COLUMNS, found["peaks"].squeeze(1).double().unbind(-1), strict=True))
        is_peak = ~column["fs"].isnan()
        n_pixels = column["n_pixels"]
        of_size = [n_pixels < _MEDIUM, (n_pixels >= _MEDIUM) & (n_pixels < _LARGE), n_pixels >= _LARGE]
        counts = [
            found["n_peaks"].squeeze(1).double(),
            *((is_peak & are_such).sum(1).double() for are_such in of_size),
            self._off_ring(column["fs"], column["ss"], is_peak, (block.shape[-2], block.shape[-1])),
            column["snr"].clamp_min(0).nansum(1),
        ]
        return torch.log1p(torch.stack(counts, 1))

    def _off_ring(self, x: torch.Tensor, y: torch.Tensor, is_peak: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
        """How many peaks of each frame are not on the ring that has most of them."""
        if self.finder.geometry is None:
            raise AxisError("HitFeatures must be bound to a dataset first: HitFeatures(...).bind(spec)")
        radius = torch.from_numpy(self.finder.geometry.radius(shape)).to(x.device).nan_to_num(0)
        row, column = (place.nan_to_num(0).round().long().clamp(0, n - 1) for place, n in zip((y, x), shape, strict=True))
        ring = (radius[row, column] / _RING).long()
        n_on_ring = torch.zeros(len(x), int(radius.max() / _RING) + 1, dtype=torch.float64, device=x.device)
        n_on_ring.scatter_add_(1, ring, is_peak.double())
        return n_on_ring.sum(1) - n_on_ring.amax(1)


def _sorting(network: Composable) -> Pipeline:
    """The steps of a network that says hit or miss of an image."""
    steps = network.steps() if isinstance(network, Composable) else ()
    last = steps[-1] if steps else None
    if not isinstance(last, Classify) or len(last.classes) != 2 or not all(isinstance(step, Operator) for step in steps):
        raise ParameterError(f"network must be fitted and end with Classify into two classes, the second the hit; got {network!r}")
    return Pipeline(steps)


def _bound(network: Pipeline, spec: Spec) -> Iterator[tuple[Operator, Spec]]:
    """The operators bound to images of ``spec``, each with what it is given."""
    for step in network:
        if not isinstance(step, Operator) or step.domain not in (Domain.IMAGE, Domain.PIXEL):
            raise AxisError(f"{type(step).__name__} takes no images, as the network of HitFeatures must")
        bound = step.bind(spec)
        yield bound, spec
        declared = bound.output(spec)
        spec = next(iter(declared.values())) if isinstance(declared, dict) else declared


def _log_odds(network: Pipeline, block: torch.Tensor) -> torch.Tensor:
    """Of the second class of each image, shape ``(batch,)``, float64; those that the network does not answer are as sure misses."""
    results: dict[str, torch.Tensor] = {"": block}
    for step in network:
        given = next(iter(results.values()))
        answer = step.transform(given if step.takes_any_dtype else floating(given))  # type: ignore[attr-defined]  # operators, see _sorting
        results = answer if isinstance(answer, dict) else {"": answer}
    return results["probability"][:, 1].double().nan_to_num(0).clamp(_LEAST, 1 - _LEAST).logit()
