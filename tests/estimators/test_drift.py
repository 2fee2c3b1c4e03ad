"""Drift against scikit-image, and found again where it is known."""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_data import PlainData, image_spec
from scipy import ndimage
from skimage.registration import phase_cross_correlation

import pycroclass as pc
from pycroclass.errors import DataError, ParameterError
from pycroclass.estimators._registration import Correlator, Pair, positions
from pycroclass.estimators.drift import RigidDrift
from pycroclass.provenance import Provenance
from pycroclass.replay import Verdict
from pycroclass.sid import wrap
from pycroclass.spec import Axis, Spec
from pycroclass.stage import Execution


def scene(n: int, seed: int = 0) -> np.ndarray:
    """Blobs of several sizes, nothing periodic."""
    noise = np.random.default_rng(seed).normal(size=(n, n))
    return sum(ndimage.gaussian_filter(noise, sigma, mode="wrap") * sigma for sigma in (1.5, 3, 8))


def moved(image: np.ndarray, shift: tuple[float, float]) -> np.ndarray:
    """The image moved around its borders, exactly."""
    return np.fft.ifft2(ndimage.fourier_shift(np.fft.fft2(image), shift)).real


def drifting(drift: np.ndarray, n: int = 96, noise: float = 0.0, *, image: np.ndarray | None = None) -> np.ndarray:
    """Frames ``(frame, y, x)`` cut out of a larger scene that drifts: what leaves on one side does not come back on the other."""
    whole = scene(n + 64) if image is None else image
    rng = np.random.default_rng(3)
    frames = [moved(whole, tuple(step))[32 : 32 + n, 32 : 32 + n] for step in drift]
    return np.array(frames) + noise * whole.std() * rng.normal(size=(len(drift), n, n))


def random_walk(n: int, size: float, seed: int = 0) -> np.ndarray:
    steps = np.random.default_rng(seed).normal(0, size, (n, 2))
    steps[0] = 0
    return np.cumsum(steps, axis=0)


def measure(reference: np.ndarray, moving: np.ndarray, upsample: int, *, is_phase: bool) -> tuple[float, float]:
    correlator = Correlator(reference.shape, upsample, is_phase, tapers=False)
    return correlator.shift(*(correlator.prepared(torch.from_numpy(image)) for image in (reference, moving)))


@pytest.mark.parametrize("normalization", ["phase", None])
@settings(max_examples=15, deadline=None)
@given(
    shift=st.tuples(st.floats(-20, 20), st.floats(-20, 20)),
    shape=st.sampled_from([(64, 64), (61, 64), (64, 75), (51, 53)]),
    upsample=st.sampled_from([1, 10, 100]),
)
def test_shifts_are_those_of_scikit_image(
    normalization: str | None, shift: tuple[float, float], shape: tuple[int, int], upsample: int
) -> None:
    reference = scene(80)[: shape[0], : shape[1]]
    moving = moved(reference, shift) + 0.02 * np.random.default_rng(0).normal(size=shape)
    wanted = phase_cross_correlation(reference, moving, normalization=normalization, upsample_factor=upsample)[0]
    found = measure(reference, moving, upsample, is_phase=normalization == "phase")
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1 / upsample + 1e-9)


@pytest.mark.parametrize("normalization", ["phase", "none"])
def test_a_shifted_image_is_found_to_the_upsampling(normalization: str) -> None:
    image = scene(128)
    frames = np.array([image, moved(image, (3.37, -1.62)), moved(image, (-5.04, 11.93))])[:, None]
    estimator = RigidDrift(normalization=normalization, window="none")
    shifts = estimator.fit(PlainData(frames), image_spec(frames)).shifts.values
    np.testing.assert_allclose(shifts, [(0, 0), (-3.37, 1.62), (5.04, -11.93)], atol=1 / 100)


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_a_random_walk_is_found(noise: float) -> None:
    drift = random_walk(25, 0.8)
    frames = drifting(drift, n=80, noise=noise)[:, None]
    shifts = RigidDrift().fit(PlainData(frames, [7, 20]), image_spec(frames)).shifts.values
    assert np.sqrt(np.mean((shifts + drift) ** 2)) < 0.05


