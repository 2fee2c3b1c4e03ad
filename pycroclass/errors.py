"""Every error that pycroclass raises on purpose, in one tree.

::

    PycroclassError
    ├── ParameterError (ValueError)       a parameter that cannot mean anything
    ├── AxisError (ValueError)            an operator and a dataset that do not fit together
    ├── DataError (ValueError)            values that must not be used: NaN, inf, wrong labels
    │   └── OutOfDomainError              data that a trained model must not judge
    ├── ReadError (OSError)               a file that cannot be read
    ├── WriteError (OSError)              a file that cannot be written
    ├── BundleError (ValueError)          a bundle that is damaged or does not fit the data
    ├── RecipeError (ValueError)          a recipe or provenance record that cannot be understood
    ├── ReplayError (ValueError)          a result that cannot be computed again
    ├── ClusterError (ConnectionError)    a dask cluster that cannot be reached or was lost
    └── MissingDependencyError (ImportError)   an optional package that is not installed

A message says what was got, what was wanted and what to do.
"""

from __future__ import annotations


class PycroclassError(Exception):
    """Root of all errors raised by pycroclass."""


class ParameterError(PycroclassError, ValueError):
    """A parameter has a value that cannot be used."""


class AxisError(PycroclassError, ValueError):
    """A dataset has not the axes that an operator needs, or an operator is ambiguous about them."""


class DataError(PycroclassError, ValueError):
    """The data hold values that must not be used, such as NaN where a fit was asked for."""


class OutOfDomainError(DataError):
    """The data are so unlike those that a model was trained on that its answers would be wrong; the message says in what."""


class ReadError(PycroclassError, OSError):
    """A file cannot be read: missing, unreadable, empty, truncated, corrupt or of unknown format."""


class WriteError(PycroclassError, OSError):
    """A file cannot be written, or exists already."""


class BundleError(PycroclassError, ValueError):
    """A bundle is damaged, was tampered with, or does not fit the dataset."""


class RecipeError(PycroclassError, ValueError):
    """A recipe names an unknown operator or has parameters that the operator does not take."""


class ReplayError(PycroclassError, ValueError):
    """A result cannot be computed again from what its file says."""


class ClusterError(PycroclassError, ConnectionError):
    """A dask cluster cannot be reached, was lost, or cannot run a task."""


class MissingDependencyError(PycroclassError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""

    @classmethod
    def of(cls, package: str, *, extra: str, purpose: str) -> MissingDependencyError:
        """Build the message from the package, the extra that installs it, and what it is needed for."""
        return cls(f"{purpose} needs the package {package!r}. Install it with: pip install 'pycroclass[{extra}]'")
