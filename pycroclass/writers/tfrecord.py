"""Labelled images as TFRecord shards in the layout of MARCO, without TensorFlow."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import sidpy
from PIL import Image

from pycroclass.errors import AxisError, DataError, ParameterError
from pycroclass.per_item import column, columns
from pycroclass.readers.tf_example import serialize_example
from pycroclass.readers.tfrecord import ENCODED, FILE, FORMAT, LABEL, SIZE, TEXT
from pycroclass.readers.tfrecord_shards import framed
from pycroclass.sid import unwrap
from pycroclass.spec import Domain
from pycroclass.writers.atomic import whole_or_nothing

_WINDOW_BITS: Final = {"zlib": zlib.MAX_WBITS, "gzip": zlib.MAX_WBITS | 16}
_OF_CLASS: Final = ("raw", "source")
"""Columns that stand under ``image/class`` in MARCO's records."""


def write_tfrecord(
    dataset: sidpy.Dataset,
    folder: str | os.PathLike[str],
    *,
    name: str = "train",
    per_shard: int = 1024,
    encoding: Literal["JPEG", "PNG"] = "JPEG",
    compression: Literal["zlib", "gzip"] | None = None,
) -> list[Path]:
    """Write a stack of images to shards ``train-00000-of-00003``, …, each of which appears when it is whole.

    Parameters
    ----------
    dataset : sidpy.Dataset
        Images of uint8, grey or with three colours, along its first axis. Labels, files and other columns of the items go with them,
        real numbers in single precision.
    folder : path
        It exists.
    name : str
        How the names of the shards begin.
    per_shard : int
        Most images in a shard.
    encoding : {"JPEG", "PNG"}
        JPEG of quality 95, or PNG, which loses nothing.
    compression : {"zlib", "gzip"}, optional
        Of the whole shard.

    Returns
    -------
    list of Path
        Of the shards.

    Raises
    ------
    AxisError, DataError
        If the items are no images of uint8 with one or three colours.
    ParameterError
        If a shard shall have no image.
    WriteError
        If a shard exists or cannot be written.

    Examples
    --------
    >>> import numpy as np; from tempfile import mkdtemp
    >>> drops = sidpy.Dataset.from_array(np.zeros((5, 8, 8), np.uint8)); drops.data_type = "image_stack"
    >>> [shard.name for shard in write_tfrecord(drops, mkdtemp(), per_shard=3)]
    ['train-00000-of-00002', 'train-00001-of-00002']
    """
    array, spec = unwrap(dataset)
    core = spec.core(Domain.IMAGE)
    if spec.names[0] in core or len(core) + 1 != len(spec.names):
        raise AxisError(f"wanted images along the first axis, got the axes {spec.names}, of which {core} are those of an image")
    array = array.transpose([spec.names.index(axis) for axis in (spec.names[0], *core[-2:], *core[:-2])])
    if array.dtype != np.uint8 or array.shape[3:] not in ((), (3,)):
        raise DataError(f"wanted images of uint8, grey or with 3 colours, got {array.dtype} of shape {array.shape[1:]}; use Cast or Clip")
    if per_shard < 1:
        raise ParameterError(f"a shard holds at least one image, got per_shard={per_shard}")
    n_images = array.shape[0]
    n_shards = -(-n_images // per_shard)
    table = {key: column(dataset, key).tolist() for key in columns(dataset)}
    shards = []
    for shard in range(n_shards):
        path = Path(folder) / f"{name}-{shard:05}-of-{n_shards:05}"
        with whole_or_nothing(path, overwrite=False) as file:
            packer = zlib.compressobj(wbits=_WINDOW_BITS[compression]) if compression else None
            for part in _parts(range(shard * per_shard, min(n_images, (shard + 1) * per_shard)), max(array.chunks[0])):
                for i, image in zip(part, array[part.start : part.stop].compute(), strict=True):
                    facts = {key: values[i] for key, values in table.items()}
                    record = framed(serialize_example(_features(image, facts, spec.classes, encoding)))
                    file.write(packer.compress(record) if packer else record)
                file.check()
            file.write(packer.flush() if packer else b"")
            file.check()
        shards.append(path)
    return shards


def _parts(items: range, step: int) -> Iterator[range]:
    for start in range(items.start, items.stop, step):
        yield range(start, min(start + step, items.stop))


def _features(image: npt.NDArray[np.uint8], facts: dict[str, Any], classes: tuple[str, ...], encoding: str) -> dict[str, list[Any]]:
    encoded = BytesIO()
    Image.fromarray(image).save(encoded, encoding, **({"quality": 95, "subsampling": 0} if encoding == "JPEG" else {}))
    n_channels = image.shape[2] if image.ndim == 3 else 1
    features: dict[str, list[Any]] = {
        ENCODED: [encoded.getvalue()],
        FORMAT: [encoding.encode()],
        "image/colorspace": [b"RGB" if n_channels == 3 else b"Grayscale"],
        **{key: [n] for key, n in zip(SIZE, (*image.shape[:2], n_channels), strict=True)},
    }
    for key, value in facts.items():
        if key == "labels":
            features[LABEL] = [int(value)]
            features[TEXT] = [classes[value].encode() if 0 <= value < len(classes) else b""]
        else:
            feature = FILE if key == "files" else f"image/class/{key}" if key in _OF_CLASS else f"image/{key}"
            features[feature] = [value if isinstance(value, int | float) else str(value).encode()]
    return features
