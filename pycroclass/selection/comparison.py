"""Which frames several selections have in common."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pycroclass.errors import DataError, ParameterError
from pycroclass.selection.frame_places import Places
from pycroclass.selection.frame_selection import Booleans, FrameSelection, Integers
from pycroclass.selection.lists import ONLY_KEPT

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from rich.console import Group

_MOST_BARS: Final = 40
_MOST_SETS: Final = 16


@dataclass(frozen=True, eq=False)
class Comparison:
    """Who keeps which of the frames that all have looked at; from `compare`.

    Parameters
    ----------
    names : tuple of str
        Of the selections.
    frames : Places
        That all have looked at.
    is_kept : array of bool, shape (n_frames, n_selections)
    n_looked : tuple of int
        Frames that each has looked at.
    n_left_out : int
        Frames that some have looked at, and others have not.
    """

    names: tuple[str, ...]
    frames: Places
    is_kept: Booleans
    n_looked: tuple[int, ...]
    n_left_out: int

    @property
    def n_kept(self) -> tuple[int, ...]:
        """Frames that each keeps, of those that all have looked at."""
        return tuple(int(n) for n in self.is_kept.sum(0))

    def intersections(self) -> pd.DataFrame:
        """A row for each set of selections that keep some frames which no other keeps, the largest first: who, and how many frames.

        Frames that nobody keeps are a row too. The frames of all rows add up to all frames.
        """
        import pandas as pd  # takes half a second, which few need

        sets, counts = np.unique(self.is_kept, axis=0, return_counts=True)
        order = np.lexsort((sets.sum(1), -counts)) if len(counts) else np.zeros(0, np.int64)
        table = pd.DataFrame(sets[order].astype(bool), columns=list(self.names))
        table["frames"] = counts[order]
        return table

    def jaccard(self) -> pd.DataFrame:
        """For each pair, the share of the frames that one of them keeps which both keep (Jaccard index); NaN where neither keeps any."""
        import pandas as pd

        kept = self.is_kept.astype(np.int64)
        both = kept.T @ kept
        either = np.diag(both)[:, None] + np.diag(both)[None, :] - both
        values = np.divide(both, either, out=np.full(both.shape, np.nan), where=either > 0)
        return pd.DataFrame(values, index=list(self.names), columns=list(self.names))

    def table(self) -> pd.DataFrame:
        """A row for each frame: its place, and who keeps it."""
        import pandas as pd

        return pd.DataFrame(self.frames.columns() | {name: self.is_kept[:, i] for i, name in enumerate(self.names)})

    def summary(self) -> Group:
        """Tables for the terminal: how many frames each keeps, Jaccard indices, intersections."""
        from rich.console import Group
        from rich.markup import escape
        from rich.table import Table

        note = f", {self.n_left_out} more not by all" if self.n_left_out else ""
        each = Table(
            "selection",
            "looked at",
            "kept",
            *map(escape, self.names),
            title=f"{len(self.frames)} frames{note}; Jaccard index of each pair",
            title_justify="left",
        )
        for name, looked, kept, row in zip(self.names, self.n_looked, self.n_kept, self.jaccard().to_numpy(), strict=True):
            each.add_row(escape(name), str(looked), str(kept), *(f"{value:.3f}" for value in row))
        sets = Table("kept by", "frames", "share", title="Who keeps what", title_justify="left")
        for who, n in self._sets():
            sets.add_row(escape(" + ".join(who) or "nobody"), str(n), f"{n / max(len(self.frames), 1):.1%}")
        return Group(each, sets)

    def figure(self) -> Figure:
        """A picture: how many frames each set of selections keeps, the largest first, above dots that say who they are.

        After UpSet (Lex et al., IEEE Trans. Vis. Comput. Graph. 20, 1983, 2014). Frames that nobody keeps are told in the title.
        """
        from matplotlib.figure import Figure

        found = [(who, n) for who, n in self._sets() if who]
        shown = found[:_MOST_BARS]
        k, n_bars = len(self.names), max(len(shown), 1)
        figure = Figure(figsize=(3.2 + 0.42 * max(n_bars, 6), 2.6 + 0.34 * k), layout="constrained")
        grid = figure.add_gridspec(2, 2, height_ratios=(2.2, 0.34 * k), width_ratios=(1.6, 0.42 * max(n_bars, 6)))
        bars, dots, sizes = (figure.add_subplot(grid[place]) for place in ((0, 1), (1, 1), (1, 0)))
        counts = [n for _, n in shown]
        bars.bar_label(bars.bar(range(len(shown)), counts, width=0.6, color="0.25"), fontsize=7, padding=1)
        bars.set(ylabel="frames", xticks=(), xlim=(-0.6, n_bars - 0.4))
        bars.margins(y=0.14)
        rows = range(k - 1, -1, -1)
        sizes.invert_xaxis()
        sizes.bar_label(sizes.barh(rows, self.n_kept, height=0.55, color="tab:blue"), fontsize=7, padding=2)
        sizes.set(xlabel="kept", yticks=(), ylim=(-0.6, k - 0.4))
        sizes.margins(x=0.35)
        for row in rows:
            dots.axhspan(row - 0.4, row + 0.4, color="0.95" if row % 2 else "1.0", lw=0)
            dots.scatter(range(n_bars), [row] * n_bars, s=26, color="0.85", zorder=2)
        for column, (who, _) in enumerate(shown):
            here = [row for row, name in zip(rows, self.names, strict=True) if name in who]
            dots.plot([column, column], [min(here), max(here)], color="0.25", lw=1.5, zorder=3)
            dots.scatter([column] * len(here), here, s=30, color="0.25", zorder=4)
        dots.set(xticks=(), xlim=(-0.6, n_bars - 0.4), ylim=(-0.6, k - 0.4))
        dots.set_yticks(list(rows), self.names, fontsize=8, parse_math=False)
        for axes in (bars, sizes, dots):
            axes.spines[["top", "right", "left"] if axes is not bars else ["top", "right"]].set_visible(False)
            axes.tick_params(labelsize=8, length=0)
        nobody = sum(n for who, n in self._sets() if not who)
        more = f", {len(found) - len(shown)} smaller sets not shown" if len(found) > len(shown) else ""
        figure.suptitle(f"{len(self.frames)} frames that all have looked at; nobody keeps {nobody}{more}", fontsize=9)
        return figure

    def _sets(self) -> list[tuple[tuple[str, ...], int]]:
        """Who keeps, and how many frames, the largest set first."""
        table = self.intersections()
        who = (tuple(name for name, is_in in zip(self.names, row) if is_in) for row in table[list(self.names)].to_numpy())
        return list(zip(who, table["frames"].tolist()))


def compare(*selections: FrameSelection, names: Sequence[str] | None = None, by_name: bool = False) -> Comparison:
    """Compare what several selections keep, over the frames that all of them have looked at.

    Parameters
    ----------
    *selections : FrameSelection
        Two or more. Lists that name the kept frames alone are taken to have looked at all frames of the others.
    names : sequence of str, optional
        Of the selections; by default their numbers.
    by_name : bool
        Take files for the same that have the same name, wherever they lie: for selections that were made elsewhere.

    Returns
    -------
    Comparison

    Raises
    ------
    ParameterError
        If there are fewer than two, more than 16, or not as many different names.
    DataError
        If no frame was looked at by all; if two files of one selection have the same name, and files go by name.

    Examples
    --------
    >>> frames = {"file": ["/data/run.cxi"] * 3, "dataset": ["/data"] * 3, "index": [0, 1, 2], "event": [""] * 3, "score": [0, 1, 1]}
    >>> mine = FrameSelection(**frames, decision=["miss", "hit", "hit"], reason=["", "hit", "hit"])
    >>> yours = FrameSelection(**frames, decision=["miss", "hit", "miss"], reason=["", "hit", ""])
    >>> found = compare(mine, yours, names=("mine", "yours"))
    >>> found.n_kept, float(found.jaccard().loc["mine", "yours"])
    ((2, 1), 0.5)
    """
    names = [f"{i}" for i in range(1, len(selections) + 1)] if names is None else list(map(str, names))
    if not 2 <= len(selections) <= _MOST_SETS:
        raise ParameterError(f"wanted 2 to {_MOST_SETS} selections, got {len(selections)}")
    if len(names) != len(selections) or len(set(names)) < len(names):
        raise ParameterError(f"wanted {len(selections)} different names, got {', '.join(names)}")
    known = _numbered(selections, names, by_name)
    n_frames = 1 + max((int(number.max()) for number in known if len(number)), default=-1)
    is_kept, is_seen = (np.zeros((n_frames, len(selections)), bool) for _ in range(2))
    for i, (selection, number) in enumerate(zip(selections, known, strict=True)):
        is_kept[number[selection.is_kept], i] = True
        is_seen[number, i] = True
    n_looked = tuple(int(n) for n in is_seen.sum(0))
    is_list = np.array([bool(selection.about.get(ONLY_KEPT)) for selection in selections])
    is_common = (is_seen | is_list).all(1)
    if not is_common.any():
        raise DataError("no frame was looked at by all. Do files lie in other folders? Compare them by name.")
    return Comparison(
        tuple(names), _first(selections, known, np.flatnonzero(is_common)), is_kept[is_common], n_looked, int((~is_common).sum())
    )


def _numbered(selections: Sequence[FrameSelection], names: Sequence[str], by_name: bool) -> list[Integers]:
    """A number for each frame of each selection, the same for the same frame.

    File and number tell, unless a selection has frames of several datasets of a file: lists do not say in which dataset a frame lies, and
    a dataset may have several paths.
    """
    files = [_files(selection, name, by_name) for selection, name in zip(selections, names, strict=True)]
    several: dict[str, str] = {}
    for selection, of, name in zip(selections, files, names, strict=True):
        held = {(file, dataset.strip("/")) for file, dataset in zip(of, selection.dataset.tolist(), strict=True)}
        several |= {file: name for file, n in Counter(file for file, _ in held).items() if n > 1}
    numbers: dict[tuple[str, str, int], int] = {}
    known = []
    for selection, of, name in zip(selections, files, names, strict=True):
        places = zip(of, selection.dataset.tolist(), selection.index.tolist(), strict=True)
        keys = [(file, dataset.strip("/") if file in several else "", index) for file, dataset, index in places]
        if silent := next(
            (file for file, dataset in zip(of, selection.dataset.tolist(), strict=True) if file in several and not dataset), None
        ):
            raise DataError(
                f"{several[silent]} has frames of several datasets of {silent}, and {name} does not say of which; read it with data=…"
            )
        known.append(np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64))
    return known


def _files(selection: FrameSelection, name: str, by_name: bool) -> list[str]:
    """The file of each frame under the name that all use for it."""
    distinct = set(selection.file.tolist())
    known = {file: Path(file).name if by_name else os.path.realpath(file) for file in distinct}
    if by_name and len(set(known.values())) < len(known):
        raise DataError(f"{name} has several files of the same name in different folders: they cannot go by name")
    return [known[file] for file in selection.file.tolist()]


def _first(selections: Sequence[FrameSelection], known: Sequence[Integers], wanted: Integers) -> Places:
    """The places of frames, each as the first selection says that has it; one that names the dataset goes first."""
    number = np.concatenate(known)
    everything: dict[str, Any] = {
        column: np.concatenate([getattr(selection, column) for selection in selections]) for column in ("file", "dataset", "index", "event")
    }
    order = np.argsort(everything["dataset"] == "", kind="stable")
    values, first = np.unique(number[order], return_index=True)
    return Places(**{column: of[order][first[np.searchsorted(values, wanted)]] for column, of in everything.items()})
