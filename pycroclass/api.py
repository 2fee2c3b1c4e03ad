"""The verbs between reading and writing: run, fit, classify, concatenate, mean_by_label."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass import engine
from pycroclass.bundle import Bundle
from pycroclass.errors import AxisError, BundleError, DataError, ParameterError
from pycroclass.operator import Composable, Pipeline
from pycroclass.passes import Nonfinite, Passes
from pycroclass.per_item import cut_items, join_items, without_items
from pycroclass.plugins import plugin_versions
from pycroclass.provenance import Provenance
from pycroclass.reduction import Estimator
from pycroclass.serialize import to_dict
from pycroclass.sid import provenance_of, unwrap, wrap
from pycroclass.spec import Axis, AxisKind, Domain, Spec
from pycroclass.stage import Cut, Execution, plan
from pycroclass.summaries import MeanByLabel
from pycroclass.worker_device import device_name

log = logging.getLogger(__name__)


def run(pipeline: Composable, dataset: sidpy.Dataset, *, execution: Execution | None = None) -> Any:
    """Run operators lazily on a dataset.

    Parameters
    ----------
    pipeline : Operator or Pipeline
        Fitted: an estimator goes through `fit` first.
    dataset : sidpy.Dataset
        From `read` or any SciFiReaders reader.
    execution : Execution, optional
        Device and block sizes.

    Returns
    -------
    sidpy.Dataset or dict of str to sidpy.Dataset
        Lazy; a dict where the last operator names several outputs, which then share one pass.

    Raises
    ------
    AxisError
        If an operator does not fit the axes it would meet.
    ParameterError
        If an estimator is not fitted.

    Examples
    --------
    >>> import numpy as np, sidpy, pycroclass as pc
    >>> image = sidpy.Dataset.from_array(np.ones((8, 8), "float32"))
    >>> pc.run(pc.Log1p(), image).shape
    (8, 8)
    """
    steps, arrays = to_dict(pipeline)
    fitted = getattr(pipeline, "fitted", None)
    return _run(pipeline, dataset, execution, {"pipeline": steps, "fit": fitted}, arrays)


def _run(
    pipeline: Composable, dataset: sidpy.Dataset, execution: Execution | None, recipe: dict[str, Any], arrays: Mapping[str, Any]
) -> Any:
    array, spec = unwrap(dataset)
    source = provenance_of(dataset)
    settings = execution or Execution()
    stages = plan(pipeline, spec, settings)
    cuts = [stage for stage in stages if isinstance(stage, Cut)]
    parameters = {
        **{key: value for key, value in recipe.items() if value is not None},
        "chunks": [list(sizes) for sizes in array.chunks],
        "execution": vars(settings),
        "device": device_name(settings),
    }
    if plugins := plugin_versions(pipeline):
        parameters["plugins"] = plugins
    results = {}
    for name, (lazy, meaning) in engine.run_stages(stages, array, spec).items():
        results[name] = wrap(
            lazy,
            replace(meaning, title=name) if name else meaning,
            provenance=Provenance("run", {**parameters, "output": name}, (source,), arrays=arrays),
            metadata=_metadata_of(dataset, spec, cuts, meaning, is_answer=bool(name) or meaning.quantity == "label"),
            original_metadata=dataset.original_metadata,
            modality=dataset.modality,
            source=dataset.source,
        )
    return results if list(results) != [""] else results[""]


def fit(
    pipeline: Composable,
    dataset: sidpy.Dataset,
    *,
    nonfinite: Nonfinite = "refuse",
    mask: npt.ArrayLike | None = None,
    execution: Execution | None = None,
) -> Pipeline:
    """Fit the estimators of a pipeline, one after the other, in passes over the data.

    Parameters
    ----------
    pipeline : Estimator or Pipeline
    dataset : sidpy.Dataset
    nonfinite : {"refuse", "mask"}
        Whether an item with NaN or inf is an error or left out (and counted in the log).
    mask : array of bool, optional
        True for items to learn from; shape of the navigation axes.
    execution : Execution, optional

    Returns
    -------
    Pipeline
        Of fitted operators: ``model(dataset)`` runs it.

    Raises
    ------
    DataError
        If values are not finite and were not to be masked, or cannot be fitted.
    ParameterError
        If there is no estimator.
    """
    members = pipeline.steps()
    if not any(isinstance(step, Estimator) for step in members):
        raise ParameterError("nothing to fit: the pipeline holds operators alone; run it with pycroclass.run(pipeline, dataset)")
    array, spec = unwrap(dataset)
    done: tuple[Composable, ...] = ()
    n_items = None
    for step in members:
        if isinstance(step, Estimator):
            (lazy, meaning), *_ = engine.run(Pipeline(done), array, spec, execution).values()
            data = Passes.over(lazy, meaning, step.domain, step.axes, nonfinite=nonfinite, mask=mask, execution=execution)
            data = data if step.passes_once(data.item) else data.kept()
            fitted = step.fit(data, data.item)
            if data.n_items < data.n_total and data.n_items != n_items:
                log.warning("%d of %d items are left out of the fit: masked, or with NaN or inf", data.n_total - data.n_items, data.n_total)
            n_items = data.n_items
            log.info("fitted %s on %d items", type(step).__name__, n_items)
            done = (*done, *fitted.steps())
        else:
            done = (*done, step)
    record = {
        "recipe": to_dict(pipeline)[0],
        "source": provenance_of(dataset).digested("sampled").to_dict(),
        "nonfinite": nonfinite,
        "masked": mask is not None,
        "n_items": n_items,
        "plugins": plugin_versions(pipeline),
    }
    return Pipeline(done, fitted=record)


def classify(dataset: sidpy.Dataset, bundle: Bundle | str | Path, *, execution: Execution | None = None) -> dict[str, sidpy.Dataset]:
    """Classify each item of a dataset with a bundle, lazily and in one pass.

    Parameters
    ----------
    dataset : sidpy.Dataset
    bundle : Bundle or path

    Returns
    -------
    dict of str to sidpy.Dataset
        ``probability`` (…, class), ``label`` (integers; names in ``metadata["classes"]``), ``confidence``, and ``embedding`` if the
        bundle gives one.

    Raises
    ------
    BundleError
        If the bundle is damaged or was made for other data.
    """
    path = None if isinstance(bundle, Bundle) else str(Path(bundle).absolute())
    loaded = loaded_for(dataset, bundle)
    steps, arrays = to_dict(loaded.pipeline)
    recipe = {"pipeline": steps, "bundle": {"path": path, "digest": loaded.digest}}
    results: dict[str, sidpy.Dataset] = _run(loaded.pipeline, dataset, execution, recipe, {} if path else arrays)
    return results


def loaded_for(dataset: sidpy.Dataset, bundle: Bundle | str | Path) -> Bundle:
    """The bundle, which was made for such data.

    Raises
    ------
    BundleError
        If it is damaged or was made for other data; names the bundle's file.
    """
    if isinstance(bundle, Bundle):
        bundle.check(unwrap(dataset)[1])
        return bundle
    loaded = Bundle.load(bundle)
    try:
        loaded.check(unwrap(dataset)[1])
    except BundleError as error:
        raise BundleError(f"{bundle}: {error}") from error
    return loaded


def concatenate(datasets: Sequence[sidpy.Dataset]) -> sidpy.Dataset:
    """Put datasets one behind the other along their first axis, lazily: the runs of an experiment as one stack.

    Parameters
    ----------
    datasets : sequence of sidpy.Dataset
        Alike in dtype, quantity, units, classes and in all axes but the first. Metadata are those of the first.

    Returns
    -------
    sidpy.Dataset
        Its first axis counts from 0. It has a geometry only if all have the same: do what needs the geometry of a run before.

    Raises
    ------
    AxisError
        If there is none, or they are not alike.

    Examples
    --------
    >>> import numpy as np, sidpy
    >>> concatenate([sidpy.Dataset.from_array(np.zeros((n, 4))) for n in (3, 5)]).shape
    (8, 4)
    """
    if not datasets:
        raise AxisError("nothing to concatenate: the sequence is empty")
    arrays, specs = zip(*(unwrap(dataset) for dataset in datasets), strict=True)
    first = specs[0]
    for number, spec in enumerate(specs[1:], 1):
        for what in ("dtype", "names", "quantity", "units", "classes"):
            if (theirs := getattr(spec, what)) != (wanted := getattr(first, what)):
                raise AxisError(f"dataset {number} has the {what} {theirs}, the first {wanted}; they must be alike")
        if spec.axes[1:] != first.axes[1:]:
            raise AxisError(
                f"dataset {number} has the shape {spec.shape}, the first {first.shape}, or other positions or units on an axis; "
                "they must be alike"
            )
    geometry = first.geometry if all(spec.geometry == first.geometry for spec in specs) else None
    axis = replace(first.axes[0], size=sum(spec.shape[0] for spec in specs), offset=0.0, step=1.0, explicit=None)
    return wrap(
        da.concatenate(arrays),
        replace(first, axes=(axis, *first.axes[1:]), geometry=geometry),
        provenance=Provenance("concatenate", {}, tuple(provenance_of(dataset) for dataset in datasets)),
        metadata=without_items(datasets[0].metadata) | join_items([dataset.metadata for dataset in datasets]),
        modality=datasets[0].modality,
        source=datasets[0].source,
    )


def _metadata_of(dataset: sidpy.Dataset, spec: Spec, cuts: Sequence[Cut], result: Spec, *, is_answer: bool) -> dict[str, Any]:
    """The metadata of a dataset as far as they are true of a result: lists are cut with their items; true labels do not stand beside
    an answer, where they could be taken for it."""
    metadata = without_items(dataset.metadata)
    if result.names[:1] != spec.names[:1]:
        return metadata
    kept = range(spec.shape[0])
    for cut in cuts:
        kept = kept[cut.slices[cut.result.names.index(spec.names[0])]]
    of_items = cut_items(dataset.metadata, kept, spec.shape[0]) if len(kept) == result.shape[0] else {}
    if is_answer:
        of_items.pop("labels", None)
    return metadata | of_items


def mean_by_label(
    dataset: sidpy.Dataset,
    labels: sidpy.Dataset,
    *,
    axes: tuple[str, ...] | None = None,
    nonfinite: Nonfinite = "refuse",
    execution: Execution | None = None,
) -> dict[str, sidpy.Dataset]:
    """Mean and standard deviation of the items of each label, lazily, in the units of the data.

    Parameters
    ----------
    dataset : sidpy.Dataset
    labels : sidpy.Dataset
        One integer for each item, on the navigation axes of ``dataset``; negative ones are left out. Without class names in their
        metadata they are computed once, to see how many there are.
    axes : tuple of str, optional
        Names of the axes of one item; by default those that ``labels`` has not.

    Returns
    -------
    dict of str to sidpy.Dataset
        ``mean`` and ``sd``, and ``count``, (label,). Means of spectra are (spectral axis, label), as sidpy plots them, those of images
        (label, y, x). NaN where a label has no item.

    Raises
    ------
    AxisError
        If the axes of the labels are not the navigation axes of the dataset.
    """
    array, spec = unwrap(dataset)
    label_array, label_spec = unwrap(labels)
    core = axes or tuple(name for name in spec.names if name not in label_spec.names)
    navigation = tuple(axis for axis in spec.axes if axis.name not in core)
    if [(a.name, a.size) for a in navigation] != [(a.name, a.size) for a in label_spec.axes]:
        raise AxisError(
            f"the labels have the axes {label_spec.names} {label_spec.shape}, wanted "
            f"{tuple(a.name for a in navigation)} {tuple(a.size for a in navigation)}: all axes of the data but those of one item"
        )
    if label_spec.dtype.kind not in "iu":
        raise DataError(f"labels must be integers, got {label_spec.dtype}")
    if spec.dtype.kind == "c":
        raise DataError(f"{spec.title!r} is complex, which has no spread; take its absolute value or its parts first")
    n_labels = len(label_spec.classes) or int(label_array.max().compute()) + 1
    if n_labels < 1:
        raise DataError("there is no label: all are negative")
    passes = Passes.over(array, spec, Domain.ITEM, core, nonfinite=nonfinite, companions={"label": label_array}, execution=execution)
    return _summaries(dataset, labels, passes, n_labels)


def _summaries(dataset: sidpy.Dataset, labels: sidpy.Dataset, passes: Passes, n_labels: int) -> dict[str, sidpy.Dataset]:
    classes = unwrap(labels)[1].classes
    parameters = {
        "axes": list(passes.item.names),
        "nonfinite": passes.nonfinite,
        "execution": vars(passes.execution),
        "device": device_name(passes.execution),
    }
    results = {}
    for table, meaning in zip(MeanByLabel(n_labels).lazily(passes), _summary_specs(passes.item, n_labels, classes), strict=True):
        label_is_last = meaning.names[0] != "label"
        shape = meaning.shape[::-1] if label_is_last else meaning.shape
        lazy = da.from_delayed(table, shape, meaning.dtype, meta=np.empty((0,) * len(shape), meaning.dtype))
        results[meaning.title] = wrap(
            lazy.T if label_is_last else lazy,
            meaning,
            provenance=Provenance(
                "mean_by_label", {"output": meaning.title, **parameters}, (provenance_of(dataset), provenance_of(labels))
            ),
            metadata=without_items(dataset.metadata),
            modality=dataset.modality,
            source=dataset.source,
        )
    return results


def _summary_specs(item: Spec, n_labels: int, classes: tuple[str, ...]) -> tuple[Spec, Spec, Spec]:
    """Of mean, standard deviation and count. Spectra stand in columns, which is how sidpy plots them; images in a stack."""
    of_spectra = len(item.axes) == 1
    label = Axis("label", n_labels, AxisKind.CHANNEL if of_spectra else AxisKind.TEMPORAL, "label", "")
    axes = (*item.axes, label) if of_spectra else (label, *item.axes)
    mean = replace(item, axes=axes, dtype=np.dtype("float64"), title="mean", classes=classes)
    return mean, replace(mean, title="sd"), Spec((label,), np.dtype("int64"), "count", "", "count", classes=classes)
