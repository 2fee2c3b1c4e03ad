"""What differs from shot to shot: whether a crystal is hit, how bright the pulse and how thick the jet is.

Random numbers are counted, not drawn in turn: shot number i of a run always gets the same ones, whatever was asked for before.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincinv, ndtri, pdtr

from pycroclass.simulate.parameters import Run

MAPS: Final = 1
"""Stream of the random numbers of what all frames of a run share; 0 is that of `draw_run`."""
FRAMES: Final = 2
"""Of orientations and noise, one for each frame."""
_SHOTS: Final = 3
_MOST_LATTICES: Final = 32


@dataclass(frozen=True, eq=False)
class Shots:
    """Some shots of a run, one value for each.

    Parameters
    ----------
    is_hit : bool array
        Whether a crystal is in the beam.
    n_lattices : int32 array
        How many; 0 in a miss.
    pulse : float64 array
        Energy of the pulse relative to the experiment's mean.
    jet : float64 array
        Thickness of the jet relative to the mean; 0 where the pulse misses it.
    """

    is_hit: npt.NDArray[np.bool_]
    n_lattices: npt.NDArray[np.int32]
    pulse: npt.NDArray[np.float64]
    jet: npt.NDArray[np.float64]


def shots(run: Run, start: int, stop: int) -> Shots:
    """The shots of these numbers.

    The pulse energy is gamma distributed, as that of self-amplified spontaneous emission is (E. L. Saldin et al., Opt. Commun. 148, 383,
    1998), the thickness of the jet lognormal, the number of further lattices in a hit Poisson distributed.

    Parameters
    ----------
    run : Run
    start, stop : int
        From 0.

    Examples
    --------
    >>> run = Run(seed=1, hit_rate=0.5)
    >>> some, more = shots(run, 7, 9), shots(run, 0, 100)
    >>> bool(some.pulse[1] == more.pulse[8])
    True
    """
    four = _four_uniforms(run, start, stop)
    is_hit = four[0] < run.hit_rate
    pulse = gammaincinv(run.pulse_shape, four[1]) / run.pulse_shape * run.pulse
    missed = np.where(is_hit, 0.0, run.jet_missed)
    kept = np.where(missed < 1, 1 - missed, 1.0)
    place = np.clip((four[2] - missed) / kept, 1e-16, 1 - 1e-16)
    jet = np.where(four[2] < missed, 0.0, np.exp(run.jet_spread * ndtri(place)))
    at_most = pdtr(np.arange(_MOST_LATTICES), run.experiment.crystal.extra_lattices)
    n_lattices = np.where(is_hit, 1 + np.searchsorted(at_most, four[3]), 0).astype(np.int32)
    return Shots(is_hit, n_lattices, pulse, jet)


def hits(run: Run, start: int, stop: int) -> npt.NDArray[np.bool_]:
    """Which of these shots meet a crystal: the quick part of `shots`."""
    is_hit: npt.NDArray[np.bool_] = _four_uniforms(run, start, stop)[0] < run.hit_rate
    return is_hit


def generator(run: Run, stream: int, index: int = 0) -> np.random.Generator:
    """The random numbers of one frame, or of all that a run's frames share."""
    return np.random.Generator(np.random.SFC64((run.seed, stream, run.experiment.seed, index)))


def _four_uniforms(run: Run, start: int, stop: int) -> npt.NDArray[np.float64]:
    """Four numbers from 0 to 1 for each shot, shape (4, shot): one step of the counter of a Philox generator is one shot."""
    philox: Any = np.random.Philox(key=_key(run.seed, run.experiment.seed), counter=start)
    return np.random.Generator(philox).random((stop - start, 4)).T


@lru_cache(maxsize=64)
def _key(run: int, experiment: int) -> npt.NDArray[np.uint64]:
    return np.random.SeedSequence((run, _SHOTS, experiment)).generate_state(2, np.uint64).astype(np.uint64)
