"""From an array in a file to a dataset: what the readers of images and arrays do the same way."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import dask.array as da
import sidpy

from pycroclass.errors import PycroclassError
from pycroclass.provenance import FileStamp
from pycroclass.readers.failure import failure
from pycroclass.readers.options import ReadOptions, provenance
from pycroclass.sid import wrap
from pycroclass.source import Load, lazy_array, plan_chunks
from pycroclass.spec import AxisKind, Spec

_FAILURES: Final = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    RuntimeError,
    EOFError,
    SyntaxError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)


def lazy_dataset(
    key: str,
    load: Load,
    spec: Spec,
    path: Path,
    options: ReadOptions,
    *,
    metadata: Mapping[str, Any] | None = None,
    original_metadata: Mapping[str, Any] | None = None,
) -> sidpy.Dataset:
    """The dataset of an array that ``load`` reads from one file, in chunks that keep items whole."""
    chunks = plan_chunks(spec.shape, spec.dtype, n_core(spec))
    array = lazy_array(load, spec.shape, spec.dtype, chunks, (FileStamp.of(path),))
    return wrap_read(key, array, spec, path, options, metadata=metadata, original_metadata=original_metadata)


def wrap_read(
    key: str,
    array: da.Array,
    spec: Spec,
    path: Path | Sequence[Path],
    options: ReadOptions,
    *,
    metadata: Mapping[str, Any] | None = None,
    original_metadata: Mapping[str, Any] | None = None,
    also: Sequence[Path] = (),
) -> sidpy.Dataset:
    """The dataset around a lazy array that comes from these files, and from others ``also`` that they name."""
    return wrap(
        array,
        replace(spec, dtype=array.dtype),
        provenance=provenance(key, path, options, also=also),
        metadata=metadata,
        original_metadata=original_metadata,
    )


def n_core(spec: Spec) -> int:
    """How many of the last axes make one item: one spectral axis, or an image with its colours.

    Examples
    --------
    >>> from pycroclass.spec import Axis
    >>> n_core(Spec((Axis("y", 5), Axis("x", 6), Axis("energy", 7, kind="spectral")), "u2"))
    1
    """
    if spec.axes[-1].kind is AxisKind.SPECTRAL:
        return 1
    return min(len(spec.axes), 3 if spec.axes[-1].kind is AxisKind.CHANNEL else 2)


def unique_keys(names: Sequence[str]) -> list[str]:
    """The names, numbered from the second of its kind on.

    Examples
    --------
    >>> unique_keys(["HAADF", "EELS", "HAADF"])
    ['HAADF', 'EELS', 'HAADF 2']
    """
    keys: dict[str, None] = {}
    for name in names:
        key, number = name, 1
        while key in keys:
            number += 1
            key = f"{name} {number}"
        keys[key] = None
    return list(keys)


@contextmanager
def reading(path: str | Path, part: str = "") -> Iterator[None]:
    """Turn what a library raises while it reads a file, or a named part of it, into a `ReadError` with the file's path.

    Raises
    ------
    ReadError
        Where the block raised an error that is not ours.
    """
    try:
        yield
    except PycroclassError:
        raise
    except _FAILURES as error:
        problem = f"{part} cannot be read: {type(error).__name__}: {error}".strip(": ")
        raise failure(path, problem, "It is truncated, damaged, or was changed after it was opened.") from error
