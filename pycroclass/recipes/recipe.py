"""Recipes: what to do with a file, as YAML of the same JSON that provenance holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Literal, Self, get_args

import sidpy
import yaml

from pycroclass.api import classify, fit, mean_by_label, run
from pycroclass.bundle import Bundle
from pycroclass.embedding.image_map import map_images
from pycroclass.errors import RecipeError
from pycroclass.exploring.decomposition import decomposed
from pycroclass.exploring.unmixing import unmixed
from pycroclass.operator import Pipeline
from pycroclass.passes import Nonfinite
from pycroclass.reduction import Estimator
from pycroclass.serialize import from_dict, to_dict
from pycroclass.stage import Execution

Task = Literal["run", "cluster", "decompose", "unmix", "embed"]
_OF_A_MAP: Final = ("reduction", "clustering", "layout")


@dataclass(frozen=True)
class Recipe:
    """What to do with a dataset.

    Parameters
    ----------
    pipeline : Pipeline, optional
        Operators, and estimators that are fitted to the dataset.
    bundle : str, optional
        Path of a bundle to classify with, instead of a pipeline; relative to the recipe.
    task : {"run", "cluster", "decompose", "unmix", "embed"}
        What is made of the pipeline: its results; labels and the mean item of each; what `decompose` or `unmix` gives; or, if it
        describes images, what `map_images` gives.
    dataset : str, optional
        Key of the dataset in the file, where there are several.
    mean_by_label : bool
        Whether to add the mean item of each label, in the units of the data; goes without saying where the task is to cluster.
    nonfinite : {"refuse", "mask"}
        What a fit does with items that hold NaN or inf.
    reduction, clustering, layout : Pipeline, optional
        Of the task to embed: as of `map_images`.

    Examples
    --------
    >>> recipe = Recipe.from_dict({"pipeline": [{"PCA": {"n_components": 5}}, {"KMeans": {"n_clusters": 4}}], "mean_by_label": True})
    >>> recipe.needs_fit
    True
    """

    pipeline: Pipeline = field(default_factory=lambda: Pipeline(()))
    bundle: str | None = None
    task: Task = "run"
    dataset: str | None = None
    mean_by_label: bool = False
    nonfinite: Nonfinite = "refuse"
    reduction: Pipeline | None = None
    clustering: Pipeline | None = None
    layout: Pipeline | None = None

    def __post_init__(self) -> None:
        if bool(self.pipeline.steps()) == bool(self.bundle):
            raise RecipeError("a recipe needs either a pipeline of at least one step, or a bundle")
        if self.task not in get_args(Task):
            raise RecipeError(f"the task of a recipe must be one of {', '.join(get_args(Task))}, got {self.task!r}")
        if self.bundle and self.task not in ("run", "embed"):
            raise RecipeError(f"to {self.task} takes a pipeline, not a bundle")
        if self.task != "embed" and (given := [name for name in _OF_A_MAP if getattr(self, name) is not None]):
            raise RecipeError(f"{', '.join(given)} belong to a recipe with 'task: embed', not to one with 'task: {self.task}'")

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
        pipelines = {name: from_dict(data[name]) for name in ("pipeline", *_OF_A_MAP) if data.get(name) is not None}
        return cls(**{**data, **pipelines})

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: what `from_dict` takes, without what goes without saying.

        Raises
        ------
        RecipeError
            If a pipeline holds arrays: those stand in result files and bundles alone.
        """
        said = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        for name in ("pipeline", *_OF_A_MAP):
            if (pipeline := said.pop(name, None)) is not None and pipeline.steps():
                said[name], arrays = to_dict(pipeline)
                if arrays:
                    raise RecipeError(f"the {name} of this recipe holds arrays, which YAML cannot; save what is fitted as a bundle")
        return said

    @property
    def needs_fit(self) -> bool:
        """Whether the pipeline has to be fitted before anything else; a map of images fits its own steps, one after the other."""
        return self.task != "embed" and any(isinstance(step, Estimator) for step in self.pipeline)

    def fit(self, dataset: sidpy.Dataset, *, execution: Execution | None = None) -> Pipeline:
        """The pipeline with its estimators fitted to a dataset."""
        return fit(self.pipeline, dataset, nonfinite=self.nonfinite, execution=execution)

    def apply(
        self, dataset: sidpy.Dataset, *, model: Pipeline | None = None, execution: Execution | None = None
    ) -> dict[str, sidpy.Dataset]:
        """Lazy results by name. Estimators are fitted now, unless the fitted pipeline is given; nothing else computes."""
        if self.task == "embed":
            return self._mapped(dataset, execution)
        if self.bundle:
            results = classify(dataset, Bundle.load(self.bundle), execution=execution)
        else:
            if model is None:
                model = self.fit(dataset, execution=execution) if self.needs_fit else self.pipeline
            results = self._applied(model, dataset, execution)
        if self.mean_by_label or self.task == "cluster":
            if "label" not in results:
                raise RecipeError(f"means by label need a result named 'label'; this recipe gives {', '.join(results)}")
            means = mean_by_label(dataset, results["label"], nonfinite=self.nonfinite, execution=execution)
            results |= {f"{name}_by_label": value for name, value in means.items()}
        return results

    def _applied(self, model: Pipeline, dataset: sidpy.Dataset, execution: Execution | None) -> dict[str, sidpy.Dataset]:
        match self.task:
            case "decompose":
                return decomposed(model, dataset, execution)
            case "unmix":
                return unmixed(model, dataset, execution)
            case "cluster" if (sure := getattr(model[-1], "confidence", None)) is not None:
                model = Pipeline((*model[:-1], *sure.steps()), model.fitted)
        result = run(model, dataset, execution=execution)
        return dict(result) if isinstance(result, dict) else {_name(result): result}

    def _mapped(self, dataset: sidpy.Dataset, execution: Execution | None) -> dict[str, sidpy.Dataset]:
        found = map_images(
            dataset,
            self.bundle or self.pipeline,
            reduction=self.reduction,
            clustering=self.clustering,
            layout=self.layout,
            nonfinite=self.nonfinite,
            execution=execution,
        )
        return {"label": found.label, "places": found.places, "scores": found.scores, "features": found.features}


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
