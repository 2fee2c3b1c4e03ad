"""From clusters that somebody gave names to, to labels that a classifier learns from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import sidpy

from pycroclass.errors import AxisError, ParameterError
from pycroclass.sid import provenance_of, unwrap, wrap

_NONE = -1


def name_clusters(dataset: sidpy.Dataset, label: sidpy.Dataset, names: Mapping[int, str]) -> sidpy.Dataset:
    """The items of a dataset, labelled by the names of their clusters, to train a classifier with.

    Parameters
    ----------
    dataset : sidpy.Dataset
        Items along its first axis.
    label : sidpy.Dataset
        The number of the cluster of each item, shape (n_items,), such as `ImageMap.label`; it is computed.
    names : mapping of int to str
        Of clusters. Those of one name become one class; items of clusters without a name have no label, and are not learned from.

    Returns
    -------
    sidpy.Dataset
        The same lazy data with ``metadata["labels"]`` (-1 for none) and ``metadata["classes"]``, in the order of the names.

    Raises
    ------
    ParameterError
        If there is no name, one is empty, or a cluster has no item.
    AxisError
        If there is not one label for each item.

    Examples
    --------
    >>> import numpy as np, sidpy
    >>> images = sidpy.Dataset.from_array(np.zeros((4, 8, 8)))
    >>> label = sidpy.Dataset.from_array(np.array([2, 0, 1, 2]))
    >>> named = name_clusters(images, label, {0: "empty", 2: "crystal"})
    >>> named.metadata["labels"], named.metadata["classes"]
    ([1, 0, -1, 1], ['empty', 'crystal'])
    """
    array, spec = unwrap(dataset)
    if label.shape != dataset.shape[:1]:
        raise AxisError(f"wanted one label for each of {dataset.shape[0]} items, got the shape {label.shape}")
    numbers = np.asarray(unwrap(label)[0].compute())
    if not names or not all(isinstance(name, str) and name for name in names.values()):
        raise ParameterError(f"wanted names for some of the clusters, such as {{0: 'empty', 2: 'crystal'}}, got {dict(names)!r}")
    if unknown := sorted(set(names) - set(np.unique(numbers).tolist())):
        raise ParameterError(f"the clusters {unknown} have no item; there are {np.unique(numbers[numbers >= 0]).tolist()}")
    classes = tuple(dict.fromkeys(names.values()))
    of_cluster = {number: classes.index(name) for number, name in names.items()}
    return wrap(
        array,
        replace(spec, classes=classes),
        provenance=provenance_of(dataset),
        metadata={**dataset.metadata, "labels": [of_cluster.get(number, _NONE) for number in numbers.tolist()]},
        original_metadata=dataset.original_metadata,
        modality=dataset.modality,
        source=dataset.source,
    )
