"""Recipes for training: which data, what is done to them, which network, as YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from pycroclass.bundle import Bundle
from pycroclass.errors import ParameterError, RecipeError
from pycroclass.estimators import NetworkClassifier, Session
from pycroclass.files import refuse_existing
from pycroclass.operator import Pipeline, set_field
from pycroclass.passes import Nonfinite
from pycroclass.recipes.labelled_files import LabelledFiles
from pycroclass.recipes.recipe import read_yaml, refuse_unknown
from pycroclass.serialize import from_dict
from pycroclass.stage import Execution
from pycroclass.training import train


@dataclass(frozen=True)
class TrainingRecipe:
    """How to make a bundle from labelled files.

    Parameters
    ----------
    data : tuple of str
        A folder with one folder of images for each class, a table, or files with labels, such as runs.
    classifier : NetworkClassifier
        In YAML its parameters by name.
    preprocessing : Pipeline, optional
        Operators that become part of the bundle.
    output : str, optional
        The bundle to write.
    dataset : str, optional
        Key of the dataset in each file, where there are several.
    labels : str, optional
        Key of the dataset that holds the labels; by default ``label`` where there is one.
    groups : str, optional
        Column of the items that keeps items together in the split, such as ``plate``. By default each of several files stays together,
        where each class is in two of them or more.
    size, fit : int, str, optional
        Bring images to this size, and how, as `pycroclass.read` does.
    nonfinite : {"refuse", "mask"}

    Raises
    ------
    RecipeError
        If there are no data.

    Examples
    --------
    >>> recipe = TrainingRecipe.from_dict({"data": "drops", "groups": "plate", "classifier": {"augmentation": "drop"}})
    >>> recipe.classifier.augmentation.cutout
    0.25
    """

    data: tuple[str, ...]
    classifier: NetworkClassifier = field(default_factory=NetworkClassifier)
    preprocessing: Pipeline | None = None
    output: str | None = None
    dataset: str | None = None
    labels: str | None = None
    groups: str | None = None
    size: int | None = None
    fit: str | None = None
    nonfinite: Nonfinite = "refuse"

    def __post_init__(self) -> None:
        set_field(self, "data", (self.data,) if isinstance(self.data, str) else tuple(str(path) for path in self.data))
        if not self.data:
            raise RecipeError("a training needs data: a folder per class, a table, or files with labels")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The recipe of a YAML file; paths in it are relative to it.

        Raises
        ------
        RecipeError
            If the file is no YAML, or says something that a recipe for training does not know.
        """
        data = read_yaml(path)
        try:
            recipe = cls.from_dict(data)
        except RecipeError as error:
            raise RecipeError(f"{path}: {error}") from error
        return recipe._beside(Path(path).parent)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The recipe of its JSON."""
        known = [each.name for each in fields(cls)]
        if not isinstance(data, Mapping) or "data" not in data:
            raise RecipeError(f"a recipe for training has data and knows {', '.join(known)}; got {data!r}")
        refuse_unknown(data, known, "a recipe for training")
        values = dict(data)
        if "preprocessing" in values:
            values["preprocessing"] = from_dict(values["preprocessing"])
        (values["classifier"],) = from_dict([{"NetworkClassifier": values.get("classifier") or {}}])
        return cls(**values)

    def _beside(self, folder: Path) -> Self:
        """The same with its paths relative to a folder."""
        transfer = self.classifier.transfer
        if transfer is not None and (folder / transfer.source).exists():
            transfer = replace(transfer, source=str(folder / transfer.source))
        return replace(
            self,
            data=tuple(str(folder / path) for path in self.data),
            output=self.output and str(folder / self.output),
            classifier=replace(self.classifier, transfer=transfer),
        )

    def read(self) -> LabelledFiles:
        """The data with their labels; lazy."""
        return LabelledFiles.read(self.data, key=self.dataset, labels=self.labels, size=self.size, fit=self.fit)

    def make(self, session: Session | None = None, *, overwrite: bool = False, restart: bool = False) -> tuple[Path, Bundle]:
        """Train and save the bundle; the same call goes on with a training that was cut off, from the checkpoint beside the output.

        Raises
        ------
        ParameterError
            If the recipe has no output.
        WriteError
            If the output exists, is not to be overwritten, and is not that of a training that was cut off.
        """
        if self.output is None:
            raise ParameterError("where to? Say --output BUNDLE.safetensors, or output: in the recipe")
        path = Path(self.output)
        checkpoint = path.with_name(f"{path.name}.checkpoint")
        if restart:
            checkpoint.unlink(missing_ok=True)
        refuse_existing(path, overwrite=overwrite or checkpoint.exists(), option="--overwrite")
        bundle = self.train(session=replace(session or Session(), checkpoint=checkpoint))
        bundle.save(path, overwrite=True)
        if bundle.training.get("stopped") != "max_seconds":
            checkpoint.unlink(missing_ok=True)
        return path, bundle

    def train(self, *, session: Session | None = None, execution: Execution | None = None) -> Bundle:
        """Read, train, and give the bundle; it is not saved yet. See `pycroclass.train` for errors."""
        files = self.read()
        return train(
            files.runs,
            self.classifier,
            preprocessing=self.preprocessing,
            labels=files.truth,
            groups=files.groups if self.groups is None else self.groups,
            nonfinite=self.nonfinite,
            execution=execution,
            session=session,
        )
