"""Augmentation: does what its amounts say, nothing else, and the same again for the same seed."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pycroclass.augmentation import PRESETS, Augmentation, Chance, augmented, mixed
from pycroclass.errors import ParameterError
from pycroclass.spec import Domain

CPU = torch.device("cpu")
AMOUNTS = {
    "flip": True,
    "turn": True,
    "rotation": 20.0,
    "shift": 0.1,
    "scale": 0.2,
    "shift_points": 3,
    "brightness": 0.5,
    "contrast": 0.5,
    "gamma": 0.5,
    "gain": 0.5,
    "tilt": 0.5,
    "noise": 0.5,
    "blur": 1.0,
    "cutout": 0.5,
    "hot_pixels": 0.05,
    "streaks": 1.0,
}
FOR_SPECTRA = {"flip", "shift_points", "brightness", "tilt", "gain", "noise"}


class Fixed(Chance):
    """Draws the upper end each time."""

    def between(self, low: float, high: float, n: int) -> torch.Tensor:
        return torch.full((n,), high)


def images(n: int = 6, channels: int = 1, size: tuple[int, int] = (17, 17), seed: int = 0) -> torch.Tensor:
    return torch.rand(n, channels, *size, generator=torch.Generator().manual_seed(seed))


def change(items: torch.Tensor, seed: int = 0, **amounts: float) -> torch.Tensor:
    return augmented(items, Augmentation(**amounts), Chance((seed,), CPU))  # type: ignore[arg-type]  # bool among them


def test_amounts_here_are_all_there_are() -> None:
    assert set(AMOUNTS) | {"mixup"} == {field.name for field in fields(Augmentation)}


def test_dihedral_gives_each_of_the_eight_images() -> None:
    image = torch.arange(9.0).reshape(1, 1, 3, 3)
    results = augmented(image.expand(200, 1, 3, 3), Augmentation.of("dihedral"), Chance((0,), CPU))
    turned = [torch.rot90(i, k, (-2, -1)) for i in (image, image.flip(-1)) for k in range(4)]
    assert {tuple(r.ravel().tolist()) for r in results} == {tuple(t.ravel().tolist()) for t in turned}


def test_turning_alone_never_mirrors() -> None:
    image = torch.arange(9.0).reshape(1, 1, 3, 3)
    results = change(image.expand(200, 1, 3, 3), turn=True)
    assert {tuple(r.ravel().tolist()) for r in results} == {tuple(torch.rot90(image, k, (-2, -1)).ravel().tolist()) for k in range(4)}


def test_images_that_are_not_square_keep_their_shape() -> None:
    image = torch.arange(15.0).reshape(1, 1, 3, 5)
    for amounts in ({"turn": True}, {"flip": True, "turn": True}):
        results = change(image.expand(100, 1, 3, 5), **amounts)
        ways = [image, image.flip((-2, -1)), *((image.flip(-1), image.flip(-2)) if len(amounts) == 2 else ())]
        assert {tuple(r.ravel().tolist()) for r in results} == {tuple(w.ravel().tolist()) for w in ways}


def peaks_survive(preset: Augmentation, seed: int, size: int) -> bool:
    """Whether single bright pixels far from the edge stay as many, one pixel wide, and as bright beside what they stand on."""
    rng = np.random.default_rng(seed)
    image = torch.ones(4, 1, size, size)
    for i in range(4):
        image[i, 0, rng.integers(8, size - 8), rng.integers(8, size - 8)] = 50
    result = augmented(image, preset, Chance((seed,), CPU))
    background = result.flatten(1).median(1).values
    ratio = (result / background.view(-1, 1, 1, 1)).flatten(1)
    return all(torch.allclose(row.sort().values, image[0].ravel().sort().values, rtol=1e-5) for row in ratio)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(20, 40))
def test_diffraction_keeps_peaks_of_one_pixel(seed: int, size: int) -> None:
    preset = Augmentation.of("diffraction")
    assert not preset.interpolates
    assert peaks_survive(replace(preset, hot_pixels=0.0, streaks=0.0), seed, size)


@pytest.mark.parametrize("amounts", [{"rotation": 10.0}, {"shift": 0.05}, {"scale": 0.1}, {"blur": 0.5}])
def test_what_interpolates_does_not_keep_them(amounts: dict[str, float]) -> None:
    assert Augmentation(**amounts).interpolates  # type: ignore[arg-type]
    assert not peaks_survive(Augmentation(**amounts), 0, 32)  # type: ignore[arg-type]


def test_hot_pixels_and_streaks_leave_other_pixels_alone() -> None:
    before = images(20, size=(100, 100))
    hot = change(before, hot_pixels=0.01)
    n_hot = int((hot != before).sum())
    assert abs(n_hot - 2000) < 5 * np.sqrt(2000)
    assert (hot >= before).all()
    streaked = change(before, streaks=0.5)
    n_changed = (streaked != before).flatten(1).sum(1)
    assert 2 < int((n_changed > 0).sum()) < 18
    assert int(n_changed.max()) < 5 * 142


@pytest.mark.parametrize("shape", [(2, 3, 9, 11), (4, 30)])
def test_whole_shifts_equal_their_plain_twin(shape: tuple[int, ...]) -> None:
    before = torch.rand(*shape)
    rng = np.random.default_rng((5,))
    rng.integers(2**62)  # the seed of the numbers that are drawn on the device
    expected = before.numpy()
    for axis in range(2, 4) if len(shape) == 4 else (1,):
        shifts = rng.integers(-3, 3, shape[0], endpoint=True)
        moved = np.empty_like(expected)
        for i, by in enumerate(shifts):
            for to in range(shape[axis]):
                source = min(max(to - by, 0), shape[axis] - 1)
                np.moveaxis(moved[i], axis - 1, 0)[to] = np.moveaxis(expected[i], axis - 1, 0)[source]
        expected = moved
    np.testing.assert_array_equal(change(before, seed=5, shift_points=3).numpy(), expected)


def test_rotation_and_scale_equal_scipy() -> None:
    before = images(3, channels=2, size=(21, 26))
    angle, factor = np.deg2rad(20.0), 1.25
    result = augmented(before, Augmentation(rotation=20.0, scale=0.25), Fixed((0,), CPU)).numpy()
    centre = np.array([10.0, 12.5])
    inverse = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / factor  # of (y, x), counterclockwise
    for image, found in zip(before.numpy().reshape(-1, 21, 26), result.reshape(-1, 21, 26), strict=True):
        expected = ndimage.affine_transform(image, inverse, centre - inverse @ centre, order=1, mode="mirror")
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_blur_equals_scipy() -> None:
    before = images(2, size=(20, 30))
    result = augmented(before, Augmentation(blur=1.5), Fixed((0,), CPU)).numpy()
    for image, found in zip(before.numpy()[:, 0], result[:, 0], strict=True):
        np.testing.assert_allclose(found, ndimage.gaussian_filter(image, 1.5, mode="nearest", radius=5), atol=1e-5)


@pytest.mark.parametrize("name", AMOUNTS)
def test_each_change_changes_and_keeps_form(name: str) -> None:
    if name != "tilt":
        check_form(images(8, channels=3), name)
    if name in FOR_SPECTRA:
        check_form(images(8)[:, 0, 0], name)


def check_form(items: torch.Tensor, name: str) -> None:
    before = items.clone()
    result = change(items, **{name: AMOUNTS[name]})
    assert torch.equal(items, before), "items were modified in place"
    assert (result.shape, result.dtype) == (items.shape, items.dtype)
    assert torch.isfinite(result).all()
    assert not torch.equal(result, items)
    assert torch.equal(result, change(items, **{name: AMOUNTS[name]}))
    assert not torch.equal(result, change(items, seed=1, **{name: AMOUNTS[name]}))


def test_items_of_a_batch_change_in_their_own_way() -> None:
    same = images(1).expand(5, 1, 17, 17)
    for name in set(AMOUNTS) - {"tilt", "flip", "turn"}:
        result = change(same, **{name: AMOUNTS[name]})
        assert not torch.equal(result[0], result[1]), name


@pytest.mark.parametrize("items", [images(4), images(4)[:, 0, 0]], ids=["images", "spectra"])
def test_nothing_asked_nothing_done(items: torch.Tensor) -> None:
    assert augmented(items, Augmentation(), Chance((0,), CPU)) is items
    labels = torch.arange(4)
    again, targets = mixed(items, labels, Augmentation(), Chance((0,), CPU))
    assert again is items
    assert [(t.tolist(), share) for t, share in targets] == [([0, 1, 2, 3], 1.0)]


@settings(max_examples=20, deadline=None)
@given(st.floats(0.01, 1000), st.floats(-100, 100), st.integers(0, 1000))
def test_amounts_mean_the_same_in_all_units(factor: float, offset: float, seed: int) -> None:
    before = images(3)
    amounts = {name: AMOUNTS[name] for name in ("brightness", "contrast", "gamma", "noise")}
    expected = change(before, seed=seed, **amounts) * factor + offset
    found = change(before * factor + offset, seed=seed, **amounts)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=2e-3 * factor + 1e-4 * abs(offset))


def test_brightness_is_in_standard_deviations() -> None:
    before = images(2)
    result = augmented(before, Augmentation(brightness=0.5), Fixed((0,), CPU))
    np.testing.assert_allclose(
        (result - before).numpy(), 0.5 * before.numpy().std((1, 2, 3), keepdims=True).repeat(17, 2).repeat(17, 3), 1e-4
    )


def test_cutout_is_a_square_of_the_mean() -> None:
    before = images(1, size=(20, 20))
    result = augmented(before, Augmentation(cutout=0.5), Fixed((0,), CPU))
    changed = (result != before)[0, 0]
    y, x = np.nonzero(changed.numpy())
    assert changed.sum() == len(set(y)) * len(set(x)) == 25  # its centre is at the corner
    assert torch.allclose(result[0, 0][changed], before.mean())


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.05, 5))
def test_mixup_mixes_items_as_their_labels(seed: int, alpha: float) -> None:
    labels = torch.arange(6) % 3
    items = torch.eye(3)[labels]
    result, targets = mixed(items, labels, Augmentation(mixup=alpha), Chance((seed,), CPU))
    assert sum(share for _, share in targets) == pytest.approx(1)
    torch.testing.assert_close(result, sum(share * torch.eye(3)[truth] for truth, share in targets))


def test_presets_fit_what_they_are_for() -> None:
    for name, preset in PRESETS.items():
        preset.check(Domain.SPECTRUM if name == "spectrum" else Domain.IMAGE)
    with pytest.raises(ParameterError, match="rotation"):
        Augmentation(rotation=5).check(Domain.SPECTRUM)
    with pytest.raises(ParameterError, match="tilt"):
        Augmentation(tilt=5).check(Domain.IMAGE)


@pytest.mark.parametrize(
    "wrong",
    ["sepia", {"preset": "sepia"}, {"sepia": 1}, {"noise": -1}, {"noise": float("nan")}, {"shift": 0.6}, {"shift_points": 1.5}],
)
def test_refuses(wrong: object) -> None:
    with pytest.raises(ParameterError):
        Augmentation.of(wrong)  # type: ignore[arg-type]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_small_numbers_are_those_of_the_cpu() -> None:
    before = images(4)
    exact = Augmentation.of("dihedral")
    found = augmented(before.cuda(), exact, Chance((0,), torch.device("cuda")))
    assert torch.equal(found.cpu(), augmented(before, exact, Chance((0,), CPU)))
    found = augmented(before.cuda(), Augmentation.of("micrograph"), Chance((0,), torch.device("cuda")))
    assert torch.isfinite(found).all()
