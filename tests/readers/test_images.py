"""PNG, JPEG, BMP: single, stacked, labelled by folder, of several sizes and colours."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pycroclass.errors import ParameterError, ReadError
from pycroclass.readers import read
from pycroclass.sid import provenance_of

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 255, (6, 9), dtype=np.uint8)
COLOUR = RNG.integers(0, 255, (6, 9, 3), dtype=np.uint8)


def save(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.bmp"])
@pytest.mark.parametrize("values", [GREY, COLOUR], ids=["grey", "colour"])
def test_image(tmp_path: Path, name: str, values: np.ndarray) -> None:
    dataset = read(save(tmp_path / name, values))["image"]
    np.testing.assert_array_equal(dataset.compute(), values)
    assert [axis.name for axis in dataset._axes.values()] == ["y", "x", "channel"][: values.ndim]
    assert dataset.data_type.name == "IMAGE"
    assert dataset.title == "a"


def test_jpeg_as_pillow_decodes_it(tmp_path: Path) -> None:
    file = save(tmp_path / "a.jpg", COLOUR)
    np.testing.assert_array_equal(read(file)["image"].compute(), np.asarray(Image.open(file)))


def test_sixteen_bits_are_kept(tmp_path: Path) -> None:
    values = RNG.integers(0, 65535, (5, 7), dtype=np.uint16)
    dataset = read(save(tmp_path / "a.png", values))["image"]
    assert dataset.dtype == np.uint16
    np.testing.assert_array_equal(dataset.compute(), values)


def test_sixteen_bits_per_colour_are_refused(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))
    content = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(13))) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ReadError, match="16 bits per colour"):
        read(tmp_path / "a.png")


@pytest.mark.parametrize(("mode", "wanted"), [("P", "RGB"), ("1", "L"), ("LA", "RGBA"), ("CMYK", "RGB")])
def test_other_modes_become_colours(tmp_path: Path, mode: str, wanted: str) -> None:
    file = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.fromarray(COLOUR).convert(mode).save(file)
    np.testing.assert_array_equal(read(file)["image"].compute(), np.asarray(Image.open(file).convert(wanted)))


def test_folder_is_a_stack_in_the_order_of_names(tmp_path: Path) -> None:
    frames = RNG.integers(0, 255, (5, 6, 9), dtype=np.uint8)
    for i, frame in enumerate(frames):
        save(tmp_path / f"{i}.png", frame)
    datasets = read(tmp_path)
    assert list(datasets) == ["image"]
    dataset = datasets["image"]
    assert dataset.data_type.name == "IMAGE_STACK"
    assert dataset.metadata["files"] == [f"{i}.png" for i in range(5)]
    np.testing.assert_array_equal(dataset.compute(), frames)
    np.testing.assert_array_equal(read(str(tmp_path / "[1-3].png"))["image"].compute(), frames[1:4])
    np.testing.assert_array_equal(dataset[1:4, 2, 3:].compute(), frames[1:4, 2, 3:])
    assert len(provenance_of(dataset).files) == 5


def test_tasks_carry_their_own_paths_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pycroclass.source.CHUNK_BYTES", 2 * GREY.nbytes)
    paths = [save(tmp_path / f"{i}.png", GREY + np.uint8(i)) for i in range(5)]
    dataset = read(paths)["image"]
    assert dataset.chunks[0] == (2, 2, 1)
    np.testing.assert_array_equal(dataset.compute(), [GREY + np.uint8(i) for i in range(5)])
    loaders = [task[0].load for task in dict(dataset.dask).values()]
    assert [len(loader.paths) for loader in loaders] == [2, 2, 1]


def test_folder_for_each_class(tmp_path: Path) -> None:
    for i, name in enumerate(["miss", "hit", "maybe", "hit"]):
        save(tmp_path / name / f"{i}.png", GREY + np.uint8(i))
    datasets = read(tmp_path)
    assert datasets["image"].metadata["classes"] == datasets["label"].metadata["classes"] == ["hit", "maybe", "miss"]
    assert datasets["image"].metadata["labels"] == datasets["label"].compute().tolist() == [0, 0, 1, 2]
    assert datasets["label"].dtype == np.int32
    assert datasets["image"].metadata["files"][0] == "hit/1.png"
    np.testing.assert_array_equal(datasets["image"].compute(), [GREY + np.uint8(i) for i in (1, 3, 2, 0)])


def test_sizes_that_differ_are_named_with_their_counts(tmp_path: Path) -> None:
    for i, size in enumerate([(6, 9), (6, 9), (5, 8)]):
        save(tmp_path / f"{i}.png", GREY[: size[0], : size[1]])
    with pytest.raises(ReadError, match="2 of 6 x 9, 1 of 5 x 8") as error:
        read(tmp_path)
    assert 'fit="pad"' in str(error.value)
    with pytest.raises(ReadError, match="only enlarges"):
        read(tmp_path, size=(6, 8), fit="pad")
    with pytest.raises(ReadError, match="only enlarges"):
        read(tmp_path, size=(6, 8), fit="crop")
    with pytest.raises(ParameterError, match="belong together"):
        read(tmp_path, size=(6, 8))


def test_pad_and_crop(tmp_path: Path) -> None:
    save(tmp_path / "a.png", GREY)
    save(tmp_path / "b.png", GREY[:5, :8])
    padded = read(tmp_path, size=(8, 11), fit="pad")["image"].compute()
    np.testing.assert_array_equal(padded[0], np.pad(GREY, 1))
    np.testing.assert_array_equal(padded[1], np.pad(GREY[:5, :8], ((1, 2), (1, 2))))
    cropped = read(tmp_path, size=4, fit="crop")["image"].compute()
    np.testing.assert_array_equal(cropped[0], GREY[1:5, 2:6])
    np.testing.assert_array_equal(cropped[1], GREY[0:4, 2:6])


@pytest.mark.parametrize("values", [GREY, COLOUR], ids=["grey", "colour"])
def test_resize_as_pillow_does(tmp_path: Path, values: np.ndarray) -> None:
    file = save(tmp_path / "a.png", values)
    resized = read(file, size=(4, 12), fit="resize")["image"].compute()
    wanted = np.asarray(Image.fromarray(values).resize((12, 4), Image.Resampling.BILINEAR))
    assert resized.dtype == np.uint8
    np.testing.assert_allclose(resized.astype(int), wanted, atol=1)


def test_grey_among_colours(tmp_path: Path) -> None:
    save(tmp_path / "a.png", GREY)
    save(tmp_path / "b.png", COLOUR)
    both = read(tmp_path)["image"].compute()
    np.testing.assert_array_equal(both[0], np.repeat(GREY[..., None], 3, axis=2))
    np.testing.assert_array_equal(both[1], COLOUR)
    Image.fromarray(COLOUR).convert("RGBA").save(tmp_path / "c.png")
    assert read(tmp_path)["image"].compute()[0, 0, 0].tolist() == [GREY[0, 0]] * 3 + [255]


def test_types_that_differ_are_named(tmp_path: Path) -> None:
    save(tmp_path / "a.png", GREY)
    save(tmp_path / "b.png", GREY.astype(np.uint16))
    with pytest.raises(ReadError, match="1 of uint8, 1 of uint16"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp"])
def test_truncated_or_changed(tmp_path: Path, name: str) -> None:
    file = save(tmp_path / name, RNG.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    dataset = read(file)["image"]
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(ReadError, match=name):
        dataset.compute()
    save(file, np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(ReadError, match="changed after it was opened"):
        dataset.compute()
    file.unlink()
    with pytest.raises(ReadError, match=name):
        dataset.compute()


def test_text_named_png(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(ReadError, match=r"a\.png"):
        read(tmp_path / "a.png")


@pytest.mark.shared
def test_real_images(shared: Path) -> None:
    file = shared / "bccd/img/BloodImage_00000.jpg"
    np.testing.assert_array_equal(read(file)["image"].compute(), np.asarray(Image.open(file)))
    assert read(shared / "bccd/img")["image"].shape == (364, 480, 640, 3)
    with pytest.raises(ReadError, match="271 of 256 x 256"):
        read(shared / "dsb2018_nuclei/img")
    cells = read(shared / "malaria_mini/cells/train", size=100, fit="resize")
    assert cells["image"].metadata["classes"] == ["Parasitized", "Uninfected"]
    assert np.bincount(cells["label"].compute()).tolist() == [10, 10]
    assert cells["image"].compute().shape == (20, 100, 100, 3)
