"""Use and test an operator of your own: it runs lazily, on any chunks, on CPU and GPU, in recipes and replays."""

from __future__ import annotations

import dask.array as da
import numpy as np
import sidpy
from despike import Despike
from scipy.ndimage import median_filter
from scipy.stats import median_abs_deviation

import pycroclass as pc


def main() -> None:
    rng = np.random.default_rng(0)
    counts = rng.normal(100, 3, (6, 5, 201)).astype("float32")
    counts[1, 2, 50] = 900
    counts[4, 0, 0] = 700

    answer = Despike()(spectra(counts, chunks=(6, 5, 201))).compute()
    assert np.array_equal(answer, reference(counts)), "not what scipy finds"
    assert np.array_equal(answer, Despike()(spectra(counts, chunks=(4, 2, 67))).compute()), "the answer depends on the chunks"
    print(
        f"{np.count_nonzero(answer != counts)} of {counts.size} points replaced; the largest was {counts.max():.0f}, is {answer.max():.0f}"
    )

    recipe = pc.Recipe.from_dict({"pipeline": [{"Despike": {"window": 9}}, "Log1p"]})
    print("the same in a recipe:", *recipe.pipeline, sep="\n  ")


def reference(counts: np.ndarray, window: int = 11, threshold: float = 8.0) -> np.ndarray:
    """The same with scipy."""
    middle = median_filter(counts, (1, 1, window), mode="mirror")
    padded = np.pad(counts, ((0, 0), (0, 0), (window // 2, window // 2)), mode="reflect")
    around = np.lib.stride_tricks.sliding_window_view(padded, window, axis=2)
    spread = 1.4826 * median_abs_deviation(around, axis=3)
    return np.where(abs(counts - middle) > threshold * spread, middle, counts)


def spectra(values: np.ndarray, chunks: tuple[int, ...]) -> sidpy.Dataset:
    """A spectrum image with an energy axis."""
    dataset = sidpy.Dataset.from_array(da.from_array(values, chunks=chunks), title="spectra", units="counts")
    dataset.data_type = "spectral_image"
    for i, name in enumerate("yx"):
        dataset.set_dimension(i, sidpy.Dimension(np.arange(values.shape[i]), name, units="nm", dimension_type="spatial"))
    energy = 100 + 0.5 * np.arange(values.shape[2])
    dataset.set_dimension(2, sidpy.Dimension(energy, "energy", units="eV", dimension_type="spectral"))
    return dataset


if __name__ == "__main__":
    main()
