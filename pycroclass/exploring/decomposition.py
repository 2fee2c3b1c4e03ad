"""Decompositions as datasets to look at: spectra or images of the components, maps of their scores, and what they leave over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import dask.array as da
import numpy.typing as npt
import sidpy

from pycroclass.api import fit, run
from pycroclass.engine import transposed
from pycroclass.errors import ParameterError
from pycroclass.estimators.misfit import Misfit
from pycroclass.operator import Composable, Pipeline
from pycroclass.passes import Nonfinite
from pycroclass.provenance import Provenance
from pycroclass.serialize import to_dict
from pycroclass.sid import provenance_of, unwrap, wrap
from pycroclass.spec import AxisKind, Domain
from pycroclass.stage import Execution

_DESCRIBED: Final = ("described_components", "described_centres", "described_endmembers")


def decompose(
    pipeline: Composable,
    dataset: sidpy.Dataset,
    *,
    nonfinite: Nonfinite = "refuse",
    mask: npt.ArrayLike | None = None,
    execution: Execution | None = None,
) -> dict[str, sidpy.Dataset]:
    """Fit a decomposition, and give what one looks at: components, maps of their scores, and a map of what they do not explain.

    Parameters
    ----------
    pipeline : Estimator or Pipeline
        Its last step is `PCA`, `SVD`, `PoissonPCA`, `ICA`, `NMF` or `PoissonNMF`.
    dataset : sidpy.Dataset
    nonfinite, mask, execution
        As of `fit`.

    Returns
    -------
    dict of str to sidpy.Dataset
        ``components``: spectra (energy, component) or images (component, y, x). ``maps``: the scores, lazy, (component, …), an image
        stack for a scan. ``residual``: root mean square of what is left of each item, lazy, in the units of the data.

    Raises
    ------
    ParameterError
        If the last step has no inverse.
    DataError
        If the data cannot be fitted.

    Examples
    --------
    >>> import pycroclass as pc
    >>> results = pc.decompose(pc.Select(energy=(400, 600)) | pc.NMF(3), dataset)  # doctest: +SKIP
    >>> pc.write(results, "components.h5")  # doctest: +SKIP
    """
    return decomposed(fit(pipeline, dataset, nonfinite=nonfinite, mask=mask, execution=execution), dataset, execution)


def decomposed(model: Pipeline, dataset: sidpy.Dataset, execution: Execution | None = None) -> dict[str, sidpy.Dataset]:
    """As `decompose`, by a fitted pipeline."""
    left = Pipeline((*model.members[:-1], Misfit(model.members[-1])), model.fitted)  # type: ignore[arg-type]  # refuses what has no inverse
    return {
        "components": components(model),
        "maps": maps(run(model, dataset, execution=execution)),
        "residual": run(left, dataset, execution=execution),
    }


def components(model: Composable) -> sidpy.Dataset:
    """The components, centres or end members that a fitted model learned, on the axes of its items.

    Parameters
    ----------
    model : Operator or Pipeline
        Fitted. The last step counts that learned any.

    Returns
    -------
    sidpy.Dataset
        Spectra stand in columns, (energy, component), which is how sidpy plots them; images in a stack, (component, y, x).

    Raises
    ------
    ParameterError
        If no step learned any.

    Examples
    --------
    >>> import pycroclass as pc
    >>> pc.components(pc.fit(pc.NMF(3), dataset)).plot()  # doctest: +SKIP
    """
    found = [getattr(step, name) for step in model.steps() for name in _DESCRIBED if hasattr(step, name)]
    if not found:
        names = ", ".join(type(step).__name__ for step in model.steps())
        raise ParameterError(f"no step of {names} has components, centres or end members: fit PCA, ICA, NMF, KMeans or the like first")
    values, spec = found[-1]()
    if len(spec.axes) == 2:
        values, spec = values.T, replace(spec, axes=spec.axes[::-1])
    steps, arrays = to_dict(model)
    parameters: dict[str, Any] = {"pipeline": steps, "fit": getattr(model, "fitted", None)}
    return wrap(da.from_array(values, chunks=-1), spec, provenance=Provenance("components", parameters, arrays=arrays))


def maps(scores: sidpy.Dataset) -> sidpy.Dataset:
    """Scores as one map for each component: the spectral axis first, as a stack that sidpy can leaf through; lazy.

    Parameters
    ----------
    scores : sidpy.Dataset
        With one spectral axis: scores, abundances, probabilities of classes, or spectra.

    Raises
    ------
    AxisError
        If there is not one spectral axis.

    Examples
    --------
    >>> import pycroclass as pc
    >>> pc.maps(model(dataset)).plot()  # doctest: +SKIP
    """
    array, spec = unwrap(scores)
    (name,) = spec.core(Domain.SPECTRUM)
    order = (name, *(other for other in spec.names if other != name))
    lazy = transposed(array, [spec.names.index(axis) for axis in order])
    axes = (replace(spec[name], kind=AxisKind.TEMPORAL), *(spec[axis] for axis in order[1:]))
    return wrap(
        lazy,
        replace(spec, axes=axes, title="maps"),
        provenance=Provenance("maps", {}, (provenance_of(scores),)),
        metadata=scores.metadata,
        original_metadata=scores.original_metadata,
        modality=scores.modality,
        source=scores.source,
    )
