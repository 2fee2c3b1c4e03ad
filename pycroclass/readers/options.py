"""What a reader is asked for, and what it owes.

A reader is a module named by a `pycroclass.readers.formats.Format`. It has::

    def open_file(path: Path, options: ReadOptions) -> dict[str, sidpy.Dataset]
    def open_files(paths: Sequence[Path], options: ReadOptions) -> dict[str, sidpy.Dataset]   # where Format.is_stackable

It returns lazy datasets by the file's own names, each with the `Provenance` that `provenance` makes. Nothing but headers is read when it
opens, no handle stays open, and nothing is written. It may let the errors of the library below it pass: `pycroclass.readers.read` turns
them into `ReadError`. ``open_files`` gets sorted paths of one format; where they lie in more than one folder, each folder is a class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from pycroclass.errors import ParameterError
from pycroclass.provenance import FileStamp, Provenance

Fit = Literal["pad", "crop", "resize"]
_FITS: Final = get_args(Fit)


@dataclass(frozen=True)
class ReadOptions:
    """What `pycroclass.read` was asked for.

    Parameters
    ----------
    key : str, optional
        The one dataset wanted, from ``file.h5::/entry/data``.
    size : int or (int, int), optional
        ``(y, x)`` that every image shall have, in pixels; an integer is a square. Kept as a pair.
    fit : "pad", "crop" or "resize", optional
        How an image of another size gets it.
    format : str
        Name of the format; `pycroclass.read` fills it in.
    classes : sequence of str, or mapping of str to sequence of str, optional
        Names of the classes of labelled images in the order of their numbers, each with other names for it. Kept as a dictionary.

    Raises
    ------
    ParameterError
        If a size is not positive, a fit unknown, or one is given without the other; if a class is named twice.

    Examples
    --------
    >>> ReadOptions(size=64, fit="pad").size
    (64, 64)
    """

    key: str | None = None
    size: int | tuple[int, int] | None = None
    fit: Fit | None = None
    format: str = ""
    classes: Sequence[str] | Mapping[str, Sequence[str]] | None = None

    def __post_init__(self) -> None:
        if self.fit is not None and self.fit not in _FITS:
            raise ParameterError(f"fit must be one of {', '.join(_FITS)}, got {self.fit!r}")
        if (self.size is None) != (self.fit is None):
            raise ParameterError(f"size and fit belong together, got size={self.size!r}, fit={self.fit!r}")
        if self.size is not None:
            object.__setattr__(self, "size", _pair(self.size))
        if self.classes is not None:
            object.__setattr__(self, "classes", _named(self.classes))

    @property
    def class_names(self) -> dict[str, tuple[str, ...]] | None:
        """The classes, each with other names for it."""
        return None if self.classes is None else _named(self.classes)


def provenance(key: str, path: Path | Sequence[Path], options: ReadOptions, *, also: Sequence[Path] = ()) -> Provenance:
    """The record of one dataset: ``read(path, format=…, key=…, size=…, fit=…, classes=…)[key]`` opens it again.

    Parameters
    ----------
    key : str
        Of the dataset in the reader's answer.
    path : Path or sequence of Path
        What was opened.
    options : ReadOptions
    also : sequence of Path
        Further files that the data come from, such as those that a master file links to.
    """
    paths = [path] if isinstance(path, Path) else list(path)
    asked = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(options).items() if name not in ("format", "classes")}
    if options.class_names is not None:
        asked["classes"] = {name: list(others) for name, others in options.class_names.items()}
    parameters = {
        "path": str(path.absolute()) if isinstance(path, Path) else [str(p.absolute()) for p in paths],
        "key": key,
        "format": options.format,
        "options": asked,
    }
    return Provenance("read", parameters, files=tuple(FileStamp.of(p) for p in (*paths, *also)))


def _pair(size: object) -> tuple[int, int]:
    pair = (size, size) if isinstance(size, int) else size
    if not (isinstance(pair, Sequence) and len(pair) == 2 and all(isinstance(n, int) and n > 0 for n in pair)):
        raise ParameterError(f"size must be a positive integer or a pair (y, x) of them, got {size!r}")
    return pair[0], pair[1]


def _named(classes: object) -> dict[str, tuple[str, ...]]:
    if isinstance(classes, str) or not isinstance(classes, Sequence | Mapping) or not classes:
        raise ParameterError(f"classes must be names, or a dictionary from names to other names for them, got {classes!r}")
    pairs = classes.items() if isinstance(classes, Mapping) else ((name, ()) for name in classes)
    named: dict[str, tuple[str, ...]] = {name: tuple(others) for name, others in pairs}
    every = [name for main, others in named.items() for name in (main, *others)]
    if len(named) != len(classes) or len(set(every)) != len(every) or not all(isinstance(name, str) and name for name in every):
        raise ParameterError(f"each class needs a name of its own, got {classes!r}")
    return named
