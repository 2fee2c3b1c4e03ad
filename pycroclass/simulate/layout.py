"""Where the modules of a detector lie: in a regular grid, or in the four quadrants of a CSPAD."""

from __future__ import annotations

from typing import Final

from pycroclass.simulate.parameters import Detector

Place = tuple[slice, slice]

_PAIRS: Final = ((-34, 44, "lying"), (372, 44, "standing"), (-28, 468, "standing"), (398, 462, "lying"))
"""Pairs of sensors of the first quadrant: pixels to the right of the beam and above it to the nearest corner, and how they lie."""
_BESIDE: Final = 27
"""Pixels between the two sensors of a pair."""
_BETWEEN: Final = 3
"""Pixels between the two modules of a sensor."""


def places_of_modules(detector: Detector) -> tuple[Place, ...]:
    """The modules that reach into the image, row by row, or quadrant by quadrant.

    A grid has a crossing of its gaps at the middle of the image. A CSPAD (P. Hart et al., Proc. SPIE 8504, 85040C, 2012) has four quadrants
    about an opening, each the last one turned by a quarter; each has four pairs of sensors, and a sensor two modules of 185 x 194 pixels.

    Examples
    --------
    >>> places_of_modules(Detector(shape=(20, 20), module=(12, 30), gap=2))
    ((slice(0, 9, None), slice(0, 9, None)), (slice(0, 9, None), slice(11, 20, None)),
    (slice(11, 20, None), slice(0, 9, None)), (slice(11, 20, None), slice(11, 20, None)))
    """
    return _grid(detector) if detector.layout == "grid" else _quadrants(detector)


def _grid(detector: Detector) -> tuple[Place, ...]:
    rows, columns = (_cut(n, size, detector.gap) for n, size in zip(detector.shape, detector.module, strict=True))
    return tuple((row, column) for row in rows for column in columns)


def _cut(n: int, size: int, gap: int) -> list[slice]:
    """Where the modules lie along one axis."""
    first = n // 2 + gap - gap // 2  # of the module behind the middle
    first -= -(-first // (size + gap)) * (size + gap)
    starts = range(first, n, size + gap)
    return [slice(max(start, 0), min(start + size, n)) for start in starts if start + size > 0]


def _quadrants(detector: Detector) -> tuple[Place, ...]:
    middle = [n // 2 for n in detector.shape]
    places = []
    for turn in range(4):
        for right, up, height, width in _first_quadrant(*detector.module):
            y, x = -up - height, right
            for _ in range(turn):  # by a quarter: (y, x) becomes (-x, y)
                y, x, height, width = -x - width, y, width, height
            rows, columns = (
                slice(max(m + start, 0), min(m + start + size, n))
                for m, start, size, n in zip(middle, (y, x), (height, width), detector.shape, strict=True)
            )
            if rows.start < rows.stop and columns.start < columns.stop:
                places.append((rows, columns))
    return tuple(places)


def _first_quadrant(short: int, long: int) -> list[tuple[int, int, int, int]]:
    """Of each module how far its nearest corner is to the right of the beam and above it, its height and width, in pixels."""
    modules = []
    for right, up, how in _PAIRS:
        for sensor in range(2):
            for half in range(2):
                across, along = sensor * (short + _BESIDE), half * (long + _BETWEEN)
                if how == "lying":
                    modules.append((right + along, up + across, short, long))
                else:
                    modules.append((right + across, up + along, long, short))
    return modules
