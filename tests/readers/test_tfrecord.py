"""TFRecord shards: round trips, laziness, and every way in which a shard can be bad."""

from __future__ import annotations

import gzip
import pickle
import struct
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from labelled_images import drops
from PIL import Image

import pycroclass as pc
from pycroclass.errors import AxisError, DataError, ParameterError, ReadError, WriteError
from pycroclass.readers.tf_example import parse_example, serialize_example
from pycroclass.readers.tfrecord_shards import framed, read_record, records
from pycroclass.replay import Verdict
from pycroclass.writers import write_tfrecord

WRITTEN_BY_OTHERS = """
UAAAAAAAAACUD5uCCk4KIAoIaW1hZ2UvaWQSFBoSChD7//////////8BgICAgIAgChUKBXNjb3JlEgwSCgoIAAAAPwAAEMAKEwoEdGV4dBILCgkKBUNsZWFy
CgDbbivCZAAAAAAAAABDXxzfeHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4
eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eI6IIao=
"""
"""Two records: an example that protobuf 7.36 serialised and 100 times ``x``, framed by the RecordWriter of TensorBoard 2.21."""


def encoded(values: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = BytesIO()
    Image.fromarray(values).save(buffer, kind)
    return buffer.getvalue()


def shard(path: Path, *examples: dict) -> Path:
    path.write_bytes(b"".join(framed(serialize_example(example)) for example in examples))
    return path


GREY = np.arange(20, dtype=np.uint8).reshape(4, 5)


def test_records_that_others_wrote(tmp_path: Path) -> None:
    path = tmp_path / "a.tfrecord"
    path.write_bytes(b64decode(WRITTEN_BY_OTHERS))
    (first, example), (second, text) = records(path)
    features = {"image/id": [-5, 2**40], "score": [0.5, -2.25], "text": [b"Clear", b""]}
    assert parse_example(example) == features
    assert serialize_example(features) == example
    with path.open("rb") as file:
        assert read_record(file, str(path), 0, first, len(example)) == example
        assert read_record(file, str(path), 1, second, len(text)) == b"x" * 100
    assert framed(bytes(example)) + framed(bytes(text)) == path.read_bytes()


@pytest.mark.parametrize("compression", [None, "zlib", "gzip"])
@pytest.mark.parametrize("colours", [1, 3])
def test_round_trip(tmp_path: Path, compression: str | None, colours: int) -> None:
    dataset = drops(colours=colours)
    shards = write_tfrecord(dataset, tmp_path, per_shard=4, encoding="PNG", compression=compression)
    assert [path.name for path in shards] == ["train-00000-of-00003", "train-00001-of-00003", "train-00002-of-00003"]
    for source in (tmp_path, shards, str(tmp_path / "train-*")):
        found = pc.read(source)
        image = found["image"]
        np.testing.assert_array_equal(image.compute(), dataset.compute())
        for name in ("classes", "labels", "files"):
            assert image.metadata[name] == dataset.metadata[name]
        assert image.metadata["items"] == {**dataset.metadata["items"], "split": ["train"] * 10}
        np.testing.assert_array_equal(found["label"].compute(), dataset.metadata["labels"])
    assert pc.read(shards[2])["image"].shape[0] == 2
    assert pc.read(tmp_path)["image"].name == pc.read(tmp_path)["image"].name
    moved = pickle.loads(pickle.dumps(dict(image.dask)))
    np.testing.assert_array_equal(next(iter(moved.values()))[0](), dataset.compute())


def test_jpeg_as_pillow_decodes_it(tmp_path: Path) -> None:
    dataset = drops()
    write_tfrecord(dataset, tmp_path)
    found = pc.read(tmp_path)["image"].compute()
    buffer = BytesIO()
    Image.fromarray(np.asarray(dataset[3].compute())).save(buffer, "JPEG", quality=95, subsampling=0)
    np.testing.assert_array_equal(found[3], np.asarray(Image.open(buffer)))


def test_a_record_of_marco(tmp_path: Path) -> None:
    """The features that the records of MARCO have."""
    example = {
        "image/height": [4],
        "image/width": [5],
        "image/channels": [3],
        "image/colorspace": [b"RGB"],
        "image/format": [b"JPEG"],
        "image/class/label": [3],
        "image/class/raw": [11],
        "image/class/source": [2],
        "image/class/text": [b"Precipitate"],
        "image/id": [-5],
        "image/filename": [b""],
        "image/encoded": [encoded(np.repeat(GREY[..., None], 3, axis=2), "JPEG")],
    }
    image = pc.read(shard(tmp_path / "test-00012-of-00046", example))["image"]
    assert image.shape == (1, 4, 5, 3)
    assert image.metadata["files"] == ["test-00012-of-00046[0]"]
    assert image.metadata["items"] == {"raw": [11], "source": [2], "id": [-5], "split": ["test"]}
    assert (image.metadata["labels"], image.metadata["classes"]) == ([0], ["Precipitate"])
    known = pc.read(tmp_path / "test-00012-of-00046", classes=["Clear", "Crystals", "Other", "Precipitate"])
    assert known["label"].compute().tolist() == [3]


def test_numbers_of_classes_without_names(tmp_path: Path) -> None:
    examples = [{"image/encoded": [encoded(GREY)], "image/class/label": [label]} for label in (1, 0, -1)]
    path = shard(tmp_path / "a.tfrecord", *examples)
    assert pc.read(path)["image"].metadata["classes"] == ["0", "1"]
    named = pc.read(path, classes=("miss", "hit"))["image"].metadata
    assert (named["classes"], named["labels"]) == (["miss", "hit"], [1, 0, -1])
    with pytest.raises(ReadError, match=r"'1' \(1\) are none of the classes hit"):
        pc.read(path, classes=("hit",))


def test_records_without_labels(tmp_path: Path) -> None:
    found = pc.read(shard(tmp_path / "a.tfrecord", {"image/encoded": [encoded(GREY)], "weight": [0.5], "box": [1, 2]}))
    assert list(found) == ["image"]
    assert found["image"].metadata["items"] == {"weight": [0.5]}
    np.testing.assert_array_equal(found["image"].compute(), GREY[None])


def test_sizes_that_differ(tmp_path: Path) -> None:
    path = shard(tmp_path / "a.tfrecord", {"image/encoded": [encoded(GREY)]}, {"image/encoded": [encoded(GREY[:3])]})
    with pytest.raises(ReadError, match="1 of 4 x 5, 1 of 3 x 5"):
        pc.read(path)
    padded = pc.read(path, size=(4, 5), fit="pad")["image"].compute()
    np.testing.assert_array_equal(padded[1, :3], GREY[:3])


def test_tasks_read_their_own_records_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = drops(12, colours=1)
    monkeypatch.setattr("pycroclass.source.CHUNK_BYTES", 3 * 12 * 14)
    shards = write_tfrecord(dataset, tmp_path, per_shard=6, encoding="PNG")
    image = pc.read(tmp_path)["image"]
    assert image.chunks[0] == (3, 3, 3, 3)
    content = bytearray(shards[1].read_bytes())
    content[-10] ^= 1  # in the last image
    shards[1].write_bytes(content)
    np.testing.assert_array_equal(image[:9].compute(), dataset[:9].compute())
    with pytest.raises(ReadError, match=r"train-00001-of-00002: is damaged: record 5 at byte \d+ does not have its checksum"):
        image.compute()
    some = pc.take(image, [10, 2, 0])
    np.testing.assert_array_equal(some.compute(), dataset.compute()[[10, 2, 0]])
    assert [len(task[0].load.shards) for task in dict(some.dask).values()] == [2]


@pytest.mark.parametrize("compression", [None, "zlib", "gzip"])
@pytest.mark.parametrize("keep", [5, 0.3, 0.9, -1, -4])
def test_truncated(tmp_path: Path, compression: str | None, keep: float) -> None:
    (path,) = write_tfrecord(drops(), tmp_path, compression=compression)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if 0 < keep < 1 else int(keep)])
    with pytest.raises(ReadError, match=r"train-00000-of-00001: (is truncated|cannot be unpacked|is no TFRecord file)"):
        pc.read(path)