def test_many_lags_do_not_drift_themselves() -> None:
    drift = random_walk(36, 0.5, seed=2)
    frames = drifting(drift, n=64, noise=1.0)[:, None]
    errors = [
        np.sqrt(np.mean((RigidDrift(lags=lags).fit(PlainData(frames), image_spec(frames)).shifts.values + drift) ** 2))
        for lags in ((1,), (1, 2, 4, 8, 16))
    ]
    assert errors[1] < 0.6 * errors[0]


def test_a_lattice_needs_a_radius() -> None:
    y, x = np.indices((160, 160))
    atoms = np.cos(2 * np.pi * y / 10) + np.cos(2 * np.pi * x / 10)
    drift = random_walk(20, 1.2, seed=4)
    frames = drifting(drift, n=80, noise=0.3, image=atoms)[:, None]
    spec = image_spec(frames)
    found = RigidDrift(search_radius=4.5).fit(PlainData(frames), spec).shifts.values
    assert np.abs(found + drift).max() < 0.1
    free = RigidDrift(window="none").fit(PlainData(frames), spec).shifts.values
    assert np.abs(free + drift).max() > 5  # by a lattice vector


def test_one_wrong_measurement_moves_nothing() -> None:
    places = random_walk(20, 1.0)
    pairs = [Pair(i, i + lag, tuple(places[i + lag] - places[i])) for lag in (1, 2, 4) for i in range(20 - lag)]
    pairs[5] = Pair(5, 6, (pairs[5].shift[0] + 10, pairs[5].shift[1]))
    np.testing.assert_allclose(positions(pairs, 20, 0.01), places, atol=0.01)
    plain = np.linalg.lstsq(*_equations(pairs, 20), rcond=None)[0]
    assert np.abs(plain - places).max() > 1
    exact = [pair for i, pair in enumerate(pairs) if i != 5]
    np.testing.assert_allclose(positions(exact, 20, 0.01), np.linalg.lstsq(*_equations(exact, 20), rcond=None)[0], atol=1e-9)


def _equations(pairs: list[Pair], n: int) -> tuple[np.ndarray, np.ndarray]:
    matrix = np.zeros((len(pairs) + 1, n))
    for row, pair in enumerate(pairs):
        matrix[row, [pair.first, pair.second]] = -1, 1
    matrix[-1, 0] = 1
    return matrix, np.array([*(pair.shift for pair in pairs), (0, 0)])


def stack(frames: np.ndarray, chunks: int | tuple[int, ...]) -> object:
    axes = (Axis("frame", len(frames), "temporal"), *(Axis(name, n, "spatial", units="nm") for name, n in zip("yx", frames.shape[1:])))
    spec = Spec(axes, frames.dtype, units="counts")
    return wrap(da.from_array(frames, chunks=chunks), spec, provenance=Provenance("given", {}))


def test_a_corrected_stack_stands_still() -> None:
    drift = random_walk(12, 1.5)
    frames = drifting(drift).astype(np.float32)
    model = pc.fit(pc.RigidDrift(), stack(frames, (5, 40, 96)))
    aligned = np.asarray((model | model[0].crop(96, 96))(stack(frames, (5, 40, 96))))
    assert np.isfinite(aligned).all()
    assert aligned.shape[1] > 80
    before = frames[:, 8:-8, 8:-8].std(0).mean()
    assert aligned.std(0).mean() < 0.05 * before
    assert aligned[0] == pytest.approx(frames[0][_rows(model[0], 0)][:, _rows(model[0], 1)], abs=1e-5)


