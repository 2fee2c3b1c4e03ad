"""From a labelled dataset to a bundle."""

from __future__ import annotations

import logging
import platform
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass import engine
from pycroclass._version import __version__
from pycroclass.api import concatenate, run
from pycroclass.bundle import Bundle
from pycroclass.data_record import data_record
from pycroclass.errors import DataError, PycroclassError
from pycroclass.estimators.classifier import NetworkClassifier
from pycroclass.estimators.session import Session
from pycroclass.item_spec import ItemSpec
from pycroclass.operator import Composable, Pipeline
from pycroclass.passes import Nonfinite, Passes
from pycroclass.per_item import column
from pycroclass.serialize import to_dict
from pycroclass.sid import unwrap
from pycroclass.spec import AxisKind, Domain, Spec
from pycroclass.stage import Execution, plan

log = logging.getLogger(__name__)

_VERSIONED: Final = ("torch", "lightning", "kornia", "numpy", "scikit-learn")


def train(
    dataset: sidpy.Dataset | Sequence[sidpy.Dataset],
    classifier: NetworkClassifier | None = None,
    *,
    preprocessing: Composable | None = None,
    labels: npt.ArrayLike | sidpy.Dataset | None = None,
    groups: npt.ArrayLike | str | None = None,
    nonfinite: Nonfinite = "refuse",
    execution: Execution | None = None,
    session: Session | None = None,
) -> Bundle:
    """Train a network to tell the classes of a labelled dataset apart.

    Parameters
    ----------
    dataset : sidpy.Dataset or sequence of them
        One item for each position on its navigation axes, such as a stack of images. Several, such as the runs of an experiment, are
        preprocessed each by itself, with its own geometry, and then put one behind the other.
    classifier : NetworkClassifier, optional
        Architecture, epochs, seed and the like.
    preprocessing : Operator or Pipeline, optional
        Fitted; becomes part of the bundle.
    labels : array of int or str, shape of the navigation axes (of all datasets together), optional
        Class of each item: its number (-1 is none) or its name. By default ``classifier.labels``, else ``metadata["labels"]`` of the
        dataset, as the reader of a folder per class gives them.
    groups : array, shape of the navigation axes, or str, optional
        Items of one group (a run, a sample, a patient) go to the same side of the validation split; or the name of the column that says
        so, such as ``"plate"``, see `pycroclass.per_item.column`.
    nonfinite : {"refuse", "mask"}
        Whether an item with NaN or inf, after preprocessing, is an error or left out.
    execution : Execution, optional
        Device and block sizes of the preprocessing.
    session : Session, optional
        Checkpoint, time limit, log and progress; never what is learned.

    Returns
    -------
    Bundle
        Preprocessing and network, what items it takes, how it was trained, and its metrics on the validation items.

    Raises
    ------
    DataError
        If labels are missing or do not fit, a class has too few items, values are not finite, or the training diverges.
    AxisError
        If an operator or the network does not fit the axes of the dataset.
    """
    classifier = classifier or NetworkClassifier()
    steps = preprocessing.steps() if preprocessing is not None else ()
    runs = [dataset] if isinstance(dataset, sidpy.Dataset) else list(dataset)
    prepared = concatenate([_prepared(Pipeline(steps), one, execution) for one in runs]) if len(runs) > 1 else runs[0]
    todo = Pipeline(()) if len(runs) > 1 else Pipeline(steps)
    lazy, meaning = next(iter(engine.run(todo, *unwrap(prepared), execution).values()))
    spec = unwrap(runs[0])[1]
    core = meaning.core(classifier.domain, classifier.axes)
    shape = tuple(axis.size for axis in meaning.axes if axis.name not in core)
    classifier = _labelled(classifier, prepared, labels, groups, shape)
    data = Passes.over(lazy, meaning, classifier.domain, classifier.axes, nonfinite=nonfinite, execution=execution)
    about = {
        "preprocessing": to_dict(Pipeline(steps))[0],
        "sources": [data_record(one) for one in runs],
    }
    learned = classifier.learn(data, data.item, session, about)
    n_left_out = data.n_total - learned.training["n_usable"]
    if n_left_out:
        log.warning("%d of %d items of %r hold NaN or inf and are left out", n_left_out, data.n_total, prepared.title)
    return Bundle(
        pipeline=Pipeline((*steps, *learned.pipeline)),
        item=_item(Pipeline(steps), spec, meaning, core),
        classes=classifier.classes,
        training={
            "classifier": to_dict(classifier)[0],
            "sources": about["sources"],
            "n_nonfinite": n_left_out,
            "versions": {"python": platform.python_version(), "pycroclass": __version__, **{name: version(name) for name in _VERSIONED}},
            **learned.training,
        },
        metrics=learned.metrics,
    )


