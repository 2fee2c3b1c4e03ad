"""What is public, and how fast it is there."""

from __future__ import annotations

import subprocess
import sys

import pycroclass
from pycroclass.operator import Operator
from pycroclass.reduction import Estimator


def test_every_public_name_is_there() -> None:
    for name in pycroclass.__all__:
        assert getattr(pycroclass, name) is not None
    assert pycroclass.__version__


def test_operators_and_estimators_are_public() -> None:
    from pycroclass import estimators, operators

    made_by_fit = {
        "CentreConfidence",
        "GaussianMembership",
        "NearestDirection",
        "NearestItem",
        "NearestCentre",
        "PatchStrength",
        "PlaceAmongNeighbours",
        "NonnegativeFit",
        "PoissonFit",
        "Project",
        "Reconstruct",
        "Scale",
        "WeighCounts",
        "WindowFilter",
    }
    names = {n for m in (operators, estimators) for n in m.__all__ if issubclass(getattr(m, n), Operator | Estimator)}
    assert names - made_by_fit <= set(pycroclass.__all__)


def test_public_names_have_docstrings_with_examples() -> None:
    for name in pycroclass.__all__:
        assert getattr(pycroclass, name).__doc__, name


def test_import_loads_nothing_heavy() -> None:
    code = "import sys, pycroclass; print([m for m in ('torch', 'sidpy', 'dask', 'h5py', 'matplotlib') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nsys.argv = ['pycroclass', '--help']\nfrom pycroclass.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('torch', 'sidpy', 'dask', 'h5py', 'matplotlib') if m in sys.modules])"
    )
    text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert text.strip().splitlines()[-1] == "[]"
