from __future__ import annotations

import json

import numpy as np
import pytest
import sklearn.preprocessing
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from plain_data import PlainData, image_spec, run_plain, spectra_spec

from pycroclass.errors import AxisError, DataError, ParameterError
from pycroclass.estimators import PercentileScale, Scale, StandardizeData, StandardizeFeatures
from pycroclass.estimators._quantiles import order_statistics, percentiles
from pycroclass.reduction import Estimator
from pycroclass.serialize import from_dict, to_dict


def spectra(n: int = 61, n_features: int = 7) -> np.ndarray:
    return (np.random.default_rng(0).gamma(2.0, 5.0, (n, n_features)) * np.arange(1, n_features + 1) + 4000).astype(np.float32)


def test_features_are_standardised_as_by_scikit_learn() -> None:
    array = spectra()
    array[:, 3] = 17
    scale = StandardizeFeatures().fit(PlainData(array, [5, 40]), spectra_spec(array))
    wanted = sklearn.preprocessing.StandardScaler().fit_transform(array.astype(np.float64))
    np.testing.assert_allclose(run_plain(scale, array), wanted, atol=1e-5)


def test_the_whole_is_standardised_with_its_proportions_kept() -> None:
    array = spectra().reshape(61, 7, 1)
    scale = StandardizeData().fit(PlainData(array, [5, 40]), image_spec(array))
    wide = array.astype(np.float64)
    np.testing.assert_allclose(run_plain(scale, array), (wide - wide.mean()) / wide.std(), atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16", "int32", "int64"])
@pytest.mark.parametrize("percents", [(0, 100), (1, 99), (37.5, 50)])
def test_percentiles_are_those_of_numpy(dtype: str, percents: tuple[float, float]) -> None:
    array = spectra().astype(dtype)
    found = percentiles(PlainData(array, [30]), spectra_spec(array), percents)
    np.testing.assert_allclose(found, np.percentile(array.astype(np.float64), percents), rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    array=hnp.arrays(
        st.sampled_from([np.float32, np.float64]),
        st.tuples(st.integers(1, 9), st.integers(1, 4)),
        elements=st.floats(-(2.0**100), 2.0**100, width=32),
    ),
    cuts=st.lists(st.integers(1, 8), max_size=3),
)
def test_order_statistics_are_exact(array: np.ndarray, cuts: list[int]) -> None:
    found = order_statistics(PlainData(array, cuts), spectra_spec(array), range(array.size))
    np.testing.assert_array_equal(found, np.sort(array, axis=None))


@pytest.mark.parametrize(("dtype", "n_passes"), [("float32", 2), ("uint16", 2), ("float64", 4)])
def test_few_passes_are_enough(dtype: str, n_passes: int) -> None:
    data = PlainData(spectra().astype(dtype))
    percentiles(data, spectra_spec(data.array), (1, 99))
    assert data.n_passes == n_passes


def test_percentiles_become_zero_and_one() -> None:
    array = spectra()
    scaled = run_plain(PercentileScale(5, 95).fit(PlainData(array, [9]), spectra_spec(array)), array)
    np.testing.assert_allclose(np.percentile(scaled, (5, 95)), (0, 1), atol=1e-6)
    assert scaled.min() < 0
    assert scaled.max() > 1


def test_scale_keeps_digits_beside_a_large_offset() -> None:
    array = (1e7 + np.arange(8, dtype=np.float32)).reshape(2, 4)
    assert run_plain(Scale(1e7 + 0.5, 2.0), array).tolist() == (2 * (np.arange(8) - 0.5)).reshape(2, 4).tolist()
    assert run_plain(Scale(0.0, 1.0), array.astype(np.float64)).dtype == np.float64
    assert run_plain(Scale(0.0, 1.0), array.astype(np.int16)).dtype == np.float32


def test_scale_is_described_and_stored() -> None:
    array = spectra()
    scale = StandardizeFeatures(axes="energy").fit(PlainData(array), spectra_spec(array))
    assert scale.axes == ("energy",)
    assert scale.output(spectra_spec(array)).units == "generic"
    steps, arrays = to_dict(scale)
    assert from_dict(json.loads(json.dumps(steps)), arrays)[0] == scale
    with pytest.raises(AxisError, match="offset"):
        scale.output(spectra_spec(array[:, :4]))
    with pytest.raises(ParameterError, match="factor"):
        Scale(0.0, np.inf)


@pytest.mark.parametrize("estimator", [StandardizeFeatures(), StandardizeData(), PercentileScale()])
def test_bad_data(estimator: Estimator) -> None:
    array = spectra()
    with pytest.raises(DataError, match="complex"):
        estimator.fit(PlainData(array.astype(np.complex64)), spectra_spec(array.astype(np.complex64)))
    array[0, :3] = np.nan
    with pytest.raises(DataError, match="NaN"):
        estimator.fit(PlainData(array), spectra_spec(array))


@pytest.mark.parametrize("estimator", [StandardizeData(), PercentileScale()])
def test_constant_data(estimator: Estimator) -> None:
    array = np.full((5, 3), 0.1, np.float32)
    with pytest.raises(DataError, match=r"0\.1"):
        estimator.fit(PlainData(array), spectra_spec(array))


@pytest.mark.parametrize("limits", [(99, 1), (50, 50), (-1, 99), (0, 101), (float("nan"), 99)])
def test_bad_percentiles(limits: tuple[float, float]) -> None:
    with pytest.raises(ParameterError, match="per cent"):
        PercentileScale(*limits)
