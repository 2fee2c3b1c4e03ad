"""Near-duplicates: copies are found however they were saved, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import sidpy
from PIL import Image
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter

import pycroclass as pc
from pycroclass.errors import DataError
from pycroclass.leakage import fingerprints

Picture = np.ndarray


def stack(images: Picture, **metadata: object) -> sidpy.Dataset:
    dataset = sidpy.Dataset.from_array(images)
    names = ("frame", "y", "x", "channel")[: images.ndim]
    kinds = ("TEMPORAL", "SPATIAL", "SPATIAL", "CHANNEL")
    for i, (name, kind) in enumerate(zip(names, kinds)):
        dataset.set_dimension(i, sidpy.Dimension(np.arange(images.shape[i]), name=name, dimension_type=kind))
    dataset.data_type = "IMAGE_STACK"
    dataset.metadata = dict(metadata)
    return dataset


def pictures(n: int, size: int = 64, seed: int = 0) -> Picture:
    """Smooth blobs on a common background, the bright disc of a well."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size - 0.5
    well = 150.0 * (np.hypot(y, x) < 0.4)
    blobs = gaussian_filter(rng.normal(0, 1, (n, size, size)), (0, size / 16, size / 16))
    return np.clip(well + 60 * blobs / blobs.std() * 0.5 + 40, 0, 255).astype(np.uint8)


def jpeg(image: Picture, quality: int = 60) -> Picture:
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "copied": lambda image: image,
    "saved again": jpeg,
    "brighter": lambda image: (image * 0.6 + 70).astype(np.uint8),
    "mirrored": lambda image: image[:, ::-1],
    "turned": lambda image: np.rot90(image, 3),
    "turned upside down and saved again": lambda image: jpeg(np.rot90(image, 2)),
    "noisy": lambda image: np.clip(image + np.random.default_rng(1).normal(0, 5, image.shape), 0, 255).astype(np.uint8),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_and_nothing_else(change: str) -> None:
    images = pictures(40)
    images[31] = CHANGES[change](images[7])
    found = pc.near_duplicates(stack(images, files=[f"{i}.png" for i in range(40)]))
    assert [(pair.first, pair.second) for pair in found] == [(7, 31)]
    assert (found[0].first_name, found[0].second_name) == ("7.png", "31.png")
    assert 0.95 <= found[0].similarity <= 1


def test_another_size_and_colours(tmp_path: Path) -> None:
    images = pictures(12)
    learned = stack(np.repeat(images[..., None], 3, axis=3))
    small = np.stack([np.asarray(Image.fromarray(image).resize((40, 48))) for image in pictures(12, seed=1)])
    small[5] = np.asarray(Image.fromarray(images[3]).resize((40, 48)))
    index = np.arange(12)
    parts = pc.Split(learned, stack(small), index, index)
    assert [(leak.first, leak.second) for leak in pc.find_leaks(parts)] == [(3, 5)]
    with pytest.raises(DataError, match=r"1 of 12 items to test with.*item 3 and item 5 \((0\.9|1\.0)"):
        pc.check_leakage(parts)


def test_groups_of_duplicates_make_a_split_without_leaks() -> None:
    images = np.concatenate([pictures(20), [jpeg(image) for image in pictures(20)], pictures(20)[:, ::-1]])
    dataset = stack(images, labels=[0, 1] * 30, classes=["a", "b"])
    with pytest.raises(DataError, match="nearly the same picture"):
        pc.check_leakage(pc.split(dataset))
    groups = pc.duplicate_groups(dataset)
    assert len(set(groups)) == 20
    np.testing.assert_array_equal(groups[:20], groups[20:40])
    pc.check_leakage(pc.split(dataset, by=groups))


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    images = pictures(25)
    images[[9, 14, 24]] = images[2], images[13], images[2]
    whole = pc.near_duplicates(stack(images))
    monkeypatch.setattr("pycroclass.leakage._BLOCK", 4)
    dataset = stack(images)
    pieces = pc.near_duplicates(dataset.rechunk((3, -1, -1)))
    assert [(p.first, p.second) for p in pieces] == [(p.first, p.second) for p in whole] == [(2, 9), (13, 14), (2, 24)]


def test_flat_and_broken_images_are_like_nothing() -> None:
    images = pictures(6).astype(np.float32)
    images[[1, 4]] = 7.0
    images[[2, 3], 5, 5] = np.nan
    assert pc.near_duplicates(stack(images)) == []


def test_a_dataset_of_copies_alone() -> None:
    images = np.stack([jpeg(pictures(1)[0], quality) for quality in (30, 50, 70, 90)])
    assert [pair.second for pair in sorted(pc.near_duplicates(stack(images)), key=lambda pair: pair.second)] == [1, 2, 3]


def test_fingerprints_are_cosine_coefficients() -> None:
    images = np.random.default_rng(0).random((3, 20, 33)).astype(np.float32)
    expected = dctn(images.astype(float), axes=(1, 2))[:, :20, :24]
    expected[:, 0, 0] = 0
    expected = np.pad(expected, ((0, 0), (0, 4), (0, 0)))  # an image of 20 rows has no more
    expected /= np.linalg.norm(expected, axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(fingerprints(stack(images)), expected, atol=1e-5)


def test_images_smaller_than_the_fingerprint() -> None:
    images = pictures(8, 64)[:, ::9, ::9]
    images[5] = images[1].T
    assert [(p.first, p.second) for p in pc.near_duplicates(stack(images))] == [(1, 5)]


def test_what_is_no_stack_of_images() -> None:
    with pytest.raises(DataError, match="along the first axis"):
        pc.near_duplicates(stack(pictures(2))[0])


@pytest.mark.shared
@pytest.mark.slow
def test_real_images_taken_twice(shared: Path) -> None:
    """Two of the 364 images show one field, at another focus."""
    (pair,) = pc.near_duplicates(pc.read(shared / "bccd/img")["image"])
    assert (pair.first_name, pair.second_name) == ("BloodImage_00037.jpg", "BloodImage_00038.jpg")