def test_cut_between_records_is_seen_where_it_was_read_before(tmp_path: Path) -> None:
    (path,) = write_tfrecord(drops(), tmp_path)
    image = pc.read(path)["image"]
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ReadError, match=r"ends within record [01]"):
        image.compute()
    path.unlink()
    with pytest.raises(ReadError, match="train-00000-of-00001"):
        image.compute()


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_every_damaged_byte_is_an_error_of_ours(tmp_path: Path, compression: str | None) -> None:
    """No byte of a plain shard can change without an error; the checksum of zlib sees those of a packed one."""
    (path,) = write_tfrecord(drops(2, colours=1), tmp_path, compression=compression)
    content = path.read_bytes()
    for place in [*range(24), *np.random.default_rng(0).integers(24, len(content), 60)]:
        damaged = bytearray(content)
        damaged[place] ^= 0x55
        path.write_bytes(damaged)
        with pytest.raises(ReadError, match="train-00000-of-00001"):
            pc.read(path)["image"].compute()


def test_gzip_of_several_members(tmp_path: Path) -> None:
    records = [framed(serialize_example({"image/encoded": [encoded(GREY + np.uint8(i))]})) for i in range(2)]
    path = tmp_path / "a.tfrecord"
    path.write_bytes(b"".join(map(gzip.compress, records)))
    np.testing.assert_array_equal(pc.read(path)["image"].compute(), [GREY, GREY + 1])


