"""What a veto is going to cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Expectation:
    """What to expect of a veto on new frames.

    Parameters
    ----------
    n_frames : int
    hit_rate : float
        Share of the frames that are hits.
    n_kept : float
        Frames that will be kept, sampled misses included.
    loss : float
        Share of the hits that will be lost, on average. Hits among the sampled misses are not lost.
    loss_bound : float
        Share of the hits that will be lost at most, with ``confidence``.
    confidence : float
    """

    n_frames: int
    hit_rate: float
    n_kept: float
    loss: float
    loss_bound: float
    confidence: float

    @property
    def n_lost(self) -> float:
        """Hits that will be lost, on average."""
        return self.n_frames * self.hit_rate * self.loss

    @property
    def n_lost_bound(self) -> float:
        """``loss_bound`` of the hits."""
        return self.n_frames * self.hit_rate * self.loss_bound

    def __str__(self) -> str:
        return (
            f"of {self.n_frames} frames, {self.hit_rate:.1%} of them hits, about {self.n_kept:.0f} are kept; "
            f"{self.loss:.2%} of the hits are lost on average ({self.n_lost:.1f}), "
            f"with confidence {self.confidence:g} no more than {self.loss_bound:.2%} ({self.n_lost_bound:.1f})"
        )