def _rows(shift: pc.Shift, axis: int) -> slice:
    values = shift.shifts.values[:, axis]
    return slice(int(max(0, np.ceil(values.max()))), 96 + int(min(0, np.floor(values.min()))))


@pytest.mark.parametrize("chunks", [(1, 64, 64), (3, 50, 64), -1])
def test_chunks_make_no_difference(chunks: int | tuple[int, ...]) -> None:
    frames = drifting(random_walk(9, 1.5), n=64)
    wanted = RigidDrift().fit(PlainData(frames[:, None]), image_spec(frames[:, None]))
    (found,) = pc.fit(pc.RigidDrift(), stack(frames, chunks), execution=Execution(block_bytes=200_000))
    np.testing.assert_array_equal(found.shifts.values, wanted.shifts.values)


def test_frames_left_out_lie_between_their_neighbours() -> None:
    drift = np.outer(np.arange(10), (0.8, -0.4))
    frames = drifting(drift)
    frames[[4, 9], 7, 9] = np.nan
    (found,) = pc.fit(pc.RigidDrift(), stack(frames, (3, 96, 96)), nonfinite="mask")
    np.testing.assert_allclose(found.shifts.values[:9], -drift[:9], atol=0.03)
    np.testing.assert_allclose(found.shifts.values[9], found.shifts.values[8])
    with pytest.raises(DataError, match="NaN or inf"):
        pc.fit(pc.RigidDrift(), stack(frames, (3, 96, 96)))


def test_a_corrected_stack_can_be_replayed(tmp_path: Path) -> None:
    np.save(tmp_path / "stack.npy", drifting(random_walk(6, 1.0), n=48).astype(np.float32))
    (frames,) = pc.read(tmp_path / "stack.npy").values()
    model = pc.fit(pc.RigidDrift(axes=("axis_1", "axis_2")), frames)
    pc.write({"aligned": (model | model[0].crop(48, 48))(frames)}, tmp_path / "aligned.h5")
    assert [one.verdict for one in pc.replay(tmp_path / "aligned.h5")] == [Verdict.IDENTICAL]


def test_frames_along_several_axes_have_no_order() -> None:
    axes = (Axis("row", 4), Axis("column", 4), Axis("y", 32, "spatial"), Axis("x", 32, "spatial"))
    values = np.random.default_rng(0).random((4, 4, 32, 32))
    grid = wrap(da.from_array(values, chunks=(4, 2, 32, 32)), Spec(axes, values.dtype), provenance=Provenance("given", {}))
    with pytest.raises(DataError, match="lie along several axes"):
        pc.fit(pc.RigidDrift(), grid, execution=Execution(block_bytes=8 * 8 * 32 * 32))


@pytest.mark.shared
def test_a_micrograph(shared: Path) -> None:
    """Windows of a real image, moved by fractions of a pixel with its own noise in place: where scikit-image puts them."""
    (dataset,) = pc.read(next((shared / "native" / "scifidatasets").glob("*HAADF*.dm3"))).values()
    image = np.asarray(dataset, dtype=np.float64)
    frames = np.array([moved(image, shift)[64:320, 64:320] for shift in ((0, 0), (2.4, -3.3))])
    wanted = phase_cross_correlation(*frames, normalization="phase", upsample_factor=50)[0]
    assert measure(*frames, 50, is_phase=True) == pytest.approx(wanted, abs=1 / 50 + 1e-9)


def test_bad_input() -> None:
    frames = scene(32)[None, None]
    with pytest.raises(DataError, match="takes two"):
        RigidDrift().fit(PlainData(frames), image_spec(frames))
    for changes in (
        {"upsample": 0},
        {"lags": (2, 4)},
        {"search_radius": 0},
        {"normalization": "flat"},
        {"window": "kaiser"},
        {"fill": "x"},
    ):
        with pytest.raises(ParameterError, match=next(iter(changes))):
            RigidDrift(**changes)  # type: ignore[arg-type]