def _prepared(preprocessing: Pipeline, dataset: sidpy.Dataset, execution: Execution | None) -> sidpy.Dataset:
    result = run(preprocessing, dataset, execution=execution)
    return next(iter(result.values())) if isinstance(result, dict) else result


def _labelled(classifier: NetworkClassifier, dataset: sidpy.Dataset, labels: Any, groups: Any, shape: tuple[int, ...]) -> NetworkClassifier:
    """The classifier with the labels, class names and groups of the dataset."""
    found = next((known for known in (labels, classifier.labels, dataset.metadata.get("labels")) if known is not None), None)
    if found is None:
        raise DataError(
            f"the dataset {dataset.title!r} has no labels. Read a folder per class, or give labels=… with the class of each item, "
            f"shape {shape}."
        )
    values = _one_each("labels", found, shape)
    named_by = found if isinstance(found, sidpy.Dataset) else dataset
    classes = classifier.classes or unwrap(named_by)[1].classes
    if values.dtype.kind in "US":
        names = values.astype(str)
        classes = classes or tuple(np.unique(names).tolist())
        if unknown := sorted(set(names.tolist()) - set(classes)):
            raise DataError(f"the labels name the classes {unknown}, which are not among {classes}")
        values = np.array([classes.index(name) for name in names.tolist()], np.int64)
    if values.dtype.kind not in "iu":
        raise DataError(f"labels must be whole numbers or names, got {values.dtype}")
    classes = classes or tuple(str(number) for number in range(int(values.max(initial=-1)) + 1))
    changes: dict[str, Any] = {"labels": values, "classes": classes}
    if isinstance(groups, str):
        groups = column(dataset, groups)
    if groups is not None:
        changes["groups"] = np.unique(_one_each("groups", groups, shape), return_inverse=True)[1]
    return replace(classifier, **changes)


def _one_each(name: str, values: Any, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """The values in C order of the items."""
    array = unwrap(values)[0].compute() if isinstance(values, sidpy.Dataset) else np.asarray(values)
    if array.shape not in (shape, (int(np.prod(shape)),)):
        raise DataError(f"{name} have the shape {array.shape}, wanted {shape}: one for each item")
    flat: npt.NDArray[Any] = array.ravel()
    return flat


def _item(preprocessing: Pipeline, spec: Spec, meaning: Spec, core: tuple[str, ...]) -> ItemSpec:
    """What the bundle takes: the items of the raw data, of any size along the axes whose size preprocessing makes the same."""
    navigation = [name for name in meaning.names if name not in core]
    raw = tuple(name for name in spec.names if name not in navigation)
    domain = Domain.SPECTRUM if len(raw) == 1 else Domain.IMAGE
    free = tuple(name for name in raw if _is_free(preprocessing, spec, name, meaning.only(core)))
    return ItemSpec.of(spec, domain, None if _is_plain(spec, domain, raw) else raw, free=free)


def _is_plain(spec: Spec, domain: Domain, raw: tuple[str, ...]) -> bool:
    try:
        return spec.core(domain) == raw
    except PycroclassError:
        return False


def _is_free(preprocessing: Pipeline, spec: Spec, name: str, item: Spec) -> bool:
    """Whether items twice as long along an axis become the same for the network: equally large, and with the same spectral axis."""
    axis = spec[name]
    if axis.kind is AxisKind.CHANNEL or axis.explicit is not None:
        return False
    try:
        longer = _after(preprocessing, spec.with_axes(replace(axis, size=2 * axis.size))).only(item.names)
    except PycroclassError:
        return False
    return longer.shape == item.shape and all(longer[n] == item[n] for n in item.of_kind(AxisKind.SPECTRAL))


def _after(preprocessing: Pipeline, spec: Spec) -> Spec:
    stages = plan(preprocessing, spec)
    return stages[-1].result if stages else spec
