"""Windows of images: the numbers of numpy, made lazily, with positions in units; then local structure from them."""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

import pycroclass as pc
from pycroclass import engine
from pycroclass.errors import AxisError, ParameterError
from pycroclass.provenance import Provenance
from pycroclass.recipes.planning import describe
from pycroclass.recipes.recipe import Recipe
from pycroclass.replay import Verdict
from pycroclass.sid import wrap
from pycroclass.spec import Axis, Spec
from pycroclass.stage import Execution

Y = Axis("y", 23, "spatial", units="nm", offset=-2.0, step=0.5)
X = Axis("x", 31, "spatial", units="nm", step=0.25)
IMAGE = np.random.default_rng(0).integers(0, 4000, (23, 31)).astype(np.uint16)
PLANE = Spec((Y, X), IMAGE.dtype, quantity="intensity", units="counts")


def lattice(shape: tuple[int, int], period_y: float, period_x: float) -> np.ndarray:
    y, x = np.indices(shape)
    return np.cos(2 * np.pi * y / period_y) + np.cos(2 * np.pi * x / period_x)


def two_textures(n: int = 96) -> np.ndarray:
    """A lattice on the left, another on the right, under noise."""
    rng = np.random.default_rng(1)
    left = np.arange(n) < n // 2
    image = np.where(left, lattice((n, n), 6, 6), lattice((n, n), 9, 4))
    return (image + rng.normal(0, 0.3, (n, n))).astype(np.float32)


def dataset(image: np.ndarray, chunks: int | tuple[int, ...] = -1):
    axes = tuple(Axis(name, n, "spatial", units="nm", step=0.1) for name, n in zip("yx", image.shape))
    return wrap(da.from_array(image, chunks=chunks), Spec(axes, image.dtype, units="counts"), provenance=Provenance("given", {}))


@settings(max_examples=25, deadline=None)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    step=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    chunks=st.tuples(st.integers(1, 23), st.integers(1, 31)),
    block=st.integers(100, 5000),
)
def test_windows_are_those_of_numpy(size: tuple[int, int], step: tuple[int, int], chunks: tuple[int, int], block: int) -> None:
    run = engine.run(pc.Windows(size, step), da.from_array(IMAGE, chunks=chunks), PLANE, Execution(block_bytes=block))
    ((windows, spec),) = run.values()
    wanted = sliding_window_view(IMAGE, size)[:: step[0], :: step[1]]
    assert (spec.names, spec.shape) == (("y", "x", "window_y", "window_x"), wanted.shape)
    np.testing.assert_array_equal(windows.compute(scheduler="synchronous"), wanted)


def test_positions_are_those_of_the_image() -> None:
    spec = pc.Windows((4, 5), step=(3, 2)).output(PLANE)
    positions = sliding_window_view(Y.values, 4)[::3], sliding_window_view(X.values, 5)[::2]
    for middle, inside, window in zip(spec.axes[:2], spec.axes[2:], positions, strict=True):
        np.testing.assert_allclose(middle.values[:, None] + inside.values, window, atol=1e-12)
    assert {axis.units for axis in spec.axes} == {"nm"}


def test_colours_and_stacks_keep_their_axes() -> None:
    values = np.random.default_rng(0).random((4, 11, 13, 3)).astype(np.float32)
    axes = (Axis("frame", 4, "temporal"), Axis("y", 11, "spatial"), Axis("x", 13, "spatial"), Axis("channel", 3, "channel"))
    spec = Spec(axes, values.dtype)
    run = engine.run(pc.Windows(5, step=3), da.from_array(values, chunks=(1, 6, 6, 2)), spec, Execution(block_bytes=3000))
    ((windows, result),) = run.values()
    assert result.names == ("frame", "y", "x", "channel", "window_y", "window_x")
    np.testing.assert_array_equal(windows, sliding_window_view(values, (5, 5), axis=(1, 2))[:, ::3, ::3])


def test_more_windows_than_fit_into_any_memory() -> None:
    reads = []

    def load(block_id: tuple[int, ...]) -> np.ndarray:
        reads.append(block_id)
        return np.arange(3000 * 3000, dtype=np.float32).reshape(3000, 3000)

    image = da.map_blocks(load, chunks=((3000,), (3000,)), dtype=np.float32, meta=np.empty((0, 0), np.float32))
    spec = Spec((Axis("y", 3000, "spatial"), Axis("x", 3000, "spatial")), image.dtype)
    ((windows, _),) = engine.run(pc.Windows(64, step=2), image, spec).values()
    assert windows.nbytes > 30e9
    assert max(np.prod(windows.chunksize) * 4, 1) <= 40 << 20
    assert reads == []
    assert windows[1000:1003, 7, 0, 5].compute(scheduler="synchronous").tolist() == [3000 * 2 * y + 19 for y in range(1000, 1003)]
    assert len(reads) == 1


def test_power_spectra_show_the_period() -> None:
    power = (pc.Windows(32, step=16) | pc.PowerSpectrum())(dataset(np.cos(2 * np.pi * np.indices((96, 96))[1] / 8).astype(np.float32)))
    assert power.data_type.name == "IMAGE_4D"
    middle = np.asarray(power)[2, 2]
    frequency = np.array(power._axes[3].values)
    _, column = np.unravel_index(middle.argmax(), middle.shape)
    assert abs(frequency[column]) == pytest.approx(1 / 0.8)
    assert power._axes[3].units == "1/nm"


def test_local_structure_is_a_map_on_the_image(tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", two_textures())
    (image,) = pc.read(tmp_path / "image.npy").values()
    model = pc.fit(pc.Windows(18, step=3) | pc.PowerSpectrum() | pc.Log1p() | pc.PCA(3) | pc.KMeans(2), image)
    labels = model(image)
    assert labels.shape == (27, 27)
    found = np.asarray(labels)
    left = np.array(labels._axes[1].values) < 48
    inside = np.abs(np.array(labels._axes[1].values) - 48) > 9  # windows that hold one texture alone
    assert (found[:, inside] == found[0, 0])[:, left[inside]].all()
    assert (found[:, inside] != found[0, 0])[:, ~left[inside]].all()
    means = pc.mean_by_label((pc.Windows(18, step=3) | pc.PowerSpectrum())(image), labels)
    assert means["mean"].shape == (2, 18, 18)
    pc.write({"label": labels}, tmp_path / "labels.h5")
    assert [one.verdict for one in pc.replay(tmp_path / "labels.h5")] == [Verdict.IDENTICAL]


def test_windows_run_behind_and_before_others() -> None:
    image = two_textures()
    result = (pc.Clip(0, 1) | pc.Windows(8, step=4) | pc.Sqrt())(dataset(image, (20, 96)))
    np.testing.assert_allclose(result, np.sqrt(sliding_window_view(np.clip(image, 0, 1), (8, 8))[::4, ::4]), rtol=1e-6)


def test_the_plan_counts_views_as_nothing(tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", np.zeros((2000, 2000), np.float32))
    (image,) = pc.read(tmp_path / "image.npy").values()
    recipe = Recipe.from_dict({"pipeline": [{"Windows": {"size": 64, "step": 2}}, {"PowerSpectrum": {}}]})
    told = list(describe(recipe, image, Execution(device="cpu")))
    (memory,) = (line for line in told if line.startswith("memory"))
    assert "MB:" in memory
    assert "GB" not in memory


def test_bad_windows() -> None:
    with pytest.raises(AxisError, match=r"no window of \(24, 2\) pixels"):
        pc.Windows((24, 2)).output(PLANE)
    with pytest.raises(ParameterError, match="step"):
        pc.Windows(3, step=0)
