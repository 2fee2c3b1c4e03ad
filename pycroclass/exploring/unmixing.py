"""Unmixing as datasets to look at: spectra of the end members, maps of their abundances, and what they leave over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy.typing as npt

from pycroclass.api import fit, run
from pycroclass.errors import ParameterError
from pycroclass.exploring.decomposition import components, maps
from pycroclass.operator import Composable
from pycroclass.passes import Nonfinite
from pycroclass.reduction import Estimator
from pycroclass.stage import Execution

if TYPE_CHECKING:
    import sidpy


def unmix(
    pipeline: Composable,
    dataset: sidpy.Dataset,
    *,
    nonfinite: Nonfinite = "refuse",
    mask: npt.ArrayLike | None = None,
    execution: Execution | None = None,
) -> dict[str, sidpy.Dataset]:
    """Find end members, or take given ones, and give what one looks at: their spectra, maps of abundance, and what they do not explain.

    Parameters
    ----------
    pipeline : Estimator, Operator or Pipeline
        Its last step is `NFINDR` or `VCA`, or `UCLS`, `NNLS` or `FCLS` with spectra and their axes.
    dataset : sidpy.Dataset
    nonfinite, mask, execution
        As of `fit`.

    Returns
    -------
    dict of str to sidpy.Dataset
        ``endmembers``: spectra (energy, endmember) or images (endmember, y, x). ``abundance``: lazy, (endmember, …), an image stack for
        a scan. ``residual``: root mean square of what is left of each item, lazy, in the units of the data.

    Raises
    ------
    ParameterError
        If the last step gives no abundances.
    DataError
        If the data cannot be fitted.

    Examples
    --------
    >>> import pycroclass as pc
    >>> results = pc.unmix(pc.Select(energy=(400, 600)) | pc.NFINDR(3), dataset)  # doctest: +SKIP
    >>> pc.write(results, "unmixed.h5")  # doctest: +SKIP
    """
    to_fit = any(isinstance(step, Estimator) for step in pipeline.steps())
    model = fit(pipeline, dataset, nonfinite=nonfinite, mask=mask, execution=execution) if to_fit else pipeline
    return unmixed(model, dataset, execution)


def unmixed(model: Composable, dataset: sidpy.Dataset, execution: Execution | None = None) -> dict[str, sidpy.Dataset]:
    """As `unmix`, by fitted operators."""
    results = run(model, dataset, execution=execution)
    if not isinstance(results, dict) or set(results) != {"abundance", "residual"}:
        last = type(model.steps()[-1]).__name__
        raise ParameterError(f"{last} gives no abundances: let the last step be NFINDR, VCA, UCLS, NNLS or FCLS")
    return {"endmembers": components(model), "abundance": maps(results["abundance"]), "residual": results["residual"]}
