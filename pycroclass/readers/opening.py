"""`read`: from a path, a folder, a pattern or a list of files to lazy datasets."""

from __future__ import annotations

import glob
import logging
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pycroclass.errors import MissingDependencyError, ParameterError, PycroclassError, ReadError
from pycroclass.geometry import DetectorGeometry
from pycroclass.readers.class_names import SPLITS
from pycroclass.readers.detection import detect
from pycroclass.readers.failure import failure
from pycroclass.readers.formats import Format, format_named, formats
from pycroclass.readers.options import Fit, ReadOptions
from pycroclass.readers.placing import placed

if TYPE_CHECKING:
    import sidpy

_LOG: Final = logging.getLogger(__name__)
_FOREIGN: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What libraries raise on a file that they do not understand."""

Datasets = dict[str, "sidpy.Dataset"]


def read(
    path: str | Path | Sequence[str | Path],
    *,
    key: str | None = None,
    size: int | tuple[int, int] | None = None,
    fit: Fit | None = None,
    classes: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    format: str | None = None,
    geometry: str | Path | DetectorGeometry | None = None,
) -> Datasets:
    """Open a file lazily: its datasets by their own names.

    Only headers are read, nothing is written, and no file stays open.

    Parameters
    ----------
    path : str, Path or sequence of them
        A file; ``file.h5::/entry/data`` for one dataset in it; a folder or a pattern (``run/*.tif``) or a list of images that make one
        stack. Images in several folders, or a folder of folders, make a stack with one class for each folder; above them may stand
        ``train`` and ``test``. A table of images (CSV, Parquet) or TFRecord shards make a labelled stack too.
    key : str, optional
        The one dataset wanted: a key of the result, or the path of any dataset of an HDF5 file.
    size, fit : optional
        ``(y, x)`` in pixels and ``"pad"``, ``"crop"`` or ``"resize"``, where images of different sizes shall become one stack.
    classes : sequence of str, or mapping of str to sequence of str, optional
        Names of the classes of labelled images in the order of their numbers, such as ``bundle.classes``, each with other names for it.
        By default those that occur, in alphabetical order.
    format : str, optional
        Name of a format, where the file's content and name do not tell.
    geometry : str, Path, Geometry or PanelGeometry, optional
        Where the detector stands, instead of what the file says: a geometry file of CrystFEL (``.geom``), or a value. All datasets get it
        that hold its panels.

    Returns
    -------
    dict of str to sidpy.Dataset
        An HDF5 path, a channel name; a stack of detector frames is ``image``, its mask ``mask``.

    Raises
    ------
    ReadError
        If a file is missing, unreadable, empty, truncated, damaged, or of no known format; if there is no such key; if a label is
        none of the classes; if a geometry file cannot be understood.
    AxisError
        If there is a geometry, and it is that of other frames.
    MissingDependencyError
        If an optional package is needed.
    ParameterError
        If the parameters make no sense.

    Examples
    --------
    >>> import numpy as np; from tempfile import mkdtemp
    >>> file = Path(mkdtemp()) / "stack.npy"
    >>> np.save(file, np.zeros((3, 5, 7)))
    >>> [dataset.shape for dataset in read(file).values()]
    [(3, 5, 7)]
    """
    datasets = _read(path, key, size, fit, classes, format)
    return datasets if geometry is None else placed(datasets, geometry, path)


def _read(
    path: str | Path | Sequence[str | Path],
    key: str | None,
    size: int | tuple[int, int] | None,
    fit: Fit | None,
    classes: Sequence[str] | Mapping[str, Sequence[str]] | None,
    format: str | None,
) -> Datasets:
    if not isinstance(path, str | Path):
        options = ReadOptions(key, size, fit, classes=classes)
        return read_stack([_existing(Path(p)) for p in path], options, format)
    if key is None:
        path, key = _split_key(path)
    options = ReadOptions(key, size, fit, classes=classes)
    path = Path(path)
    if path.is_dir():
        return read_stack(_files_in(path), options, format)
    if not path.exists() and glob.has_magic(str(path)):
        return read_stack(_matching(str(path)), options, format)
    return _read_file(_existing(path), options, format)


def _read_file(path: Path, options: ReadOptions, format: str | None) -> Datasets:
    chosen = format_named(format) if format else detect(path)
    if options.classes is not None and not chosen.is_labelled:
        raise ParameterError(f"classes are for labelled images; {path.name} is {chosen.name}, which has no labels")
    if options.size is not None and not (chosen.is_stackable or chosen.is_labelled):
        raise ParameterError(f"size and fit are for images; {path.name} is {chosen.name}. Use Crop, Pad or Resize on its datasets.")
    datasets = _open(chosen, path, options, "open_file")
    if options.key is None:
        return datasets
    found = {name: dataset for name, dataset in datasets.items() if name.strip("/") == options.key.strip("/")}
    if not found and chosen.is_hdf5 and chosen.name != "HDF5":
        return _read_file(path, options, "HDF5")
    if not found:
        raise failure(path, f"has no dataset {options.key!r}", f"It has {', '.join(datasets)}.")
    return found


def read_stack(paths: Sequence[Path], options: ReadOptions, format: str | None = None) -> Datasets:
    """Files that make one stack; those of several formats that one module opens, such as PNG and JPEG, may stand together.

    Raises
    ------
    ReadError, ParameterError
        As `read`.
    """
    if not paths:
        raise ReadError("no files given: a stack needs at least one")
    found = list(dict.fromkeys(format_named(format) if format else detect(path) for path in paths))
    if len({f.module for f in found}) > 1 or not all(f.is_stackable for f in found):
        names = ", ".join(sorted(f.name for f in found))
        raise ReadError(f"{paths[0].parent}: {len(paths)} files of {names} do not make one stack. Read them one by one.")
    if options.key is not None:
        raise ParameterError(f"a key ({options.key!r}) names a dataset of one file; these are {len(paths)}")
    return _open(found[0], paths, options, "open_files")


def _open(chosen: Format, source: Path | Sequence[Path], options: ReadOptions, function: str) -> Datasets:
    """Call the reader; whatever fails in the libraries below it becomes one of our errors."""
    options = replace(options, format=chosen.name)
    first = source if isinstance(source, Path) else source[0]
    try:
        reader: Callable[..., Datasets] = getattr(import_module(chosen.module), function)
        datasets = reader(source, options)
    except PycroclassError:
        raise
    except ImportError as error:
        if (error.name or "").startswith("pycroclass"):  # a mistake in a reader, no missing package
            raise
        raise _missing(chosen, error) from error
    except _FOREIGN as error:
        problem = f"cannot be read as {chosen.name}: {type(error).__name__}: {error}".rstrip(": ")
        raise failure(first, problem, "It is truncated, damaged, or of a variant that is not supported.") from error
    if not datasets:
        raise failure(first, f"is {chosen.name} but holds no data that can be read", "Open it in the program that wrote it.")
    return datasets


def _missing(chosen: Format, error: ImportError) -> MissingDependencyError:
    package = (error.name or str(error)).partition(".")[0]
    if chosen.extra:
        return MissingDependencyError.of(package, extra=chosen.extra, purpose=f"reading {chosen.name}")
    return MissingDependencyError(f"reading {chosen.name} needs the package {package!r}: {error}")


def _split_key(path: str | Path) -> tuple[Path, str | None]:
    """``file.h5::/entry/data`` is a file and a key, unless a file has that very name."""
    if Path(path).exists() or "::" not in str(path):
        return Path(path), None
    file, _, key = str(path).rpartition("::")
    return Path(file), key or None


def _existing(path: Path) -> Path:
    try:
        path.stat()
    except FileNotFoundError:
        raise failure(path, "does not exist", _nearby(path)) from None
    except PermissionError as error:
        raise failure(path, "cannot be reached: permission denied", "Ask the owner of the folder for access.") from error
    if not path.is_file():
        raise failure(path, "is no file", "A folder is read by itself, not in a list.")
    return path


def _nearby(path: Path) -> str:
    folder = path.absolute().parent
    return f"Look in {folder}." if folder.is_dir() else f"There is no folder {folder} either."


def _matching(pattern: str) -> list[Path]:
    paths = sorted(Path(p) for p in glob.glob(pattern, recursive=True) if Path(p).is_file())
    if not paths:
        raise ReadError(f"{pattern}: no file matches this pattern. Check the folder and the ending.")
    return paths


def _files_in(folder: Path) -> list[Path]:
    """The images in a folder; where there are none, those in the folders in it, and in the folders in ``train`` and ``test``."""
    inner = _folders_in(folder)
    by_class = [deep for split in inner if split.name.casefold() in SPLITS for deep in _folders_in(split)]
    paths = _stackable(folder.iterdir()) or _stackable(path for holder in (*inner, *by_class) for path in holder.iterdir())
    if not paths:
        known = " ".join(sorted({extension for f in formats() if f.is_stackable for extension in f.extensions}))
        raise ReadError(f"{folder}: this folder, and the folders in it, hold no images ({known}). Name a file.")
    return paths


def _folders_in(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]


def _stackable(paths: Iterable[Path]) -> list[Path]:
    files = [path for path in paths if path.is_file() and not path.name.startswith(".")]
    images = sorted(path for path in files if any(f.is_stackable and f.matches_name(path.name) for f in formats()))
    if images and len(images) < len(files):
        _LOG.info("%s: %d files that are no images are left out", images[0].parent, len(files) - len(images))
    return images
