"""TFRecord shards of labelled images, as those of MARCO (crystallisation drops), lazily and without TensorFlow.

A record is a ``tf.train.Example``: the encoded image ``image/encoded``, its size, its class ``image/class/text`` or ``image/class/label``,
and whatever else is known of it. Opening reads all but the images; a record's checksum is compared when its image is read. Further features
of one value become columns of the items: ``image/class/source`` is ``source``. The name of a shard (``train-00000-of-00407``) says what its
images are for, which is the column ``split``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass.provenance import FileStamp
from pycroclass.readers.building import reading
from pycroclass.readers.class_names import SPLITS
from pycroclass.readers.failure import failure
from pycroclass.readers.images import frame, frame_header
from pycroclass.readers.labelled import ItemFacts, common_folder, complete, open_labelled
from pycroclass.readers.options import Fit, ReadOptions
from pycroclass.readers.stack import FrameHeader, common_header, image_axes, shaped, stacked
from pycroclass.readers.tf_example import Features, parse_example
from pycroclass.readers.tfrecord_shards import opened_shard, read_record, records
from pycroclass.source import Source
from pycroclass.spec import Axis, AxisKind, Spec

ENCODED: Final = "image/encoded"
TEXT: Final = "image/class/text"
LABEL: Final = "image/class/label"
FILE: Final = "image/filename"
FORMAT: Final = "image/format"
SIZE: Final = ("image/height", "image/width", "image/channels")
_USED: Final = frozenset({ENCODED, TEXT, LABEL, FILE, FORMAT, "image/colorspace", *SIZE})
_LONGEST: Final = 256
"""Bytes of a text that is taken as a column."""


@dataclass(frozen=True)
class Entry:
    """What a record says of its image.

    Parameters
    ----------
    place : tuple of int
        Number of the shard, number of the record in it, where it begins, its size.
    header : FrameHeader
    facts : dict
        Features of one value, texts decoded.
    """

    place: tuple[int, int, int, int]
    header: FrameHeader
    facts: Mapping[str, str | int | float]


@dataclass(frozen=True, eq=False)
class RecordImages:
    """Load images of some records, brought to one size and one number of colours.

    Parameters
    ----------
    shards : tuple of str
    places : array of int64, shape (n_images, 4)
        See `Entry`.
    shape : tuple of int
        Of each image in the stack.
    fit : "pad", "crop" or "resize", optional
    """

    shards: tuple[str, ...]
    places: npt.NDArray[np.int64]
    shape: tuple[int, ...]
    fit: Fit | None

    def __call__(self, part: tuple[slice, ...]) -> npt.NDArray[Any]:
        """The part of the stack; each shard is opened once where its images stand together."""
        places = self.places[part[0]]
        return stacked((image[part[1:]] for image in self._images(places)), len(places))

    def narrowed(self, part: tuple[slice, ...]) -> tuple[RecordImages, tuple[slice, ...]]:
        """What reads this part alone."""
        some = self.places[part[0]]
        used, numbers = np.unique(some[:, 0], return_inverse=True)
        places = np.column_stack([numbers, some[:, 1:]])
        loader = replace(self, shards=tuple(self.shards[i] for i in used), places=places)
        return loader, (slice(0, len(some)), *part[1:])

    def taken(self, numbers: npt.NDArray[np.int64]) -> RecordImages:
        """What reads these images alone."""
        return replace(self, places=self.places[numbers])

    def _images(self, places: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[Any]]:
        for shard, together in groupby(places.tolist(), key=lambda place: place[0]):
            path = self.shards[shard]
            with reading(path), opened_shard(path) as file:
                for _, number, start, size in together:
                    example = parse_example(read_record(file, path, number, start, size))
                    yield self._image(example, f"{path}, record {number}")

    def _image(self, example: Features, where: str) -> npt.NDArray[Any]:
        with reading(where):
            return shaped(frame(BytesIO(_bytes(example, ENCODED))), self.shape, self.fit, where)


def open_file(path: Path, options: ReadOptions) -> dict[str, sidpy.Dataset]:
    """The images of one shard as ``image``, their labels as ``label``."""
    return open_files([path], options)


def open_files(paths: Sequence[Path], options: ReadOptions) -> dict[str, sidpy.Dataset]:
    """The images of all shards as one stack.

    Raises
    ------
    ReadError
        If a shard is truncated or damaged, or a record holds no image; if images differ in size without a fit that makes them equal.
    """
    entries = [entry for number, path in enumerate(paths) for entry in _entries(path, number)]
    where = str(paths[0]) if len(paths) == 1 else f"{len(paths)} shards in {paths[0].parent}"
    header = common_header(where, [entry.header for entry in entries], options)
    along = Axis("frame", len(entries), kind=AxisKind.TEMPORAL, quantity="frame")
    spec = Spec((along, *image_axes(header.shape)), header.dtype, title=paths[0].stem if len(paths) == 1 else common_folder(paths).name)
    places = np.array([entry.place for entry in entries], np.int64)
    load = RecordImages(tuple(str(path.absolute()) for path in paths), places, header.shape, options.fit)
    source = Source(load, spec.shape, header.dtype, [FileStamp.of(path) for path in paths])
    return open_labelled(source.in_blocks(len(header.shape)), spec, _facts(paths, entries), paths, options)


def _entries(path: Path, shard: int) -> list[Entry]:
    """What the records of one shard say of their images."""
    found = []
    for number, (start, record) in enumerate(records(path)):
        try:
            example = parse_example(record)
        except ValueError as error:
            problem = f"record {number} holds no tf.train.Example: {error}"
            raise failure(path, problem, "It is damaged, or no file of images.") from error
        if len(example.get(ENCODED, ())) != 1:
            problem = f"record {number} has no image {ENCODED!r}; it has {', '.join(sorted(example)) or 'nothing'}"
            raise failure(path, problem, "Only shards of images can be read.")
        facts = {name: value for name, values in example.items() if name != ENCODED and (value := _plain(values)) is not None}
        found.append(Entry((shard, number, start, len(record)), _header(path, number, facts, example), facts))
    return found


def _header(path: Path, number: int, facts: Mapping[str, Any], example: Features) -> FrameHeader:
    """Shape and type of an image: from its record for a JPEG, else from the head of the image itself."""
    if str(facts.get(FORMAT, "")).upper() in ("JPEG", "JPG") and all(facts.get(name, 0) for name in SIZE):
        y, x, channels = (int(facts[name]) for name in SIZE)
        return FrameHeader((y, x) if channels == 1 else (y, x, channels), np.dtype("u1"))
    where = f"{path}, record {number}"
    with reading(where):
        return frame_header(BytesIO(_bytes(example, ENCODED)), where)


def _plain(values: Sequence[Any]) -> str | int | float | None:
    """The value of a feature that has one."""
    if len(values) != 1:
        return None
    if isinstance(values[0], int | float):
        return values[0]
    try:
        return str(values[0], "utf-8") if len(values[0]) <= _LONGEST else None
    except UnicodeDecodeError:
        return None


def _bytes(example: Features, name: str) -> bytes:
    (value,) = example[name]
    return value if isinstance(value, bytes) else bytes(value)  # type: ignore[arg-type]  # a number has failed before


def _facts(paths: Sequence[Path], entries: Sequence[Entry]) -> ItemFacts:
    """What is known of each image, as columns."""
    features = dict.fromkeys(name for entry in entries for name in entry.facts)
    columns = {_short(name): complete([entry.facts.get(name) for entry in entries]) for name in features if name not in _USED}
    splits = [_split_of(path) for path in paths]
    if all(splits):
        columns.setdefault("split", [splits[entry.place[0]] for entry in entries])
    files = [str(entry.facts.get(FILE, "")) or f"{paths[entry.place[0]].name}[{entry.place[1]}]" for entry in entries]
    return ItemFacts(files, _class_names(entries), columns)


def _class_names(entries: Sequence[Entry]) -> list[str] | None:
    """The name of each image's class; its number where no record has a name."""
    if any(entry.facts.get(TEXT) for entry in entries):
        return [str(entry.facts.get(TEXT, "")) for entry in entries]
    numbers = [int(entry.facts.get(LABEL, -1)) for entry in entries]
    return [str(n) if n >= 0 else "" for n in numbers] if max(numbers, default=-1) >= 0 else None


def _short(feature: str) -> str:
    return feature.removeprefix("image/").removeprefix("class/")


def _split_of(shard: Path) -> str:
    name = re.sub(r"-\d+-of-\d+.*", "", shard.name)
    return next((known.casefold() for known in (name, shard.absolute().parent.name) if known.casefold() in SPLITS), "")