def test_what_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="record 0 has no image 'image/encoded'; it has text"):
        pc.read(shard(tmp_path / "a.tfrecord", {"text": [b"a"]}))
    (tmp_path / "b.tfrecord").write_bytes(framed(b"\xff" * 20))
    with pytest.raises(ReadError, match=r"record 0 holds no tf\.train\.Example"):
        pc.read(tmp_path / "b.tfrecord")
    with pytest.raises(ReadError, match=r"c\.tfrecord, record 0: cannot be read: UnidentifiedImageError"):
        pc.read(shard(tmp_path / "c.tfrecord", {"image/encoded": [b"no image"]}))
    (tmp_path / "d.tfrecord").write_bytes(struct.pack("<QI", 2**60, 0))
    with pytest.raises(ReadError, match="is no TFRecord file"):
        pc.read(tmp_path / "d.tfrecord")


def test_replay(tmp_path: Path) -> None:
    write_tfrecord(drops(), tmp_path, per_shard=4)
    image = pc.read(tmp_path, classes=["Crystals", "Clear"], size=8, fit="crop")["image"]
    pc.write({"small": pc.run(pc.Bin(2), pc.take(image, [7, 1]))}, tmp_path / "out.h5")
    (replayed,) = pc.replay(tmp_path / "out.h5")
    assert replayed.verdict is Verdict.IDENTICAL


def test_what_cannot_be_written(tmp_path: Path) -> None:
    write_tfrecord(drops(), tmp_path)
    with pytest.raises(WriteError, match="exists already"):
        write_tfrecord(drops(), tmp_path)
    with pytest.raises(DataError, match="wanted images of uint8"):
        write_tfrecord(pc.run(pc.Cast("float32"), drops()), tmp_path)
    with pytest.raises(AxisError, match="along the first axis"):
        write_tfrecord(drops(colours=1)[0], tmp_path)
    with pytest.raises(ParameterError, match="at least one image"):
        write_tfrecord(drops(), tmp_path, per_shard=0)
