"""Functions of single values, and labels from scores, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pycroclass.errors import AxisError, ParameterError
from pycroclass.operators import Anscombe, Argmax, Clip, InverseAnscombe, Log1p, Sqrt, Threshold
from pycroclass.spec import Axis, Spec

SCORES = Spec((Axis("class", 3, kind="spectral"),), "float32", classes=("a", "b", "c"))


@pytest.mark.parametrize(
    ("operator", "reference"),
    [
        (Log1p(), np.log1p),
        (Sqrt(), np.sqrt),
        (Anscombe(), lambda x: 2 * np.sqrt(x + 3 / 8)),
        (Clip(3, 50), lambda x: np.clip(x, 3, 50)),
        (Clip(high=2.5), lambda x: np.minimum(x, 2.5)),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "float64"])
def test_against_numpy(operator, reference, dtype):
    values = np.random.default_rng(0).integers(0, 200, (3, 5, 7)).astype(dtype)
    block = torch.from_numpy(values)
    result = operator.transform(block).numpy()
    assert result.dtype == operator.output(Spec((), dtype)).dtype == ("float64" if dtype == "float64" else "float32")
    np.testing.assert_allclose(result, reference(values.astype(np.float64)), rtol=1e-6)
    np.testing.assert_array_equal(block.numpy(), values)


@pytest.mark.parametrize("mean", [0.3, 1, 5, 100])
def test_inverse_anscombe_gives_back_the_mean_of_counts(mean):
    counts = torch.from_numpy(np.random.default_rng(0).poisson(mean, 200_000))
    back = Anscombe().inverse.transform(Anscombe().transform(counts.double()).mean()).item()
    assert back == pytest.approx(mean, abs=0.02 + 0.003 * mean)
    assert back == pytest.approx(counts.double().mean().item(), abs=0.02)  # squaring alone would miss by 1/4


def test_inverse_anscombe_gives_back_the_meaning():
    spec = Spec((Axis("x", 3),), np.dtype("uint16"), quantity="intensity", units="counts")
    back = InverseAnscombe().output(Anscombe().output(spec))
    assert (back.quantity, back.units, back.dtype) == ("intensity", "counts", np.dtype("float32"))
    assert InverseAnscombe().transform(torch.tensor([0.0, torch.nan])).isnan().tolist() == [False, True]


def test_anscombe_makes_poisson_variance_one():
    for mean in (6, 30, 200):
        counts = torch.from_numpy(np.random.default_rng(mean).poisson(mean, 100_000))
        assert Anscombe().transform(counts).var().item() == pytest.approx(1, abs=0.03)
        assert Sqrt().transform(counts).var().item() == pytest.approx(0.25, abs=0.03)


def test_meaning_changes():
    counts = Spec((), "uint16", quantity="intensity", units="counts")
    assert Log1p().output(counts).quantity == "log(1 + intensity)"
    assert Log1p().output(counts).units == "generic"
    assert Log1p().output(Spec((), "uint16")).quantity == "generic"
    assert Clip(0).output(counts).units == "counts"


def test_nan_stays_nan():
    block = torch.tensor([torch.nan, -5.0])
    assert Clip(0, 1).transform(block).isnan().tolist() == [True, False]
    assert Log1p().transform(block).isnan().all()


@pytest.mark.parametrize("limits", [{}, {"low": 2, "high": 1}, {"low": np.nan}, {"high": "x"}])
def test_clip_bad_limits(limits):
    with pytest.raises(ParameterError):
        Clip(**limits)


@pytest.mark.parametrize("operator", [Log1p(), Sqrt(), Anscombe(), InverseAnscombe(), Clip(0), Threshold(1), Argmax()])
def test_complex_is_refused(operator):
    with pytest.raises(AxisError, match="real values, got complex64"):
        operator.output(Spec(SCORES.axes, "complex64"))


def test_threshold():
    result = Threshold(2).transform(torch.tensor([[1.99, 2.0], [torch.nan, torch.inf]]))
    assert result.tolist() == [[0, 1], [-1, 1]]
    out = Threshold(2, classes=["miss", "hit"]).output(Spec((), "uint16", units="counts"))
    assert (out.dtype, out.classes, out.quantity) == (np.int32, ("miss", "hit"), "label")


@pytest.mark.parametrize("parameters", [{"value": np.nan}, {"value": 1, "classes": ("a",)}, {"value": 1, "classes": "ab"}])
def test_threshold_bad_parameters(parameters):
    with pytest.raises(ParameterError):
        Threshold(**parameters)


def test_argmax():
    scores = np.random.default_rng(0).integers(0, 4, (50, 3))  # many ties
    np.testing.assert_array_equal(Argmax().transform(torch.from_numpy(scores)).numpy(), scores.argmax(1))
    assert Argmax().transform(torch.tensor([[0.0, torch.nan, 1.0], [-torch.inf, 0.0, 0.0]])).tolist() == [-1, 1]
    out = Argmax().output(SCORES)
    assert (out.shape, out.dtype, out.classes, out.quantity) == ((), np.int32, ("a", "b", "c"), "label")
