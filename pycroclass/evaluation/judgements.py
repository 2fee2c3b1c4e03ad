"""What several people said about the same items, as a table of any of the usual forms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt

from pycroclass.errors import DataError, ReadError
from pycroclass.evaluation.agreement import (
    Level,
    cohen_kappa,
    consistency,
    counts_of,
    fleiss_kappa,
    krippendorff_alpha,
    pairwise_agreement,
    reliability_of_scorer,
    specific_agreement,
)
from pycroclass.evaluation.predictions import Integers
from pycroclass.operator import set_field

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS: Final = {
    "item": ("item", "image", "path", "file", "filename", "drop", "id"),
    "scorer": ("scorer", "rater", "annotator", "person", "user", "expert"),
    "label": ("label", "class", "score", "classification"),
    "time": ("time", "date", "datetime", "timestamp", "round"),
}
"""What tables call their columns."""


@dataclass(frozen=True, eq=False)
class Judgements:
    """Classes that scorers gave to items.

    Parameters
    ----------
    labels : array of int, shape (n_items, n_scorers)
        Number of the class; -1 where a scorer did not judge an item.
    classes : tuple of str
        In their order, where they have one.
    scorers : tuple of str
    items : tuple of str
    again : array of int, shape (n_items, n_scorers), optional
        What they said when they saw the item a second time.

    Raises
    ------
    DataError
        If shapes do not fit together or a label is no class.

    Examples
    --------
    >>> said = Judgements([[0, 0, 1], [1, 1, 1], [0, 0, 0], [1, 0, 0]], ("clear", "crystal"), ("Ann", "Ben", "Cy"), ("a", "b", "c", "d"))
    >>> round(said.alpha(), 3)
    0.371
    """

    labels: Integers
    classes: tuple[str, ...]
    scorers: tuple[str, ...]
    items: tuple[str, ...]
    again: Integers | None = None

    def __post_init__(self) -> None:
        for name in ("classes", "scorers", "items"):
            set_field(self, name, tuple(str(value) for value in getattr(self, name)))
        for name in ("labels", "again"):
            if getattr(self, name) is not None:
                set_field(self, name, self._checked(name, np.array(getattr(self, name), np.int64)))

    def _checked(self, name: str, labels: Integers) -> Integers:
        wanted = (len(self.items), len(self.scorers))
        if labels.shape != wanted:
            raise DataError(f"{name} have the shape {labels.shape}, wanted {wanted}: items by scorers")
        if labels.size and not -1 <= labels.min() <= labels.max() < len(self.classes):
            raise DataError(f"{name} run from {labels.min()} to {labels.max()}, wanted -1 (none) to {len(self.classes) - 1}")
        labels.setflags(write=False)
        return labels

    @classmethod
    def of(
        cls,
        items: npt.ArrayLike,
        scorers: npt.ArrayLike,
        labels: npt.ArrayLike,
        *,
        classes: Sequence[str] | None = None,
        times: npt.ArrayLike | None = None,
    ) -> Self:
        """From a row for each judgement. The second of one scorer on one item tells how consistent the scorer is; a third is an error.

        Parameters
        ----------
        items, scorers, labels : array of str, shape (n_judgements,)
        classes : sequence of str, optional
            In their order; by default alphabetical.
        times : array, shape (n_judgements,), optional
            Which came first; by default the order of the rows.
        """
        given = [np.asarray(column).astype(str) for column in (items, scorers, labels)]
        if times is not None:
            order = np.argsort(np.asarray(times), kind="stable")
            given = [column[order] for column in given]
        known = tuple(classes) if classes is not None else tuple(np.unique(given[2]).tolist())
        if unknown := sorted(set(given[2].tolist()) - set(known)):
            raise DataError(f"the labels name the classes {unknown}, which are not among {known}")
        rows, columns = ({name: i for i, name in enumerate(dict.fromkeys(column.tolist()))} for column in given[:2])
        tables = np.full((2, len(rows), len(columns)), -1, np.int64)
        for item, scorer, label in zip(*(column.tolist() for column in given), strict=True):
            at = (slice(None), rows[item], columns[scorer])
            n_before = int((tables[at] >= 0).sum())
            if n_before == 2:
                raise DataError(f"{scorer!r} judged {item!r} more than twice; two times can be compared")
            tables[n_before][at[1:]] = known.index(label)
        return cls(tables[0], known, tuple(columns), tuple(rows), tables[1] if (tables[1] >= 0).any() else None)

    @classmethod
    def of_counts(cls, counts: npt.ArrayLike, classes: Sequence[str], items: Sequence[str] | None = None) -> Self:
        """From how many scorers gave each item each class, nobody named: ``(n_items, n_classes)``.

        Kappa of Fleiss, alpha and the agreement by class follow; what is said of single scorers means nothing.
        """
        table = np.asarray(counts, np.int64)
        labels = np.full((len(table), int(table.sum(1).max(initial=0))), -1, np.int64)
        for row, numbers in zip(labels, table, strict=True):
            row[: numbers.sum()] = np.repeat(np.arange(table.shape[1]), numbers)
        names = tuple(f"judgement {i + 1}" for i in range(labels.shape[1]))
        return cls(labels, tuple(classes), names, tuple(items or map(str, range(len(table)))))

    @classmethod
    def read(cls, path: str | Path, *, classes: Sequence[str] | None = None) -> Self:
        """From a CSV or Parquet file of one of three forms, told by the names of its columns.

        * a row for each judgement: ``item`` (or image, path, file), ``scorer``, ``label`` (or class) and, if known, ``time``;
        * a row for each item, a column for each scorer that holds the name of a class, empty for none; the first column names the item;
        * a row for each item, a column for each of the ``classes`` that holds how many gave it; the first column names the item.

        Only an empty field means that nothing was said: ``None`` and ``NA`` are names as good as any.

        Parameters
        ----------
        path : str or Path
        classes : sequence of str, optional
            In their order; by default alphabetical. Needed where the columns hold whole numbers, which may be counts or names of classes.

        Raises
        ------
        ReadError
            If the file cannot be read.
        DataError
            If the table has none of the forms, or it cannot be told which.
        """
        table = _read(Path(path))
        long = {name: next((c for c in table.columns if str(c).strip().lower() in known), None) for name, known in _COLUMNS.items()}
        if long["item"] is not None and long["scorer"] is not None and long["label"] is not None:
            table = table.dropna(subset=[long["label"]])
            times = None if long["time"] is None else table[long["time"]].to_numpy()
            labels = table[long["label"]].convert_dtypes()
            return cls.of(table[long["item"]], table[long["scorer"]], labels, classes=classes, times=times)
        first, *others = table.columns
        if not others:
            raise DataError(f"{path} has one column, {first!r}; wanted items and what was said of them")
        table = table.convert_dtypes()  # numbers beside empty fields stay whole
        body = table[others].rename(columns=str)
        if all(dtype.kind in "iu" for dtype in body.dtypes):
            if classes is None:
                raise DataError(
                    f"{path} holds whole numbers, of which it cannot be told whether they count judgements or name classes; "
                    "give classes=…: the columns, if they count, else the numbers that occur, as text"
                )
            if set(body.columns) == set(classes):
                return cls.of_counts(body[list(classes)].fillna(0).to_numpy(np.int64), classes, table[first].astype(str).tolist())
        long_form = table.melt(id_vars=[first], var_name="scorer", value_name="label").dropna(subset=["label"])
        return cls.of(long_form[first], long_form["scorer"], long_form["label"], classes=classes)

    def take(self, items: npt.ArrayLike) -> Self:
        """The judgements of some items, in the order of their names: to stand beside predictions of these items.

        Raises
        ------
        DataError
            If one of them was not judged.
        """
        row = {name: i for i, name in enumerate(self.items)}
        names = np.asarray(items).astype(str).tolist()
        if unknown := [name for name in names if name not in row]:
            raise DataError(
                f"{len(unknown)} of {len(names)} items were not judged: {', '.join(unknown[:3])}; the judgements name {self.items[0]}, …"
            )
        at = [row[name] for name in names]
        again = None if self.again is None else self.again[at]
        return replace(self, labels=self.labels[at], items=tuple(names), again=again)

    @property
    def counts(self) -> Integers:
        """How many scorers gave each item each class."""
        return counts_of(self.labels, len(self.classes))

    def alpha(self, level: Level = "nominal") -> float:
        """Krippendorff's alpha of all scorers."""
        return krippendorff_alpha(self.counts, level=level)

    def fleiss(self) -> float:
        """Fleiss' kappa of all scorers."""
        return fleiss_kappa(self.counts)

    def by_scorer(self) -> pd.DataFrame:
        """A row for each scorer: items judged, reliability, consistency, and the mean agreement and kappa with each of the others.

        *Reliability* is the probability to give the class that most of the other scorers give. *Consistency* is the probability to give
        the same class at another time.
        """
        import pandas as pd

        k, n = len(self.classes), len(self.scorers)
        agreement, kappas = self.pairs(), self.pairs_kappa()
        return pd.DataFrame(
            {
                "items": (self.labels >= 0).sum(0),
                "reliability": [reliability_of_scorer(self.labels, j, k) for j in range(n)],
                "consistency": [np.nan if self.again is None else consistency(self.labels[:, j], self.again[:, j]) for j in range(n)],
                "agreement": agreement.mean(1).to_numpy(),
                "kappa": kappas.mean(1).to_numpy(),
            },
            index=pd.Index(self.scorers, name="scorer"),
        )

    def by_class(self) -> pd.DataFrame:
        """A row for each class: judgements of it, and the share of other judgements of the same items that say so too."""
        import pandas as pd

        columns = {"judgements": self.counts.sum(0), "agreement": specific_agreement(self.counts)}
        return pd.DataFrame(columns, index=pd.Index(self.classes, name="class"))

    def pairs(self) -> pd.DataFrame:
        """Share of the items that two scorers gave the same class, for each pair; NaN on the diagonal."""
        return self._pairs(lambda a, b: pairwise_agreement(a, b))

    def pairs_kappa(self) -> pd.DataFrame:
        """Cohen's kappa of each pair of scorers; NaN on the diagonal."""
        return self._pairs(lambda a, b: cohen_kappa(a, b, len(self.classes)))

    def _pairs(self, measure: Any) -> pd.DataFrame:
        import pandas as pd

        n = len(self.scorers)
        table = np.full((n, n), np.nan)
        for i in range(n):
            for j in range(i):
                table[i, j] = table[j, i] = measure(self.labels[:, i], self.labels[:, j])
        return pd.DataFrame(table, index=list(self.scorers), columns=list(self.scorers))


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return pd.read_parquet(path)
        with open(path, encoding="utf-8-sig") as file:
            header = file.readline()
        return pd.read_csv(path, sep=max(",;\t", key=header.count), keep_default_na=False, na_values=[""])
    except OSError as error:
        raise ReadError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise ReadError(f"{path} is no table: {error}") from error
