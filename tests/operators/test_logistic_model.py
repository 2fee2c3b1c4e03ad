from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from pycroclass.errors import AxisError, ParameterError
from pycroclass.operators import LogisticModel
from pycroclass.spec import Axis, Spec


def test_answers_as_scikit_learn_does() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 3))
    labels = (features @ [1.0, -2.0, 0.5] + rng.normal(size=200) > 0.3).astype(int)
    theirs = LogisticRegression().fit(features, labels)
    answer = LogisticModel(theirs.coef_[0], theirs.intercept_[0]).transform(torch.from_numpy(features))
    np.testing.assert_allclose(answer["probability"], theirs.predict_proba(features), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(answer["score"], theirs.decision_function(features), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(answer["label"], theirs.predict(features))
    np.testing.assert_allclose(answer["confidence"], theirs.predict_proba(features).max(1), rtol=1e-5)


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=2), st.floats(-50, 50))
def test_scores_tell_sure_items_apart(features: list[float], bias: float) -> None:
    answer = LogisticModel([3.0, 1.0], bias).transform(torch.tensor([features], dtype=torch.float64))
    score = 3 * features[0] + features[1] + bias
    np.testing.assert_allclose(answer["score"], [score], rtol=1e-5, atol=1e-4)
    assert answer["label"].item() == int(score > 0)
    assert answer["probability"].sum().item() == pytest.approx(1, abs=1e-6)


def test_no_answer_where_a_feature_is_missing() -> None:
    answer = LogisticModel([1.0, 1.0], 0.0).transform(torch.tensor([[torch.nan, 1.0], [torch.inf, 0.0], [1.0, 1.0]]))
    assert answer["label"].tolist() == [-1, -1, 1]
    for name in ("probability", "confidence", "score"):
        assert answer[name].isnan().reshape(3, -1).any(1).tolist() == [True, True, False]


def test_bad_input() -> None:
    for weights, bias, classes in (([np.nan], 0, ("a", "b")), ([[1.0]], 0, ("a", "b")), ([1.0], np.inf, ("a", "b")), ([1.0], 0, ("a",))):
        with pytest.raises(ParameterError):
            LogisticModel(weights, bias, classes)  # type: ignore[arg-type]
    with pytest.raises(AxisError, match="2 features"):
        LogisticModel([1.0, 1.0], 0).output(Spec((Axis("feature", 3, "spectral"),), np.dtype("float32")))
