"""Recipes: what to do with a file, as YAML of the same JSON that provenance holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

import sidpy
import yaml

from pycroclass.api import classify, fit, mean_by_label, run
from pycroclass.bundle import Bundle
from pycroclass.errors import RecipeError
from pycroclass.operator import Pipeline
from pycroclass.passes import Nonfinite
from pycroclass.reduction import Estimator
from pycroclass.serialize import from_dict
from pycroclass.stage import Execution


@dataclass(frozen=True)
class Recipe:
    """What to do with a dataset.

    Parameters
    ----------
    pipeline : Pipeline, optional
        Operators, and estimators that are fitted to the dataset.
    bundle : str, optional
        Path of a bundle to classify with, instead of a pipeline; relative to the recipe.
    dataset : str, optional
        Key of the dataset in the file, where there are several.
    mean_by_label : bool
        Whether to add the mean item of each label, in the units of the data.
    nonfinite : {"refuse", "mask"}
        What a fit does with items that hold NaN or inf.

    Examples
    --------
    >>> recipe = Recipe.from_dict({"pipeline": [{"PCA": {"n_components": 5}}, {"KMeans": {"n_clusters": 4}}], "mean_by_label": True})
    >>> recipe.needs_fit
    True
    """

    pipeline: Pipeline = field(default_factory=lambda: Pipeline(()))
    bundle: str | None = None
    dataset: str | None = None
    mean_by_label: bool = False
    nonfinite: Nonfinite = "refuse"

    def __post_init__(self) -> None:
        if bool(self.pipeline.steps()) == bool(self.bundle):
            raise RecipeError("a recipe needs either a pipeline of at least one step, or a bundle")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The recipe of a YAML file; a bare list is its pipeline.

        Raises
        ------
        RecipeError
            If the file is no YAML, or says something that a recipe does not know.
        """
        data = read_yaml(path)
        try:
            recipe = cls.from_dict({"pipeline": data} if isinstance(data, list) else data)
        except RecipeError as error:
            raise RecipeError(f"{path}: {error}") from error
        if recipe.bundle:
            recipe = replace(recipe, bundle=str(Path(path).parent / recipe.bundle))
        return recipe

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The recipe of its JSON."""
        known = [f.name for f in fields(cls)]
        if not isinstance(data, Mapping):
            raise RecipeError(f"a recipe is a list of steps, or knows {', '.join(known)}; got {data!r}")
        refuse_unknown(data, known, "a recipe")
        values = dict(data)
        if "pipeline" in values:
            values["pipeline"] = from_dict(values["pipeline"])
        return cls(**values)

    @property
    def needs_fit(self) -> bool:
        """Whether the pipeline holds estimators."""
        return any(isinstance(step, Estimator) for step in self.pipeline)

    def fit(self, dataset: sidpy.Dataset, *, execution: Execution | None = None) -> Pipeline:
        """The pipeline with its estimators fitted to a dataset."""
        return fit(self.pipeline, dataset, nonfinite=self.nonfinite, execution=execution)

    def apply(
        self, dataset: sidpy.Dataset, *, model: Pipeline | None = None, execution: Execution | None = None
    ) -> dict[str, sidpy.Dataset]:
        """Lazy results by name. Estimators are fitted now, unless the fitted pipeline is given; nothing else computes."""
        if self.bundle:
            results = classify(dataset, Bundle.load(self.bundle), execution=execution)
        else:
            if model is None:
                model = self.fit(dataset, execution=execution) if self.needs_fit else self.pipeline
            result = run(model, dataset, execution=execution)
            results = result if isinstance(result, dict) else {_name(result): result}
        if self.mean_by_label:
            if "label" not in results:
                raise RecipeError(f"mean_by_label needs a result named 'label'; this recipe gives {', '.join(results)}")
            means = mean_by_label(dataset, results["label"], nonfinite=self.nonfinite, execution=execution)
            results |= {f"{name}_by_label": value for name, value in means.items()}
        return results


def read_yaml(path: str | Path) -> Any:
    """What a YAML file holds.

    Raises
    ------
    RecipeError
        If it cannot be read.
    """
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"{path} cannot be read as a recipe: {error}") from error


def refuse_unknown(data: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    """Refuse keys that ``what`` does not know.

    Raises
    ------
    RecipeError
        If there are any.
    """
    if unknown := [str(name) for name in data if name not in known]:
        raise RecipeError(f"{what} knows {', '.join(known)}; not {', '.join(unknown)}")


def _name(result: sidpy.Dataset) -> str:
    return "label" if result.dtype.kind in "iu" and result.quantity == "label" else "result"
